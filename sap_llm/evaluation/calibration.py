"""Whether confidences mean what they say: expected calibration error, and what is wrong among what is trusted.

Belongs here: measuring. Fitting a temperature is `modeling.confidence`; what the confidences of pre-annotations mean is
fitted by `annotation.confidence`.
Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (equal-width bins).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Predictions whose confidence falls into one bin."""

    lower: float
    upper: float
    count: int
    confidence: float  # mean
    accuracy: float


def reliability(confidences: Sequence[float], is_correct: Sequence[bool], *, bins: int = BINS) -> list[ReliabilityBin]:
    """Non-empty bins of equal width over [0, 1], lowest first.

    Raises:
        ValueError: The sequences differ in length or a confidence lies outside [0, 1].
    """
    scores = np.asarray(confidences, dtype=np.float64)
    correct = np.asarray(is_correct, dtype=np.float64)
    if scores.shape != correct.shape:
        raise ValueError(f"{scores.size} confidences for {correct.size} outcomes")
    if scores.size and not (scores.min() >= 0.0 and scores.max() <= 1.0 + 1e-6):
        raise ValueError("confidences must lie between 0 and 1")
    index = np.minimum((scores * bins).astype(np.int64), bins - 1)
    return [
        ReliabilityBin(
            lower=number / bins,
            upper=(number + 1) / bins,
            count=int(inside.sum()),
            confidence=float(scores[inside].mean()),
            accuracy=float(correct[inside].mean()),
        )
        for number in range(bins)
        if (inside := index == number).any()
    ]


def expected_calibration_error(
    confidences: Sequence[float], is_correct: Sequence[bool], *, bins: int = BINS
) -> float | None:
    """Mean distance of confidence and accuracy, weighted by bin; None without predictions."""
    table = reliability(confidences, is_correct, bins=bins)
    total = sum(entry.count for entry in table)
    if not total:
        return None
    return sum(entry.count * abs(entry.confidence - entry.accuracy) for entry in table) / total


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """What is wrong among the predictions that are kept, for every share that can be kept (El-Yaniv, Wiener 2010).

    Attributes:
        thresholds: float [n], falling; predictions with at least this confidence are kept.
        coverage: float [n], share of all predictions that is kept.
        risk: float [n], their mean error.
    """

    thresholds: npt.NDArray[np.float64]
    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]

    @property
    def area(self) -> float:
        """Mean risk over all coverages: 0 is perfect, the overall error is what a random order gives."""
        return float(np.average(self.risk, weights=np.diff(self.coverage, prepend=0.0)))

    def threshold_for(self, target: float) -> float | None:
        """The confidence from which on the most is kept while the mean error stays within `target`; None: never."""
        within = np.flatnonzero(self.risk <= target)
        return float(self.thresholds[within[-1]]) if within.size else None

    def at(self, threshold: float) -> tuple[float, float | None]:
        """Coverage and risk of what reaches `threshold`; risk None where that is nothing."""
        kept = int((self.thresholds >= threshold).sum())
        return (float(self.coverage[kept - 1]), float(self.risk[kept - 1])) if kept else (0.0, None)


def risk_coverage(confidences: Sequence[float], errors: Sequence[float]) -> RiskCoverage:
    """The curve over all thresholds that occur; predictions of equal confidence are kept or dropped together.

    Args:
        confidences: 0..1 of each prediction.
        errors: 0..1 of each, such as 1 - F1 of a document.
    """
    scores, wrong = np.asarray(confidences, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, kept = scores[order], np.arange(1, scores.size + 1)
    last = np.append(scores[1:] != scores[:-1], True) if scores.size else np.zeros(0, dtype=bool)
    return RiskCoverage(
        thresholds=scores[last],
        coverage=kept[last] / max(1, scores.size),
        risk=(np.cumsum(wrong[order]) / kept)[last],
    )
