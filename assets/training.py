"""Stage 05, training: models by release, each trained by a program of its own.

Belongs here: the assets. Planning, launching and collecting are the ops of `assets.launch`; the stages and training
itself are `sap_llm.training`.
"""

from assets.launch import training_asset
from sap_llm.training.multitask import MULTITASK_MODEL

multitask_model = training_asset(
    MULTITASK_MODEL,
    description="Classes, fields and line items of a page by a compact layout encoder, trained from random weights.",
    kinds=frozenset({"pytorch", "deepspeed"}),
)
