"""The configuration of training stages, importable without torch.

Belongs here: one pydantic model per concern that every training stage has, and `multitask_model`'s own. What the values
do is in the file of that concern; the values themselves are in `configs/<profile>/<stage>.yaml`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.storage.build import StageConfig
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.stage import SyntheticDocsConfig


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossWeights(_Part):
    """Weights of the tasks (roadmap, month 3; the layout's is not named there)."""

    classification: float = 0.3
    extraction: float = 0.4
    table: float = Field(default=0.2, description="of line items, and of tables")
    subtype: float = 0.1
    layout: float = 0.05


class AugmentationConfig(_Part):
    """Rates of damage done to the training documents; all are probabilities unless said otherwise."""

    word_masking: float = Field(default=0.06, description="of a word losing all its features")
    hash_masking: float = Field(default=0.15, description="of a word keeping only its characters")
    character_masking: float = Field(default=0.03, description="of a character being lost")
    label_dropout_documents: float = Field(default=0.3, description="of a document losing label words")
    label_dropout_words: float = Field(default=0.2, description="of such a document's unlabelled word being masked")
    digit_replacement: float = Field(default=0.5, description="of a word's digits being replaced by others")
    renaming: float = Field(default=0.8, description="of a document getting other names, places and goods throughout")
    common_share: float = Field(
        default=0.02, description="share of the training documents that a word must be in to be left by renaming"
    )
    value_copying: float = Field(default=0.3, description="of a field's words being replaced by words elsewhere")
    scale: float = Field(default=0.15, description="largest relative stretch of a page, each way")
    shift: float = Field(default=40.0, description="largest shift in thousandths of the page width")
    jitter: float = Field(default=1.5, description="standard deviation of a box in thousandths of the page width")


class OptimizerConfig(_Part):
    """Muon and AdamW, both with linear warm-up and cosine decay to a tenth of a percent."""

    learning_rate: float = Field(default=2e-3, description="of AdamW: embeddings, heads, biases and norms")
    muon_learning_rate: float = Field(
        default=3e-3, ge=0.0, description="of the encoder blocks' matrices; 0 puts them under AdamW too"
    )
    weight_decay: float = 0.02
    warmup_share: float = 0.08
    gradient_clipping: float = 1.0
    label_smoothing: float = Field(default=0.02, description="of the class and subtype heads")


class CheckpointConfig(_Part):
    """When the state is saved; whichever comes first."""

    every_steps: int = 200
    every_seconds: float = 60.0
    keep: int = 2


class LaunchConfig(_Part):
    """How the training program is run."""

    launcher: Literal["auto", "deepspeed", "gloo"] = Field(
        default="auto", description="auto: deepspeed where a C++ compiler is, else torch.distributed on gloo"
    )
    ranks: int = 1
    threads: int = Field(default=2, description="per rank")
    zero_stage: int = Field(
        default=1, ge=0, le=2, description="the model fits every rank; only its optimizer is sharded"
    )
    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="of the matrix products; weights are fp32")
    accelerator: Literal["cpu", "cuda"] = "cpu"
    stop_deadline_seconds: float = Field(default=20.0, description="between TERM and KILL when cancelled")


class StreamConfig(_Part):
    """Documents that are made while they are learned from, beside the training set, which then only validates.

    Its seeds must be others than those of the corpus: it would learn the documents that validate it.
    """

    workers: int = Field(default=8, ge=1, description="processes a rank that make documents")
    pool_worlds: int = Field(default=16, ge=1, description="worlds whose documents are cut into batches together")
    repeats: int = Field(default=2, ge=1, description="times that a document is learned from, each damaged anew")
    facts: BusinessFactsConfig
    documents: SyntheticDocsConfig


class TrainingStageConfig(StageConfig):
    """What every stage that trains has; a stage's own model adds its data and its network."""

    optimizer: OptimizerConfig = OptimizerConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    launch: LaunchConfig = LaunchConfig()
    steps: int = Field(default=700, description="optimizer steps")
    report_every_steps: int = 20


class MultitaskModelConfig(TrainingStageConfig):
    """All of `configs/<profile>/multitask_model.yaml`."""

    encoder: EncoderConfig = EncoderConfig()
    losses: LossWeights = LossWeights()
    augmentation: AugmentationConfig = AugmentationConfig()
    initial: str | None = Field(
        default=None, description="released model to start from (sap_llm/modeling/released); none: random weights"
    )
    stream: StreamConfig | None = Field(default=None, description="none: the training set alone is learned from")
    batch_words: int = Field(default=8192, description="words of one optimizer step, all ranks together")
    max_seconds: float = Field(
        default=0.0, description="stop early after this long, 0 for never; a run that it stops is not reproducible"
    )
    validation_documents: int = Field(default=400, description="at most so many are scored after training")
