"""Guardrails: a worse canary is never promoted, and getting worse never betters the decision."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.learning.guardrails import Action, Limits, Shown, next_step
from sap_llm.learning.sequential import Arm

ORDER = list(Action)
GOOD = Shown(
    reviews=Arm(reviewed=2000, corrected=200), requests=5000, failures=5, latency_p99=1.0, calibration_error=0.03
)
REVIEWED = st.integers(min_value=0, max_value=5000)


@st.composite
def arms(draw: st.DrawFn) -> Shown:
    reviewed, requests = draw(REVIEWED), draw(REVIEWED)
    return Shown(
        reviews=Arm(reviewed=reviewed, corrected=draw(st.integers(0, reviewed))),
        requests=requests,
        failures=draw(st.integers(0, requests)),
        latency_p99=draw(st.floats(0.01, 10)),
        calibration_error=draw(st.floats(0, 1)),
    )


@given(champion=arms(), canary=arms())
def test_an_arm_corrected_as_often_or_more_is_never_promoted(champion: Shown, canary: Shown) -> None:
    mine, other = canary.reviews, champion.reviews
    if mine.corrected * other.reviewed >= other.corrected * mine.reviewed:
        assert next_step(champion, canary, limits=Limits()).action is not Action.PROMOTE


@given(champion=arms(), canary=arms(), data=st.data())
def test_getting_worse_never_betters_the_decision(champion: Shown, canary: Shown, data: st.DataObject) -> None:
    reviews = canary.reviews
    worse = replace(
        canary,
        reviews=replace(reviews, corrected=data.draw(st.integers(reviews.corrected, reviews.reviewed))),
        failures=data.draw(st.integers(canary.failures, canary.requests)),
        latency_p99=canary.latency_p99 + data.draw(st.floats(0, 10)),
        calibration_error=canary.calibration_error + data.draw(st.floats(0, 1)),
    )
    before, after = (next_step(champion, each, limits=Limits()).action for each in (canary, worse))
    assert ORDER.index(after) <= ORDER.index(before)


@pytest.mark.parametrize(
    ("canary", "action", "reason"),
    [
        (GOOD, Action.GO_ON, "not told apart"),
        (replace(GOOD, reviews=Arm(reviewed=2000, corrected=100)), Action.PROMOTE, "corrected 100 of 2000"),
        (replace(GOOD, reviews=Arm(reviewed=2000, corrected=320)), Action.ROLL_BACK, "corrected 320 of 2000"),
        (replace(GOOD, failures=90), Action.ROLL_BACK, "failed 90 of 5000"),
        (replace(GOOD, latency_p99=1.6), Action.ROLL_BACK, "p99"),
        (replace(GOOD, calibration_error=0.09), Action.ROLL_BACK, "calibration"),
    ],
)
def test_each_guardrail_says_why(canary: Shown, action: Action, reason: str) -> None:
    step = next_step(GOOD, canary, limits=Limits())
    assert step.action is action
    assert reason in step.reason
