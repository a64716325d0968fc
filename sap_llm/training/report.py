"""Reports of a running training: to Dagster Pipes when it launched us, to the terminal, and always to progress.jsonl.

Belongs here: the form and the channels of a report, and what every program inherits by reporting: the machine's
numbers, the monitor's alerts, the rank's heartbeat. Only rank 0 gets a `Reporter` that speaks: two ranks that both open
Dagster Pipes break the run. MLflow is told by the launcher (`tracking`), which reads the same messages.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sap_llm.training.channel import open_pipes
from sap_llm.training.hardware import Hardware
from sap_llm.training.monitor import Alert, Monitor, Point, as_metadata, diverged, not_finite
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.watchdog import Heartbeat

PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


_SHOWN = {
    "loss": "loss {:.4f}",
    "learning_rate": "lr {:.1e}",
    "gradient_norm": "|g| {:.2f}",
    "validation_f1": "validation F1 {:.4f}",
}


class _Pipes(Protocol):
    @property
    def log(self) -> Any: ...

    def report_custom_message(self, payload: Any) -> None: ...


class Reporter:
    """Says what happens; a silent one says nothing, but its heart beats and it refuses what is no number."""

    def __init__(
        self,
        file: Path | None,
        pipes: _Pipes | None = None,
        *,
        hardware: Hardware | None = None,
        monitor: Monitor | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._file, self._pipes = file, pipes
        self._hardware, self._monitor, self._heartbeat = hardware, monitor, heartbeat

    @property
    def gpu_name(self) -> str | None:
        """Name of this rank's GPU; None on a CPU and on ranks that do not report."""
        return None if self._hardware is None else self._hardware.gpu_name

    def turn_to(self, plan: TrainingPlan[Any]) -> None:
        """Speak of another plan that the same processes work off: in its own file, to a monitor that knows its past."""
        if self._file is not None:
            self._file, self._monitor = plan.progress_file, _monitor_of(plan)

    def beat(self) -> None:
        """This rank is alive: to be called at every step, and in long work between steps."""
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def say(self, message: str) -> None:
        """One sentence for a person."""
        self.beat()
        self._line({"event": "message", "message": message})
        if self._pipes is not None:
            self._pipes.log.info(message)
        self._print(message)

    def step(self, point: Mapping[str, float], *, steps: int) -> None:
        """One point of the curve, with the machine's numbers beside the program's; then what the monitor makes of it.

        Args:
            point: step, loss, seconds and whatever else the program measures; what is known to all: words,
                `<unit>_per_second`, learning_rate, gradient_norm, validation_f1.
            steps: Of the whole training.

        Raises:
            TrainingDivergedError: A number is NaN or infinite; the same on all ranks where the point says the gradient
                norm, which is over all ranks.
        """
        self.beat()
        broken = not_finite(point)
        if self._file is not None:
            self._tell({**point, **(self._hardware.sample() if self._hardware is not None else {})}, steps)
            for alert in self._monitor.look(point) if self._monitor is not None else ():
                self._alert(alert)
        if broken is not None:
            raise diverged(broken)

    def done(self, metrics: Mapping[str, Any]) -> None:
        """The final metrics."""
        self._line({"event": "done", **metrics})
        if self._pipes is not None:
            self._pipes.report_custom_message({"event": "done", **metrics})
        self._print("trained: " + ", ".join(f"{key} {value}" for key, value in metrics.items()))

    def _tell(self, point: Point, steps: int) -> None:
        entry = {"event": "step", "steps": steps, **{name: _number(value) for name, value in point.items()}}
        self._line(entry)
        text = step_text(point, steps=steps)
        if self._pipes is not None:
            self._pipes.report_custom_message(entry)
            self._pipes.log.info(text)
        self._print(text)

    def _alert(self, alert: Alert) -> None:
        entry = {"event": "alert", **as_metadata(alert)}
        self._line(entry)
        if self._pipes is not None:
            self._pipes.report_custom_message(entry)
        self._print(alert_text(alert))

    def _line(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            append_event(self._file, entry)

    def _print(self, text: str) -> None:
        if self._file is not None:
            print(text, flush=True)


@contextmanager
def open_reporter(plan: TrainingPlan[Any], *, is_reporting: bool) -> Iterator[Reporter]:
    """The reporter of this rank, closed with the run."""
    config = plan.config.monitoring
    rank = int(os.environ.get("RANK", "0"))
    heartbeat = Heartbeat(Path(plan.work), rank=rank, stall_seconds=config.stall_seconds)
    try:
        if not is_reporting:
            yield Reporter(None, heartbeat=heartbeat)
            return
        parts: dict[str, Any] = {"hardware": Hardware(), "monitor": _monitor_of(plan), "heartbeat": heartbeat}
        if PIPES_VARIABLE not in os.environ:
            yield Reporter(plan.progress_file, **parts)
            return
        with open_pipes() as pipes:
            yield Reporter(plan.progress_file, pipes, **parts)
    finally:
        heartbeat.close()


def append_event(file: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to a progress file, with the time in seconds since 1970."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**entry, "at": round(time.time(), 3)}) + "\n")


def events(file: Path, name: str) -> list[dict[str, Any]]:
    """The entries of one kind (message, step, alert, done) in a progress file, without values that were no numbers.

    A line that a kill cut short is passed over.
    """
    if not file.exists():
        return []
    found = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("event") == name:
            found.append({key: value for key, value in entry.items() if value is not None and key != "event"})
    return found


def step_text(point: Point, *, steps: int) -> str:
    """One line of a log: step, loss, learning rate, gradient norm, throughput, time left."""
    parts = [f"step {point['step']:.0f}/{steps}"]
    parts += [form.format(point[name]) for name, form in _SHOWN.items() if name in point]
    for name, value in point.items():
        if name.endswith("_per_second"):
            parts.append(f"{value:,.0f} {name.removesuffix('_per_second')}/s")
    if "step_seconds" in point:
        parts.append(f"{(steps - point['step']) * point['step_seconds']:,.0f} s left")
    return "  ".join(parts)


def alert_text(alert: Alert) -> str:
    """One line of a log."""
    return f"ALERT {alert.kind} at step {alert.step}: {alert.explanation}. {alert.remedy}"


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _monitor_of(plan: TrainingPlan[Any]) -> Monitor:
    """A monitor that has seen the points of the runs that this one goes on with."""
    monitor = Monitor(plan.config.monitoring)
    for point in events(plan.progress_file, "step"):
        monitor.look(point)
    return monitor


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
