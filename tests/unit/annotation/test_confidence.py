"""Confidences of pre-annotations mean what they say after calibration, and the threshold keeps the permitted error."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sap_llm.annotation.confidence import (
    CLASS,
    FEWEST_DOCUMENTS,
    Trust,
    calibrate,
    judge,
    own_confidence,
    uncertainty,
)
from sap_llm.annotation.flags import choose_threshold
from sap_llm.evaluation.calibration import expected_calibration_error, risk_coverage
from sap_llm.schema.tables import ANNOTATIONS, conform

FIELDS = ("document_number", "total_amount", "currency", "seller_name")


def _value(name: str, value: str, confidence: float, source: str) -> dict[str, Any]:
    return {"field": name, "value": value, "printed": value, "page": 1, "confidence": confidence, "source": source}


def _row(name: str, source: str, fields: list[dict[str, Any]], confidence: float = 1.0) -> dict[str, Any]:
    return {
        "document_id": name,
        "annotator": source,
        "revision": 0,
        "source": source,
        "document_type": "SUPPLIER_INVOICE",
        "type_confidence": confidence,
        "fields": fields,
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }


def _corpus(count: int, *, seed: int = 1) -> tuple[list[dict[str, Any]], pa.Table, list[dict[str, Any]]]:
    """Guesses of a predictor that is far too sure of sellers and too modest about currencies; some papers are poor."""
    rng = np.random.default_rng(seed)
    guesses, truths, documents = [], [], []
    for number in range(count):
        name, quality = f"doc-{number}", rng.uniform(0.5, 1.0)
        given, true = [], []
        for field in FIELDS:
            chance = quality * {"seller_name": 0.6}.get(field, 1.0)
            is_right = rng.random() < (1.0 if field == "currency" else chance)
            said = {"seller_name": 0.97, "currency": 0.6}.get(field, quality)
            value = {"currency": "EUR", "total_amount": f"{number}.00"}.get(field, f"{field} {number}")
            wrong = {"currency": "USD", "total_amount": f"{number}.50"}.get(field, f"other {number}")
            true.append(_value(field, value, 1.0, "synthetic"))
            given.append(_value(field, value if is_right else wrong, said, "model"))
        guesses.append(_row(name, "model", given, confidence=0.99))
        truths.append(_row(name, "synthetic", true))
        documents.append({"document_id": name, "source": "synthetic", "split_group": f"world-{number % 40}"})
    return guesses, conform(truths, ANNOTATIONS), documents


def _trust(count: int) -> tuple[Trust, list[dict[str, Any]]]:
    guesses, truths, documents = _corpus(count)
    return calibrate(guesses, judge(guesses, truths, documents, scopes={})), guesses


def test_calibration_mends_values_on_groups_that_it_has_not_seen() -> None:
    trust, _ = _trust(400)
    before, after = (
        expected_calibration_error([claim.confidence for claim in claims], [claim.is_right for claim in claims])
        for claims in (trust.known.claims, trust.judged)
    )
    assert before is not None
    assert after is not None
    assert after < 0.3 * before
    sellers = [claim.confidence for claim in trust.judged if claim.name == "seller_name"]
    assert np.mean(sellers) == pytest.approx(0.45, abs=0.06)  # 0.6 of a quality of 0.75


def test_the_confidence_of_a_document_is_the_expected_f1_of_its_values() -> None:
    trust, guesses = _trust(400)
    quality = trust.known.quality
    confidences = np.array([trust.confidence[name] for name in quality])
    assert confidences.mean() == pytest.approx(np.mean(list(quality.values())), abs=0.02)
    own = np.array([own_confidence(row) for row in guesses])
    errors = [1.0 - value for value in quality.values()]
    assert risk_coverage(confidences.tolist(), errors).area <= risk_coverage(own.tolist(), errors).area + 0.005


def test_unflagged_documents_keep_the_permitted_error() -> None:
    trust, _ = _trust(400)
    flags = choose_threshold(trust, target_error=0.15, override=None)
    kept = [name for name, value in trust.confidence.items() if value >= flags.threshold]
    assert 0 < len(kept) < 400
    assert np.mean([1.0 - trust.known.quality[name] for name in kept]) <= 0.15
    assert flags.unflagged == pytest.approx(len(kept) / 400)
    assert flags.error == pytest.approx(np.mean([1.0 - trust.known.quality[name] for name in kept]))


def test_an_impossible_target_flags_everything_and_a_given_threshold_wins() -> None:
    trust, _ = _trust(200)
    impossible = choose_threshold(trust, target_error=0.0, override=None)
    assert all(value < impossible.threshold for value in trust.confidence.values()) or impossible.error == 0.0
    assert choose_threshold(trust, target_error=0.0, override=0.3).threshold == 0.3


def test_too_few_truths_leave_confidences_as_they_were() -> None:
    trust, guesses = _trust(FEWEST_DOCUMENTS - 1)
    assert not trust.is_fitted
    assert trust.rows == guesses
    assert trust.confidence == {row["document_id"]: own_confidence(row) for row in guesses}
    assert choose_threshold(trust, target_error=0.05, override=None).threshold == pytest.approx(0.95)


def test_qualities_of_one_group_cannot_be_judged_by_others() -> None:
    guesses, truths, documents = _corpus(120)
    partial = {"half": ["seller_name"]}  # a truth that covers some fields gives no quality of a document
    documents = [
        row | {"source": "half"} if number % 2 else row | {"split_group": "one layout"}
        for number, row in enumerate(documents)
    ]
    trust = calibrate(guesses, judge(guesses, truths, documents, scopes=partial))
    assert not trust.is_fitted
    assert set(trust.confidence) == {row["document_id"] for row in guesses}


def test_documents_without_a_truth_get_confidences_too() -> None:
    guesses, truths, documents = _corpus(120)
    known = judge(guesses, truths.slice(0, 80), documents, scopes={})
    trust = calibrate(guesses, known)
    assert set(trust.confidence) == {row["document_id"] for row in guesses}
    assert {claim.document_id for claim in trust.judged} == {f"doc-{number}" for number in range(80)}


def test_a_document_without_the_usual_values_is_not_trusted() -> None:
    guesses, truths, documents = _corpus(120)
    trust = calibrate([*guesses, _row("blank", "model", [], 0.99)], judge(guesses, truths, documents, scopes={}))
    assert trust.confidence["blank"] == 0.0


def test_uncertainty_is_of_the_class_and_of_the_mean_value() -> None:
    row = _row("d", "model", [_value("currency", "EUR", 0.7, "model"), _value("iban", "x", 0.9, "model")], 0.8)
    assert uncertainty(row) == pytest.approx(0.2 + 0.2)
    assert own_confidence(row) == pytest.approx(0.8)
    assert own_confidence(row | {"fields": []}) == 0.0


def test_a_wrong_class_costs_a_value() -> None:
    guesses, truths, documents = _corpus(1)
    wrong = [
        guesses[0] | {"document_type": "CREDIT_NOTE", "fields": [row | {} for row in truths.to_pylist()[0]["fields"]]}
    ]
    known = judge(wrong, truths, documents, scopes={})
    assert known.quality == {"doc-0": pytest.approx(2 * 4 / (2 * 4 + 2))}
    assert [claim.is_right for claim in known.claims if claim.name == CLASS] == [False]
