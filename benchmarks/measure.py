"""What every benchmark shares: timing two sides in turns, and the record that a comparison leaves.

Belongs here: clocks, minimum and median, the shape of a result. What is measured belongs in a module of its own with a
`run()`; running and filing them is `__main__`.
"""

import contextlib
import ctypes
import json
import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

_POLL_SECONDS = 0.05


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


class Peak:
    """Highest sum of resident memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        import psutil  # rivals, which import this module in their own environments, do not have it

        self.bytes = 0
        self._root, self._is_over = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        while not self._is_over.wait(_POLL_SECONDS):
            total = 0
            try:
                for one in (self._root, *self._root.children(recursive=True)):
                    total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.bytes = max(self.bytes, total)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a command took."""

    cpu_seconds: float  # of its process and of all that it started
    wall_seconds: float
    peak_bytes: int  # resident, all processes together


def cost_of(command: Sequence[str], *, timeout_seconds: float) -> Cost:
    """Run a command at the project's root to its end and add up all of its processes, orphans included (Linux).

    A Spark driver leaves its JVM behind when it ends, and a JVM its Python workers: we adopt them, so that the kernel
    counts their time when we wait for them.

    Raises:
        RuntimeError: The command failed.
    """
    adopt = 36  # PR_SET_CHILD_SUBREAPER
    ctypes.CDLL(None).prctl(adopt, 1, 0, 0, 0)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(
        list(command), cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        peak = Peak(process.pid)
        output, _ = process.communicate(timeout=timeout_seconds)
        peak.stop()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {output[-2000:]}")
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        cpu_seconds=round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        wall_seconds=round(time.perf_counter() - started, 2),
        peak_bytes=peak.bytes,
    )
