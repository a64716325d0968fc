"""The sequential test by simulation: read after every document it keeps its error, and it has the power it promises."""

import numpy as np
import pytest

from sap_llm.learning.sequential import Arm, differs, log_evidence, required_documents
from sap_llm.schema.errors import ConfigurationError

RUNS = 200


def share_ever_different(first: float, second: float, *, pairs: int, alpha: float = 0.05) -> float:
    """Runs that show a difference at any of the times when both arms have as many documents."""
    generator = np.random.default_rng(11)
    found = 0
    for _ in range(RUNS):
        one = np.cumsum(generator.random(pairs) < first).tolist()
        two = np.cumsum(generator.random(pairs) < second).tolist()
        found += any(
            differs(Arm(reviewed=n, corrected=a), Arm(reviewed=n, corrected=b), alpha=alpha)
            for n, (a, b) in enumerate(zip(one, two, strict=True), start=1)
        )
    return found / RUNS


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_equal_arms_read_after_every_pair_keep_the_error(rate: float) -> None:
    assert share_ever_different(rate, rate, pairs=1000) <= 0.05


@pytest.mark.parametrize(("rate", "difference"), [(0.1, 0.1), (0.05, 0.1), (0.3, -0.15)])
def test_a_difference_is_seen_within_the_documents_promised(rate: float, difference: float) -> None:
    pairs = required_documents(rate, difference)
    assert share_ever_different(rate, rate + difference, pairs=pairs) >= 0.8


def test_smaller_differences_need_more_documents() -> None:
    assert required_documents(0.1, 0.02) > required_documents(0.1, 0.05) > required_documents(0.1, 0.1)


def test_no_documents_are_no_evidence() -> None:
    nothing = Arm(reviewed=0, corrected=0)
    assert log_evidence(nothing, nothing) == pytest.approx(0)
    assert log_evidence(Arm(reviewed=9, corrected=2), nothing) <= 0


def test_impossible_counts_and_rates_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="5 corrected of 4"):
        Arm(reviewed=4, corrected=5)
    with pytest.raises(ConfigurationError, match="told apart"):
        required_documents(0.1, 0)
