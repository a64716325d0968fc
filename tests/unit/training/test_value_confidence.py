"""What values are worth: the fit, its metrics, and which documents it is made on."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sap_llm.modeling.confidence import ValueCalibration, fit_values
from sap_llm.schema.clock import FrozenClock
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.value_confidence import Claim, judged_values, value_metrics
from tests.support.toy_corpus import toy_document
from tests.unit.evaluation.test_evaluation_stage import Reader, training_set_of

OFFSETS = {"total_amount": 0.5, "iban": -2.0}


def claims_of(count: int, *, seed: int) -> list[Claim]:
    """Claims that are too sure, of two fields that are not equally good."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        name = ("total_amount", "iban")[rng.integers(2)]
        odds = float(rng.uniform(-1.0, 8.0))
        is_right = bool(rng.random() < 1 / (1 + np.exp(-(0.5 * odds + OFFSETS[name]))))
        found.append((name, float(1 / (1 + np.exp(-odds))), is_right))
    return found


def test_a_fit_finds_the_chance_of_each_field() -> None:
    fit = fit_values(claims_of(20_000, seed=1))
    for name, offset in OFFSETS.items():
        for odds in (0.0, 2.0, 6.0):
            expected = 1 / (1 + np.exp(-(0.5 * odds + offset)))
            assert fit.chance(name, 1 / (1 + np.exp(-odds))) == pytest.approx(expected, abs=0.03)
    assert fit.chance("iban", 0.9) < fit.chance("never_judged", 0.9) < fit.chance("total_amount", 0.9)


def test_a_calibration_that_was_never_fitted_changes_nothing() -> None:
    assert ValueCalibration().chance("iban", 0.83) == pytest.approx(0.83)


def test_few_or_equal_claims_give_a_finite_fit() -> None:
    for claims in ([("iban", 1.0, True)], [("iban", 0.9, True)] * 50, [("iban", 0.2, False)] * 3):
        chance = fit_values(claims).chance("iban", 0.9)
        assert 0.0 <= chance <= 1.0


def test_halves_are_judged_by_each_other_and_the_threshold_keeps_its_error() -> None:
    claims = claims_of(4000, seed=2)
    metrics = value_metrics(claims, [f"group {index % 40}" for index in range(len(claims))])
    assert metrics["validation_value_ece"] < 0.5 * metrics["validation_value_ece_before"]
    fit = fit_values(claims)
    kept = [
        is_right for name, own, is_right in claims if fit.chance(name, own) >= metrics["confidence_at_2_percent_error"]
    ]
    assert len(kept) / len(claims) == pytest.approx(metrics["coverage_at_2_percent_error"], abs=0.03)
    assert 1 - np.mean(kept) < 0.03


def test_only_validation_documents_with_whole_truths_are_judged(tmp_path: Path) -> None:
    context = StageContext(
        store=DatasetStore(tmp_path), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC))
    )  # fmt: skip
    documents = [toy_document(f"v{number}", split_group=f"world {number}") for number in range(24)]
    documents += [toy_document(f"t{number}", role="test_only", source="zugferd", truth="xml") for number in range(3)]
    wrong = [documents[0]["document_id"]]
    training_set = training_set_of(context, documents, split="validation")
    outcomes, groups = judged_values(lambda: Reader(documents, wrong), context.store, training_set, most=100)
    assert {one.document_id for one in outcomes} == {row["document_id"] for row in documents[:24]} == groups.keys()
    assert {(one.document_id, one.field) for one in outcomes if one.kind == "invented"} == {(wrong[0], "total_amount")}
    fewer, _ = judged_values(lambda: Reader(documents, wrong), context.store, training_set, most=21)
    assert len({one.document_id for one in fewer}) == 21


def test_with_too_few_validation_documents_no_model_is_opened(tmp_path: Path) -> None:
    context = StageContext(
        store=DatasetStore(tmp_path), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC))
    )  # fmt: skip
    training_set = training_set_of(context, [toy_document("a")], split="validation")

    def refuse() -> Reader:
        raise AssertionError

    assert judged_values(refuse, context.store, training_set, most=5) == ([], {})
