"""Direct preference optimisation: a policy learns from pairs at once, without a reward model.

Belongs here: the loss and the implicit reward (Rafailov et al. 2023, equation 7), with the margin of a pair as the
reward difference that it shall keep (ODPO, Amini et al. 2024). Optimising by sampled rewards is `ppo`; which answers
form a pair is `pairs`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def answer_log_probs(log_probs: "Tensor", is_generated: "Tensor") -> "Tensor":
    """Log probability of whole answers: the sum over their generated tokens ([answers, tokens] -> [answers])."""
    import torch

    return torch.where(is_generated, log_probs, 0.0).sum(dim=1)


def dpo_loss(
    chosen: "Tensor",
    rejected: "Tensor",
    *,
    reference_chosen: "Tensor",
    reference_rejected: "Tensor",
    kl: float,
    margins: "Tensor | None" = None,
    weights: "Tensor | None" = None,
) -> "Tensor":
    """Mean negative log likelihood that the chosen answers win, by the policy's implicit rewards.

    Args:
        chosen: float [pairs], log probability of the better answer, with gradients.
        rejected: Likewise of the worse one.
        reference_chosen: Of the frozen reference, without gradients.
        reference_rejected: Likewise.
        kl: Price of a nat of divergence from the reference (beta of the paper).
        margins: float [pairs], by how much the better answer's reward shall be higher; None: 0.
        weights: float [pairs], how often people judged so, or how far they are trusted; None: 1.
    """
    from torch.nn.functional import logsigmoid

    advantage = kl * ((chosen - reference_chosen) - (rejected - reference_rejected))
    losses = -logsigmoid(advantage if margins is None else advantage - margins)
    return losses.mean() if weights is None else (weights * losses).mean()
