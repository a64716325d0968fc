"""Truths and pre-annotations of several corpora come together in one dataset."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.toy_corpus import identifier, toy_document, write_corpus


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """An empty store on a day in 2025."""
    return StageContext(store=DatasetStore(tmp_path), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC)))


def _corpora(context: StageContext) -> dict[str, DatasetRef]:
    synthetic = [toy_document(f"s{number}") for number in range(8)]
    exported = [
        toy_document("exported", truth="export", source="qorsync"),
        toy_document("unlabelled", truth=None, source="qorsync"),
        toy_document("blank", truth=None, source="qorsync", text="Page 1 of 1"),
        toy_document("s0", text="The same id, another text"),
        toy_document("letter", document_type="LETTER"),
    ]
    return {
        "synthetic_docs/0000-0001": write_corpus(context, "synthetic_docs/0000-0001", synthetic),
        "raw_exports": write_corpus(context, "raw_exports", exported),
    }


def _build(context: StageContext, corpora: dict[str, DatasetRef], **values: Any) -> Any:
    return build_annotated_docs(context, config=AnnotatedDocsConfig(**values), corpora=corpora, release="r1")


def test_truths_come_through_unchanged_and_guesses_stand_beside_them(context: StageContext) -> None:
    corpora = _corpora(context)
    dataset = _build(context, corpora).dataset
    rows = dataset.table("annotations").to_pylist()
    original = context.store.open(corpora["synthetic_docs/0000-0001"]).table("annotations").to_pylist()
    kept = {identifier(f"s{number}") for number in range(1, 8)}  # s0 is quarantined, see below
    came = [row for row in rows if row["source"] == "synthetic" and row["document_id"] in kept]
    assert sorted(came, key=str) == sorted((row for row in original if row["document_id"] in kept), key=str)
    guessed = [row for row in rows if row["source"] == "model"]
    assert {row["annotator"] for row in guessed} == {"model:label-baseline"}
    assert len(guessed) == dataset.manifest.rows["documents"] == 11
    assert all(field["confidence"] > 0 and field["source"] == "model" for row in guessed for field in row["fields"])


def test_where_each_truth_comes_from_is_said(context: StageContext) -> None:
    rows = {
        row["document_id"]: row for row in _build(context, _corpora(context)).dataset.table("documents").to_pylist()
    }
    assert rows[identifier("s1")]["truth_source"] == "synthetic"
    assert rows[identifier("exported")]["truth_source"] == "export"
    assert rows[identifier("unlabelled")]["truth_source"] is None
    assert not rows[identifier("unlabelled")]["has_truth"]
    assert rows[identifier("unlabelled")]["input"] == "raw_exports"


def test_doubtful_guesses_are_flagged(context: StageContext) -> None:
    rows = {
        row["document_id"]: row for row in _build(context, _corpora(context)).dataset.table("documents").to_pylist()
    }
    assert rows[identifier("blank")]["confidence"] == 0
    assert rows[identifier("blank")]["is_flagged"]
    everything = _build(context, _corpora(context), confidence_threshold=1.0)
    assert everything.manifest.metrics["documents_flagged"] == 11
    nothing = _build(context, _corpora(context), confidence_threshold=0.0)
    assert nothing.manifest.metrics["documents_flagged"] == 0


def test_a_second_document_of_an_id_and_an_unknown_class_are_quarantined(context: StageContext) -> None:
    dataset = _build(context, _corpora(context)).dataset
    # Corpora are taken in the order of their names: raw_exports came first.
    found = {(row["record"], row["source"], row["reason"]) for row in dataset.table("quarantine").to_pylist()}
    assert found == {
        (identifier("s0"), "synthetic_docs/0000-0001", "duplicate_id"),
        (identifier("letter"), "raw_exports", "unknown_class"),
    }
    truths = [row for row in dataset.table("annotations").to_pylist() if row["source"] != "model"]
    assert [row["document_id"] for row in truths].count(identifier("s0")) == 1


def test_agreement_compares_guesses_with_truths(context: StageContext) -> None:
    metrics = _build(context, _corpora(context)).manifest.metrics
    assert metrics["coverage"] == 1
    assert metrics["agreement_total_amount"] == 1
    assert 0.5 < metrics["agreement"] <= 1


def test_only_a_share_is_guessed_where_the_truth_is_known(context: StageContext) -> None:
    dataset = _build(context, _corpora(context), pre_annotated_share=0.0).dataset
    guessed = {row["document_id"] for row in dataset.table("annotations").to_pylist() if row["source"] == "model"}
    assert guessed == {identifier("unlabelled"), identifier("blank")}
    assert "agreement" not in dataset.manifest.metrics


def test_equal_inputs_give_equal_data_at_any_time(context: StageContext, tmp_path: Path) -> None:
    later = StageContext(store=DatasetStore(tmp_path / "other"), clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))
    first, second = (_build(place, _corpora(place)) for place in (context, later))
    assert first.manifest.data_version == second.manifest.data_version
    assert _build(context, _corpora(context)).is_reused


def test_documents_without_a_page_stay_in_their_corpus(context: StageContext) -> None:
    bare = toy_document("bare", page_count=0, text="", source="xrechnung", role="test_only", truth="xml")
    paged = toy_document("paged", source="zugferd", role="test_only", truth="xml")
    corpora = {"public_docs/zugferd": write_corpus(context, "public_docs/zugferd", [bare, paged])}
    built = _build(context, corpora)
    assert [row["document_id"] for row in built.dataset.table("documents").to_pylist()] == [identifier("paged")]
    assert {row["document_id"] for row in built.dataset.table("annotations").to_pylist()} == {identifier("paged")}
    assert built.manifest.metrics["documents_without_pages"] == 1
    assert built.manifest.rows["quarantine"] == 0  # nothing is wrong with it
