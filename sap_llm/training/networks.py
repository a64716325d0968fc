"""What a network costs, counted on the meta device: parameters, the largest layer, and what each block keeps.

Belongs here: from a configured shape to the numbers that `memory` and `scaling` calculate with. No weight is allocated;
torch is imported inside the functions.

What a block keeps for the backward pass is counted as Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1) do, over
the tensors that these blocks save; `tests/unit/training/test_memory.py` compares the counts with autograd's own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.qwen import QwenShape

if TYPE_CHECKING:
    from torch import nn

_PATCHES_PER_VISUAL_TOKEN = 4  # merged two by two


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Equal blocks, one after the other.

    Attributes:
        name: Shown in tables.
        blocks: How many.
        input_bytes: Of a block's input, by position.
        kept_bytes: Of all that a block keeps for the backward pass, by position.
        product_bytes: Of what its matrix products and its attention gave, by position; part of `kept_bytes`.
        score_bytes: Of attention scores that are kept, by position and position attended; 0 with fused attention.
        positions: Positions of this stack by token of the batch.
    """

    name: str
    blocks: int
    input_bytes: float
    kept_bytes: float
    product_bytes: float = 0.0
    score_bytes: float = 0.0
    positions: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network as far as memory and time go.

    Attributes:
        name: Shown in tables.
        parameters: All of them.
        trainable: Those with gradients.
        largest_layer: Parameters of the largest single layer, which ZeRO stage 3 gathers at once.
        stacks: Where activations come from.
        logits: Numbers that the last layer gives for each token; their loss is computed in fp32.
        frozen_bytes: Of a weight without gradients on one rank; None: as the launch has weights.
    """

    name: str
    parameters: int
    trainable: int
    largest_layer: int
    stacks: tuple[Stack, ...]
    logits: int
    frozen_bytes: float | None = None


def qwen_network(shape: QwenShape, *, visual_share: float = 0.0, trainable: int | None = None) -> Network:
    """Qwen2.5-VL with bf16 activations and fused attention.

    Args:
        shape: Size and vocabulary.
        visual_share: Share of the tokens that stand for a picture.
        trainable: Parameters that get gradients where it is not all of them, e.g. under LoRA.
    """
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    from sap_llm.modeling.qwen import qwen_config

    config = qwen_config(shape)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    text, vision = config.text_config, config.vision_config
    keys = text.hidden_size // text.num_attention_heads * text.num_key_value_heads
    total = _parameters(model)
    return Network(
        name=f"Qwen2.5-VL {shape.size}",
        parameters=total,
        trainable=total if trainable is None else trainable,
        largest_layer=_largest_layer(model),
        stacks=(
            _gated_blocks(
                "text", text.num_hidden_layers, text.hidden_size, text.intermediate_size, keys, text.num_attention_heads
            ),
            _gated_blocks(
                "vision",
                vision.depth,
                vision.hidden_size,
                vision.intermediate_size,
                vision.hidden_size,
                vision.num_heads,
                positions=_PATCHES_PER_VISUAL_TOKEN * visual_share,
            ),
        ),
        logits=text.vocab_size,
    )


def encoder_network(config: EncoderConfig) -> Network:
    """The document model on the compact encoder, fp32 weights under bf16 autocast, attention scores materialised."""
    import torch

    from sap_llm.modeling.heads import MultitaskModel
    from sap_llm.modeling.labels import default_labels

    labels = default_labels()
    with torch.device("meta"):
        model = MultitaskModel(config, labels)
    inner = config.width * config.expansion
    total = _parameters(model)
    return Network(
        name="compact encoder",
        parameters=total,
        trainable=total,
        largest_layer=_largest_layer(model),
        stacks=(
            Stack(
                name="encoder",
                blocks=config.layers,
                input_bytes=4.0 * config.width,
                # two norms with fp32 inputs and outputs, projections and residuals in bf16, dropout's masks
                kept_bytes=26 * config.width + 4 * inner + 80,
                score_bytes=6.0 * config.heads,  # softmax in fp32, and its cast for the product
            ),
        ),
        logits=len(labels.header_fields) + len(labels.line_fields) + 3,
    )


def _gated_blocks(
    name: str, blocks: int, width: int, inner: int, keys: int, heads: int, *, positions: float = 1.0
) -> Stack:
    """Pre-norm blocks with RMSNorm, grouped keys and a gated feed-forward part, as transformers runs them in bf16.

    Of each position stay: twice the norm's input in fp32 and its output in bf16; queries, keys, values and what was
    attended; the outputs of gate, its activation, up and their product; two statistics of the norms and one a head.
    """
    kept = 20 * width + 8 * inner + 4 * keys + 4 * heads + 8
    # queries, what was attended, the projections out of both parts; keys and values; gate and up; a statistic a head
    products = 2 * (4 * width + 2 * keys + 2 * inner) + 4 * heads
    return Stack(
        name=name,
        blocks=blocks,
        input_bytes=2.0 * width,
        kept_bytes=kept,
        product_bytes=products,
        positions=positions,
    )


def _parameters(model: "nn.Module") -> int:
    return sum(int(value.numel()) for value in model.parameters())


def _largest_layer(model: "nn.Module") -> int:
    return max(sum(int(value.numel()) for value in module.parameters(recurse=False)) for module in model.modules())
