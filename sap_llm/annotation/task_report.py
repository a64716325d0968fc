"""The tasks of a release told in numbers: how many by queue, purpose and stratum, what they cost, how far the plan is.

Belongs here: metrics and report of `annotation_tasks`. Choosing is `selection`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sap_llm.annotation.selection import Stratum
from sap_llm.annotation.task_pool import Candidate
from sap_llm.schema.annotation import PURPOSES, QUEUES
from sap_llm.schema.markdown import table
from sap_llm.storage.store import DatasetWriter

if TYPE_CHECKING:
    from sap_llm.annotation.tasks import AnnotationTasksConfig

Tasks = Sequence[Mapping[str, Any]]
DIMENSIONS = ("class", "language", "complexity", "pages")
REPORT = "report.md"


def metrics_of(
    tasks: Tasks,
    candidates: Sequence[Candidate],
    strata: Sequence[Stratum],
    config: "AnnotationTasksConfig",
    annotated: Mapping[str, Any],
) -> dict[str, Any]:
    """Numbers for the manifest.

    Args:
        tasks: Rows of `schema.annotation.TASKS`.
        candidates: Documents that could be asked about.
        strata: Of each of them.
        config: Team and targets.
        annotated: Metrics of `annotated_docs`, with `documents_accepted`.
    """
    labelled = annotated["documents_with_truth"] + annotated["documents_accepted"]
    answers = sum(task["annotators"] for task in tasks)
    team, targets = config.team, config.targets
    days = answers / team.documents_a_day  # of one person
    expert = {task["document_id"] for task in tasks if task["purpose"] == "expert_sample"}
    reached = {stratum for one, stratum in zip(candidates, strata, strict=True) if one.document_id in expert}
    roles = {one.document_id: one.row["role"] for one in candidates}
    metrics: dict[str, Any] = {
        "tasks": len(tasks),
        "answers_wanted": answers,
        "expected_hours": round(days * team.hours_a_day, 1),
        "expected_cost": round(days * team.cost_a_week / team.days_a_week, 2),
        "expected_team_days": round(days / team.annotators, 2),
        "documents": annotated["documents"],
        "documents_open": len(candidates),
        "documents_annotated": labelled,
        "documents_accepted": annotated["documents_accepted"],
        "documents_annotated_target": targets.annotated_documents,
        "annotated_of_target": round(labelled / targets.annotated_documents, 4),
        "pre_annotation_coverage": annotated["pre_annotation_coverage"],
        "pre_annotation_coverage_target": targets.pre_annotated_share,
        "strata": len(set(strata)),
        "strata_without_expert": len(set(strata) - reached),
        "tasks_test_only": sum(roles[task["document_id"]] == "test_only" for task in tasks),
        "tasks_double": sum(task["annotators"] > 1 for task in tasks),
    }
    if (error := annotated.get("known_unflagged_error")) is not None:
        metrics |= {"quality_unflagged": round(1.0 - error, 4), "quality_target": targets.quality}
    queues, purposes = Counter(task["queue"] for task in tasks), Counter(task["purpose"] for task in tasks)
    metrics |= {f"tasks_{name}": queues[name] for name in QUEUES if name in queues}
    return metrics | {f"tasks_{name}": purposes[name] for name in PURPOSES if name in purposes}


def write_report(
    writer: DatasetWriter,
    metrics: Mapping[str, Any],
    tasks: Tasks,
    candidates: Sequence[Candidate],
    strata: Sequence[Stratum],
    config: "AnnotationTasksConfig",
) -> None:
    """Write `report.md`."""
    parts = [
        "# Annotation tasks",
        _cost(metrics, config),
        "## Plan",
        _plan(metrics, config),
        "## Tasks",
        _queues(tasks),
    ]
    if metrics["tasks_test_only"]:
        parts.append(
            f"{metrics['tasks_test_only']} tasks are about documents that are test_only: their answers check truths "
            "and never become labels for training."
        )
    parts += ["## Expert review by stratum", *_strata(tasks, candidates, strata)]
    writer.path(REPORT).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _cost(metrics: Mapping[str, Any], config: "AnnotationTasksConfig") -> str:
    team = config.team
    return (
        f"{metrics['answers_wanted']:,} answers are wanted to {metrics['tasks']:,} tasks: "
        f"{metrics['expected_hours']:,.1f} hours and ${metrics['expected_cost']:,.2f} at {team.documents_a_day:g} "
        f"documents a day and annotator and ${team.cost_a_week:g} a week, whoever answers; "
        f"{metrics['expected_team_days']:,.1f} working days of {team.annotators} people."
    )


def _plan(metrics: Mapping[str, Any], config: "AnnotationTasksConfig") -> str:
    targets = config.targets
    rows = [
        ["documents", f"{metrics['documents']:,}", f"{targets.documents:,}"],
        ["annotated", f"{metrics['documents_annotated']:,}", f"{targets.annotated_documents:,}"],
        ["of these unflagged pre-annotations without a truth", f"{metrics['documents_accepted']:,}", ""],
        ["pre-annotated", f"{metrics['pre_annotation_coverage']:.1%}", f"{targets.pre_annotated_share:.0%}"],
    ]
    if "quality_unflagged" in metrics:
        rows.append(["quality of what is not flagged", f"{metrics['quality_unflagged']:.1%}", f"{targets.quality:.0%}"])
    return table(["Measure", "Now", "Target"], rows)


def _queues(tasks: Tasks) -> str:
    counts = Counter((task["queue"], task["purpose"]) for task in tasks)
    answers: Counter[tuple[str, str]] = Counter()
    for task in tasks:
        answers[task["queue"], task["purpose"]] += task["annotators"]
    rows = [[queue, purpose, f"{count:,}", f"{answers[queue, purpose]:,}"] for (queue, purpose), count in
            sorted(counts.items())]  # fmt: skip
    return table(["Queue", "Purpose", "Tasks", "Answers"], rows)


def _strata(tasks: Tasks, candidates: Sequence[Candidate], strata: Sequence[Stratum]) -> list[str]:
    """For each dimension how many documents there are and how many the experts get."""
    chosen = {task["document_id"] for task in tasks if task["purpose"] == "expert_sample"}
    parts = []
    for index, dimension in enumerate(DIMENSIONS):
        documents = Counter(stratum[index] for stratum in strata)
        picked = Counter(
            stratum[index] for one, stratum in zip(candidates, strata, strict=True) if one.document_id in chosen
        )
        rows = [[name, f"{count:,}", f"{picked[name]:,}", f"{picked[name] / count:.1%}"] for name, count in
                sorted(documents.items())]  # fmt: skip
        parts.append(table([dimension, "Open documents", "Expert review", "Share"], rows))
    return parts
