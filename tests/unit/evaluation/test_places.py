"""Scores by place: what counts as the same place, the order of confidences, the assignment of line items."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.fields import Score
from sap_llm.evaluation.places import Located, average_precision, character_centres, locate, total
from sap_llm.schema.page import Page

WORDS = ["Invoice", "4711", "Total", "119.00", "EUR", "2", "50.00", "3", "6.33"]
BOXES = [[10 * column, 10, 10 * column + 9, 20] for column in range(5)] + [
    [10 * word, 40 + 20 * (word // 2), 10 * word + 9, 50 + 20 * (word // 2)] for word in range(4)
]
FIELDS = ("document_number", "total_amount", "currency")


def page() -> Page:
    """Nine words on three rows."""
    return Page(
        page_number=1, width=200, height=200, words=WORDS, boxes=np.array(BOXES, dtype=np.float32),
        lines=np.array([0] * 5 + [1, 1, 2, 2], dtype=np.int32), reader="typeset",
    )  # fmt: skip


def entry(
    field: str, *words: int, value: str | None = None, confidence: float = 1.0, grow: float = 0.0
) -> dict[str, Any]:
    """A field on some words, its box larger by `grow` points on each side."""
    boxes = np.array([BOXES[word] for word in words], dtype=float)
    box = [*(boxes[:, :2].min(0) - grow), *(boxes[:, 2:].max(0) + grow)]
    text = " ".join(WORDS[word] for word in words)
    return {"field": field, "value": value or text, "printed": text, "page": 1, "box": box, "confidence": confidence}


def silent(field: str, value: str) -> dict[str, Any]:
    """A true value that no word shows."""
    return {"field": field, "value": value, "printed": None, "page": None, "box": None, "confidence": 1.0}


def row(*fields: dict[str, Any], lines: tuple[list[dict[str, Any]], ...] = ()) -> dict[str, Any]:
    """An annotation."""
    return {"fields": list(fields), "line_items": [{"fields": list(line)} for line in lines]}


def test_letters_are_spread_evenly_over_their_word() -> None:
    """The first word has seven letters on nine points."""
    centres = character_centres(page())

    assert len(centres) == sum(map(len, WORDS))
    assert centres[:7, 0] == pytest.approx((np.arange(7) + 0.5) * 9 / 7)
    assert set(centres[:7, 1]) == {15}


def test_a_box_need_not_fit_but_must_cover_exactly_the_same_letters() -> None:
    """Half a point more is the same place; a word more or less is another."""
    truth = row(entry("document_number", 1), entry("total_amount", 3))
    loose = row(entry("document_number", 1, grow=0.5), entry("total_amount", 3, 4))

    found = locate(truth, loose, [page()], fields=FIELDS)

    assert found.truths == 2
    assert sorted(hit for _, hit in found.claims) == [False, True]


def test_the_text_does_not_count_and_the_field_does() -> None:
    """The same letters under another name are wrong, with another value right."""
    truth = row(entry("total_amount", 3))

    assert locate(truth, row(entry("total_amount", 3, value="7")), [page()], fields=FIELDS).kile.f1 == 1.0
    assert locate(truth, row(entry("document_number", 3)), [page()], fields=FIELDS).kile.f1 == 0.0


def test_what_is_printed_nowhere_is_not_asked_for() -> None:
    """Neither missed, nor wrong when something is predicted there."""
    truth = row(silent("currency", "EUR"), entry("document_number", 1))

    found = locate(truth, row(entry("currency", 4), entry("document_number", 1)), [page()], fields=FIELDS)

    assert (found.truths, found.claims) == (1, ((1.0, True),))


def test_one_of_several_places_of_a_value_is_enough_and_the_second_claim_is_one_too_many() -> None:
    """Truth shows one value at two places."""
    truth = row(entry("document_number", 1, value="x"), entry("document_number", 3, value="x"))
    twice = row(entry("document_number", 3, confidence=0.9), entry("document_number", 1, confidence=0.8))

    assert locate(truth, twice, [page()], fields=FIELDS).claims == ((0.9, True), (0.8, False))


def test_average_precision_of_a_planted_ranking() -> None:
    """Right, wrong, right of three true values: (1 + 2/3) / 3."""
    assert average_precision([(0.9, True), (0.8, False), (0.7, True)], 3) == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision([(0.9, False), (0.8, True)], 1) == pytest.approx(0.5)
    assert average_precision([], 2) == 0.0


def test_line_items_are_assigned_so_that_most_fields_are_right() -> None:
    """The lines are predicted in the other order, one with a field too many."""
    first = [entry("line_quantity", 5), entry("line_unit_price", 6)]
    second = [entry("line_quantity", 7), entry("line_unit_price", 8)]
    guess = row(lines=([*second, entry("line_unit", 4)], first))

    found = locate(row(lines=(first, second)), guess, [page()], fields=FIELDS)

    assert found.lines == Score(true_positives=4, false_positives=1)
    assert locate(row(), guess, [page()], fields=FIELDS).lines == Score()
    assert locate(row(lines=(first,)), row(), [page()], fields=FIELDS).lines == Score(false_negatives=2)


def test_documents_are_ranked_together() -> None:
    """Average precision is not the mean over documents."""
    both = total([Located(claims=((0.5, True),), truths=1), Located(claims=((0.9, False),), truths=1)])

    assert both.kile_ap == pytest.approx(0.25)
    assert total([]).kile_ap is None


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(0, 5))
def test_average_precision_lies_between_nothing_and_recall(claims: list[tuple[float, bool]], missed: int) -> None:
    """It is 0 without a hit, never above recall, and equal to it where no claim is wrong."""
    hits = sum(hit for _, hit in claims)
    truths = hits + missed
    if truths:
        found = average_precision(claims, truths)
        assert 0 <= found <= hits / truths + 1e-12
        if hits == len(claims):
            assert found == pytest.approx(hits / truths)
