"""The configuration of `stage_adapters`, importable without torch.

Belongs here: one model per concern; the values are in `configs/<profile>/stage_adapters.yaml`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.augmentation.config import OcrNoise
from sap_llm.modeling.adapters import LoraShape
from sap_llm.modeling.qwen import Size
from sap_llm.training.config import TrainingStageConfig


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskConfig(_Part):
    """How examples are made from annotated documents; shares are chances by example."""

    page_words: int = Field(default=160, ge=8, description="of the first page that the model is shown")
    fault_share: float = Field(default=0.5, ge=0, le=1, description="of a planted fault in an extraction")
    most_faults: int = Field(default=3, ge=1, description="planted in one extraction")
    turned_share: float = Field(default=0.5, ge=0, le=1, description="of the page being turned by a quarter or more")
    misread_share: float = Field(default=0.3, ge=0, le=1, description="of the page being misread")
    shifted_share: float = Field(default=0.2, ge=0, le=1, description="of its text layer having a shifted font table")
    misreading: OcrNoise = OcrNoise(confusion=0.08, missing_space=0.05, doubled_space=0.02, dropped_word=0.02)


class StageAdaptersConfig(TrainingStageConfig):
    """All of `configs/<profile>/stage_adapters.yaml`; steps and batches are those of one adapter.

    `launch.weights` is the type of the adapter's factors, `base_weights` that of the frozen base.
    """

    lora: LoraShape = LoraShape()
    tasks: TaskConfig = TaskConfig()
    size: Size = Field(default="debug", description="of the instructed model, for the memory planner")
    base_weights: Literal["fp32", "bf16"] = "fp32"
    shard_base: bool = Field(default=False, description="over the ranks, block by block, where no card holds it whole")
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    batch_examples: int = Field(default=256, ge=1, description="of one optimizer step, all ranks together")
    most_tokens: int = Field(default=4096, ge=64, description="longer examples are left out, never cut")
    documents: int = Field(default=100_000, ge=1, description="of the training split, at most")
    validation_documents: int = Field(default=1000, ge=1, description="of the validation split, at most")
