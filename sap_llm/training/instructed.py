"""The stage `instructed_model`: a vision-language model learns to answer instructions about documents (SFT).

Belongs here: configuration and what tells this training stage from the others. How a stage is planned, launched and
collected is `stage`; its program is `instruct`, its data are `instructions`. Importing this module loads no torch.
"""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.modeling.qwen import QwenShape, Size
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.store import Dataset
from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.memory import Workload
from sap_llm.training.networks import qwen_network
from sap_llm.training.shares import Shares, share
from sap_llm.training.stage import TrainingStage

_VISUAL_SHARE = 0.4  # of the tokens, at most: 1,280 of the some 3,200 of a page with its words and answer
PAIRS, BASE = "instruction_pairs", "domain_model"
MODEL_FOLDER = "model"


class InstructionValidation(BaseModel):
    """What is measured after training, on documents of the split validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss_pairs: int = Field(default=500, ge=0, description="pairs whose loss is measured")
    documents: int = Field(default=200, ge=0, description="documents read for F1, with and without similar cases")
    compliance_pairs: int = Field(default=200, ge=0, description="pairs answered with and without a schema")
    answer_tokens: int = Field(default=2048, description="most tokens of one answer")
    batch: int = Field(default=8, ge=1, description="answers generated at once")
    is_fast: bool = Field(default=False, description="generate by fast_decoding instead of generate of transformers")
    cases: int = Field(default=2, ge=0, description="similar documents shown in the few-shot comparison; 0: none made")
    case_documents: int = Field(default=1000, ge=0, description="documents of the split train to choose them from")


class InstructedModelConfig(TrainingStageConfig):
    """`configs/<profile>/instructed_model.yaml`."""

    size: Size = Field(default="debug", description="of domain_model's backbone, for the memory planner")
    batch_pairs: int = Field(default=256, ge=1, description="pairs of one optimizer step, all ranks together")
    most_tokens: int = Field(default=8192, description="of a pair, pictures included; longer ones are left out")
    validation: InstructionValidation = InstructionValidation()


def _can_learn(inputs: Mapping[str, Dataset]) -> None:
    pairs, base = inputs[PAIRS], inputs[BASE]
    if not pairs.manifest.metrics.get("pairs_train"):
        raise ConfigurationError(
            "there is no instruction pair to train on", where=str(pairs.ref), remedy="See its quarantine table."
        )
    if f"{MODEL_FOLDER}/config.json" not in base.manifest.files:
        raise ConfigurationError(
            f"it holds no folder {MODEL_FOLDER}/ of a vision-language model",
            where=str(base.ref),
            remedy="Build domain_model with a Qwen2.5-VL backbone.",
        )


def _workload(config: InstructedModelConfig, halvings: int) -> tuple[Shares, Workload]:
    launch = config.launch
    shares = share(config.batch_pairs, ranks=launch.ranks, micro_batch=launch.micro_batch, halvings=halvings)
    network = qwen_network(QwenShape(size=config.size), visual_share=_VISUAL_SHARE)
    tokens = shares.micro_batch * config.most_tokens
    return shares, Workload(network=network, tokens=tokens, longest=config.most_tokens, batch_unit="pairs")


INSTRUCTED_MODEL = TrainingStage(
    name="instructed_model",
    version="1",
    config=InstructedModelConfig,
    program="sap_llm.training.instruct",
    inputs=(PAIRS, BASE),
    check=_can_learn,
    workload=_workload,
    headline=("validation_loss", "validation_f1", "schema_compliance", "loss", "seconds", "parameters"),
    use="Answers instructions about a business document from pictures and words of its pages: its class, its fields or "
    "one of them, a table, a question, as JSON by a schema. Valid JSON need not be true: values are to be checked.",
    limits=(
        "It knows what its domain model knew: from random weights it shows that the machinery works.",
        "Pairs of more than `most_tokens` tokens were left out, so long documents are hardly tried.",
        "Its confidence in a value was not calibrated.",
    ),
)
