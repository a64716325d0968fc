"""Stage 05, training: the document model, trained by a program of its own.

Belongs here: the asset by release. Planning, launching and collecting are the ops of `assets.launch`; training itself
is `sap_llm.training`.
"""

from typing import Any

import dagster as dg

from assets.launch import collect_model, launch_training, plan_config, plan_training
from resources.partitions import release


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
