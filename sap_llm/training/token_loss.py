"""Cross entropy over a large vocabulary without ever holding all of its logits, and what to keep for the backward pass.

Belongs here: the loss of language models and the choice of activations that are saved or computed again. The losses of
the document model's heads are in `losses`. Needs torch only, so that a bare GPU machine can import it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from sap_llm.training.packing import IGNORED


def chunked_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    *,
    divisor: torch.Tensor | float,
    chunk: int,
    compiled: bool = False,
) -> torch.Tensor:
    """Sum of cross entropies over `divisor`, gradients made chunk by chunk on the way forward.

    The logits of 16,384 tokens over 152,064 words are 10 GB in float32, several times over in a plain backward pass;
    here one chunk of them lives at a time. Nothing is computed twice.

    Args:
        hidden: (tokens, width), the last hidden states.
        weight: (vocabulary, width), the output projection.
        labels: (tokens,), IGNORED where nothing is learned.
        divisor: What the sum is divided by: the number of targets of the whole effective batch.
        chunk: Tokens at a time.
        compiled: Whether the softmax is fused by torch.compile.

    Returns:
        Scalar float32.
    """
    softmax = _compiled_softmax() if compiled else _softmax
    scale = torch.as_tensor(divisor, dtype=torch.float32, device=hidden.device).reciprocal()
    loss: torch.Tensor = _ChunkedCrossEntropy.apply(hidden, weight, labels, scale, chunk, softmax)
    return loss


def save_matmuls() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Context of `torch.utils.checkpoint` that keeps what is dear: products of matrices and attention.

    What is cheap (norms, rotations, activations) is computed again: a layer costs about a third of the memory of
    keeping all, and none of the time of computing all again.
    """
    contexts: tuple[AbstractContextManager[Any], AbstractContextManager[Any]]
    contexts = create_selective_checkpoint_contexts(_policy)
    return contexts


_DEAR = {
    "aten.mm.default",
    "aten.addmm.default",
    "aten.bmm.default",
    "aten._scaled_dot_product_flash_attention.default",
    "aten._scaled_dot_product_flash_attention_for_cpu.default",
    "aten._scaled_dot_product_efficient_attention.default",
    "torch_attn._varlen_attn.default",
}


def _policy(_context: Any, operation: Any, *_arguments: Any, **_keywords: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if str(operation) in _DEAR else CheckpointPolicy.PREFER_RECOMPUTE


_Softmax = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _softmax(logits: torch.Tensor, labels: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled loss of a chunk, and its scaled probabilities in the logits' own type; rows without a target are 0."""
    targets = labels.clamp_min(0).unsqueeze(1)
    weights = (labels != IGNORED) * scale
    wide = logits.float()
    norms = wide.logsumexp(1)
    loss = ((norms - wide.gather(1, targets).squeeze(1)) * weights).sum()
    chances = (wide - norms.unsqueeze(1)).exp() * weights.unsqueeze(1)
    return loss, chances.to(logits.dtype)


_fused: list[_Softmax] = []


def _compiled_softmax() -> _Softmax:
    if not _fused:
        _fused.append(torch.compile(_softmax, dynamic=False))
    return _fused[0]


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        scale: torch.Tensor,
        chunk: int,
        softmax: _Softmax,
    ) -> torch.Tensor:
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            part, gradient = softmax(hidden[rows] @ weight.T, labels[rows], scale)
            loss += part
            targets = labels[rows].clamp_min(0).unsqueeze(1)
            wanted = ((labels[rows] != IGNORED) * -scale).to(gradient.dtype).unsqueeze(1)
            gradient.scatter_add_(1, targets, wanted)
            torch.mm(gradient, weight, out=hidden_gradient[rows])
            weight_gradient.addmm_(gradient.T, hidden[rows])
        context.save_for_backward(hidden_gradient, weight_gradient)
        return loss

    @staticmethod
    def backward(context: Any, *outer: Any) -> Any:
        hidden_gradient, weight_gradient = context.saved_tensors
        (factor,) = outer
        return hidden_gradient * factor, weight_gradient * factor, None, None, None, None
