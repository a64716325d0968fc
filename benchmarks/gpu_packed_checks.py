"""Whether both sides of `gpu_packed` compute the same, and what the card gives at best.

Belongs here: packed attention against attention document by document in float32, the stock loss against the packed
one, the rate of a large product, the cost of an optimizer step. The measured variants are in `gpu_packed`.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface

from benchmarks.gpu_packed_model import (
    SCALES,
    SEED,
    Bench,
    Variant,
    batches,
    build_model,
    draw_documents,
    forget,
    loss_of,
    now,
    prepare,
    trained,
)
from sap_llm.modeling import packed_attention

TOLERANCE = 2e-2  # bf16 operands lie between 1e-3 and 1e-2 off


def check_attention(device: torch.device) -> dict[str, Any]:
    """How far packed attention is from the truth; where the kernel does not take fewer key heads, it is given all."""
    try:
        errors = attention_errors(device, packed_attention.attention)
        if max(errors.values()) < TOLERANCE:
            return errors
        reason = json.dumps(errors)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
    AttentionInterface.register(packed_attention.IMPLEMENTATION, _with_all_key_heads)
    return {**attention_errors(device, _with_all_key_heads), "key_heads_repeated_because": reason}


def _with_all_key_heads(module: Any, query: Any, key: Any, value: Any, mask: Any, **rest: Any) -> Any:
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    return packed_attention.attention(module, query, key, value, mask, **rest)


def attention_errors(device: torch.device, attention: Callable[..., Any]) -> dict[str, float]:
    """Relative distance of attention in bf16 from float32 document by document, of the outputs and all gradients."""
    torch.manual_seed(SEED)
    lengths, heads, key_heads, width = (130, 1, 77, 300), 8, 2, 128
    whole = sum(lengths)
    wide = [torch.randn(1, count, whole, width, device=device) for count in (heads, key_heads, key_heads)]
    wide = [one.bfloat16().float().requires_grad_() for one in wide]
    narrow = [one.detach().bfloat16().requires_grad_() for one in wide]
    bounds = torch.tensor([0, *np.cumsum(lengths), whole, whole], dtype=torch.int32, device=device)
    layer = torch.nn.Identity()
    layer.is_causal = True
    ours, _ = attention(
        layer, *narrow, None, scaling=width**-0.5, document_bounds=bounds, longest_document=max(lengths)
    )
    pieces = zip(*(one.split(lengths, dim=2) for one in wide), strict=True)
    attend = functools.partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True, enable_gqa=True)
    truth = torch.cat([attend(*piece) for piece in pieces], dim=2).transpose(1, 2)
    weights = torch.randn_like(truth)
    (ours.float() * weights).sum().backward()
    (truth * weights).sum().backward()
    found = [(ours, truth), *((one.grad, other.grad) for one, other in zip(narrow, wide, strict=True))]
    if any(not bool(one.isfinite().all()) for one, _ in found):
        raise ValueError("attention gave values that are not finite")
    return {
        name: float((one.float() - other).norm() / other.norm())
        for name, (one, other) in zip(("output", "query", "key", "value"), found, strict=True)
    }


def check_loss(device: torch.device) -> dict[str, float]:
    """Mean loss of the debug model over the same documents: stock padded, and packed with the chunked loss."""
    scale = replace(SCALES["debug"], budget_divisor=16)
    bench = Bench(scale=scale, device=device, groups=draw_documents(scale), model=build_model(scale, device))
    targets = sum(len(one) - 1 for one in bench.documents)
    losses = {}
    ways = (Variant(name="stock_padded", packed=False), Variant(name="packed_loss", chunked_loss=True))
    for variant in ways:
        prepare(bench, variant)
        parts = [loss_of(bench, variant, batch, targets).item() for batch in batches(bench, variant)]
        losses[variant.name] = round(sum(parts), 5)
    return losses


def ceiling(device: torch.device) -> float:
    """TFLOP/s of a large product of random bf16 matrices: what the card gives at best."""
    size = 8192 if device.type == "cuda" else 256
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    started = now(device)
    for _ in range(10):
        left @ right
    return round(10 * 2 * size**3 / (now(device) - started) / 1e12, 1)


def optimizer_costs(bench: Bench) -> dict[str, float]:
    """Seconds of one AdamW step by its implementation, on states of their own that are dropped afterwards."""
    costs = {}
    for name in ("fused", "foreach"):
        for one in trained(bench.model):
            one.grad = torch.full_like(one, 1e-4)
        optimizer = torch.optim.AdamW(trained(bench.model), lr=1e-6, weight_decay=0.0, **{name: True})
        optimizer.step()
        started = now(bench.device)
        optimizer.step()
        costs[name] = round(now(bench.device) - started, 4)
        optimizer.zero_grad(set_to_none=True)
        del optimizer
        forget(bench)
    return costs
