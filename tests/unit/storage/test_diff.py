"""What changed between two versions: counts that are known, whatever the order of rows and the number of buckets."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sap_llm.storage.diff import Transition, compare
from sap_llm.storage.keyed_rows import Rows, join, rows_at
from sap_llm.storage.store import DatasetStore
from tests.support.versioned import Labelled, documents, labelled


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


def changed(found: list[Labelled]) -> list[Labelled]:
    """Document 0 gone, 1 of another class, 2 in another split, 3 and 4 with other values, 100 new."""
    after = found[1:]
    after[0] = after[0].but(document_type="PURCHASE_ORDER")
    after[1] = after[1].but(split="validation")
    after[2] = after[2].but(fields={"total_amount": "120.00", "currency": "EUR"})
    after[3] = after[3].but(fields={"currency": "EUR", "document_number": "R-1"})
    return [*after, Labelled(100, document_type="PURCHASE_ORDER")]


def test_every_kind_of_difference_is_counted(store: DatasetStore) -> None:
    before = documents(50)
    after = changed(before)
    random.Random(1).shuffle(after)
    old = labelled(store, before, quarantined=[("a", "bad_json"), ("b", "no_pages")])
    new = labelled(store, after, day=1, threshold=0.7, quarantined=[("a", "no_pages")])
    diff = compare(store, old.ref, new.ref)
    assert not diff.has_same_data
    rows = diff.tables["documents"]
    assert (rows.before, rows.after, rows.added, rows.removed, rows.changed) == (50, 50, 1, 1, 2)
    assert rows.columns == {"document_type": 1, "split": 1}
    assert rows.added_examples == ["doc-000100"]
    assert rows.removed_examples == ["doc-000000"]
    assert diff.moves["split"] == [Transition(before="train", after="validation", documents=1, examples=["doc-000002"])]
    assert diff.moves["document_type"][0].documents == 1
    classes = {name: (one.before, one.after, one.added, one.removed) for name, one in diff.classes.items()}
    assert classes == {"PURCHASE_ORDER": (0, 2, 1, 0), "SUPPLIER_INVOICE": (50, 48, 0, 1)}
    assert {name: (one.before, one.after) for name, one in diff.quarantine.items()} == {"bad_json": (1, None)}
    assert diff.configuration["threshold"].after == 0.7
    assert diff.metrics["threshold"].before == 0.5
    assert diff.labels is not None
    assert (diff.labels.documents_compared, diff.labels.documents_relabelled) == (49, 3)
    labels = {(one.document_type, one.field): (one.changed, one.added, one.removed) for one in diff.labels.fields}
    assert labels == {
        ("PURCHASE_ORDER", "document_type"): (1, 0, 0),
        ("SUPPLIER_INVOICE", "total_amount"): (1, 0, 1),
        ("SUPPLIER_INVOICE", "document_number"): (0, 1, 0),
    }
    amounts = next(one for one in diff.labels.fields if one.field == "total_amount")
    assert [(one.document_id, one.before, one.after) for one in amounts.examples] == [
        ("doc-000003", "119.00", "120.00"),
        ("doc-000004", "119.00", None),
    ]


def test_a_person_who_corrects_relabels_and_a_model_that_guesses_does_not(store: DatasetStore) -> None:
    before = documents(3)
    right = {"total_amount": "121.00", "currency": "EUR"}
    after = [
        before[0].but(revisions=[("anna", "human", 1, {"total_amount": "7.00"}), ("anna", "human", 2, right)]),
        before[1].but(revisions=[("model:x", "model", 9, {"total_amount": "0.00"})]),
        before[2].but(revisions=[("export", "export", 9, {"total_amount": "0.00"})]),
    ]
    diff = compare(store, labelled(store, before).ref, labelled(store, after, day=1).ref)
    assert diff.tables["annotations"].added == 4
    assert diff.labels is not None
    assert diff.labels.documents_relabelled == 1
    (only,) = diff.labels.fields
    assert [(one.before, one.after) for one in only.examples] == [("119.00", "121.00")]


def test_lines_are_compared_by_their_number_and_repeated_fields_by_their_place(store: DatasetStore) -> None:
    line = {"quantity": "1", "unit_price": "5.00"}
    before = [Labelled(0, lines=[line, line])]
    after = [Labelled(0, lines=[line, {**line, "quantity": "2"}, line])]
    diff = compare(store, labelled(store, before).ref, labelled(store, after, day=1).ref)
    assert diff.labels is not None
    found = {one.field: (one.changed, one.added, one.removed) for one in diff.labels.fields}
    assert found == {"line_items.quantity": (1, 1, 0), "line_items.unit_price": (0, 1, 0)}


def test_labels_of_a_training_set_are_those_of_its_annotated_documents(store: DatasetStore) -> None:
    before = documents(6)
    after = [one.but(fields={"total_amount": "1.00"}) for one in before]
    refs = []
    for day, found in enumerate((before, after)):
        annotated = labelled(store, found, name="annotated_docs/r1", day=day)
        kept = found[:4] if day == 0 else found[2:]  # documents 2 and 3 are in both
        inputs = {"annotated_docs/r1": annotated.ref}
        refs.append(labelled(store, kept, day=day, inputs=inputs, parts=("documents",)).ref)
    labels = compare(store, *refs).labels
    assert labels is not None
    assert labels.before.startswith("annotated_docs/r1@")
    assert (labels.documents_compared, labels.documents_relabelled) == (2, 2)


def test_the_same_data_differ_in_nothing(store: DatasetStore) -> None:
    found = documents(20)
    old = labelled(store, found)
    new = labelled(store, found[::-1], day=1)
    diff = compare(store, old.ref, new.ref)
    assert diff.has_same_data
    assert {(rows.added, rows.removed, rows.changed) for rows in diff.tables.values()} == {(0, 0, 0)}
    assert diff.labels is not None
    assert diff.labels.fields == []


def test_a_table_that_one_side_lacks_is_added_or_removed(store: DatasetStore) -> None:
    found = documents(4)
    old = labelled(store, found)
    new = labelled(store, found, day=1, name="training_set/r2", parts=("documents",))
    rows = compare(store, old.ref, new.ref).tables["annotations"]
    assert (rows.removed, rows.added) == (4, 0)


numbers = st.dictionaries(st.integers(0, 30), st.integers(0, 3), max_size=20)


@given(before=numbers, after=numbers, bucket_rows=st.integers(1, 40), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_join_finds_what_dictionaries_find(
    tmp_path: Path, before: dict[int, int], after: dict[int, int], bucket_rows: int, seed: int
) -> None:
    store = DatasetStore(tmp_path / "datasets")
    chance = random.Random(seed)
    sides = []
    for number, content in enumerate((before, after)):
        order = list(content)
        chance.shuffle(order)
        found = [Labelled(key, fields={"total_amount": str(content[key])}) for key in order]
        dataset = labelled(store, found, name=f"numbers/{number}").dataset
        columns = ("document_id", "fields")
        sides.append(Rows(dataset=dataset, table="annotations", key=("document_id",), columns=columns))
    added, removed, differing, unchanged = set(), set(), set(), 0
    old, new = sides

    def ids(side: Rows, positions: np.ndarray) -> set[int]:
        rows = rows_at(side.dataset, "annotations", positions, ["document_id"]).column("document_id").to_pylist()
        return {int(text.removeprefix("doc-")) for text in rows}

    for matches in join(old, new, bucket_rows=bucket_rows):
        added |= ids(new, matches.added)
        removed |= ids(old, matches.removed)
        assert ids(old, matches.changed[0]) == ids(new, matches.changed[1])
        differing |= ids(old, matches.changed[0])
        unchanged += matches.unchanged
    assert added == after.keys() - before.keys()
    assert removed == before.keys() - after.keys()
    assert differing == {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert unchanged == len(before.keys() & after.keys()) - len(differing)


def test_rows_come_in_the_order_asked_for_from_any_row_group(store: DatasetStore) -> None:
    dataset = labelled(store, documents(9000)).dataset
    (fragment,) = dataset.scan("documents").get_fragments()
    assert len(fragment.row_groups) == 3
    wanted = np.array([8999, 0, 4096, 4095, 0, 8192])
    rows = rows_at(dataset, "documents", wanted, ["document_id"])
    assert rows.column("document_id").to_pylist() == [f"doc-{number:06d}" for number in wanted]
    assert rows_at(dataset, "documents", np.array([], dtype=np.int64), ["document_id"]).num_rows == 0
