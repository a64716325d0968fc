"""The stage `multitask_model`: classes, fields and line items of a page, by the profile's backbone.

Belongs here: what tells this training stage from the others. How a stage is planned, launched and collected is `stage`;
its program is `program`, its configuration in `config`. Importing this module loads neither torch nor deepspeed.
"""

from collections.abc import Mapping
from typing import Any

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.features import WINDOW_WORDS
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetWriter
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.memory import Workload
from sap_llm.training.model_report import Description
from sap_llm.training.networks import encoder_network
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.shares import Shares, share
from sap_llm.training.stage import TrainingStage

TRAINING_SET = "training_set"
MODEL_FOLDER = "model"


def _has_documents(inputs: Mapping[str, Dataset]) -> None:
    training_set = inputs[TRAINING_SET]
    if not training_set.manifest.rows.get("shards"):
        raise ConfigurationError(
            "the training set has no document to train on",
            where=str(training_set.ref),
            remedy="See its quarantine and split tables.",
        )


def _calibrate(
    context: StageContext, plan: TrainingPlan[MultitaskModelConfig], writer: DatasetWriter
) -> Mapping[str, Any]:
    if not plan.config.validation_documents:
        return {}
    from sap_llm.training.value_confidence import calibrate_values  # loads torch

    context.progress("calibrating values on validation documents")
    return calibrate_values(
        writer.scratch / MODEL_FOLDER, context.store, plan.inputs[TRAINING_SET], most=plan.config.validation_documents
    )


def _workload(config: MultitaskModelConfig, halvings: int) -> tuple[Shares, Workload] | None:
    if not isinstance(config.backbone, EncoderConfig):
        return None  # what blocks of other families keep is not counted
    launch = config.launch
    shares = share(config.batch_words, ranks=launch.ranks, micro_batch=launch.micro_batch, halvings=halvings)
    network = encoder_network(config.backbone)
    return shares, Workload(network=network, tokens=shares.micro_batch, longest=WINDOW_WORDS, unit="words")


def _describe(context: StageContext, plan: TrainingPlan[MultitaskModelConfig], writer: DatasetWriter) -> Description:
    from sap_llm.training.validation_report import describe_on_validation  # pulls the evaluation in

    return describe_on_validation(context, plan, writer)


MULTITASK_MODEL = TrainingStage(
    name="multitask_model",
    version="6",
    config=MultitaskModelConfig,
    program="sap_llm.training.program",
    inputs=(TRAINING_SET,),
    check=_has_documents,
    finish=_calibrate,
    workload=_workload,
    describe=_describe,
    headline=("validation_f1", "validation_class_accuracy", "loss", "seconds", "parameters"),
    use="Tells the class, subtype, header fields and line items of business documents (orders, invoices, delivery "
    "notes and what goes with them) from the words of their pages and where they stand. Each value has a confidence; "
    "what is below the threshold is for a person to check. It does not judge whether a document is genuine.",
    limits=(
        "It sees words and boxes, no pixels: what the reader did not read, it does not know.",
        "Languages and classes with few documents under *Slices* are hardly tried.",
        "Synthetic documents teach it most of what it knows; the measures on real ones are in the model's evaluation.",
        "Confidences were fitted on validation documents and hold for documents like them.",
    ),
)
