"""The stage `annotation_tasks`: which documents of a release people are asked about, by which queue and why.

Belongs here: configuration and build function. How documents are chosen is `selection`, what is known of them
`task_pool`, what is told `task_report`; where people answer is the desk's business.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

from sap_llm.annotation.selection import (
    LEVELS,
    MEASURES,
    ActivePool,
    Stratum,
    chance,
    choose_active,
    complexity,
    page_range,
    random_share,
    stratified,
)
from sap_llm.annotation.task_pool import Candidate, read_candidates, vectors_of
from sap_llm.annotation.task_report import metrics_of, write_report
from sap_llm.schema.annotation import TASKS
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import conform
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

STAGE_VERSION = "1"
TEST_ONLY = "test_only"
_Row = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActiveConfig(_Part):
    """Documents of which a model learns most."""

    budget: int = Field(default=1000, description="documents to choose", ge=0)
    uncertainty_power: float = Field(default=1.0, description="how far uncertainty is followed; 0 ignores it", ge=0)
    diversity_power: float = Field(default=32.0, description="the same for unlikeness to what is labelled", ge=0)
    business_weights: dict[str, float] = Field(default={}, description="by class; 1 for the others")
    block_documents: int = Field(default=20_000, description="most documents compared with each other at a time", ge=1)
    most_known: int = Field(
        default=20_000, description="labelled documents that new ones shall be unlike, at most", ge=0
    )

    @field_validator("business_weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(weights.keys() - {entry.name for entry in load_taxonomy().classes}):
            raise ValueError(f"the taxonomy has no {', '.join(unknown)}")
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("a weight must be above 0; leave roles out to ask about no document of theirs")
        return weights


class TeamConfig(_Part):
    """Who answers, and what it costs; the defaults are the roadmap's."""

    annotators: int = Field(default=20, ge=1)
    documents_a_day: float = Field(default=100, description="of one annotator", gt=0)
    hours_a_day: float = Field(default=8, gt=0)
    days_a_week: float = Field(default=5, gt=0)
    cost_a_week: float = Field(default=300, description="dollars for one annotator", ge=0)


class TargetsConfig(_Part):
    """What the roadmap promises, reported beside what is."""

    pre_annotated_share: float = Field(default=0.8, ge=0, le=1)
    documents: int = Field(default=1_000_000, ge=1)
    annotated_documents: int = Field(default=800_000, ge=1)
    quality: float = Field(default=0.95, description="mean F1 of annotations that nobody corrects", ge=0, le=1)


class AnnotationTasksConfig(StageConfig):
    """`configs/<profile>/annotation_tasks.yaml`."""

    settled_sources: tuple[str, ...] = Field(
        default=("human", "synthetic", "xml"), description="sources of truth that nobody is asked about again"
    )
    label_roles: tuple[str, ...] = Field(
        default=("train", "develop"), description="roles of documents whose answers become labels"
    )
    review_roles: tuple[str, ...] = Field(
        default=("train", "develop"), description="roles of documents that QA lead and experts review"
    )
    qa_share: float = Field(default=0.10, description="random share for the QA lead", ge=0, le=1)
    expert_share: float = Field(default=0.15, description="stratified share for the experts", ge=0, le=1)
    expert_minimum: int = Field(default=1, description="fewest documents of a stratum for the experts", ge=0)
    double_share: float = Field(
        default=0.1, description="of the annotators' documents, those that two answer independently", ge=0, le=1
    )
    page_edges: tuple[int, ...] = Field(default=(2, 4), description="page counts at which a new range begins")
    complexity: dict[str, tuple[float, float]] = Field(
        default={"pages": (2, 4), "words": (150, 400), "line_items": (5, 15), "fields": (8, 14)},
        description="the two values of each measure from which on a document is harder",
    )
    active: ActiveConfig = ActiveConfig()
    team: TeamConfig = TeamConfig()
    targets: TargetsConfig = TargetsConfig()

    @field_validator("label_roles")
    @classmethod
    def _no_labels_from_tests(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        if TEST_ONLY in roles:
            raise ValueError("documents that are test_only give no labels; review_roles may name them")
        return roles

    @field_validator("complexity")
    @classmethod
    def _all_measures(cls, edges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        if set(edges) != set(MEASURES):
            raise ValueError(f"give edges for {', '.join(MEASURES)}")
        return edges


def build_annotation_tasks(
    context: StageContext, *, config: AnnotationTasksConfig, annotated: DatasetRef, release: str
) -> BuildResult:
    """Choose the documents of `annotated_docs/<release>` that people are asked about.

    Table: `tasks` (`schema.annotation.TASKS`), at most one a document and queue. Annotators get what is flagged and
    what a model learns most from, the QA lead a random share, experts a stratified one; documents that are test_only
    are asked about by QA lead and experts alone, and only where `review_roles` names them. Files: `report.md`.

    Args:
        context: Store, clock and progress.
        config: Shares, budgets and roles.
        annotated: `annotated_docs/<release>`.
        release: Name such as `r1`.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        source = context.store.open(annotated)
        open_documents, settled = _askable(source, config)
        candidates = read_candidates(context, source, open_documents)
        strata = [stratum_of(candidate, config) for candidate in candidates]
        tasks = _flagged(candidates, config)
        tasks += _active(candidates, tasks, read_candidates(context, source, settled), config)
        tasks += _reviews(candidates, strata, config)
        tasks.sort(key=lambda task: (task["queue"], -task["priority"], task["document_id"]))
        writer.write_table("tasks", conform(tasks, TASKS), TASKS)
        known = source.manifest.metrics | {"documents_accepted": _accepted(source)}
        metrics = metrics_of(tasks, candidates, strata, config, known)
        write_report(writer, metrics, tasks, candidates, strata, config)
        return metrics

    return build(
        context,
        name=f"annotation_tasks/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={annotated.name: annotated},
        produce=produce,
    )


def stratum_of(candidate: Candidate, config: AnnotationTasksConfig) -> Stratum:
    """Class, language, complexity and page range of a document."""
    row = candidate.row
    level = complexity(candidate.measures, config.complexity)
    return row["document_type"], row["language"] or "unknown", level, page_range(row["page_count"], config.page_edges)


def _askable(source: Dataset, config: AnnotationTasksConfig) -> tuple[pa.Table, pa.Table]:
    """Documents that may be asked about, and labelled ones that new labels shall be unlike; both ordered by id."""
    documents = source.table("documents").sort_by("document_id")
    settled = {*config.settled_sources, "human"}
    roles = {*config.label_roles, *config.review_roles}
    rows = documents.select(["document_id", "role", "truth_source"]).to_pylist()
    is_open = [row["role"] in roles and row["truth_source"] not in settled for row in rows]
    labelled = [
        row["document_id"] for row in rows if row["role"] in config.label_roles and row["truth_source"] in settled
    ]
    labelled.sort(key=lambda name: chance(name, seed=config.seed, purpose="known"))
    kept = pa.array(labelled[: config.active.most_known], pa.string())
    return (
        documents.filter(pa.array(is_open, pa.bool_())),
        documents.filter(pc.is_in(documents.column("document_id"), value_set=kept)),
    )


def _accepted(source: Dataset) -> int:
    """Documents that have no truth but a pre-annotation that is not flagged."""
    documents = source.table("documents", columns=["has_truth", "confidence", "is_flagged"])
    is_guessed = pc.and_not(pc.is_valid(documents.column("confidence")), documents.column("is_flagged"))
    return int(pc.sum(pc.and_not(is_guessed, documents.column("has_truth"))).as_py() or 0)


def _task(candidate: Candidate, queue: str, purpose: str, priority: float, *, annotators: int = 1) -> _Row:
    return {
        "document_id": candidate.document_id,
        "input": candidate.row["input"],
        "queue": queue,
        "purpose": purpose,
        "annotators": annotators,
        "priority": round(priority, 6),
    }


def _flagged(candidates: Sequence[Candidate], config: AnnotationTasksConfig) -> list[_Row]:
    """Every flagged document that may give a label, the least sure first."""
    return [
        _task(one, "annotators", "flagged", 2.0 - one.row["confidence"], annotators=_annotators(one, config))
        for one in candidates
        if one.row["is_flagged"] and one.row["role"] in config.label_roles
    ]


def _active(
    candidates: Sequence[Candidate],
    flagged: Sequence[_Row],
    settled: Sequence[Candidate],
    config: AnnotationTasksConfig,
) -> list[_Row]:
    """The documents of which a model learns most, of those that it may learn from and that are not asked about yet."""
    taken = {task["document_id"] for task in flagged}
    pool = [
        one
        for one in candidates
        if one.uncertainty is not None
        and one.row["role"] in config.label_roles
        and not one.row["is_test_layout"]
        and one.document_id not in taken
    ]
    if not pool or not config.active.budget:
        return []
    known = [*settled, *(one for one in candidates if one.document_id in taken)]
    vectors = vectors_of([*pool, *known], seed=config.seed)
    weights = config.active.business_weights
    chosen = choose_active(
        ActivePool(
            ids=[one.document_id for one in pool],
            uncertainty=np.array([one.uncertainty for one in pool], dtype=np.float64),
            weights=np.array([weights.get(one.row["document_type"], 1.0) for one in pool]),
            vectors=vectors[: len(pool)],
        ),
        config.active.budget,
        known=vectors[len(pool) :],
        uncertainty_power=config.active.uncertainty_power,
        diversity_power=config.active.diversity_power,
        seed=config.seed,
        block=config.active.block_documents,
    )
    return [
        _task(
            pool[place], "annotators", "active", 1.0 - rank / len(chosen), annotators=_annotators(pool[place], config)
        )
        for rank, place in enumerate(chosen)
    ]


def _annotators(candidate: Candidate, config: AnnotationTasksConfig) -> int:
    """Two for a random share: their agreement says how reliable all others are."""
    return 1 + (chance(candidate.document_id, seed=config.seed, purpose="double") < config.double_share)


def _reviews(candidates: Sequence[Candidate], strata: Sequence[Stratum], config: AnnotationTasksConfig) -> list[_Row]:
    """A random share for the QA lead, whatever else is asked, and a stratified one for the experts."""
    places = [place for place, one in enumerate(candidates) if one.row["role"] in config.review_roles]
    ids = [candidates[place].document_id for place in places]
    sampled = random_share(ids, config.qa_share, seed=config.seed, purpose="qa_sample")
    expert = stratified(
        ids,
        [strata[place] for place in places],
        round(config.expert_share * len(places)),
        minimum=config.expert_minimum,
        seed=config.seed,
        purpose="expert_sample",
    )
    chosen = [(place, "qa_lead", "qa_sample") for place in sampled]
    chosen += [(place, "experts", "expert_sample") for place in expert]
    return [
        _task(candidates[places[place]], queue, purpose, _hardness(candidates[places[place]], strata[places[place]]))
        for place, queue, purpose in chosen
    ]


def _hardness(candidate: Candidate, stratum: Stratum) -> float:
    """Complex documents first, of equal ones the less sure."""
    return LEVELS.index(stratum[2]) + 1.0 - (candidate.row["confidence"] or 0.0)
