"""What goes wrong in a training, seen from its progress points: spikes, values that are no numbers, falling validation.

Belongs here: thresholds, the rules as functions over points, and what an alert says. Who looks at the points is
`report`, who sees that there are none is `watchdog`, who is told is the sensor `training_alerts`.
"""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.schema.errors import SapLlmError

Kind = Literal["loss_spike", "not_finite", "validation_drop", "stall", "out_of_memory", "killed"]
Severity = Literal["warning", "error"]
Point = Mapping[str, float]

REMEDIES: Mapping[Kind, str] = {
    "loss_spike": "Look at learning rate and gradient norm around this step; if the loss does not come down by itself, "
    "cancel, lower the learning rate and train again.",
    "not_finite": "Lower the learning rate or the clipping of the gradients, or look for the batch that did it: the "
    "newest checkpoint is from before. The same configuration would fail again.",
    "validation_drop": "Compare the losses of training and validation: more damage or a shorter training when it "
    "overfits. `checkpoint.result: best` takes the best checkpoint.",
    "stall": "The stacks of the ranks are in the log. It is tried again from the newest checkpoint.",
    "out_of_memory": "Lower `batch_words` or the model's size, or give more memory; see docs/runbooks/training.md.",
    "killed": "Somebody or the machine killed a rank. It is tried again from the newest checkpoint.",
}
_FULL_MEMORY_PERCENT = 90.0


class MonitoringConfig(BaseModel):
    """What is watched in a training, and what the hardware costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spike_ratio: float = Field(default=1.2, description="moving mean of the loss over its recent median", gt=1.0)
    spike_mean_steps: int = Field(default=50, description="steps of the moving mean", ge=1)
    spike_median_steps: int = Field(default=500, description="steps of the median", ge=2)
    spike_deviations: float = Field(
        default=4.0, description="and so many (robust) standard deviations above that median", ge=0.0
    )
    validation_drop: float = Field(default=0.05, description="fall of the validation F1 below its best", gt=0.0)
    stall_seconds: float = Field(default=600.0, description="without a step of any rank; 0 never calls it a stall")
    peak_flops: float = Field(default=0.0, description="of one device, for MFU; 0 takes it from a table of GPUs")
    price_per_hour: float = Field(default=0.0, description="of one device (GPU, or rank on a CPU)")
    currency: str = "EUR"


class TrainingDivergedError(SapLlmError):
    """Loss or gradients are no numbers any more: nothing is saved, and the same run would end the same way."""


class Alert(BaseModel):
    """One finding, as it is written, shown and sent."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    severity: Severity
    step: int
    measured: float | None = None
    allowed: float | None = None
    explanation: str

    @property
    def remedy(self) -> str:
        """What to do."""
        return REMEDIES[self.kind]


class Monitor:
    """Reads the points of one training in order; each trouble is said once, and again only after it was over."""

    def __init__(self, config: MonitoringConfig) -> None:
        self._config = config
        self._losses: deque[tuple[float, float]] = deque()  # step and loss of the last `spike_median_steps`
        self._mean: float | None = None
        self._last_step = 0.0
        self._best_f1: float | None = None
        self._said: set[str] = set()

    def look(self, point: Point) -> list[Alert]:
        """What this point tells. Keys: step, loss, gradient_norm, validation_f1; those that are absent tell nothing."""
        broken = not_finite(point)
        if broken is not None:
            return [broken]  # of no use for means
        found = {"loss_spike": self._spike(point), "validation_drop": self._drop(point)}
        alerts = [alert for kind, alert in found.items() if alert is not None and kind not in self._said]
        measured = {"loss_spike": "loss" in point, "validation_drop": "validation_f1" in point}
        self._said = {kind for kind in found if (found[kind] if measured[kind] else kind in self._said)}
        return alerts

    def _spike(self, point: Point) -> Alert | None:
        if "loss" not in point:
            return None
        config, step, loss = self._config, point["step"], point["loss"]
        keep = (1 - 2 / (config.spike_mean_steps + 1)) ** max(1.0, step - self._last_step)
        self._mean = loss if self._mean is None else keep * self._mean + (1 - keep) * loss
        self._last_step = step
        self._losses.append((step, loss))
        while self._losses[0][0] <= step - config.spike_median_steps:
            self._losses.popleft()
        if step - self._losses[0][0] < 2 * config.spike_mean_steps:
            return None  # a run that has just begun
        recent = [value for _, value in self._losses]
        median = statistics.median(recent)
        spread = 1.4826 * statistics.median(abs(value - median) for value in recent)
        allowed = max(config.spike_ratio * median, median + config.spike_deviations * spread)
        if min(self._mean, loss) <= allowed:  # the mean alone lags behind a loss that falls fast
            return None
        return Alert(
            kind="loss_spike",
            severity="warning",
            step=int(step),
            measured=self._mean,
            allowed=allowed,
            explanation=f"the loss of the last {config.spike_mean_steps} steps is {self._mean:.4g}, its median over "
            f"{config.spike_median_steps} steps {median:.4g}",
        )

    def _drop(self, point: Point) -> Alert | None:
        f1 = point.get("validation_f1")
        if f1 is None:
            return None
        best = self._best_f1 = f1 if self._best_f1 is None else max(f1, self._best_f1)
        if best - f1 <= self._config.validation_drop:
            return None
        return Alert(
            kind="validation_drop",
            severity="warning",
            step=int(point["step"]),
            measured=f1,
            allowed=best - self._config.validation_drop,
            explanation=f"the validation F1 fell from {best:.4f} to {f1:.4f}",
        )


def alerts(points: Iterable[Point], config: MonitoringConfig) -> list[Alert]:
    """Everything that the points of a whole training tell."""
    monitor = Monitor(config)
    return [alert for point in points for alert in monitor.look(point)]


def not_finite(point: Point) -> Alert | None:
    """An alert where a loss or the gradient norm of a point is NaN or infinite."""
    names = [name for name, value in point.items() if isinstance(value, int | float) and not math.isfinite(value)]
    if not names:
        return None
    return Alert(
        kind="not_finite",
        severity="error",
        step=int(point["step"]),
        explanation=f"{', '.join(names)} not finite",
    )


def diverged(alert: Alert) -> TrainingDivergedError:
    """The error that a `not_finite` alert ends a training with."""
    return TrainingDivergedError(alert.explanation, where=f"step {alert.step}", remedy=alert.remedy)


def stalled(*, seconds: float, step: int, slowest: str) -> Alert:
    """The alert of the watchdog; `slowest` names the rank that was seen longest ago."""
    return Alert(
        kind="stall",
        severity="error",
        step=step,
        measured=seconds,
        explanation=f"no rank did a step for {seconds:.0f} s; {slowest}",
    )


def killed(*, last: Point) -> Alert:
    """The alert for a rank that the kernel or a person killed (137); memory that was full before says which.

    Args:
        last: The last point before; `host_memory_percent` is looked at.
    """
    memory = last.get("host_memory_percent")
    is_full = memory is not None and memory >= _FULL_MEMORY_PERCENT
    seen = "" if memory is None else f"; the host's memory was {memory:.0f} % full at the last report"
    return Alert(
        kind="out_of_memory" if is_full else "killed",
        severity="error",
        step=int(last.get("step", 0)),
        measured=memory,
        allowed=_FULL_MEMORY_PERCENT,
        explanation=f"a rank was killed (exit code 137){seen}",
    )


def out_of_memory(*, last: Point, said: str) -> Alert:
    """The alert for a rank that ended because an allocation failed; `said` is what the allocator said."""
    return Alert(
        kind="out_of_memory",
        severity="error",
        step=int(last.get("step", 0)),
        measured=last.get("process_memory_bytes"),
        explanation=f"an allocation failed: {said}",
    )


def as_metadata(alert: Alert) -> dict[str, Any]:
    """Flat values of an alert with its remedy, without those that are unknown."""
    return {**alert.model_dump(exclude_none=True), "remedy": alert.remedy}
