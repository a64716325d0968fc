"""Stage 03, annotation: truth and pre-annotations of all documents in one schema, what people are asked and answered.

Belongs here: the assets by release, and the desk where people answer. Pre-annotation, selection, desks and agreement
are `sap_llm.annotation`; putting tasks on the desk is a job (`jobs.annotation`).
"""

import dagster as dg

from resources.columns import ANNOTATED_COLUMNS, ANSWER_COLUMNS, TASK_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.retries import WHEN_SERVERS_FAIL
from resources.stage_run import StageRunConfig
from sap_llm.annotation.human import HumanAnnotationsConfig, build_human_annotations
from sap_llm.annotation.human_truths import open_batches
from sap_llm.annotation.pre_annotator import choose
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.annotation.tasks import AnnotationTasksConfig, build_annotation_tasks

_ANNOTATED_HEADLINE = ("documents", "coverage", "agreement", "known_unflagged_error", "documents_by_people")
_PLAN = (
    "tasks",
    "answers_wanted",
    "expected_hours",
    "expected_cost",
    "pre_annotation_coverage",
    "quality_unflagged",
    "documents_annotated",
    "annotated_of_target",
)

annotation_desk = dg.AssetSpec(
    "annotation_desk",
    description="Where people answer: a Label Studio server, or a folder of tasks and answers.",
    kinds={"labelstudio"},
)


@dg.asset(
    partitions_def=release,
    deps=[annotation_desk],
    pool="annotation",
    kinds={"labelstudio", "parquet"},
    metadata=ANSWER_COLUMNS,
    retry_policy=WHEN_SERVERS_FAIL,
)
def human_annotations(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """What people answered about the documents of a release, with revisions; unreadable answers are quarantined."""
    with deployment.open(context, config) as stage:
        built = build_human_annotations(
            stage.context,
            config=stage.config(HumanAnnotationsConfig),
            desk=stage.deployment.desk(),
            release=stage.release,
            previous=stage.find("human_annotations", stage.release),
        )
        headline = ("documents", "answers", "annotators", "kappa_class", "kappa_fields", "quality_score", "withdrawn")
        return materialized(stage, built, headline=headline, rows_of="answers")


@dg.asset(
    partitions_def=release,
    deps=[
        dg.AssetDep("raw_exports", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("public_docs", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("synthetic_docs", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("human_annotations", partition_mapping=dg.AllPartitionMapping()),
    ],
    kinds={"python", "parquet"},
    metadata=ANNOTATED_COLUMNS,
)
def annotated_docs(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Truth and pre-annotations of every document that was read, with source and confidence per field."""
    with deployment.open(context, config) as stage:
        previous = stage.find("annotated_docs", stage.release)
        predictor, version = choose(
            stage.deployment.registry, stage.open_dataset(previous).manifest if previous is not None else None
        )
        store, verdicts = stage.deployment.store, stage.deployment.verdicts
        human, held = open_batches(store, stage.batches(), verdicts=verdicts, consumer=stage.asset)
        built = build_annotated_docs(
            stage.context,
            config=stage.config(AnnotatedDocsConfig),
            corpora=stage.corpora(),
            release=stage.release,
            predictor=predictor,
            predictor_version=version,
            human=human,
            held=held,
        )
        return materialized(stage, built, headline=_ANNOTATED_HEADLINE)


@dg.asset(partitions_def=release, deps=["annotated_docs"], kinds={"python", "parquet"}, metadata=TASK_COLUMNS)
def annotation_tasks(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Which documents people are asked about and why: flagged, most to learn from, random and stratified review."""
    with deployment.open(context, config) as stage:
        annotated = stage.ref("annotated_docs", stage.release)
        stage.pass_door(annotated)
        built = build_annotation_tasks(
            stage.context,
            config=stage.config(AnnotationTasksConfig),
            annotated=annotated,
            release=stage.release,
        )
        return materialized(stage, built, headline=_PLAN, rows_of="tasks")
