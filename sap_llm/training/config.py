"""The configuration of training stages, importable without torch.

Belongs here: one pydantic model per concern that every training stage has, and `multitask_model`'s own. What the values
do is in the file of that concern; the values themselves are in `configs/<profile>/<stage>.yaml`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.shapes import BackboneShape
from sap_llm.storage.build import StageConfig
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.stage import SyntheticDocsConfig
from sap_llm.training.monitor import MonitoringConfig


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
    keep: int = Field(default=5, description="of the newest; the best by validation F1 is kept beside them")
    result: Literal["last", "best"] = Field(
        default="last", description="what becomes the model: a schedule that ends at zero makes the last step the best"
    )


class ValidationConfig(_Part):
    """Scores on a part of the validation split while training runs."""

    every_steps: int = Field(default=0, description="0 for never; a checkpoint is saved at the same step", ge=0)
    documents: int = Field(default=64, description="at most so many")


class TrainingReportConfig(_Part):
    """What is read with the finished model to be shown in its report."""

    documents: int = Field(
        default=0, description="validation documents of a kind at most; 0 leaves the reading out", ge=0
    )
    pictures: int = Field(default=2, description="pages with predicted boxes", ge=0)
    partial_sources: dict[str, list[str]] = Field(
        default={}, description="as in model_evaluation.yaml: fields that the truth of a source covers"
    )


Place = Literal["none", "cpu", "nvme"]


class LaunchConfig(_Part):
    """How the training program is run and what of the model every rank holds."""

    launcher: Literal["auto", "deepspeed", "gloo"] = Field(
        default="auto", description="auto: deepspeed where a C++ compiler is, else torch.distributed on gloo"
    )
    ranks: int = Field(default=1, ge=1, description="of all nodes together")
    threads: int = Field(default=2, description="per rank")
    accelerator: Literal["cpu", "cuda"] = "cpu"
    stop_deadline_seconds: float = Field(default=20.0, description="between TERM and KILL when cancelled")
    micro_batch: int = Field(
        default=0,
        ge=0,
        description="most that a rank works on at a time, counted as the stage counts its batch; 0: its whole share. "
        "Gradients are accumulated over the rest, so the batch of an optimizer step is the same on any number of ranks",
    )
    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="of the matrix products")
    weights: Literal["fp32", "mixed", "bf16"] = Field(
        default="fp32",
        description="fp32: weights, gradients and optimizer state, 16 bytes a parameter under AdamW. mixed: weights "
        "and gradients bf16 with a master copy and states in fp32, 16 bytes, and 4 of them stay whole below stage 3. "
        "bf16: all of it, 8 bytes",
    )
    zero_stage: int = Field(
        default=1, ge=0, le=3, description="what is sharded: 1 optimizer state, 2 and gradients, 3 and weights"
    )
    offload_optimizer: Place = Field(default="none", description="where optimizer state lies; from ZeRO stage 1 on")
    offload_weights: Place = Field(default="none", description="where sharded weights wait; ZeRO stage 3 only")
    nvme_folder: str = Field(default="", description="local disk of every node for what is offloaded to nvme")
    bucket_elements: int = Field(
        default=500_000_000, gt=0, description="of one message of gradients or weights, and of its buffers"
    )
    communication: Literal["", "fp32", "bf16"] = Field(
        default="", description="type of gradients in messages; empty: that of the weights"
    )
    activation_checkpointing: bool = Field(
        default=False, description="keep only each block's input and compute the rest again, where the model can"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "LaunchConfig":
        wrong = (
            (self.offload_weights != "none" and self.zero_stage < 3, "offload_weights needs zero_stage 3"),
            (self.offload_optimizer != "none" and self.zero_stage < 1, "offload_optimizer needs zero_stage 1 or more"),
            ("nvme" in (self.offload_optimizer, self.offload_weights) and not self.nvme_folder, "name nvme_folder"),
            (
                self.weights != "fp32" and self.launcher != "gloo" and self.zero_stage < 1,
                "DeepSpeed keeps bf16 weights from zero_stage 1 on",
            ),
            (
                self.weights == "bf16" and self.offload_optimizer != "none",
                "optimizer state in bf16 cannot be offloaded; use weights: mixed",
            ),
            (self.weights == "mixed" and self.launcher == "gloo", "weights: mixed needs DeepSpeed"),
        )
        for is_wrong, what in wrong:
            if is_wrong:
                raise ValueError(what)
        return self


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
    monitoring: MonitoringConfig = MonitoringConfig()
    steps: int = Field(default=700, description="optimizer steps")
    report_every_steps: int = 20


class MultitaskModelConfig(TrainingStageConfig):
    """All of `configs/<profile>/multitask_model.yaml`."""

    backbone: BackboneShape = EncoderConfig()
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
    validation: ValidationConfig = ValidationConfig()
    validation_documents: int = Field(default=400, description="at most so many are scored after training")
    report: TrainingReportConfig = TrainingReportConfig()

    @model_validator(mode="after")
    def _starts_from_its_like(self) -> "MultitaskModelConfig":
        if self.initial is not None and self.backbone.family != "compact":
            raise ValueError(
                f"initial: {self.initial} is a compact encoder and no start of {self.backbone.family}; "
                "set initial to null"
            )
        return self
