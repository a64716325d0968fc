"""Confident learning follows its definition, and planted errors of labels come out on top."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.evaluation.fields import score_fields
from sap_llm.preparation.label_errors import (
    confident_joint,
    field_suspects,
    margins,
    out_of_fold,
    ranked,
    suspect_labels,
)
from sap_llm.preparation.release import build_corpus_release
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.people import answer
from tests.support.prepared import TARGETS
from tests.support.toy_corpus import identifier, toy_document, write_corpus


def test_the_confident_joint_of_a_small_table() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    # thresholds: class 0 mean(.9, .8, .1) = .6, class 1 mean(.9, .7) = .8
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.1, 0.9], [0.3, 0.7]])
    joint = confident_joint(labels, probabilities)
    assert joint.thresholds == pytest.approx([0.6, 0.8])
    assert joint.confident.tolist() == [0, 0, 1, 1, -1]
    assert joint.counts.tolist() == [[2, 1], [0, 1]]
    assert joint.joint == pytest.approx(np.array([[0.4, 0.2], [0.0, 0.4]]))
    assert joint.error_share == pytest.approx(0.2)
    assert suspect_labels(labels, probabilities, joint).tolist() == [False, False, True, False, False]
    assert margins(labels, probabilities) == pytest.approx([-0.8, -0.6, 0.8, -0.8, -0.4])
    assert ranked(labels, probabilities)[0] == 2


@st.composite
def _judged(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    classes = draw(st.integers(2, 5))
    labels = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=40)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return labels, random.dirichlet(np.full(classes, 0.4), size=len(labels))


@given(_judged())
def test_the_joint_keeps_the_shares_of_the_labels(judged: tuple[np.ndarray, np.ndarray]) -> None:
    labels, probabilities = judged
    found = confident_joint(labels, probabilities)
    shares = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
    assert found.joint.sum(axis=1) == pytest.approx(shares)
    assert 0 <= found.error_share <= 1
    for row, confident in enumerate(found.confident):  # against the definition, class by class
        means = [
            probabilities[labels == own, own].mean() if (labels == own).any() else np.inf
            for own in range(probabilities.shape[1])
        ]
        reached = [own for own, mean in enumerate(means) if probabilities[row, own] >= mean]
        expected = max(reached, key=lambda own: probabilities[row, own]) if reached else -1
        assert confident == expected
    assert sorted(ranked(labels, probabilities).tolist()) == list(range(len(labels)))


def test_a_class_without_confident_documents_is_not_accused() -> None:
    labels = np.array([0, 0, 1])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.1, 0.1, 0.8], [0.2, 0.8, 0.0]])  # nobody is labelled 2
    joint = confident_joint(labels, probabilities)
    assert np.isnan(joint.thresholds[2])
    assert joint.error_share == 0.0


def test_planted_errors_are_ranked_first() -> None:
    words = (["invoice", "payable", "vat"], ["order", "delivery", "please"], ["receipt", "cash", "thanks"])
    random = np.random.default_rng(7)
    truth = np.repeat(np.arange(3), 40)
    texts = [" ".join(random.choice(words[kind] + ["acme", "street", "city"], 30)) for kind in truth]
    labels = truth.copy()
    wrong = [3, 17, 45, 99]
    labels[wrong] = (labels[wrong] + 1) % 3
    probabilities = out_of_fold(texts, labels, folds=5, seed=7)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(labels)))
    assert sorted(ranked(labels, probabilities)[:4].tolist()) == wrong
    assert np.array_equal(probabilities, out_of_fold(texts, labels, folds=5, seed=7))


def _readings(wrong: int, confidence: float, *, right: int = 20) -> Any:
    """A model's readings of totals: `right` that agree with 0.9, `wrong` that do not."""
    total = right + wrong
    labels = [
        answer(f"d{number}", "truth", {"total_amount": "7.00", "due_date": "2025-07-01"}) for number in range(total)
    ]
    guesses = [
        answer(f"d{number}", "model:1", {"total_amount": "7" if number < right else "8"}) for number in range(total)
    ]
    for number, row in enumerate(guesses):
        row["fields"][0]["confidence"] = 0.9 if number < right else confidence
    return field_suspects(score_fields(labels, guesses))


def test_a_confident_reading_that_differs_accuses_the_label() -> None:
    (found,) = _readings(1, 0.97)
    assert (found.document_id, found.field, found.label, found.suggested) == ("d20", "total_amount", "7.00", "8")


def test_a_reading_less_confident_than_those_that_agree_accuses_nobody() -> None:
    assert _readings(1, 0.85) == []


def test_a_model_that_often_contradicts_is_the_first_suspect() -> None:
    assert _readings(5, 0.97) == []
    assert _readings(1, 0.97, right=5) == []  # too few readings to tell


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC)))


def _frozen(context: StageContext, documents: list[dict[str, Any]], **changes: Any) -> BuildResult:
    name = "synthetic_docs/0000-0001"
    corpora: dict[str, DatasetRef] = {name: write_corpus(context, name, documents)}
    annotated = build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora=corpora, release="r1")
    config = TARGETS.model_copy(update={"suspect_documents": 1000} | changes)
    return build_corpus_release(context, config=config, annotated=annotated.ref, corpora=corpora, release="r1")


def test_a_release_names_the_documents_whose_labels_are_probably_wrong(context: StageContext) -> None:
    documents = [toy_document(f"good {number}") for number in range(60)]
    kinds = {"SUPPLIER_INVOICE": "PURCHASE_ORDER", "PURCHASE_ORDER": "SUPPLIER_INVOICE"}
    wrong = documents[7]
    wrong["document_type"] = kinds[wrong["document_type"]]
    value = documents[12]["values"]
    value["total_amount"] = "9" + value["total_amount"]
    built = _frozen(context, documents)
    rows = built.dataset.table("suspects").to_pylist()
    classes = [row for row in rows if row["kind"] == "class"]
    assert (classes[0]["document_id"], classes[0]["suggested"]) == (identifier("good 7"), kinds[wrong["document_type"]])
    assert built.manifest.metrics["labels_judged"] == 60
    assert built.manifest.metrics["suspects_class"] == len(classes)
    assert "## Labels that are probably wrong" in built.dataset.path("report.md").read_text()
    assert identifier("good 7") in built.dataset.path("report.md").read_text()


def test_looking_can_be_switched_off(context: StageContext) -> None:
    built = _frozen(context, [toy_document(f"good {number}") for number in range(20)], suspect_documents=0)
    assert built.manifest.rows["suspects"] == 0
    assert built.manifest.metrics["labels_judged"] == 0


def test_a_sample_is_chosen_by_id_and_seed_alone(context: StageContext) -> None:
    documents = [toy_document(f"good {number}") for number in range(60)]
    built = _frozen(context, documents, suspect_documents=30)
    assert built.manifest.metrics["labels_judged"] == 30


def test_classes_with_fewer_documents_than_folds_are_not_judged(context: StageContext) -> None:
    documents = [toy_document(f"good {number}") for number in range(60)]
    documents += [toy_document(f"rare {number}", document_type="GOODS_RECEIPT") for number in range(3)]
    built = _frozen(context, documents)
    assert built.manifest.metrics["labels_judged"] == 60
