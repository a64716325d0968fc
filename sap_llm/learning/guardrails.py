"""What becomes of a canary by what both arms showed so far: go on, promote, or roll back, with the reason.

Belongs here: the limits and the decision, a pure function. The test behind it is `learning.sequential`; changing
weights and aliases is for whoever asks.
"""

from dataclasses import dataclass
from enum import StrEnum

from sap_llm.learning.sequential import Arm, differs


class Action(StrEnum):
    """What to do with the canary."""

    ROLL_BACK = "roll back"
    GO_ON = "go on"
    PROMOTE = "promote"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a canary may cost; `alpha` is the error of each of the two tests over all looks."""

    alpha: float = 0.05
    latency_ratio: float = 1.5
    calibration_drift: float = 0.05
    minimum_requests: int = 200


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What an arm showed since the A/B began: p99 in seconds, calibration error as a fraction."""

    reviews: Arm
    requests: int
    failures: int
    latency_p99: float
    calibration_error: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """The action and its reason in one sentence."""

    action: Action
    reason: str


def next_step(champion: Shown, canary: Shown, *, limits: Limits) -> Step:
    """Decide; promotion wants evidence that the canary is corrected less often, silence is none."""
    broken = _broken(champion, canary, limits)
    if broken is not None:
        return Step(action=Action.ROLL_BACK, reason=broken)
    if canary.requests >= limits.minimum_requests and _is_more(champion.reviews, canary.reviews, limits.alpha):
        return Step(
            action=Action.PROMOTE,
            reason=f"corrected {_told(canary.reviews)} against the champion's {_told(champion.reviews)}",
        )
    return Step(action=Action.GO_ON, reason="no limit is broken, and the correction rates are not told apart")


def _broken(champion: Shown, canary: Shown, limits: Limits) -> str | None:
    """The first guardrail that the canary broke."""
    failed, failed_before = (Arm(reviewed=arm.requests, corrected=arm.failures) for arm in (canary, champion))
    if _is_more(failed, failed_before, limits.alpha):
        return f"failed {_told(failed)} against the champion's {_told(failed_before)}"
    if _is_more(canary.reviews, champion.reviews, limits.alpha):
        return f"corrected {_told(canary.reviews)} against the champion's {_told(champion.reviews)}"
    if canary.requests < limits.minimum_requests:
        return None  # a p99 or a calibration of few requests says nothing
    if canary.latency_p99 > limits.latency_ratio * champion.latency_p99:
        return f"p99 of {canary.latency_p99:.3f} s is above {limits.latency_ratio:g} x {champion.latency_p99:.3f} s"
    drift = canary.calibration_error - champion.calibration_error
    if drift > limits.calibration_drift:
        return f"calibration error is {drift:.3f} above the champion's, allowed {limits.calibration_drift:g}"
    return None


def _is_more(first: Arm, second: Arm, alpha: float) -> bool:
    """Whether the first arm's rate is shown to be the greater."""
    is_above = first.corrected * second.reviewed > second.corrected * first.reviewed
    return is_above and differs(first, second, alpha=alpha)


def _told(arm: Arm) -> str:
    return f"{arm.corrected} of {arm.reviewed}"
