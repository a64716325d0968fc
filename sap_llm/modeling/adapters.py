"""Adapters of the document stages on one frozen base: attach, open, switch, mix in a batch, merge.

Belongs here: what training and serving share of LoRA on a vision-language model, and the adapter folder (peft's own
form, `adapter_config.json` and `adapter_model.safetensors`, with `adapter.json` beside it). How an adapter is trained
is `sap_llm.training.adapters`. Importing this loads neither torch nor peft.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.schema.document_stages import document_stage_names
from sap_llm.schema.errors import SapLlmError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor, nn

BASE = "__base__"
"""In a mixed batch, the name of a row that no adapter touches (peft's own word for it)."""

CARD = "adapter.json"
WEIGHTS = "adapter_model.safetensors"
_MADE_OF = ("*.safetensors", "config.json", "tokenizer.json")  # what the outputs of a base depend on
_CHUNK_BYTES = 1 << 20


class LoraShape(BaseModel):
    """Low-rank adapters of the text tower; rank, alpha and dropout as the roadmap has them (month 5, week 19)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1, description="the update is scaled by alpha / rank")
    dropout: float = Field(default=0.05, ge=0, lt=1, description="of an adapter's input while it is trained")
    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    feed_forward: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")

    @property
    def targets(self) -> str:
        """Expression that matches whole module names: a list of bare names would match in the vision tower too."""
        parts = (("self_attn", self.attention), ("mlp", self.feed_forward))
        inner = "|".join(rf"{block}\.({'|'.join(names)})" for block, names in parts if names)
        return rf".*language_model\.layers\.\d+\.({inner})"


class AdapterCard(BaseModel):
    """What an adapter is for and which base it belongs to: `adapter.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document_stage: str
    base: str  # dataset version, for people
    base_digest: str  # of the base's folder; an adapter on other weights would be noise
    taxonomy_version: str
    lora: LoraShape


class AdapterMismatchError(SapLlmError):
    """An adapter was put on another base, or asked for by another name, than it was trained for."""


def base_digest(folder: Path) -> str:
    """Digest of a model folder's weights, shape and tokenizer; reads every byte of them.

    Raises:
        AdapterMismatchError: There are no weights.
    """
    files = sorted({path for pattern in _MADE_OF for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise AdapterMismatchError(
            "there are no weights that an adapter could stand on", where=str(folder), remedy="Build instructed_model."
        )
    whole = hashlib.sha256()
    for path in files:
        part = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                part.update(chunk)
        whole.update(f"{path.name} {part.hexdigest()}\n".encode())
    return whole.hexdigest()


def attach(model: "nn.Module", shape: LoraShape, names: Sequence[str]) -> "PeftModel":
    """Put untrained adapters of these names on a base or beside others, in place; the base is frozen.

    None of them changes an output yet: their second factor is zero, the first is drawn from torch's generator.
    """
    from peft import PeftModel, get_peft_model

    for name in names:
        if isinstance(model, PeftModel):
            model.add_adapter(name, _lora(shape))
        else:
            model = get_peft_model(model, _lora(shape), adapter_name=name)
    assert isinstance(model, PeftModel), "at least one name is needed"
    return model


def factors_of(shape: LoraShape, text: Any) -> int:
    """Parameters of one adapter on a text tower of this configuration (`Qwen2_5_VLConfig.text_config`)."""
    width, inner = text.hidden_size, text.intermediate_size
    keys = width // text.num_attention_heads * text.num_key_value_heads
    sides = {
        "q_proj": (width, width),
        "k_proj": (width, keys),
        "v_proj": (width, keys),
        "o_proj": (width, width),
        "gate_proj": (width, inner),
        "up_proj": (width, inner),
        "down_proj": (inner, width),
    }
    named = (*shape.attention, *shape.feed_forward)
    return int(text.num_hidden_layers * shape.rank * sum(sum(sides[name]) for name in named))


def save_adapter(folder: Path, model: "PeftModel", card: AdapterCard) -> int:
    """Write the adapter of the card's stage in peft's form, with the card beside it.

    Returns:
        Bytes of the weights.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    name = card.document_stage
    state = get_peft_model_state_dict(model, adapter_name=name)
    save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, folder / WEIGHTS)
    config = _lora(card.lora)
    config.inference_mode, config.base_model_name_or_path = True, card.base
    config.save_pretrained(str(folder))
    (folder / CARD).write_text(json.dumps(card.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
    return (folder / WEIGHTS).stat().st_size


def read_card(folder: Path) -> AdapterCard:
    """The card of an adapter folder.

    Raises:
        AdapterMismatchError: It is no adapter folder of ours.
    """
    path = folder / CARD
    if not path.is_file():
        raise AdapterMismatchError(f"no {CARD}", where=str(folder), remedy="Name a folder that stage_adapters made.")
    return AdapterCard.model_validate_json(path.read_bytes())


class AdapterSet:
    """A base in evaluation mode with the adapters of document stages on it; one of them is active, or none."""

    def __init__(self, model: "PeftModel") -> None:
        self.model = model.eval()

    @classmethod
    def open(cls, base: "nn.Module", *, digest: str, adapters: Mapping[str, Path]) -> "AdapterSet":
        """Put trained adapters on a loaded base; the last one named is active.

        Args:
            base: Loaded from a model folder; changed in place.
            digest: `base_digest` of that folder.
            adapters: Document stage -> adapter folder; at least one.

        Raises:
            AdapterMismatchError: A folder is another stage's, or was trained on another base.
        """
        from peft import PeftModel

        model: PeftModel | None = None
        for name, folder in adapters.items():
            check_card(read_card(folder), name=name, digest=digest, where=folder)
            if model is None:
                model = PeftModel.from_pretrained(base, str(folder), adapter_name=name)
            else:
                model.load_adapter(str(folder), adapter_name=name)
        if model is None:
            raise ValueError("no adapter to open")
        opened = cls(model)
        opened.switch(tuple(adapters)[-1])
        return opened

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters that can be switched to."""
        return tuple(self.model.peft_config)

    @property
    def active(self) -> str:
        """The adapter that outputs come from."""
        return str(self.model.active_adapter)

    def switch(self, name: str) -> None:
        """Make an adapter the active one; the base's weights are not touched.

        Raises:
            AdapterMismatchError: There is none of that name.
        """
        self._known(name)
        self.model.set_adapter(name, inference_mode=True)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within the block outputs are those of the base, bit for bit."""
        with self.model.disable_adapter():
            yield

    def mixed(self, names: Sequence[str], **inputs: "Tensor") -> "Tensor":
        """Logits of a batch whose rows belong to different stages.

        Args:
            names: Adapter of each row, or `BASE`.
            inputs: As the base takes them.

        Returns:
            [rows, tokens, vocabulary].

        Raises:
            AdapterMismatchError: There is no adapter of one of the names.
        """
        self._known(*names)
        logits: Tensor = self.model(**inputs, adapter_names=list(names)).logits
        return logits

    def add_mix(self, name: str, weights: Mapping[str, float]) -> None:
        """Add an adapter whose update is the weighted sum of the updates of others; its rank is the sum of theirs.

        Raises:
            AdapterMismatchError: There is no adapter of one of the names.
            ValueError: The name is a document stage's, or torch cannot hold a module of that name (`half`, `type`).
        """
        from torch import nn

        self._known(*weights)
        if name in document_stage_names():
            raise ValueError(f"{name} is a document stage: a mix may not pass for its adapter")
        if hasattr(nn.ModuleDict, name):
            raise ValueError(f"{name} is a name of torch's own: give the mix another")
        self.model.add_weighted_adapter(
            list(weights), list(weights.values()), adapter_name=name, combination_type="cat"
        )
        self.model.eval()  # the new modules come in training mode: their dropout would be on

    def merge(self, name: str) -> "nn.Module":
        """The base with one adapter added to its weights, as a plain model; this set is used up by it.

        Raises:
            AdapterMismatchError: There is no adapter of that name.
        """
        self._known(name)
        merged: nn.Module = self.model.merge_and_unload(adapter_names=[name])
        return merged

    def _known(self, *names: str) -> None:
        unknown = sorted(set(names) - {*self.names, BASE})
        if unknown:
            raise AdapterMismatchError(
                f"no adapter {', '.join(unknown)} is open",
                where="adapters",
                remedy=f"Open are: {', '.join(self.names)}.",
            )


def check_card(card: AdapterCard, *, name: str, digest: str, where: Path) -> None:
    """Refuse an adapter that is another stage's or was trained on another base.

    Raises:
        AdapterMismatchError: Says which of the two.
    """
    if card.document_stage != name:
        raise AdapterMismatchError(
            f"this is the adapter of {card.document_stage}, not of {name}",
            where=str(where),
            remedy="Give each stage the folder of its own adapter.",
        )
    if card.base_digest != digest:
        raise AdapterMismatchError(
            f"the adapter was trained on {card.base} (digest {card.base_digest[:12]}), and this base has {digest[:12]}",
            where=str(where),
            remedy="Load the base that it was trained on, or train stage_adapters on this one.",
        )


def _lora(shape: LoraShape) -> Any:
    """A configuration of its own for each adapter: peft keeps and changes the object."""
    from peft import LoraConfig

    return LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=shape.targets,
        bias="none",
    )
