"""What all ranks do at the same step although only one may know why: stop on TERM, stop in time, save by the clock.

Belongs here: the signal, and the one small message by which ranks agree. Saving itself is `checkpoint` and the program.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
import torch.distributed as dist

_SECONDS_BETWEEN = 0.5


class StopRequest:
    """Whether somebody sent TERM."""

    is_set = False


@contextmanager
def stop_on_term() -> Iterator[StopRequest]:
    """Within the block TERM asks for a stop at the next step instead of ending the process (main thread only).

    Where the block ends without having stopped, the process ends then.
    """
    request = StopRequest()

    def take(_number: int, _frame: FrameType | None) -> None:
        request.is_set = True

    before = signal.signal(signal.SIGTERM, take)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
    if request.is_set:
        signal.raise_signal(signal.SIGTERM)


@dataclass(frozen=True)
class Agreed:
    """What any rank wants; the same on all ranks."""

    stop: bool = False
    out_of_time: bool = False
    save: bool = False


class Agreement:
    """Asks all ranks about twice a second. When to ask follows from what they told each other, so all ask together."""

    def __init__(self, device: torch.device | str) -> None:
        self._device = device
        self._next = 0
        self._last: tuple[int, float] | None = None  # step and time

    def ask(self, step: int, wish: Agreed) -> Agreed:
        """What any rank wishes, or no wish at all at a step at which nobody is asked; `step` counts from 1."""
        if step < self._next:
            return Agreed()
        now = time.monotonic()
        pace = (now - self._last[1]) / (step - self._last[0]) if self._last else _SECONDS_BETWEEN
        stop, out_of_time, save, pace = self.largest([wish.stop, wish.out_of_time, wish.save, pace])
        self._next = step + max(1, int(_SECONDS_BETWEEN / max(pace, 1e-6)))
        self._last = (step, now)
        return Agreed(stop=bool(stop), out_of_time=bool(out_of_time), save=bool(save))

    def largest(self, values: list[float]) -> list[float]:
        """The largest of each value over all ranks; all ranks must call it at the same place."""
        answer = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(answer, op=dist.ReduceOp.MAX)
        return [float(value) for value in answer]
