"""The stage `domain_model`: a language model goes on reading, now SAP's texts and the documents of a release.

Belongs here: configuration and what tells this training stage from the others. How a stage is planned, launched and
collected is `stage`; its program is `domain_program`, its data are `domain_tokens`. Importing this module loads no
torch.
"""

from collections.abc import Mapping

from pydantic import Field, model_validator

from sap_llm.modeling.qwen import QwenShape, Size
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.store import Dataset
from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.domain_tokens import DomainTokensConfig
from sap_llm.training.memory import Keep, Workload
from sap_llm.training.networks import qwen_network
from sap_llm.training.shares import Shares, share
from sap_llm.training.stage import TrainingStage

TOKENS = "domain_tokens"
MODEL_FOLDER = "model"


class DomainModelConfig(TrainingStageConfig):
    """`configs/<profile>/domain_model.yaml`; shape and base of the model are those of its `domain_tokens`."""

    size: Size = Field(default="debug", description="of the decoder; must be that of domain_tokens")
    pack_tokens: int = Field(default=16_384, ge=8, description="budget in which texts lie one behind the other")
    batch_packs: int = Field(default=32, ge=1, description="packs of one optimizer step, all ranks together")
    window_texts: int = Field(default=1024, ge=1, description="texts that are packed together")
    loss_chunk: int = Field(default=4096, ge=1, description="tokens whose logits exist at a time")
    keep: Keep = Field(
        default="all", description="of a layer's activations for the backward pass; the rest is computed again"
    )
    is_compiled: bool = Field(default=False, description="fuse the decoder's layers and the loss by torch.compile")
    measured_tokens: int = Field(default=200_000, ge=1, description="of each split, before and after training, about")

    @model_validator(mode="after")
    def _is_one_idea(self) -> "DomainModelConfig":
        if self.launch.activation_checkpointing:
            raise ValueError("domain_model says by `keep` what is computed again; leave activation_checkpointing false")
        if self.batch_packs % self.launch.ranks:
            raise ValueError("batch_packs must be a multiple of launch.ranks: packs are not cut by ranks")
        return self


def shares_of(config: DomainModelConfig, *, ranks: int, halvings: int) -> Shares:
    """The packs of a step in pieces of one pack, or of a part where memory was too small."""
    effective = config.batch_packs * config.pack_tokens
    return share(effective, ranks=ranks, micro_batch=config.pack_tokens, halvings=halvings)


def tokens_config(manifest_configuration: Mapping[str, object]) -> DomainTokensConfig:
    """What the consumed `domain_tokens` were made with."""
    return DomainTokensConfig.model_validate(manifest_configuration)


def _workload(config: DomainModelConfig, halvings: int) -> tuple[Shares, Workload]:
    shares = shares_of(config, ranks=config.launch.ranks, halvings=halvings)
    workload = Workload(
        network=qwen_network(QwenShape(size=config.size)),
        tokens=shares.micro_batch,
        longest=config.pack_tokens,
        keep=config.keep,
        is_compiled=config.is_compiled,
        loss_tokens=min(config.loss_chunk, shares.micro_batch),
        piece_key="pack_tokens",
    )
    return shares, workload


def _has_tokens(inputs: Mapping[str, Dataset]) -> None:
    tokens = inputs[TOKENS]
    if not tokens.manifest.metrics.get("tokens_train"):
        raise ConfigurationError(
            "there is no text to learn from", where=str(tokens.ref), remedy="Build sap_knowledge, or a larger set."
        )


DOMAIN_MODEL = TrainingStage(
    name="domain_model",
    version="1",
    config=DomainModelConfig,
    program="sap_llm.training.domain_program",
    inputs=(TOKENS,),
    check=_has_tokens,
    workload=_workload,
    headline=(
        "sap_perplexity_after",
        "sap_perplexity_before",
        "documents_perplexity_after",
        "documents_perplexity_before",
        "forgetting",
        "loss",
        "seconds",
        "parameters",
    ),
    use="What `instructed_model` begins with: a decoder that has read SAP's texts and the words of business documents. "
    "It goes on with a text and was taught to answer nothing.",
    limits=(
        "Where `domain_tokens` names no base, it began with random weights and knows the texts of its release alone.",
        "What it forgot is measured on documents of the general classes of `domain_tokens`, on nothing else.",
        "It was shown no picture: its vision tower is as it was before.",
    ),
)
