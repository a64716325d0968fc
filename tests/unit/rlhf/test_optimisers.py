"""PPO and DPO: advantages by hand, gradients on generated tokens alone, and both reach an optimum that is known."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sap_llm.rlhf.dpo import answer_log_probs, dpo_loss
from sap_llm.rlhf.ppo import (
    AdaptiveKl,
    Ppo,
    PpoConfig,
    Rollouts,
    Scored,
    advantages_of,
    ppo_loss,
    token_rewards,
)
from tests.support.toy_policy import ToyPolicy, every_answer, generated, optimum, reward, roll_out

KL = 0.25


def _distance(policy: ToyPolicy, wanted: Tensor) -> float:
    """Total variation: half the absolute difference."""
    return float((policy.answer_log_probs().exp() - wanted).abs().sum() / 2)


def test_advantages_are_those_of_a_table_made_by_hand() -> None:
    # discount 0.9, lambda 0.5; surprises 1 + 0.9*2 - 1 = 1.8, 0 + 0.9*3 - 2 = 0.7, 4 - 3 = 1
    # advantages: 1; 0.7 + 0.45*1 = 1.15; 1.8 + 0.45*1.15 = 2.3175. The second row is the same with a gap and padding.
    rewards = torch.tensor([[1.0, 0.0, 4.0, 0.0, 0.0], [1.0, 0.0, 0.0, 4.0, 0.0]])
    values = torch.tensor([[1.0, 2.0, 3.0, 9.0, 9.0], [1.0, 9.0, 2.0, 3.0, 9.0]])
    mask = torch.tensor([[True, True, True, False, False], [True, False, True, True, False]])
    found = advantages_of(rewards, values, mask, discount=0.9, trace=0.5)
    wanted = torch.tensor([[2.3175, 1.15, 1.0, 0.0, 0.0], [2.3175, 0.0, 1.15, 1.0, 0.0]])
    torch.testing.assert_close(found, wanted)


def test_the_answers_reward_is_on_its_last_token_and_the_penalty_on_each() -> None:
    rollouts = Rollouts(
        tokens=torch.zeros(1, 4, dtype=torch.int64),
        is_generated=torch.tensor([[False, True, True, False]]),
        log_probs=torch.tensor([[-9.0, -1.0, -2.0, -9.0]]),
        reference_log_probs=torch.tensor([[-1.0, -2.0, -1.5, -1.0]]),
        values=torch.zeros(1, 4),
        rewards=torch.tensor([3.0]),
    )
    torch.testing.assert_close(token_rewards(rollouts, 0.1), torch.tensor([[0.0, -0.1, 3.05, 0.0]]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(0, 1000))
def test_only_generated_tokens_have_a_gradient(rows: list[list[bool]], seed: int) -> None:
    mask = torch.tensor(rows)
    mask[:, 2] = True
    generator = torch.Generator().manual_seed(seed)
    now = [torch.randn(mask.shape, generator=generator).requires_grad_() for _ in range(3)]
    then = [torch.randn(mask.shape, generator=generator) for _ in range(3)]
    rollouts = Rollouts(
        tokens=torch.zeros(mask.shape, dtype=torch.int64),
        is_generated=mask,
        log_probs=then[0],
        reference_log_probs=then[1],
        values=then[2],
        rewards=torch.ones(len(mask)),
    )
    advantages = torch.randn(mask.shape, generator=generator)
    ppo_loss(Scored(*now), rollouts, advantages, advantages, PpoConfig()).backward()  # type: ignore[no-untyped-call]
    for tensor in now:
        assert tensor.grad is not None
        assert bool((tensor.grad[~mask] == 0).all())
    assert now[1].grad is not None
    assert bool((now[1].grad[mask] < 0).all()), "entropy is rewarded on every generated token"


@pytest.mark.parametrize(("advantage", "ratio", "moves"), [(1.0, 1.3, False), (1.0, 0.7, True), (-1.0, 0.7, False)])
def test_the_clip_ends_what_goes_too_far(advantage: float, ratio: float, moves: bool) -> None:
    log_probs = torch.tensor([[ratio]]).log().requires_grad_()
    zero, one = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    rollouts = Rollouts(
        tokens=one.long(), is_generated=one, log_probs=zero, reference_log_probs=zero, values=zero, rewards=zero[0]
    )
    given_advantage = torch.tensor([[advantage]])
    loss = ppo_loss(Scored(log_probs, zero, zero), rollouts, given_advantage, zero, PpoConfig(clip=0.2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    assert bool(log_probs.grad.abs().sum() > 0) == moves


def test_the_penalty_follows_its_target() -> None:
    kl = AdaptiveKl(PpoConfig(kl=0.05, kl_target=2.0, kl_horizon=100))
    kl.observe(4.0, 10)
    assert kl.penalty == pytest.approx(0.05 * 1.02)  # the error is clipped to 0.2
    kl.observe(2.0, 10)
    assert kl.penalty == pytest.approx(0.05 * 1.02)
    kl.observe(0.0, 10)
    assert kl.penalty == pytest.approx(0.05 * 1.02 * 0.98)
    still = AdaptiveKl(PpoConfig(kl=0.05))
    still.observe(100.0, 10)
    assert still.penalty == 0.05


def test_an_answer_without_a_token_is_refused() -> None:
    policy = ToyPolicy(seed=1)
    rollouts = roll_out(policy, policy, 2, torch.Generator().manual_seed(1))
    empty = Rollouts(**(vars(rollouts) | {"is_generated": torch.zeros(2, 3, dtype=torch.bool)}))
    with pytest.raises(ValueError, match="without a generated token"):
        token_rewards(empty, 0.1)


def test_ppo_reaches_the_known_optimum() -> None:
    reference = ToyPolicy(seed=3)
    policy, generator = copy.deepcopy(reference), torch.Generator().manual_seed(5)
    wanted = optimum(reference, KL)
    before = _distance(policy, wanted)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.03)
    config = PpoConfig(kl=KL, entropy=0.0, is_standardised=False, minibatch=256, epochs=2)
    ppo = Ppo(policy, optimizer, config, seed=7)
    updates = 150
    for number in range(updates):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - number / updates)
        ppo.update(roll_out(policy, reference, 512, generator))
    assert before > 0.25
    assert _distance(policy, wanted) < 0.01


def test_dpo_reaches_the_same_optimum() -> None:
    reference = ToyPolicy(seed=3)
    policy, wanted = copy.deepcopy(reference), optimum(reference, KL)
    answers = every_answer()
    first, second = (rows.flatten() for rows in torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij"))
    wins = (reward(answers[first]) - reward(answers[second])).sigmoid()  # of Bradley and Terry's judge
    fixed = reference.answer_log_probs()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(400):
        said = answer_log_probs(policy(answers).log_probs, generated(answers))
        loss = torch.zeros(())
        for better, worse, weight in ((first, second, wins), (second, first, 1 - wins)):
            before = {"reference_chosen": fixed[better], "reference_rejected": fixed[worse]}
            loss = loss + dpo_loss(said[better], said[worse], **before, kl=KL, weights=weight)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert _distance(policy, wanted) < 0.01
