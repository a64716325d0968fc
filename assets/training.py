"""Stage 05, training: the document model, trained by a program of its own, and the router that triages before it.

Belongs here: the assets by release. Planning, launching and collecting are the ops of `assets.launch`; training itself
is `sap_llm.training`.
"""

from typing import Any

import dagster as dg

from assets.launch import collect_model, launch_training, plan_config, plan_training
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.training.doc_router import DocRouterConfig, build_doc_router


@dg.graph_asset(
    partitions_def=release,
    ins={"training_set": dg.AssetIn("training_set", dagster_type=dg.Nothing)},
    config=plan_config,
    kinds={"pytorch", "deepspeed"},
)
def multitask_model(training_set: Any) -> Any:
    """Classes, fields and line items of a page by a compact layout encoder, trained from random weights."""
    plan = plan_training(training_set)
    return collect_model(plan, launch_training(plan))


@dg.asset(partitions_def=release, deps=["multitask_model", "training_set"], kinds={"sklearn"})
def doc_router(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Class and difficulty of a document from cheap features, in less than a millisecond, before a model reads it."""
    with deployment.open(context, config) as stage:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_doc_router(
            stage.context,
            config=stage.config(DocRouterConfig),
            model=stage.ref("multitask_model", stage.release),
            training_set=training_set,
            release=stage.release,
        )
        headline = ("class_accuracy", "difficulty_auc", "difficulty_ece", "milliseconds_per_document")
        return materialized(stage, built, headline=headline, rows_of="routes")
