"""Where the time of a training goes: steps, data, checkpoints, validation; words or tokens a second; MFU.

Belongs here: measuring inside the loop, cheaply. What the machine does meanwhile is `hardware`; telling it is `report`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

FULL_TRAINING, LORA = 6, 4
"""FLOPs per parameter and token: forward 2, gradients of activations 2, of weights 2. Recomputation never counts."""


class Meter:
    """Counts units (words or tokens) and the seconds of named parts between two points of the curve."""

    def __init__(
        self,
        *,
        unit: str,
        parameters: int,
        peak_flops: float | None,
        flops_per_parameter: int = FULL_TRAINING,
    ) -> None:
        """Start counting.

        Args:
            unit: `words` or `tokens`; names the throughput `<unit>_per_second`.
            parameters: That every unit passes through.
            peak_flops: Of all devices together; None leaves MFU out.
            flops_per_parameter: FULL_TRAINING or LORA.
        """
        self._unit, self._peak = unit, peak_flops
        self._flops_per_unit = float(flops_per_parameter * parameters)
        self._parts = {"data": 0.0, "checkpoint": 0.0, "validation": 0.0}
        self._since, self._units, self._steps = time.perf_counter(), 0, 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time spent in the block belongs to this part: data, checkpoint or validation."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - began

    def step(self, units: int) -> None:
        """One optimizer step over so many units, all ranks together."""
        self._units += units
        self._steps += 1

    def point(self) -> dict[str, float]:
        """Numbers since the last point; throughput leaves out checkpoints and validation, MFU does as well."""
        now = time.perf_counter()
        passed = now - self._since
        training = max(passed - self._parts["checkpoint"] - self._parts["validation"], 1e-9)
        rate = self._units / training
        found = {
            f"{self._unit}_per_second": round(rate, 1),
            "step_seconds": round(training / max(1, self._steps), 5),
            **{f"{name}_seconds": round(seconds, 4) for name, seconds in self._parts.items()},
        }
        if self._peak:
            found["mfu"] = rate * self._flops_per_unit / self._peak
        self._parts = dict.fromkeys(self._parts, 0.0)
        self._since, self._units, self._steps = now, 0, 0
        return found
