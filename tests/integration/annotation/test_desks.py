"""What must hold at every desk: tasks once, answers whole, changes as revisions, nothing lost."""

from typing import Any

import pytest

from sap_llm.annotation.adjudication import resolve
from sap_llm.annotation.agreement import measure_agreement
from sap_llm.annotation.desk import TaskKey
from sap_llm.annotation.sending import Sent
from sap_llm.schema.annotation import TASKS
from sap_llm.storage.build import BuildResult
from tests.integration.annotation.conftest import Office, answers_of, reasons, values
from tests.support.desk_people import People


@pytest.fixture
def keys(office: Office, people: People, release: str) -> list[TaskKey]:
    """Three tasks on the desk, two answers wanted of each."""
    tasks = office.tasks(annotators=2, last=3)
    office.send(people, release, tasks)
    return office.keys(release, tasks)


def test_a_task_is_sent_once(office: Office, people: People, release: str) -> None:
    tasks = office.tasks()
    first = office.send(people, release, tasks)
    assert (first.posted, first.present, list(first.refused)) == (4, 0, [])
    again = office.send(people, release, tasks)
    assert (again.posted, again.present) == (0, 4)
    more = office.send(people, release, office.tasks(last=6))
    assert (more.posted, more.present) == (2, 4)
    experts = office.send(people, release, office.tasks(queue="experts", last=1))
    assert (experts.posted, experts.present) == (1, 0)
    assert people.desk.keys(release) == {
        *office.keys(release, office.tasks(last=6)),
        *office.keys(release, office.tasks(queue="experts", last=1)),
    }
    found = {entry.queue: entry.tasks for entry in people.desk.status() if entry.release == release}
    assert found == {"annotators": 6, "experts": 1}


def test_an_answer_comes_back_whole_with_who_and_how_long(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    truth = office.truth(keys[0])
    people.answer(keys[0], "ann", truth, office.sizes(keys[0]))
    built = office.sync(people, release)
    (annotation,) = built.dataset.table("annotations").to_pylist()
    assert values(annotation) == values(truth)
    assert (annotation["source"], annotation["revision"]) == ("human", 1)
    placed = {field["field"]: field["word_ids"] for field in annotation["fields"] if field["box"]}
    assert placed == {field["field"]: field["word_ids"] for field in truth["fields"] if field["box"]}
    (answer,) = answers_of(built)
    assert answer["annotator"] == people.identity("ann") == annotation["annotator"]
    assert (answer["queue"], answer["lead_seconds"], answer["decides_on"]) == ("annotators", 42.0, [])
    (record,) = built.dataset.table("records").to_pylist()
    assert (record["outcome"], record["desk_id"]) == ("taken", answer["desk_id"])
    assert record["created_at"] <= record["updated_at"]
    assert built.manifest.inputs == {str(office.corpus): office.corpus}


def test_without_news_the_version_is_the_same(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    people.answer(keys[0], "ann", office.truth(keys[0]), office.sizes(keys[0]))
    before = people.desk.mark(release)
    first = office.sync(people, release)
    for is_full in (False, True):
        again = office.sync(people, release, first, is_full=is_full)
        assert again.is_reused
        assert again.ref == first.ref
    assert people.desk.mark(release) == before
    people.answer(keys[1], "ann", office.truth(keys[1]), office.sizes(keys[1]))
    assert people.desk.mark(release) != before


def test_a_changed_answer_is_a_new_revision_and_the_old_one_stays(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    truth, sizes = office.truth(keys[0]), office.sizes(keys[0])
    given = people.answer(keys[0], "ann", truth, sizes)
    first = office.sync(people, release)
    people.change(given, truth | {"document_type": "CREDIT_NOTE", "document_subtype": None}, sizes)
    second = office.sync(people, release, first)
    kinds = {row["revision"]: row["document_type"] for row in second.dataset.table("annotations").to_pylist()}
    assert kinds == {1: "SUPPLIER_INVOICE", 2: "CREDIT_NOTE"}
    one, two = answers_of(second)
    assert one["desk_id"] == two["desk_id"]
    assert one["created_at"] < two["created_at"]
    whole = office.sync(people, release)  # whoever lost the versions has at least the present state
    assert [row["document_type"] for row in whole.dataset.table("annotations").to_pylist()] == ["CREDIT_NOTE"]


def test_a_deleted_answer_counts_no_more_and_is_not_lost(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    sizes = office.sizes(keys[0])
    given = people.answer(keys[0], "ann", office.truth(keys[0]), sizes)
    people.answer(keys[0], "bob", office.truth(keys[0]), sizes)
    first = office.sync(people, release)
    people.delete(given)
    second = office.sync(people, release, first)
    assert [row["annotator"] for row in answers_of(second)] == [people.identity("bob")]
    assert second.dataset.table("annotations").num_rows == 1
    (row,) = second.dataset.table("quarantine").to_pylist()
    assert row["reason"] == "deleted"
    assert keys[0].document_id in str(row["payload"]) or "total_amount" in str(row["payload"])
    assert second.dataset.table("records").num_rows == 3
    assert office.sync(people, release, second).ref == second.ref


def test_an_answer_that_became_unreadable_leaves_the_last_good_one(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    truth, sizes = office.truth(keys[0]), office.sizes(keys[0])
    given = people.answer(keys[0], "ann", truth, sizes)
    first = office.sync(people, release)
    people.spoil(given)
    second = office.sync(people, release, first)
    assert answers_of(second) == answers_of(first)
    assert reasons(second) == {"garbled": 1}
    people.change(given, truth | {"document_type": "CREDIT_NOTE", "document_subtype": None}, sizes)
    third = office.sync(people, release, second)
    assert [row["revision"] for row in answers_of(third)] == [1, 2]
    assert reasons(third) == {"garbled": 1}


def test_what_cannot_be_is_quarantined_and_the_rest_is_taken(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    truth, sizes = office.truth(keys[0]), office.sizes(keys[0])
    people.answer(keys[0], "ann", truth, sizes)
    people.answer(keys[0], "bob", _moved(truth, [900.0, 40.0, 990.0, 60.0]), sizes)
    built = office.sync(people, release)
    assert [row["annotator"] for row in answers_of(built)] == [people.identity("ann")]
    (row,) = built.dataset.table("quarantine").to_pylist()
    assert row["reason"] == "box_outside_page"
    assert row["field"] == "document_number"
    assert "page 1 is 595 x 842" in row["detail"]
    assert built.manifest.metrics["quarantined_answers"] == 1


def _moved(row: dict[str, Any], box: list[float]) -> dict[str, Any]:
    """The row with its document number at another place, as a person would draw it."""
    fields = [
        field | {"box": box, "word_ids": None} if field["field"] == "document_number" else field
        for field in row["fields"]
    ]
    return row | {"fields": fields}


def test_two_people_are_two_answers_and_their_agreement_can_be_measured(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    for key in keys:
        for who in ("ann", "bob"):
            people.answer(key, who, office.truth(key), office.sizes(key))
    dataset = office.sync(people, release).dataset
    found = measure_agreement(dataset.table("annotations"), dataset.table("answers"))
    assert (found.documents, found.documents_doubled) == (3, 3)
    assert found.field_kappa.value == 1.0


def test_an_arbitration_is_reopened_by_a_later_answer_and_closed_by_confirming_it(
    office: Office, people: People, release: str, keys: list[TaskKey]
) -> None:
    key, sizes, truth = keys[0], office.sizes(keys[0]), office.truth(keys[0])
    senior = TaskKey(release=release, queue="seniors", document_id=key.document_id)

    def says(kind: str) -> dict[str, Any]:
        return truth | {"document_type": kind, "document_subtype": None}

    def disputed(built: BuildResult) -> list[dict[str, Any]]:
        dataset = built.dataset
        rows = resolve(dataset.table("annotations"), dataset.table("answers")).disagreements.to_pylist()
        return list(rows)

    def ask_seniors(built: BuildResult) -> Sent:
        return office.send(people, release, TASKS.empty_table(), built.ref)

    people.answer(key, "ann", says("CREDIT_NOTE"), sizes)
    people.answer(key, "bob", says("DEBIT_NOTE"), sizes)
    first = office.sync(people, release)
    assert ask_seniors(first).posted == 1
    decision = people.answer(senior, "ivy", says("CREDIT_NOTE"), sizes, why="the heading")
    second = office.sync(people, release, first)
    assert disputed(second) == []

    people.answer(key, "cy", says("DEBIT_NOTE"), sizes)
    third = office.sync(people, release, second)
    assert [row["is_reopened"] for row in disputed(third)] == [True]
    asked = ask_seniors(third)
    assert (asked.posted, asked.present, asked.renewed) == (0, 1, 1)
    assert ask_seniors(third).renewed == 0
    assert office.sync(people, release, third).ref == third.ref  # nobody has confirmed anything yet
    people.change(decision, says("CREDIT_NOTE"), sizes, why="the heading")
    fourth = office.sync(people, release, third)
    assert disputed(fourth) == []
    ivy = [row for row in answers_of(fourth) if row["queue"] == "seniors"]
    assert [(row["revision"], len(row["decides_on"])) for row in ivy] == [(1, 2), (2, 3)]
