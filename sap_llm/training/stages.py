"""All stages that train, in the order in which they build on one another.

Belongs here: the list. What a stage is and does is `stage`; each stands beside its configuration.
"""

from collections.abc import Sequence
from typing import Any

from sap_llm.training.adapters.stage import STAGE_ADAPTERS
from sap_llm.training.domain import DOMAIN_MODEL
from sap_llm.training.instructed import INSTRUCTED_MODEL
from sap_llm.training.multitask import MULTITASK_MODEL
from sap_llm.training.stage import TrainingStage

TRAINING_STAGES: Sequence[TrainingStage[Any]] = (DOMAIN_MODEL, MULTITASK_MODEL, INSTRUCTED_MODEL, STAGE_ADAPTERS)
