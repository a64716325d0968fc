"""The text tower of Qwen2.5-VL as two functions a layer, over rows of tokens without a batch dimension.

Belongs here: the weights of a layer with queries, keys and values in one product and gate and up in another, products
in bf16 or FP8, and what comes before and after attention. Attention, cache and the loop over tokens are
`fast_decoding`. Needs torch only.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(FP8).max


class Product(NamedTuple):
    """A linear layer: weight [out, in], bias [out] or None; with FP8 weights their scale [1, out], float32."""

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None


class Layer(NamedTuple):
    """Weights of a decoder layer."""

    input_norm: Tensor
    qkv: Product
    out: Product
    inner_norm: Tensor
    gate_up: Product
    down: Product


class Shape(NamedTuple):
    """What the functions need to know beside the weights."""

    heads: int
    key_heads: int
    width: int  # of a head
    epsilon: float


def layers_of(text: Any, *, fp8: bool) -> list[Layer]:
    """The layers of a `Qwen2_5_VLTextModel`; without FP8 its own weights become views of ours."""
    return [
        Layer(
            input_norm=layer.input_layernorm.weight.detach(),
            qkv=joined([layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj], fp8=fp8),
            out=joined([layer.self_attn.o_proj], fp8=fp8),
            inner_norm=layer.post_attention_layernorm.weight.detach(),
            gate_up=joined([layer.mlp.gate_proj, layer.mlp.up_proj], fp8=fp8),
            down=joined([layer.mlp.down_proj], fp8=fp8),
        )
        for layer in text.layers
    ]


def joined(parts: Sequence[Any], *, fp8: bool) -> Product:
    """One product instead of several linear layers of the same input.

    Raises:
        ValueError: A layer is more than that, as one with an adapter: its own part would be lost.
    """
    if wrong := {type(part).__name__ for part in parts if type(part) is not torch.nn.Linear}:
        raise ValueError(
            f"only plain linear layers can be joined, not {', '.join(sorted(wrong))}; merge adapters first"
        )
    weights, biases = [part.weight.detach() for part in parts], [part.bias for part in parts]
    weight = weights[0] if len(parts) == 1 else torch.cat(weights)
    bias = None if biases[0] is None else torch.cat([one.detach() for one in biases])
    if fp8:
        return quantised(weight, bias)
    if len(parts) > 1:
        for part, piece in zip(parts, weight.split([len(one) for one in weights]), strict=True):
            part.weight.data = piece
    return Product(weight, bias)


def quantised(weight: Tensor, bias: Tensor | None = None) -> Product:
    """FP8 weights with a scale for every output."""
    narrow, scale = _narrow(weight)
    return Product(narrow, bias, scale.t().contiguous())


def _narrow(values: Tensor) -> tuple[Tensor, Tensor]:
    """FP8 values [n, width] and the scale [n, 1] of every row."""
    scale = values.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / _LARGEST
    return (values.float() / scale).to(FP8), scale


def multiply(rows: Tensor, product: Product) -> Tensor:
    """[n, in] -> [n, out]; where the weights are FP8, the rows are rounded to it too, each by its own scale."""
    if product.scale is None:
        return functional.linear(rows, product.weight, product.bias)
    narrow, scale = _narrow(rows)
    out = torch._scaled_mm(  # noqa: SLF001 - torch has no public name for a product of FP8
        narrow, product.weight.t(), scale_a=scale, scale_b=product.scale, out_dtype=rows.dtype, use_fast_accum=True
    )
    return out if product.bias is None else out + product.bias


def normed(rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMS norm in float32, rounded where transformers rounds."""
    wide = rows.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(rows.dtype)


def _rotated(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = values.chunk(2, dim=-1)
    return values * cos + torch.cat((-second, first), dim=-1) * sin


def before_attention(
    rows: Tensor, layer: Layer, cos: Tensor, sin: Tensor, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [n, model width] -> queries [n, heads, width], keys and values [n, key heads, width]."""
    out = multiply(normed(rows, layer.input_norm, shape.epsilon), layer.qkv)
    query, key, value = out.view(len(rows), -1, shape.width).split([shape.heads, shape.key_heads, shape.key_heads], 1)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return _rotated(query, cos, sin), _rotated(key, cos, sin), value


def after_attention(rows: Tensor, attended: Tensor, layer: Layer, shape: Shape) -> Tensor:
    """Both residual sums: rows [n, model width], attended [n, heads x width]."""
    rows = rows + multiply(attended, layer.out)
    gate, up = multiply(normed(rows, layer.inner_norm, shape.epsilon), layer.gate_up).chunk(2, dim=-1)
    return rows + multiply(functional.silu(gate) * up, layer.down)
