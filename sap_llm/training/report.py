"""Reports of a running training: to Dagster Pipes when it launched us, to the terminal, and always to progress.jsonl.

Belongs here: the form and the channels of a report. Only rank 0 gets a `Reporter` that speaks: two ranks that both open
Dagster Pipes break the run.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sap_llm.training.plan import TrainingPlan

PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"


class _Pipes(Protocol):
    @property
    def log(self) -> Any: ...

    def report_custom_message(self, payload: Any) -> None: ...


class Reporter:
    """Says what happens; a silent one says nothing."""

    def __init__(self, file: Path | None, pipes: _Pipes | None = None) -> None:
        self._file, self._pipes = file, pipes

    def say(self, message: str) -> None:
        """One sentence for a person."""
        self._line({"event": "message", "message": message})
        if self._pipes is not None:
            self._pipes.log.info(message)
        self._print(message)

    def step(self, point: Mapping[str, float], *, steps: int) -> None:
        """One point of the loss curve."""
        self._line({"event": "step", "steps": steps, **point})
        rate = point["words"] / max(point["seconds"], 1e-9)
        text = f"step {point['step']:.0f}/{steps}  loss {point['loss']:.4f}  {rate:,.0f} words/s"
        if self._pipes is not None:
            self._pipes.report_custom_message({"event": "step", "steps": steps, **point})
            self._pipes.log.info(text)
        self._print(text)

    def done(self, metrics: Mapping[str, Any]) -> None:
        """The final metrics."""
        self._line({"event": "done", **metrics})
        if self._pipes is not None:
            self._pipes.report_custom_message({"event": "done", **metrics})
        self._print("trained: " + ", ".join(f"{key} {value}" for key, value in metrics.items()))

    def _line(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            with self._file.open("a") as stream:
                stream.write(json.dumps(entry | {"at": round(time.monotonic(), 3)}) + "\n")

    def _print(self, text: str) -> None:
        if self._file is not None:
            print(text, flush=True)


@contextmanager
def open_reporter(plan: TrainingPlan[Any], *, is_reporting: bool) -> Iterator[Reporter]:
    """The reporter of this rank, closed with the run."""
    import os

    if not is_reporting:
        yield Reporter(None)
    elif PIPES_VARIABLE in os.environ:
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as pipes:
            yield Reporter(plan.progress_file, pipes)
    else:
        yield Reporter(plan.progress_file)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
