"""Stage 08, registry: the release's model as a registered version, and whether it became champion.

Belongs here: the asset by release. Registering, verdicts and aliases are `sap_llm.registry`, the decision is
`sap_llm.learning.promotion`.
"""

import dagster as dg

from resources.conditions import WHEN_GATES_PASS
from resources.deployment import DeploymentResource
from resources.partitions import RELEASE, VARIANT, release
from resources.results import materialized
from resources.retries import WHEN_SERVERS_FAIL
from resources.stage_run import StageRunConfig
from sap_llm.learning.promotion import RegisteredModelConfig, build_registered_model


@dg.asset(
    partitions_def=release,
    deps=["multitask_model", "model_evaluation", "quantized_models"],
    kinds={"mlflow"},
    automation_condition=WHEN_GATES_PASS,
    retry_policy=WHEN_SERVERS_FAIL,
)
def registered_model(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """The version in MLflow; champion only if its gates hold and it beats the baseline and the present champion."""
    with deployment.open(context, config) as stage:
        evaluation = stage.ref("model_evaluation", stage.release)
        quantized = stage.ref("quantized_models", {RELEASE: stage.release, VARIANT: "int8"})
        stage.pass_door(evaluation)
        built = build_registered_model(
            stage.context,
            config=stage.config(RegisteredModelConfig),
            model=stage.ref("multitask_model", stage.release),
            evaluation=evaluation,
            quantized=quantized,
            registry=stage.deployment.registry,
            verdicts=stage.deployment.verdicts,
            release=stage.release,
        )
        return materialized(stage, built, headline=("version", "is_champion", "explanation"))
