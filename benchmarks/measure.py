"""What every benchmark shares: timing two sides in turns, and the record that a comparison leaves.

Belongs here: clocks, minimum and median, the shape of a result. What is measured belongs in a module of its own with a
`run()`; running and filing them is `__main__`.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Measure(TypedDict):
    """One comparison; `ratio` above 1 means that ours is better."""

    ours: float
    rival: float
    rival_name: str
    ratio: float
    unit: str
    runs: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall seconds of repeated calls."""

    seconds: tuple[float, ...]

    @property
    def minimum(self) -> float:
        """The fastest call: what the work costs when nothing disturbs."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle call: what a user meets."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        """Both figures, for printing while a benchmark runs."""
        return f"min {self.minimum:.3f} s, median {self.median:.3f} s of {len(self.seconds)}"


def repeat(call: Callable[[], object], *, runs: int = 3, warmups: int = 1) -> Timing:
    """Time `call` several times after some untimed calls."""
    return duel(call, lambda: None, runs=runs, warmups=warmups)[0]


def duel(
    ours: Callable[[], object], rival: Callable[[], object], *, runs: int = 3, warmups: int = 1
) -> tuple[Timing, Timing]:
    """Time both sides in turns, so that a noisy moment of the machine meets both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(warmups + runs):
        for side, call in enumerate((ours, rival)):
            started = time.perf_counter()
            call()
            if number >= warmups:
                seconds[side].append(time.perf_counter() - started)
    return Timing(seconds=tuple(seconds[0])), Timing(seconds=tuple(seconds[1]))


def figure_of(command: list[str]) -> float:
    """The figure that a fresh process, started at the project's root, prints as its last line."""
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def lower_is_better(*, ours: float, rival: float, rival_name: str, unit: str, runs: int) -> Measure:
    """Compare costs: seconds, bytes, errors."""
    return Measure(ours=ours, rival=rival, rival_name=rival_name, ratio=_ratio(rival, ours), unit=unit, runs=runs)


def higher_is_better(*, ours: float, rival: float, rival_name: str, unit: str, runs: int) -> Measure:
    """Compare yields: documents per second, F1."""
    return Measure(ours=ours, rival=rival, rival_name=rival_name, ratio=_ratio(ours, rival), unit=unit, runs=runs)


def _ratio(better: float, worse: float) -> float:
    return round(better / worse, 3) if worse else float("inf")
