"""A policy small enough to write down: every answer of two tokens has its own probability, and the optimum is known.

For tests and the benchmark of the optimisers. The reward is verifiable, the share of right tokens, and a
KL-regularised optimiser must end at pi* ~ reference * exp(reward / kl).
"""

import torch
from torch import Tensor, nn

from sap_llm.rlhf.ppo import Rollouts, Scored

LETTERS, START = 4, 4


class ToyPolicy(nn.Module):
    """Logits of the first token, and of the second by the first; rows are prompt (START), first, second token."""

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(torch.randn(LETTERS + 1, LETTERS, generator=generator))
        self.value = nn.Parameter(torch.zeros(LETTERS + 1))  # before the token after this one

    def forward(self, tokens: Tensor) -> Scored:
        before = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)
        log_probs = self.logits[before].log_softmax(dim=-1)
        taken = tokens.clamp(max=LETTERS - 1)[..., None]  # the prompt is masked out by whoever reads this
        return Scored(
            log_probs=log_probs.gather(-1, taken)[..., 0],
            entropy=-(log_probs.exp() * log_probs).sum(dim=-1),
            values=self.value[before],
        )

    @torch.no_grad()
    def sample(self, answers: int, generator: torch.Generator) -> Tensor:
        tokens = torch.full((answers, 3), START)
        for position in (1, 2):
            chances = self.logits[tokens[:, position - 1]].softmax(dim=-1)
            tokens[:, position] = torch.multinomial(chances, 1, generator=generator)[:, 0]
        return tokens

    @torch.no_grad()
    def answer_log_probs(self) -> Tensor:
        """[16], over `every_answer`."""
        return self(every_answer()).log_probs[:, 1:].sum(dim=1)


def every_answer() -> Tensor:
    """int64 [16, 3]."""
    first, second = torch.meshgrid(torch.arange(LETTERS), torch.arange(LETTERS), indexing="ij")
    return torch.stack([torch.full((LETTERS**2,), START), first.flatten(), second.flatten()], dim=1)


def reward(tokens: Tensor) -> Tensor:
    """Share of right tokens of [answers, 3]; right are 1, then 2."""
    return ((tokens[:, 1] == 1).float() + (tokens[:, 2] == 2).float()) / 2


def optimum(reference: ToyPolicy, kl: float) -> Tensor:
    """[16], the distribution that maximises reward - kl * KL(policy, reference)."""
    return (reference.answer_log_probs() + reward(every_answer()) / kl).softmax(dim=0)


@torch.no_grad()
def roll_out(policy: ToyPolicy, reference: ToyPolicy, answers: int, generator: torch.Generator) -> Rollouts:
    tokens = policy.sample(answers, generator)
    scored = policy(tokens)
    return Rollouts(
        tokens=tokens,
        is_generated=generated(tokens),
        log_probs=scored.log_probs,
        reference_log_probs=reference(tokens).log_probs,
        values=scored.values,
        rewards=reward(tokens),
    )


def generated(tokens: Tensor) -> Tensor:
    """All but the prompt."""
    return torch.tensor([False, True, True]).expand_as(tokens)
