"""Whether two arms differ in how often documents are corrected, by a test that may be read after every document.

Belongs here: the sequential statistics of an A/B. Comparing two models on the same documents, which decides smaller
differences, is `learning.comparison`.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from sap_llm.schema.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What was reviewed of one arm so far."""

    reviewed: int
    corrected: int

    def __post_init__(self) -> None:
        if not 0 <= self.corrected <= self.reviewed:
            raise ConfigurationError(
                f"{self.corrected} corrected of {self.reviewed} reviewed documents",
                where="arm of an A/B",
                remedy="Count a document once, and as corrected only when it was reviewed.",
            )


def log_evidence(first: Arm, second: Arm) -> float:
    """Logarithm of the evidence (an e-value) that the arms' correction rates differ.

    Documents are those of both arms in any order that does not look at the outcome. Numerator: the Beta(1/2, 1/2)
    mixture of each arm, its own rate. Denominator: the best common rate, at least as likely as the true one, so
    that under equal rates the ratio is below a nonnegative martingale that starts at 1 (Ville's inequality;
    Wasserman, Ramdas and Balakrishnan 2020, universal inference).
    """
    reviewed, corrected = first.reviewed + second.reviewed, first.corrected + second.corrected
    common = _log_likelihood(corrected, reviewed)
    return _log_mixture(first) + _log_mixture(second) - common


def differs(first: Arm, second: Arm, *, alpha: float = 0.05) -> bool:
    """Whether the rates differ; wrong with a chance of at most `alpha` over all the times that it is asked."""
    return log_evidence(first, second) >= -math.log(alpha)


def required_documents(rate: float, difference: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Reviewed documents by which each of two equal arms shows a difference, an approximation.

    Args:
        rate: Correction rate of the one arm.
        difference: The other arm's rate minus this.
        alpha: Chance of a false alarm.
        power: Chance to have seen the difference by then.

    Raises:
        ConfigurationError: A rate is outside (0, 1), or the difference is 0.
    """
    other = rate + difference
    if difference == 0 or not 0 < rate < 1 or not 0 < other < 1:
        raise ConfigurationError(
            f"rates {rate:g} and {other:g} cannot be told apart",
            where="A/B",
            remedy="Give two different rates between 0 and 1.",
        )
    mean = (rate + other) / 2
    information = 2 * _entropy(mean) - _entropy(rate) - _entropy(other)  # expected log evidence of a pair of documents
    # The log odds of a document are what the evidence adds up, so its spread is theirs.
    spread = math.sqrt(
        sum(
            each * (1 - each) * (math.log(each / (1 - each)) - math.log(mean / (1 - mean))) ** 2
            for each in (rate, other)
        )
    )
    documents = 1
    reserve = NormalDist().inv_cdf(power) * spread
    while documents * information - reserve * math.sqrt(documents) < _price(documents) - math.log(alpha):
        documents = math.ceil(documents * 1.02)
    return documents


def _price(documents: int) -> float:
    """What the mixtures of both arms lose against the best rate of each, in nats: log(pi n / 2) / 2 an arm."""
    return math.log(math.pi * documents / 2)


def _entropy(rate: float) -> float:
    return -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)


def _log_likelihood(corrected: int, reviewed: int) -> float:
    """Of the best single rate."""
    return -reviewed * _entropy(corrected / reviewed) if 0 < corrected < reviewed else 0.0


def _log_mixture(arm: Arm) -> float:
    return (
        math.lgamma(arm.corrected + 0.5)
        + math.lgamma(arm.reviewed - arm.corrected + 0.5)
        - math.lgamma(arm.reviewed + 1)
        - math.log(math.pi)
    )
