"""The stage `multitask_model`: classes, fields and line items of a page by a compact layout encoder.

Belongs here: what tells this training stage from the others. How a stage is planned, launched and collected is `stage`;
its program is `program`, its configuration in `config`. Importing this module loads neither torch nor deepspeed.
"""

from collections.abc import Mapping
from pathlib import Path

from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import Dataset
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.stage import Launch, TrainingStage, build_trained

TRAINING_SET = "training_set"


def _has_documents(inputs: Mapping[str, Dataset]) -> None:
    training_set = inputs[TRAINING_SET]
    if not training_set.manifest.rows.get("shards"):
        raise ConfigurationError(
            "the training set has no document to train on",
            where=str(training_set.ref),
            remedy="See its quarantine and split tables.",
        )


MULTITASK_MODEL = TrainingStage(
    name="multitask_model",
    version="4",
    config=MultitaskModelConfig,
    program="sap_llm.training.program",
    inputs=(TRAINING_SET,),
    check=_has_documents,
    headline=("validation_f1", "validation_class_accuracy", "loss", "seconds", "parameters"),
)


def build_multitask_model(
    context: StageContext,
    *,
    config: MultitaskModelConfig,
    training_set: DatasetRef,
    release: str,
    work: Path | None = None,
    launch: Launch | None = None,
) -> BuildResult:
    """The trained model as a dataset: `model/` (weights, config.json) and `losses.json`; see `build_trained`."""
    inputs = {TRAINING_SET: training_set}
    return build_trained(
        context, MULTITASK_MODEL, config=config, inputs=inputs, partition=release, work=work, launch=launch
    )
