"""Confidence: temperature scaling, fitted on validation documents and stored with the model.

Belongs here: fitting and applying temperatures on logits, and how the confidences of a field's words become the
field's. Measuring calibration is `evaluation`.

Source: Guo et al. 2017, arXiv:1706.04599.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Array = npt.NDArray[Any]
_GRID = np.exp(np.linspace(np.log(0.25), np.log(6.0), 80))


class Calibration(BaseModel):
    """Temperatures by head; 1 leaves the scores as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document_class: float = 1.0
    subtype: float = 1.0
    header: float = 1.0
    line: float = 1.0


def softmax(logits: Array, *, temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Probabilities over the last axis."""
    scaled = np.asarray(logits, dtype=np.float32) / np.float32(temperature)
    scaled -= scaled.max(axis=-1, keepdims=True)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


def sigmoid(logits: Array) -> npt.NDArray[np.float32]:
    """Probabilities of yes."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(np.asarray(logits, dtype=np.float32), -30.0, 30.0))))


def fit_temperature(logits: Array, labels: Array) -> float:
    """Temperature of least negative log likelihood.

    Args:
        logits: float [n, classes].
        labels: int [n]; negative ones are left out.
    """
    known = labels >= 0
    if not known.any():
        return 1.0
    scores, right = np.asarray(logits[known], dtype=np.float64), labels[known].astype(np.int64)
    losses = []
    for temperature in _GRID:
        scaled = scores / temperature
        peak = scaled.max(axis=-1)
        total = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=-1))
        losses.append(float((total - scaled[np.arange(len(right)), right]).mean()))
    return float(_GRID[int(np.argmin(losses))])


def span_confidence(probabilities: Array) -> float:
    """Confidence of a span from the probabilities of its words: their geometric mean."""
    return float(np.exp(np.log(np.clip(probabilities, 1e-6, 1.0)).mean()))
