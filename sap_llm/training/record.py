"""What a training has done so far: its counters, its curve, and the time it took, also across resumed runs.

Belongs here: summing up between two points and what of it a checkpoint holds. Measuring time is `meter`, telling it is
`report`.
"""

import time
from collections.abc import Mapping
from typing import Any

from sap_llm.training.meter import Meter


class Record:
    """Of one rank; `restore` goes on where a checkpoint ended, in the middle between two points as well."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.curve: list[dict[str, float]] = []
        self.words = self.documents = 0
        self.step = self.resumed_from = 0
        self._sums: dict[str, Any] = {}
        self._spent, self._began = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Spent on this version, by earlier runs too."""
        return self._spent + time.monotonic() - self._began

    def add(self, measured: Mapping[str, Any], *, words: int, documents: int) -> None:
        """One step: what it measured (numbers or 0-d tensors, kept where they are), and its size over all ranks."""
        for name, value in (*measured.items(), ("steps", 1)):
            self._sums[name] = self._sums.get(name, 0.0) + value
        self.words += words
        self.documents += documents
        self.step += 1
        self.meter.step(words)

    def point(self, more: Mapping[str, float]) -> dict[str, float]:
        """The next point of the curve: means since the last one, counters, times, and `more`."""
        steps = self._sums.pop("steps")
        point = {name: float(value) / steps for name, value in self._sums.items()}
        point |= {"step": float(self.step), "seconds": round(self.seconds, 2), "words": float(self.words)}
        point |= {**self.meter.point(), **more}
        self._sums = {}
        self.curve.append(point)
        return point

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint; sums keep every bit, so that the curve of a resumed run is that of an uninterrupted one."""
        return {
            "curve": self.curve,
            "words": self.words,
            "documents": self.documents,
            "seconds": self.seconds,
            "sums": {name: float(value) for name, value in self._sums.items()},
        }

    def restore(self, saved: Mapping[str, Any], *, step: int) -> None:
        """Go on after `step` steps."""
        self.curve, self._sums = list(saved["curve"]), dict(saved["sums"])
        self.words, self.documents = int(saved["words"]), int(saved["documents"])
        self.step = self.resumed_from = step
        self._spent, self._began = float(saved["seconds"]), time.monotonic()
