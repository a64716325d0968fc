"""Stage 07, compression: smaller and faster variants of a release's model.

Belongs here: the asset by release and variant. Export, quantisation and measuring are `sap_llm.compression`; the gate
is `assets.checks`.
"""

from typing import Literal, cast

import dagster as dg

from resources.conditions import WHEN_GATES_PASS
from resources.deployment import DeploymentResource
from resources.partitions import release_variant
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.compression.stage import QuantizedModelsConfig, build_quantized_models


@dg.asset(
    partitions_def=release_variant,
    deps=["multitask_model", "training_set"],
    kinds={"pytorch", "onnx"},
    automation_condition=WHEN_GATES_PASS,
)
def quantized_models(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """The model in ONNX with 8-bit integers, its speed and its loss of F1 measured against its parent."""
    with deployment.open(context, config) as stage:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_quantized_models(
            stage.context,
            config=stage.config(QuantizedModelsConfig),
            model=stage.ref("multitask_model", stage.release),
            training_set=training_set,
            release=stage.release,
            variant=cast("Literal['int8']", stage.variant),  # the stage refuses others
        )
        return materialized(stage, built, headline=("latency_ratio", "f1_loss", "size_ratio"))
