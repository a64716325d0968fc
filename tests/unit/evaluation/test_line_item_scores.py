"""Line items are aligned in order and compared cell by cell."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.fields import Score
from sap_llm.evaluation.line_items import compare_rows, score_line_items

A = {"line_description": "Bearing", "line_quantity": "10", "line_net_amount": "125.00"}
B = {"line_description": "Seal", "line_quantity": "4", "line_net_amount": "100.00"}
C = {"line_description": "Pump", "line_quantity": "1", "line_net_amount": "980.00"}


def test_a_skipped_row_costs_its_own_cells_only() -> None:
    assert compare_rows([A, B, C], [A, C]) == Score(true_positives=6, false_negatives=3)


def test_an_extra_row_is_invented() -> None:
    assert compare_rows([A, C], [A, B, C]) == Score(true_positives=6, false_positives=3)


def test_a_wrong_cell_is_invented_and_missed() -> None:
    assert compare_rows([A], [A | {"line_quantity": "11"}]) == Score(
        true_positives=2, false_positives=1, false_negatives=1
    )


def test_cells_are_compared_by_meaning() -> None:
    assert compare_rows([A], [A | {"line_net_amount": "125,00 €", "line_description": "BEARING"}]).f1 == 1


rows = st.lists(st.sampled_from([A, B, C]), max_size=6)


@given(rows, rows)
def test_counts_are_consistent(truth: list[dict[str, str]], predicted: list[dict[str, str]]) -> None:
    score = compare_rows(truth, predicted)
    assert score.support == 3 * len(truth)
    assert score.true_positives + score.false_positives == 3 * len(predicted)
    assert score.true_positives == compare_rows(predicted, truth).true_positives


@given(rows)
def test_rows_equal_themselves(truth: list[dict[str, str]]) -> None:
    assert compare_rows(truth, truth) == Score(true_positives=3 * len(truth))


def _annotation(document_id: str, items: list[dict[str, str]], *, printed: bool = True) -> dict[str, Any]:
    return {
        "document_id": document_id,
        "revision": 1,
        "line_items": [
            {
                "fields": [
                    {"field": name, "value": value, "printed": value if printed else None}
                    for name, value in row.items()
                ]
            }
            for row in items
        ],
    }


def test_documents_whose_truth_has_no_lines_are_left_out() -> None:
    truth = [_annotation("a", [A]), _annotation("b", []), _annotation("c", [B], printed=False)]
    guess = [_annotation("a", [A]), _annotation("b", [B]), _annotation("c", [C])]
    assert score_line_items(truth, guess) == Score(true_positives=3)
    assert score_line_items(truth, []) == Score(false_negatives=3)
    assert score_line_items(truth, guess, documents=["b"]) == Score()
