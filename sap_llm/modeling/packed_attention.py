"""Attention over documents that lie one behind the other in one sequence: no document sees another.

Belongs here: the attention function, its name for transformers (`attn_implementation`), and how the bounds of documents
reach it. Which documents share a sequence is decided in `training.packing`; what is learned from it, in
`training.token_loss`. Needs torch and transformers only, so that a bare GPU machine can import it.
"""

import inspect
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention

# "flash" in the name makes the vision tower hand over the bounds of its windows instead of calling us window by window.
IMPLEMENTATION = "varlen_flash"
_HALF = (torch.bfloat16, torch.float16)
# The kernel always takes fewer heads for keys; newer versions of its front want that said.
_FEWER_KEYS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in inspect.signature(varlen_attn).parameters else {}


def register() -> str:
    """Tell transformers of this attention, once or again; the name is what `set_attn_implementation` takes."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, attention)
    return IMPLEMENTATION


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    is_causal: bool | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    document_bounds: torch.Tensor | None = None,
    longest_document: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within documents; called by transformers for every layer.

    Args:
        module: The layer; its `is_causal` counts where none is given.
        query: (1, heads, tokens, width); key and value may have fewer heads.
        key: See query.
        value: See query.
        attention_mask: Must be None: the bounds say who sees whom.
        scaling: Factor of the scores.
        is_causal: Whether a token sees only those before it.
        cu_seq_lens_q: Bounds of images or windows; the vision tower gives them.
        max_length_q: Longest of them.
        document_bounds: int32, first token of every document and the end of the last, ascending from 0. It may end in
            repetitions, so that its size is the same in every step. A keyword of the model's own call.
        longest_document: An upper bound of the longest one, tokens. A keyword of the model's own call.

    Returns:
        (1, tokens, heads, width), and None where others give weights.

    Raises:
        ValueError: A mask was given, more than one row, or no bounds.
    """
    bounds, longest = (
        (cu_seq_lens_q, max_length_q) if cu_seq_lens_q is not None else (document_bounds, longest_document)
    )
    if attention_mask is not None or query.shape[0] != 1 or bounds is None or longest is None:
        raise ValueError("packed attention takes one row with document_bounds and longest_document, and no mask")
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves rotated ones in float32
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if query.is_cuda and query.dtype in _HALF:
        return _by_kernel(query, key, value, bounds, int(longest), scaling, causal=causal), None
    if query.is_cuda or torch.compiler.is_compiling():
        return _by_mask(query, key, value, bounds, scaling, causal=causal), None
    return _by_document(query, key, value, bounds, scaling, causal=causal), None


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    longest: int,
    scaling: float,
    *,
    causal: bool,
) -> torch.Tensor:
    """The fused kernel: cost and memory by document, whatever lies beside it."""
    rows = (one.transpose(1, 2).squeeze(0).contiguous() for one in (query, key, value))
    window = (-1, 0) if causal else (-1, -1)
    out = varlen_attn(*rows, bounds, bounds, longest, longest, scale=scaling, window_size=window, **_FEWER_KEYS)
    assert isinstance(out, torch.Tensor)  # a pair only where more was asked for
    return out.unsqueeze(0)


def _by_mask(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, scaling: float, *, causal: bool
) -> torch.Tensor:
    """Where the kernel cannot be: one mask over all, quadratic in the whole sequence, and a graph for the compiler."""
    places = torch.arange(query.shape[2], device=query.device)
    document = torch.searchsorted(bounds.to(places.dtype), places, right=True)
    mask = document[:, None] == document[None, :]
    if causal:
        mask = mask & (places[:, None] >= places[None, :])
    out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2)


def _by_document(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, scaling: float, *, causal: bool
) -> torch.Tensor:
    """On a CPU: one call a document, so that the cost is that of the documents."""
    lengths = bounds.diff().tolist()
    pieces = zip(*(one.split(lengths, dim=2) for one in (query, key, value)), strict=True)
    outs = [
        scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scaling, enable_gqa=True)
        for q, k, v in pieces
        if q.shape[2]
    ]
    return torch.cat(outs, dim=2).transpose(1, 2)
