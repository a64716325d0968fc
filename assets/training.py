"""Stage 05, training: models by release, each trained by a program of its own.

Belongs here: the assets. Planning, launching and collecting are the ops of `assets.launch`; the stages and training
itself are `sap_llm.training`.
"""

from collections.abc import Mapping

import dagster as dg

from assets.launch import training_asset
from resources.partitions import release_stage
from resources.stage_run import StageRun
from sap_llm.training.adapters.stage import STAGE_ADAPTERS, partition_of
from sap_llm.training.multitask import MULTITASK_MODEL

multitask_model = training_asset(
    MULTITASK_MODEL,
    description="Classes, fields and line items of a page by a compact layout encoder, trained from random weights.",
    kinds=frozenset({"pytorch", "deepspeed"}),
)


def _adapters_of(stage: StageRun) -> Mapping[str, str]:
    return {key: partition_of(stage.release, name) for key, name in stage.document_stages.items()}


stage_adapters = training_asset(
    STAGE_ADAPTERS,
    description="A low-rank adapter of the instructed model for each document stage, compared with no adapter.",
    kinds=frozenset({"pytorch", "peft"}),
    partitions_def=release_stage,
    partitions_of=_adapters_of,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
