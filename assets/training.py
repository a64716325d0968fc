"""Stage 05, training: models by release, each trained by a program of its own, and the router that triages before them.

Belongs here: the assets. Planning, launching and collecting are the ops of `assets.launch`; the stages and training
itself are `sap_llm.training`.
"""

import dagster as dg

from assets.launch import training_asset
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.training.doc_router import DocRouterConfig, build_doc_router
from sap_llm.training.multitask import MULTITASK_MODEL

multitask_model = training_asset(
    MULTITASK_MODEL,
    description="Classes, fields and line items of a page by the profile's backbone, trained from random weights.",
    kinds=frozenset({"pytorch", "deepspeed"}),
)


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
        headline = ("class_accuracy", "difficulty_auc", "difficulty_ece", "cpu_milliseconds_per_document")
        return materialized(stage, built, headline=headline, rows_of="routes")
