"""Calibration error, class accuracy and averages over groups."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.calibration import expected_calibration_error, reliability
from sap_llm.evaluation.classes import NO_PREDICTION, score_classes
from sap_llm.evaluation.fields import Score
from sap_llm.evaluation.groups import macro_f1


def test_confidence_that_comes_true_has_no_error() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)


def test_overconfidence_is_its_gap() -> None:
    assert expected_calibration_error([1.0] * 10, [True] * 6 + [False] * 4) == pytest.approx(0.4)
    assert expected_calibration_error([1.0, 0.0], [False, True]) == pytest.approx(1)


def test_no_predictions_have_no_calibration() -> None:
    assert expected_calibration_error([], []) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        reliability([1.5], [True])
    with pytest.raises(ValueError, match="1 confidences for 2"):
        reliability([0.5], [True, False])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_bins_hold_every_prediction_once(pairs: list[tuple[float, bool]]) -> None:
    table = reliability([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert sum(entry.count for entry in table) == len(pairs)
    error = expected_calibration_error([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert error is not None
    assert -1e-9 <= error <= 1


def test_each_group_counts_once() -> None:
    scores = {f"a{n}": Score(true_positives=1) for n in range(99)} | {"b": Score(false_negatives=1)}
    grouped = macro_f1(scores, {name: name[0] for name in scores}, seed=7)
    assert grouped is not None
    assert grouped.mean == 0.5
    assert grouped.by_group["a"].true_positives == 99
    assert (grouped.low, grouped.high) == (0.0, 1.0)


def test_the_interval_is_repeatable_and_holds_the_mean() -> None:
    scores = {f"d{n}": Score(true_positives=n, false_negatives=10 - n) for n in range(11)}
    groups = {name: name for name in scores}
    first, second = (macro_f1(scores, groups, seed=7) for _ in range(2))
    assert first == second
    assert first is not None
    assert first.low < first.mean < first.high


def test_groups_without_values_do_not_count() -> None:
    assert macro_f1({"a": Score()}, {"a": "g"}, seed=1) is None


def _row(document_id: str, kind: str, subtype: str | None = None) -> dict[str, Any]:
    return {"document_id": document_id, "revision": 1, "document_type": kind, "document_subtype": subtype}


def test_class_accuracy_and_confusion() -> None:
    truth = [_row(f"i{n}", "SUPPLIER_INVOICE", "STANDARD") for n in range(3)] + [_row("o", "PURCHASE_ORDER")]
    guess = [
        _row("i0", "SUPPLIER_INVOICE", "STANDARD"),
        _row("i1", "SUPPLIER_INVOICE", "PARTIAL"),
        _row("i2", "PURCHASE_ORDER"),
    ]
    scores = score_classes(truth, guess)
    assert scores.accuracy == 0.5
    assert scores.subtype_accuracy == 0.5
    assert scores.confusion["SUPPLIER_INVOICE", "PURCHASE_ORDER"] == 1
    assert scores.confusion["PURCHASE_ORDER", NO_PREDICTION] == 1
    assert scores.by_class(at_least=2) == {"SUPPLIER_INVOICE": pytest.approx(2 / 3)}
    assert scores.by_class(at_least=4) == {}
