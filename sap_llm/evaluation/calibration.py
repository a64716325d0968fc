"""Whether confidences mean what they say: expected calibration error and the table behind it.

Belongs here: measuring. Fitting a temperature is `modeling.confidence`.
Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (equal-width bins).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
