"""Stage 03, annotation: truth and pre-annotations of all documents in one schema, and what people are asked about.

Belongs here: the assets by release. Pre-annotation, selection and agreement are `sap_llm.annotation`.
"""

import dagster as dg

from resources.columns import ANNOTATED_COLUMNS, TASK_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.annotation.pre_annotator import choose
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.annotation.tasks import AnnotationTasksConfig, build_annotation_tasks

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


@dg.asset(
    partitions_def=release,
    deps=[
        dg.AssetDep("raw_exports", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("public_docs", partition_mapping=dg.AllPartitionMapping()),
        dg.AssetDep("synthetic_docs", partition_mapping=dg.AllPartitionMapping()),
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
        built = build_annotated_docs(
            stage.context,
            config=stage.config(AnnotatedDocsConfig),
            corpora=stage.corpora(),
            release=stage.release,
            predictor=predictor,
            predictor_version=version,
        )
        return materialized(stage, built, headline=("documents", "coverage", "agreement", "known_unflagged_error"))


@dg.asset(partitions_def=release, deps=["annotated_docs"], kinds={"python", "parquet"}, metadata=TASK_COLUMNS)
def annotation_tasks(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Which documents people are asked about and why: flagged, most to learn from, random and stratified review."""
    with deployment.open(context, config) as stage:
        built = build_annotation_tasks(
            stage.context,
            config=stage.config(AnnotationTasksConfig),
            annotated=stage.ref("annotated_docs", stage.release),
            release=stage.release,
        )
        return materialized(stage, built, headline=_PLAN, rows_of="tasks")
