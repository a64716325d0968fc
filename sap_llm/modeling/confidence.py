"""Confidence: temperatures of the heads and the chances of values, fitted on validation documents, kept with the model.

Belongs here: fitting and applying temperatures on logits, how the confidences of a field's words become the field's,
and what that is worth for each field. Measuring calibration is `evaluation`.

Sources: Guo et al. 2017, arXiv:1706.04599; Platt 1999, with an offset for each field.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Array = npt.NDArray[Any]
_NEWTON_STEPS, _SMALLEST_STEP = 25, 1e-6
_GRID = np.exp(np.linspace(np.log(0.25), np.log(6.0), 80))


class ValueCalibration(BaseModel):
    """The chance that a decoded value is right: a logistic function of its confidence's log odds, by field.

    A temperature cannot give it: it weighs words, most of which belong to no value, and knows nothing of decoding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = 1.0
    offset: float = 0.0
    by_field: dict[str, float] = {}
    """What is added to the offset; fields that were never judged have nothing."""

    def chance(self, name: str, confidence: float) -> float:
        """Calibrated confidence of a value of the field `name`."""
        odds = float(_log_odds(np.array(confidence)))
        return float(1.0 / (1.0 + np.exp(-(self.slope * odds + self.offset + self.by_field.get(name, 0.0)))))


class Calibration(BaseModel):
    """Temperatures by head, 1 leaves the scores as they are; and what decoded values are worth, where it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document_class: float = 1.0
    subtype: float = 1.0
    header: float = 1.0
    line: float = 1.0
    values: ValueCalibration | None = None


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


def fit_values(claims: Sequence[tuple[str, float, bool]]) -> ValueCalibration:
    """The calibration of least penalised negative log likelihood, by Newton's method.

    Penalties of 1 draw the slope to 1 and offsets of fields to 0, so that rare fields follow the others.

    Args:
        claims: Field, confidence and whether it was right, of values on documents that were not learned from.
    """
    names = sorted({name for name, _, _ in claims})
    odds = _log_odds(np.array([confidence for _, confidence, _ in claims], dtype=np.float64))
    is_name = np.array([[name == other for other in names] for name, _, _ in claims], dtype=np.float64)
    features = np.concatenate([odds[:, None], np.ones((len(claims), 1)), is_name.reshape(len(claims), len(names))], 1)
    right = np.array([is_right for _, _, is_right in claims], dtype=np.float64)
    start = np.zeros(features.shape[1])
    start[0] = 1.0
    penalty = np.ones_like(start)
    penalty[1] = 1e-6  # the common offset is free, but where all are right it must end somewhere

    def loss(weights: Array) -> float:
        odds = features @ weights
        return float((np.logaddexp(0.0, odds) - right * odds).sum() + (penalty * (weights - start) ** 2).sum() / 2)

    weights = start.copy()
    for _ in range(_NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(features @ weights, -30.0, 30.0)))
        down = features.T @ (chance - right) + penalty * (weights - start)
        curve = (features * (chance * (1.0 - chance))[:, None]).T @ features + np.diag(penalty)
        step = np.linalg.solve(curve, down)
        while np.abs(step).max() > _SMALLEST_STEP and loss(weights - step) > loss(weights):
            step = step / 2.0
        weights = weights - step
    slope, offset, *by_field = (round(float(weight), 4) for weight in weights)  # last bits differ between processors
    return ValueCalibration(slope=slope, offset=offset, by_field=dict(zip(names, by_field, strict=True)))


def _log_odds(confidences: Array) -> Array:
    clipped = np.clip(confidences, 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def span_confidence(probabilities: Array) -> float:
    """Confidence of a span from the probabilities of its words: their geometric mean."""
    return float(np.exp(np.log(np.clip(probabilities, 1e-6, 1.0)).mean()))
