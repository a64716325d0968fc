"""What a gradient step buys: PPO against DPO on a policy whose optimum is known.

Both start at the same reference, pay the same for divergence and take the same number of answers a step: PPO samples
them and sees their rewards, DPO gets pairs sampled from the reference and judged by a Bradley-Terry judge of the same
reward. So PPO is told more: a number for each answer against one noisy bit for two. At the optimum reward less penalty
is the same for every answer, so its advantages, and with them the noise, vanish there; real rewards do not allow that.
Printed are reward and distance to the optimum on the way; ratios are gains of reward a gradient step on this toy alone.
"""

import copy
import statistics
from collections.abc import Callable

import torch

from benchmarks.measure import Measure, higher_is_better
from sap_llm.rlhf.dpo import answer_log_probs, dpo_loss
from sap_llm.rlhf.ppo import Ppo, PpoConfig
from tests.support.toy_policy import ToyPolicy, every_answer, generated, optimum, reward, roll_out

RUNS, KL, ANSWERS, RATE = 5, 0.25, 128, 0.03
SHOWN = (10, 50, 200)  # gradient steps
Step = Callable[[], object]


def run() -> dict[str, Measure]:
    """Median gain of expected reward a gradient step, by steps taken."""
    torch.set_num_threads(1)
    ours = [_curve(_ppo, seed) for seed in range(RUNS)]
    rival = [_curve(_dpo, seed) for seed in range(RUNS)]
    measures: dict[str, Measure] = {}
    print(f"{'steps':>6} {'reward PPO':>12} {'reward DPO':>12} {'of optimum':>12} {'off PPO':>9} {'off DPO':>9}")
    for place, steps in enumerate(SHOWN):
        (gain, reached, off), (gain_rival, reached_rival, off_rival) = (
            [statistics.median(curve[place][column] for curve in curves) for column in range(3)]
            for curves in (ours, rival)
        )
        best = statistics.median(curve[place][3] for curve in ours)
        print(f"{steps:>6} {reached:>12.4f} {reached_rival:>12.4f} {best:>12.4f} {off:>9.3f} {off_rival:>9.3f}")
        measures[f"gain_a_step_{steps}"] = higher_is_better(
            ours=gain / steps, rival=gain_rival / steps, rival_name="DPO", unit="reward/step", runs=RUNS
        )
    return measures


def _curve(method: Callable[[ToyPolicy, ToyPolicy, int], Step], seed: int) -> list[tuple[float, float, float, float]]:
    """At each of `SHOWN`: gain, expected reward, total variation from the optimum, expected reward of the optimum."""
    reference = ToyPolicy(seed=seed)
    policy = copy.deepcopy(reference)
    step, wanted = method(policy, reference, seed), optimum(reference, KL)
    scores, points = reward(every_answer()), []
    before = float(reference.answer_log_probs().exp() @ scores)
    for number in range(1, SHOWN[-1] + 1):
        step()
        if number in SHOWN:
            now = policy.answer_log_probs().exp()
            off = float((now - wanted).abs().sum() / 2)
            points.append((float(now @ scores) - before, float(now @ scores), off, float(wanted @ scores)))
    return points


def _ppo(policy: ToyPolicy, reference: ToyPolicy, seed: int) -> Step:
    config = PpoConfig(kl=KL, entropy=0.0, is_standardised=False, epochs=1, minibatch=ANSWERS)
    ppo = Ppo(policy, torch.optim.Adam(policy.parameters(), lr=RATE), config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return lambda: ppo.update(roll_out(policy, reference, ANSWERS, generator))


def _dpo(policy: ToyPolicy, reference: ToyPolicy, seed: int) -> Step:
    optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    generator = torch.Generator().manual_seed(seed)

    def step() -> None:
        tokens = reference.sample(ANSWERS, generator)
        first, second = tokens.chunk(2)
        wins = (reward(first) - reward(second)).sigmoid()
        is_first = torch.rand(len(wins), generator=generator) < wins
        chosen = torch.where(is_first[:, None], first, second)
        rejected = torch.where(is_first[:, None], second, first)
        with torch.no_grad():
            fixed = [answer_log_probs(reference(one).log_probs, generated(one)) for one in (chosen, rejected)]
        said = [answer_log_probs(policy(one).log_probs, generated(one)) for one in (chosen, rejected)]
        optimizer.zero_grad()
        dpo_loss(*said, reference_chosen=fixed[0], reference_rejected=fixed[1], kl=KL).backward()
        optimizer.step()

    return step
