"""Stage 04, preparation: the frozen release of the corpus and the training set made from it.

Belongs here: the two assets by release. Cleaning, splits and shards are `sap_llm.preparation` and `spark_jobs`; gates
are `assets.checks`.
"""

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from resources.columns import RELEASE_COLUMNS, TRAINING_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.pipes import ProcessGroupPipesClient
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.deployment import Deployment
from sap_llm.preparation.plan import JobPlan
from sap_llm.preparation.progress import said
from sap_llm.preparation.release import CorpusReleaseConfig, build_corpus_release
from sap_llm.preparation.stage import Launch, TrainingSetConfig, build_training_set
from sap_llm.storage.build import Progress

_RELEASE_HEADLINE = ("documents", "sap_texts", "largest_gap_to_target", "suspects_class", "suspects_field")
_HEADLINE = ("documents_kept", "documents_train", "documents_validation", "documents_test", "documents_quarantined")
_OBSERVE_SECONDS = 30.0


@dg.asset(partitions_def=release, deps=["annotated_docs"], kinds={"parquet"}, metadata=RELEASE_COLUMNS)
def corpus_release(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """The exact versions of what goes into training, composition against target, and labels that are probably wrong."""
    with deployment.open(context, config) as stage:
        annotated = stage.ref("annotated_docs", stage.release)
        stage.pass_door(annotated)
        built = build_corpus_release(
            stage.context,
            config=stage.config(CorpusReleaseConfig),
            annotated=annotated,
            corpora=stage.inputs_of(annotated),
            release=stage.release,
            knowledge=stage.find("sap_knowledge"),
        )
        return materialized(stage, built, headline=_RELEASE_HEADLINE)


@dg.asset(partitions_def=release, deps=["corpus_release"], kinds={"spark", "parquet"}, metadata=TRAINING_COLUMNS)
def training_set(
    context: dg.AssetExecutionContext,
    config: StageRunConfig,
    deployment: DeploymentResource,
    pipes: ProcessGroupPipesClient,
) -> dg.MaterializeResult:
    """Cleaned, de-duplicated and split documents as shards; a row is kept, duplicate, left out or in quarantine."""
    with deployment.open(context, config) as stage:
        consumed = stage.ref("corpus_release", stage.release)
        stage.pass_door(consumed)
        built = build_training_set(
            stage.context,
            config=stage.config(TrainingSetConfig),
            corpus_release=consumed,
            release=stage.release,
            spark=stage.deployment.spark,
            launch=launch_with(pipes, context, stage.deployment),
        )
        return materialized(stage, built, headline=_HEADLINE)


def launch_with(pipes: ProcessGroupPipesClient, context: dg.AssetExecutionContext, deployment: Deployment) -> Launch:
    """Run the Spark job under Pipes: its row counts become log lines at once, and an observation now and then."""

    def launch(plan: JobPlan, progress: Progress) -> None:
        from sap_llm.preparation.launch import program

        observed_at = time.monotonic()

        def hear(point: Mapping[str, Any]) -> None:
            nonlocal observed_at
            message, done, total = said(point)
            progress(message, done=done, total=total)
            if time.monotonic() - observed_at >= _OBSERVE_SECONDS:
                observed_at = time.monotonic()
                context.log_event(
                    dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata=dict(point))
                )

        log_file = deployment.work_folder / "spark" / f"{context.run.run_id}.log"
        with program(plan) as command:
            pipes.run(context=context, commands=[command], log_file=log_file, on_message=hear)

    return launch
