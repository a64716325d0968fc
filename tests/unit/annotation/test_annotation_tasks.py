"""The tasks of a release: who is asked about what, on a small corpus of plain documents."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.annotation.tasks import AnnotationTasksConfig, build_annotation_tasks
from sap_llm.schema.annotation import PURPOSES, QUEUES
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.toy_corpus import identifier, toy_document, write_corpus

OPEN, SETTLED = 60, 12


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """A store of its own."""
    folder: Path = tmp_path_factory.mktemp("tasks")
    return StageContext(store=DatasetStore(folder), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC)))


@pytest.fixture(scope="module")
def annotated(context: StageContext) -> DatasetRef:
    """Sixty open documents, some booked and some without truth, two of them for tests, and twelve simulated ones."""
    documents = [
        toy_document(f"open{number}", source="qorsync", truth="export" if number % 3 else None)
        for number in range(OPEN)
    ]
    documents += [
        toy_document("test", source="zugferd", truth="xml", role="test_only"),
        toy_document("blank", source="zugferd", truth=None, role="test_only", text="Page 1 of 1"),
        toy_document("scan", source="qorsync", truth=None, text="Page 1 of 1"),
    ]
    corpora = {
        "raw_exports/2025-05": write_corpus(context, "raw_exports/2025-05", documents),
        "synthetic_docs/0000-0001": write_corpus(
            context, "synthetic_docs/0000-0001", [toy_document(f"made{number}") for number in range(SETTLED)]
        ),
    }
    config = AnnotatedDocsConfig(confidence_threshold=0.5)
    return build_annotated_docs(context, config=config, corpora=corpora, release="r1").ref


def _build(context: StageContext, annotated: DatasetRef, **values: Any) -> BuildResult:
    config = AnnotationTasksConfig(**{"active": {"budget": 10}, "double_share": 0.5, **values})
    return build_annotation_tasks(context, config=config, annotated=annotated, release="r1")


def _tasks(built: BuildResult) -> list[dict[str, Any]]:
    return built.dataset.table("tasks").to_pylist()


def test_each_document_has_at_most_one_task_in_a_queue(context: StageContext, annotated: DatasetRef) -> None:
    tasks = _tasks(_build(context, annotated))
    assert max(Counter((task["document_id"], task["queue"]) for task in tasks).values()) == 1
    assert {task["queue"] for task in tasks} == set(QUEUES) - {"seniors"}
    assert {task["purpose"] for task in tasks} == set(PURPOSES) - {"disagreement"}


def test_flagged_documents_come_before_those_that_teach_most(context: StageContext, annotated: DatasetRef) -> None:
    tasks = [task for task in _tasks(_build(context, annotated)) if task["queue"] == "annotators"]
    assert [task["document_id"] for task in tasks if task["purpose"] == "flagged"] == [identifier("scan")]
    assert [task["purpose"] for task in sorted(tasks, key=lambda task: -task["priority"])] == [
        "flagged",
        *["active"] * 10,
    ]


def test_shares_are_what_was_asked_for(context: StageContext, annotated: DatasetRef) -> None:
    built = _build(context, annotated)
    counts = Counter(task["purpose"] for task in _tasks(built))
    assert counts["expert_sample"] == round(0.15 * (OPEN + 1))
    assert 0 < counts["qa_sample"] < 0.3 * OPEN
    assert built.manifest.metrics["tasks_expert_sample"] == counts["expert_sample"]
    assert built.manifest.metrics["strata_without_expert"] == 0


def test_settled_documents_are_not_asked_about(context: StageContext, annotated: DatasetRef) -> None:
    made = {identifier(f"made{number}") for number in range(SETTLED)}
    assert not made & {task["document_id"] for task in _tasks(_build(context, annotated))}
    everything = _build(context, annotated, settled_sources=(), expert_share=1.0)
    assert made <= {task["document_id"] for task in _tasks(everything)}


def test_documents_for_tests_are_reviewed_only_when_asked_and_never_labelled(
    context: StageContext, annotated: DatasetRef
) -> None:
    for_tests = {identifier("test"), identifier("blank")}
    assert not for_tests & {task["document_id"] for task in _tasks(_build(context, annotated))}
    roles = ("train", "develop", "test_only")
    built = _build(context, annotated, review_roles=roles, expert_share=1.0, settled_sources=())
    asked = [task for task in _tasks(built) if task["document_id"] in for_tests]
    assert {task["document_id"] for task in asked} == for_tests
    assert {task["queue"] for task in asked} <= {"experts", "qa_lead"}
    assert built.manifest.metrics["tasks_test_only"] == len(asked)
    assert "never become labels" in built.dataset.path("report.md").read_text()
    with pytest.raises(ValidationError, match="give no labels"):
        AnnotationTasksConfig(label_roles=roles)


def test_half_of_the_annotators_documents_are_answered_twice(context: StageContext, annotated: DatasetRef) -> None:
    tasks = _tasks(_build(context, annotated, active={"budget": 60}))
    double = [task for task in tasks if task["annotators"] == 2]
    asked = [task for task in tasks if task["queue"] == "annotators"]
    assert 0.3 < len(double) / len(asked) < 0.7
    assert {task["queue"] for task in double} == {"annotators"}


def test_costs_follow_from_the_answers_that_are_wanted(context: StageContext, annotated: DatasetRef) -> None:
    built = _build(context, annotated)
    metrics = built.manifest.metrics
    wanted = sum(task["annotators"] for task in _tasks(built))
    assert metrics["answers_wanted"] == wanted
    assert metrics["expected_hours"] == pytest.approx(wanted * 8 / 100, abs=0.05)
    assert metrics["expected_cost"] == pytest.approx(wanted * 0.6)  # $300 for five days of a hundred documents
    assert f"{wanted} answers" in built.dataset.path("report.md").read_text()


def test_annotated_are_truths_and_accepted_guesses(context: StageContext, annotated: DatasetRef) -> None:
    metrics = _build(context, annotated).manifest.metrics
    rows = context.store.open(annotated).table("documents").to_pylist()
    accepted = [row for row in rows if not row["has_truth"] and row["confidence"] is not None and not row["is_flagged"]]
    assert metrics["documents_accepted"] == len(accepted) > 0
    assert metrics["documents_annotated"] == len(accepted) + sum(row["has_truth"] for row in rows)
    assert metrics["annotated_of_target"] == pytest.approx(metrics["documents_annotated"] / 800_000, abs=1e-4)


def test_the_same_release_gives_the_same_tasks(context: StageContext, annotated: DatasetRef) -> None:
    first = _build(context, annotated)
    assert _build(context, annotated).is_reused
    other = _build(context, annotated, seed=8)
    assert first.manifest.data_version != other.manifest.data_version


def test_a_class_that_does_not_exist_has_no_weight() -> None:
    with pytest.raises(ValidationError, match="INVOYCE"):
        AnnotationTasksConfig(active={"business_weights": {"INVOYCE": 2.0}})
