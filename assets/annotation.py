"""Stage 03, annotation: truth and pre-annotations of all documents in one schema.

Belongs here: the asset by release. Pre-annotation and agreement are `sap_llm.annotation`.
"""

import dagster as dg

from resources.columns import ANNOTATED_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.annotation.pre_annotator import choose
from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs


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
        return materialized(stage, built, headline=("documents", "coverage", "agreement"))
