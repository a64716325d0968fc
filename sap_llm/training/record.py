"""What a training has done so far: its counters, its curve, and the time it took, also across resumed runs.

Belongs here: summing up between two points and what of it a checkpoint holds. Measuring time is `meter`, telling it is
`report`.
"""

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from sap_llm.training.meter import Meter

_PIECES = "pieces"


class Record:
    """Of one rank; `restore` goes on where a checkpoint ended, in the middle between two points as well."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.curve: list[dict[str, float]] = []
        self.words = self.documents = 0
        self.step = self.resumed_from = 0
        self._sums: dict[str, Any] = {}
        self._norms: list[Any] = []
        self._step_words = 0
        self._spent, self._began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this version, by earlier runs too."""
        return self._spent + time.monotonic() - self._began

    def add(self, measured: Mapping[str, Any], *, words: int, documents: int) -> None:
        """One piece of a step: what it measured (numbers, 0-d tensors) and its size over all ranks."""
        for name, value in (*measured.items(), (_PIECES, 1)):
            self._sums[name] = self._sums.get(name, 0.0) + value
        self.words += words
        self.documents += documents
        self._step_words += words

    def stepped(self, gradient_norm: Any) -> int:
        """The pieces of a step are done; returns the number of steps. The norm is over all ranks, or None."""
        if gradient_norm is not None:
            self._norms.append(gradient_norm)
        self.step += 1
        self.meter.step(self._step_words)
        self._step_words = 0
        return self.step

    def point(self, more: Mapping[str, float]) -> dict[str, float]:
        """The next point of the curve: means since the last one, counters, times, and `more`; called on all ranks."""
        total: Counter[str] = Counter()
        for each in self._everyone():  # a rank whose pieces lacked a task's labels may not name its loss
            total.update(each)
        pieces = total.pop(_PIECES)  # fewer than usual right after resuming
        point = {name: value / pieces for name, value in total.items()}
        if self._norms:
            point["gradient_norm"] = math.fsum(float(norm) for norm in self._norms) / len(self._norms)
        point |= {"step": float(self.step), "seconds": round(self.seconds, 2), "words": float(self.words)}
        point |= {**self.meter.point(), **more}
        self._sums, self._norms = {}, []
        self.curve.append(point)
        return point

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint; called on all ranks.

        The sums of every rank keep every bit, so that the curve of a resumed run is that of an uninterrupted one.
        """
        return {
            "curve": self.curve,
            "words": self.words,
            "documents": self.documents,
            "seconds": self.seconds,
            "norms": [float(norm) for norm in self._norms],
            "sums": self._everyone(),
        }

    def _everyone(self) -> list[dict[str, float]]:
        """The sums of all ranks, by rank."""
        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, {name: float(value) for name, value in self._sums.items()})
        return everyone

    def restore(self, saved: Mapping[str, Any], *, step: int, rank: int) -> None:
        """Go on after `step` steps."""
        self.curve, self._sums, self._norms = list(saved["curve"]), dict(saved["sums"][rank]), list(saved["norms"])
        self.words, self.documents = int(saved["words"]), int(saved["documents"])
        self.step = self.resumed_from = step
        self._spent, self._began = float(saved["seconds"]), time.monotonic()
