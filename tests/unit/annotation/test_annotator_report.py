"""Planted habits are found and named, planted quality is what is reported, and the report is a whole page."""

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from sap_llm.annotation.annotator_report import chart, markdown, report_on
from sap_llm.annotation.quality import wilson
from tests.support.people import answer, arbitration, field, line, tables

TRUE = {"document_number": "RE-1", "total_amount": "119.00", "net_amount": "100.00", "due_date": "2025-07-01"}


def _report(rows: list[dict[str, Any]]) -> Any:
    return report_on(*tables(rows))


def _qa(document: str, fields: Any = TRUE, **changes: Any) -> dict[str, Any]:
    return answer(document, "quinn", fields, queue="qa_lead", **changes)


def _batch(**habits: Any) -> list[dict[str, Any]]:
    """Ten documents by ann and bob with QA's answers; ann answers as `habits` say, bob as QA."""
    rows = []
    for number in range(10):
        name = f"d{number}"
        rows += [answer(name, "ann", **({"fields": TRUE} | habits)), answer(name, "bob", TRUE), _qa(name)]
    return rows


def test_quality_is_the_share_of_right_fields_against_qa() -> None:
    rows = _batch(fields=TRUE | {"total_amount": "120.00"})
    found = _report(rows)
    # five fields with the class in each answer; ann errs in one of them, bob in none
    assert (found.quality.right, found.quality.fields, found.quality.documents) == (90, 100, 10)
    assert found.people["ann"].quality.share == pytest.approx(0.8)
    assert found.people["bob"].quality.share == 1.0
    assert found.people["quinn"].quality.share is None
    assert found.quality.low == pytest.approx(wilson(0.9, 10)[0])
    assert found.metrics()["quality_score"] == 0.9


def test_what_is_missing_or_added_is_wrong_and_line_items_count_by_cell() -> None:
    lines = [line(1, line_quantity="2", line_unit="PC")]
    rows = [
        answer("d1", "ann", {"total_amount": "7", "currency": "EUR"}, line_items=[line(1, line_quantity="2")]),
        _qa("d1", {"total_amount": "7.00", "due_date": "2025-07-01"}, line_items=lines, document_subtype="STANDARD"),
    ]
    found = _report(rows).quality
    # right: class, total, quantity; wrong: subtype, currency (added), due date and unit (missing)
    assert (found.right, found.fields) == (3, 7)


def test_an_arbitration_outranks_qa_and_is_counted_apart() -> None:
    rows = [
        answer("d1", "ann", {"total_amount": "7"}),
        _qa("d1", {"total_amount": "8"}),
        arbitration("d1", "sue", {"total_amount": "7"}, decides_on=["d1/ann/1", "d1/quinn/1"]),
        answer("d2", "ann", {"total_amount": "7"}),
        answer("d2", "bob", {"total_amount": "8"}),
        arbitration("d2", "sue", {"total_amount": "8"}, decides_on=["d2/ann/1", "d2/bob/1"]),
    ]
    found = _report(rows)
    assert (found.quality.right, found.quality.fields) == (2, 2)  # d1 alone: QA did not answer d2
    assert (found.quality_disputed.right, found.quality_disputed.fields) == (5, 6)
    assert found.metrics()["arbitrations"] == 2


def test_without_a_reference_quality_is_not_measured() -> None:
    found = _report([answer("d1", "ann", TRUE), answer("d1", "bob", TRUE)])
    assert found.quality.share is None
    assert found.metrics()["quality_score"] == "not measured"
    assert "not measured" in markdown(found, title="Batch")


SWAPPED = TRUE | {"total_amount": "100.00", "net_amount": "119.00"}
PARTLY = {name: value for name, value in TRUE.items() if name != "due_date"}
RENAMED = {("order_reference" if name == "document_number" else name): value for name, value in TRUE.items()}


@pytest.mark.parametrize(
    ("habits", "expected"),
    [
        ({"kind": "CREDIT_NOTE"}, {"says CREDIT_NOTE where it is SUPPLIER_INVOICE"}),
        ({"fields": SWAPPED}, {"labels net_amount as total_amount", "labels total_amount as net_amount"}),
        ({"fields": RENAMED}, {"labels document_number as order_reference"}),
        ({"fields": PARTLY}, {"leaves due_date out"}),
        ({"fields": TRUE | {"currency": "EUR"}}, {"adds currency"}),
        ({"fields": TRUE | {"due_date": "2025-07-02"}}, {"gives due_date another value"}),
    ],
)
def test_a_planted_habit_is_found_and_nothing_else(habits: dict[str, Any], expected: set[str]) -> None:
    found = _report(_batch(**habits)).habits
    assert {str(habit) for habit in found} == expected
    for habit in found:
        assert (habit.annotator, habit.count, habit.chances, habit.others) == ("ann", 10, 10, 0.0)
        assert habit.examples == ("d0", "d1", "d2")


def test_what_everybody_does_is_nobodys_habit() -> None:
    rows = [row for row in _batch(fields=PARTLY) if row["annotator"] != "bob"]
    rows += [answer(f"d{number}", "bob", PARTLY) for number in range(10)]
    assert _report(rows).habits == []


def test_a_slip_that_does_not_repeat_is_no_habit() -> None:
    rows = _batch()
    for row in rows:
        if row["annotator"] == "ann" and row["document_id"] in ("d0", "d1"):
            row["fields"] = [entry for entry in row["fields"] if entry["field"] != "due_date"]
    assert _report(rows).habits == []


def test_boxes_too_wide_are_noticed() -> None:
    def boxed(width: float) -> list[dict[str, Any]]:
        return [field("total_amount", "7", (100, 100, 100 + width, 110))]

    rows = []
    for number in range(6):
        rows += [answer(f"d{number}", "ann", boxed(60)), answer(f"d{number}", "bob", boxed(50))]
        rows += [_qa(f"d{number}", boxed(50))]
    (habit,) = _report(rows).box_habits
    assert (habit.annotator, habit.side, habit.boxes) == ("ann", "wide", 6)
    assert habit.ratio == pytest.approx(1.2)


def test_speed_is_documents_by_the_hours_spent() -> None:
    rows = [answer(f"d{number}", "ann", lead_seconds=seconds) for number, seconds in enumerate([30.0, 60.0, 270.0])]
    rows.append(answer("d3", "ann", lead_seconds=None))
    person = _report(rows).people["ann"]
    assert (person.median_seconds, person.documents_per_hour) == (60.0, 30.0)
    assert (person.documents, person.answers) == (4, 4)


def test_the_report_names_figures_people_and_habits() -> None:
    found = _report(_batch(fields=PARTLY))
    text = markdown(found, title="Answers of r1")
    assert text.startswith("# Answers of r1\n")
    for part in (
        "Annotation quality score: 90.0%",
        "| ann | 10 |",
        "leaves due_date out",
        "| 10 of 10 |",
        "(annotators.svg)",
    ):
        assert part in text
    assert "undefined" in text  # one class throughout
    drawing = ET.fromstring(chart(found.people))
    texts = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ann", "bob", "quinn", "80.0%", "100.0%", "not measured"} <= set(texts)


def test_who_arbitrated_when_and_why_stands_in_the_report() -> None:
    rows = [
        answer("d1", "ann", {"total_amount": "7"}),
        arbitration("d1", "sue", {"total_amount": "8"}, minutes=5, why="the stamp covers it", decides_on=["d1/ann/1"]),
        arbitration("d1", "tom", {"total_amount": "9"}, minutes=9, why=None, decides_on=["d1/ann/1"]),
    ]
    text = markdown(_report(rows), title="Batch")
    assert "2 were given" in text
    assert "| d1 | tom | 2025-06-02 08:09 UTC | (no reason) |\n| d1 | sue | 2025-06-02 08:05 UTC | the stamp" in text


def test_an_empty_batch_has_a_report() -> None:
    assert "0 documents were answered" in markdown(_report([]), title="Empty")
