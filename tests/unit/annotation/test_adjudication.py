"""Which answer counts, who is asked, and that nothing which was answered ever changes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.annotation.adjudication import arbitration_tasks, resolve
from tests.support.people import answer, arbitration, line, tables

SEVEN, EIGHT, NINE = {"total_amount": "7.00"}, {"total_amount": "8.00"}, {"total_amount": "9.00"}


def _resolve(*rows: dict[str, Any]) -> Any:
    return resolve(*tables(rows))


def _truth(resolution: Any, document: str = "d1") -> tuple[str, int, str | None] | None:
    """Annotator, revision and total of the truth."""
    for row in resolution.truths.to_pylist():
        if row["document_id"] == document:
            totals = [field["value"] for field in row["fields"] if field["field"] == "total_amount"]
            return row["annotator"], row["revision"], totals[0] if totals else None
    return None


def test_a_single_answer_counts_in_its_latest_revision() -> None:
    found = _resolve(answer("d1", "ann", SEVEN), answer("d1", "ann", EIGHT, revision=2))
    assert _truth(found) == ("ann", 2, "8.00")
    assert found.settled_by == {"d1": "single"}
    assert found.disagreements.num_rows == 0


def test_two_who_say_the_same_in_other_words_agree() -> None:
    found = _resolve(answer("d1", "ann", SEVEN), answer("d1", "bob", {"total_amount": "7,00"}))
    assert _truth(found) == ("ann", 1, "7.00")
    assert found.settled_by == {"d1": "agreement"}


def test_two_who_differ_leave_no_truth_and_go_to_the_seniors() -> None:
    found = _resolve(
        answer("d1", "ann", SEVEN | {"currency": "EUR"}, line_items=[line(1, line_quantity="2")]),
        answer("d1", "bob", EIGHT, kind="PURCHASE_ORDER", line_items=[line(1, line_quantity="3")]),
        answer("d2", "ann", SEVEN),
    )
    assert _truth(found) is None
    assert _truth(found, "d2") == ("ann", 1, "7.00")
    (row,) = found.disagreements.to_pylist()
    assert row == {
        "document_id": "d1",
        "differs_on": ["currency", "document_type", "line_quantity", "total_amount"],
        "annotators": ["ann", "bob"],
        "desk_ids": ["d1/ann/1", "d1/bob/1"],
        "is_reopened": False,
    }


def test_two_of_three_decide_but_two_pairs_do_not() -> None:
    three = [answer("d1", "ann", SEVEN), answer("d1", "bob", EIGHT), answer("d1", "cyd", EIGHT)]
    assert _truth(_resolve(*three)) == ("bob", 1, "8.00")
    four = _resolve(*three, answer("d1", "dan", SEVEN))
    assert _truth(four) is None
    assert four.disagreements.num_rows == 1


def test_an_arbitration_counts_above_agreement_and_a_later_one_above_it() -> None:
    rows = [answer("d1", "ann", SEVEN), answer("d1", "bob", EIGHT)]
    decided = ["d1/ann/1", "d1/bob/1"]
    rows.append(arbitration("d1", "sue", EIGHT, minutes=10, decides_on=decided))
    first = _resolve(*rows)
    assert (_truth(first), first.settled_by) == (("sue", 1, "8.00"), {"d1": "arbitration"})
    assert first.disagreements.num_rows == 0
    rows.append(arbitration("d1", "tom", NINE, minutes=20, decides_on=[*decided, "d1/sue/1"]))
    assert _truth(_resolve(*rows)) == ("tom", 1, "9.00")
    rows.append(arbitration("d1", "sue", SEVEN, minutes=15, revision=2, decides_on=decided))
    assert _truth(_resolve(*rows)) == ("tom", 1, "9.00")  # written down later, but decided earlier


def test_an_answer_later_than_the_arbitration_reopens_the_document_only_if_it_differs() -> None:
    rows = [answer("d1", "ann", SEVEN), arbitration("d1", "sue", EIGHT, minutes=10, decides_on=["d1/ann/1"])]
    agreed = _resolve(*rows, answer("d1", "ann", EIGHT, revision=2, minutes=20))
    assert agreed.disagreements.num_rows == 0
    contradicted = _resolve(*rows, answer("d1", "bob", NINE, minutes=20))
    assert _truth(contradicted) == ("sue", 1, "8.00")
    (row,) = contradicted.disagreements.to_pylist()
    assert (row["differs_on"], row["is_reopened"]) == (["total_amount"], True)
    assert row["desk_ids"] == ["d1/ann/1", "d1/bob/1"]


def test_a_changed_answer_reopens_under_its_old_id_and_a_second_decision_on_the_old_task_closes() -> None:
    rows = [
        answer("d1", "ann", SEVEN, desk_id="4"),
        arbitration("d1", "sue", EIGHT, minutes=10, decides_on=["4"]),
        answer("d1", "ann", NINE, revision=2, minutes=20, desk_id="4"),
    ]
    assert _resolve(*rows).disagreements.num_rows == 1
    closed = _resolve(*rows, arbitration("d1", "sue", EIGHT, revision=2, minutes=30, decides_on=["4"]))
    assert (_truth(closed), closed.disagreements.num_rows) == (("sue", 2, "8.00"), 0)


def test_an_arbitration_without_its_reason_is_refused() -> None:
    rows = [answer("d1", "ann", SEVEN), answer("d1", "bob", EIGHT)]
    found = _resolve(*rows, arbitration("d1", "sue", EIGHT, why=" ", decides_on=["d1/ann/1", "d1/bob/1"]))
    assert _truth(found) is None
    assert found.disagreements.num_rows == 1
    (refused,) = found.refused.to_pylist()
    assert (refused["record"], refused["reason"]) == ("d1", "arbitration_without_reason")
    assert "sue" in refused["source"]


def test_disagreements_become_tasks_of_the_seniors_with_wrong_classes_first() -> None:
    found = _resolve(
        answer("d1", "ann", SEVEN | {"currency": "EUR"}),
        answer("d1", "bob", EIGHT | {"currency": "USD"}),
        answer("d2", "ann", SEVEN),
        answer("d2", "bob", SEVEN, kind="PURCHASE_ORDER"),
    )
    tasks = arbitration_tasks(found.disagreements, {"d1": "raw_exports/2025-05", "d2": "public_docs/sroie"}).to_pylist()
    assert {(task["queue"], task["purpose"], task["annotators"]) for task in tasks} == {("seniors", "disagreement", 1)}
    assert [task["document_id"] for task in sorted(tasks, key=lambda task: -task["priority"])] == ["d2", "d1"]


PEOPLE = st.sampled_from(["ann", "bob", "cyd"])
STEPS = st.lists(
    st.tuples(PEOPLE, st.sampled_from(["7.00", "8.00", "9.00"]), st.booleans(), st.booleans()), min_size=1, max_size=8
)


@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_is_answered_the_outcome_is_one_of_the_answers_and_no_order_of_rows_matters(
    steps: list[tuple[str, str, bool, bool]], random: Any
) -> None:
    rows: list[dict[str, Any]] = []
    for number, (who, total, is_arbitration, has_reason) in enumerate(steps):
        revision = 1 + sum(row["annotator"] == who for row in rows)
        common = {"revision": revision, "minutes": number}
        if is_arbitration and rows:
            known = [row["desk_id"] for row in rows]
            why = "stamp" if has_reason else None
            rows.append(arbitration("d1", who, {"total_amount": total}, decides_on=known, why=why, **common))
        else:
            rows.append(answer("d1", who, {"total_amount": total}, **common))
    found = _resolve(*rows)
    truth = _truth(found)
    decided = [row for row in rows if row["decides_on"] and row["why"]]
    if decided:
        assert truth == (decided[-1]["annotator"], decided[-1]["revision"], decided[-1]["fields"][0]["value"])
    assert found.truths.num_rows <= 1
    assert (truth is None) <= (found.disagreements.num_rows == 1 or all(row["decides_on"] for row in rows))
    random.shuffle(rows)
    again = _resolve(*rows)
    assert again.truths.equals(found.truths)
    assert again.disagreements.equals(found.disagreements)


def test_no_answers_no_truths() -> None:
    found = _resolve()
    assert (found.truths.num_rows, found.disagreements.num_rows, found.settled_by) == (0, 0, {})


def test_answers_of_other_tables_are_refused() -> None:
    annotations, answers = tables([answer("d1", "ann")])
    with pytest.raises(ValueError, match="do not belong together"):
        resolve(annotations.slice(1), answers)
