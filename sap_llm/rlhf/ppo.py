"""Proximal policy optimisation of a token policy against a frozen reference, with a learned value of every token.

Belongs here: advantages, the clipped losses, the controller of the KL penalty, and one update. How answers are sampled
and scored is the caller's: an update takes finished rollouts, whatever model wrote them. Rivals are neighbours
(`dpo`); rewards that need no model are `answers`.

Only generated tokens count. Every sum goes over the log probability of the token that was taken, never over the
vocabulary, and prompt and padding are masked out (Schulman et al. 2017; Ziegler et al. 2019; Ouyang et al. 2022).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MOST_LOG_RATIO = 20.0  # keeps exp finite; the clip acts far below


class PpoConfig(BaseModel):
    """Weights of the losses and of the KL penalty; defaults of the roadmap, month 8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: float = Field(default=0.2, gt=0, description="ratio and value are kept within 1 +- this, old value +- this")
    kl: float = Field(default=0.05, ge=0, description="penalty of a nat of divergence from the reference, at first")
    kl_target: float | None = Field(
        default=None, gt=0, description="nats an answer that the penalty is steered to; None: it stays as it is"
    )
    kl_horizon: int = Field(default=10_000, gt=0, description="answers in which the penalty follows its target")
    value: float = Field(default=0.5, ge=0, description="weight of the value loss")
    entropy: float = Field(default=0.01, ge=0, description="weight of the entropy bonus")
    discount: float = Field(default=1.0, gt=0, le=1)
    trace: float = Field(default=0.95, ge=0, le=1, description="lambda of generalised advantage estimation")
    epochs: int = Field(default=4, ge=1, description="passes over a batch of rollouts")
    minibatch: int = Field(default=64, ge=1, description="answers a gradient step")
    is_standardised: bool = Field(
        default=True,
        description="advantages of a batch get mean 0 and deviation 1; near an optimum that amplifies noise",
    )
    most_gradient: float = Field(default=1.0, gt=0, description="gradient norm that is clipped to")


class Scored(NamedTuple):
    """What the policy says about given tokens, each [answers, tokens]; position t speaks about token t."""

    log_probs: "Tensor"
    entropy: "Tensor"
    values: "Tensor"


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Finished answers as they were sampled, all [answers, tokens] but `rewards`; nothing here carries a gradient."""

    tokens: "Tensor"  # int64, prompt and answer
    is_generated: "Tensor"  # bool: neither prompt nor padding
    log_probs: "Tensor"  # of the policy that sampled
    reference_log_probs: "Tensor"
    values: "Tensor"
    rewards: "Tensor"  # [answers], for the whole answer


Policy = Callable[["Tensor"], Scored]
"""Tokens [answers, tokens] to what the policy says about them, with gradients."""


class AdaptiveKl:
    """The penalty that keeps the measured divergence near its target (Ziegler et al. 2019, section 2.2)."""

    def __init__(self, config: PpoConfig) -> None:
        self.penalty = config.kl
        self._target, self._horizon = config.kl_target, config.kl_horizon

    def observe(self, divergence: float, answers: int) -> None:
        """Raise or lower the penalty after `answers` answers diverged by `divergence` nats each on average."""
        if self._target is not None:
            error = min(max(divergence / self._target - 1, -0.2), 0.2)
            self.penalty *= 1 + error * answers / self._horizon


def token_rewards(rollouts: Rollouts, penalty: float) -> "Tensor":
    """Reward of every generated token: minus the penalised log ratio to the reference, plus the answer's on its last.

    Returns:
        float [answers, tokens], 0 where nothing was generated.

    Raises:
        ValueError: An answer has no generated token.
    """
    import torch

    mask = rollouts.is_generated
    if not bool(mask.any(dim=1).all()):
        raise ValueError("an answer without a generated token cannot be rewarded")
    rewards = torch.where(mask, -penalty * (rollouts.log_probs - rollouts.reference_log_probs), 0.0)
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, -1).argmax(dim=1)
    rewards[torch.arange(len(rewards), device=mask.device), last] += rollouts.rewards
    return rewards


def advantages_of(
    rewards: "Tensor", values: "Tensor", is_generated: "Tensor", *, discount: float, trace: float
) -> "Tensor":
    """Generalised advantage estimates (Schulman et al. 2016, equation 16), 0 where nothing was generated.

    Tokens that were not generated are skipped over: padding and turns of others neither end an answer nor discount it.
    """
    import torch

    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(rewards[:, 0])
    for position in reversed(range(rewards.shape[1])):
        mask = is_generated[:, position]
        surprise = rewards[:, position] + discount * next_value - values[:, position]
        following = torch.where(mask, surprise + discount * trace * following, following)
        next_value = torch.where(mask, values[:, position], next_value)
        advantages[:, position] = torch.where(mask, following, 0.0)
    return advantages


def ppo_loss(
    scored: Scored, rollouts: Rollouts, advantages: "Tensor", returns: "Tensor", config: PpoConfig
) -> "Tensor":
    """Clipped policy loss + value loss - entropy bonus, each the mean over generated tokens.

    Args:
        scored: Of the policy as it is now, with gradients.
        rollouts: Of the policy as it was when it sampled.
        advantages: float [answers, tokens].
        returns: float [answers, tokens], what the value shall be.
        config: Clip and weights.
    """
    import torch

    mask = rollouts.is_generated
    ratio = (scored.log_probs - rollouts.log_probs)[mask].clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO).exp()
    advantage = advantages[mask]
    policy = -torch.minimum(ratio * advantage, ratio.clamp(1 - config.clip, 1 + config.clip) * advantage).mean()
    now, then, wanted = scored.values[mask], rollouts.values[mask], returns[mask]
    clipped = then + (now - then).clamp(-config.clip, config.clip)
    value = 0.5 * torch.maximum((now - wanted) ** 2, (clipped - wanted) ** 2).mean()
    return policy + config.value * value - config.entropy * scored.entropy[mask].mean()


class Ppo:
    """Updates a policy from rollouts; holds the KL penalty and the order of the minibatches."""

    def __init__(self, policy: Policy, optimizer: "torch.optim.Optimizer", config: PpoConfig, *, seed: int) -> None:
        self.config, self.kl = config, AdaptiveKl(config)
        self._policy, self._optimizer, self._random = policy, optimizer, random.Random(seed)  # noqa: S311 -- no secret

    def update(self, rollouts: Rollouts) -> dict[str, float]:
        """Several passes over one batch of rollouts; returns loss, reward, kl (nats an answer), penalty, steps."""
        import torch

        config, mask = self.config, rollouts.is_generated
        rewards = token_rewards(rollouts, self.kl.penalty)
        raw = advantages_of(rewards, rollouts.values, mask, discount=config.discount, trace=config.trace)
        returns, advantages = raw + rollouts.values, _standardised(raw, mask) if config.is_standardised else raw
        parameters = [one for group in self._optimizer.param_groups for one in group["params"]]
        losses: list[float] = []
        order = list(range(len(rollouts.tokens)))
        for _ in range(config.epochs):
            self._random.shuffle(order)
            for start in range(0, len(order), config.minibatch):
                rows = torch.tensor(order[start : start + config.minibatch], device=mask.device)
                part = Rollouts(**{name: tensor[rows] for name, tensor in vars(rollouts).items()})
                loss = ppo_loss(self._policy(part.tokens), part, advantages[rows], returns[rows], config)
                self._optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, config.most_gradient)
                self._optimizer.step()
                losses.append(loss.item())
        difference = torch.where(mask, rollouts.log_probs - rollouts.reference_log_probs, 0.0)
        divergence = difference.sum(dim=1).mean().item()
        self.kl.observe(divergence, len(order))
        return {
            "loss": sum(losses) / len(losses),
            "reward": rollouts.rewards.mean().item(),
            "kl": divergence,
            "penalty": self.kl.penalty,
            "steps": float(len(losses)),
        }


def _standardised(advantages: "Tensor", mask: "Tensor") -> "Tensor":
    """Mean 0 and deviation 1 over the generated tokens, 0 elsewhere."""
    import torch

    known = advantages[mask]
    spread = known.std(unbiased=False)
    return torch.where(mask, (advantages - known.mean()) / (spread + 1e-8), 0.0)
