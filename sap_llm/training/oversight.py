"""What a launcher does beside waiting: it hears the program, tells MLflow, looks for a stall, and says why a run ended.

Belongs here: what both launchers share, the plain one (`launch`) and Dagster's op. Starting and ending processes is
theirs; the rules are `monitor`, the stacks `watchdog`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sap_llm.training import exits
from sap_llm.training.monitor import Alert, as_metadata, killed, out_of_memory, stalled
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.report import append_event
from sap_llm.training.tracking import Tracker
from sap_llm.training.watchdog import Watchdog

Message = Mapping[str, Any]
_TAIL_BYTES = 4000
_HURRIED_SECONDS = 5.0


class Oversight:
    """Of one launch; a context, so that MLflow hears how it ended."""

    def __init__(
        self,
        plan: TrainingPlan[Any],
        *,
        log_file: Path,
        hear: Callable[[Message], None],
        say: Callable[[str], None],
        warn: Callable[[str], None],
        mlflow_uri: str | None = None,
    ) -> None:
        """Begin to watch; to be made before the ranks are started.

        Args:
            plan: What is launched.
            log_file: What the ranks print; the stacks of a stall are added.
            hear: Gets the program's messages, and the alerts that are made here in the same form.
            say: Gets sentences for a person.
            warn: Gets warnings and stacks.
            mlflow_uri: Tracking URI; None for no MLflow.
        """
        self._plan, self._log_file, self._hear, self._warn = plan, log_file, hear, warn
        self._watchdog = Watchdog(Path(plan.work), stall_seconds=plan.config.monitoring.stall_seconds)
        self._tracker = Tracker(mlflow_uri, plan, say=say, warn=warn) if mlflow_uri else None
        self._last: Message = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._tracker is None:
            return
        if kind is None:
            self._tracker.close("FINISHED")
        else:
            self._tracker.close("FAILED" if issubclass(kind, Exception) else "KILLED", wait_seconds=_HURRIED_SECONDS)

    def hear(self, message: Message) -> None:
        """Take one message of the program."""
        if message.get("event") == "step":
            self._last = message
        if self._tracker is not None:
            self._tracker(message)
        self._hear(message)

    def wait(self) -> None:
        """The program has not begun yet; to be called instead of `look`."""
        self._watchdog.wait()

    def look(self) -> Alert | None:
        """A stall, with the stacks of its ranks in the log; the program is then to be ended. Cheap: call it often."""
        stall = self._watchdog.look()
        if stall is None:
            return None
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(f"\n{stall.stacks}\n")
        self._warn(f"stacks of the ranks that do nothing:\n{stall.stacks}")
        step = int(self._last.get("step", 0))
        return self._raise(stalled(seconds=stall.seconds, step=step, slowest=stall.slowest))

    def ended(self, code: int) -> Alert | None:
        """What the exit code of a failed program tells, None where it is an error like any other."""
        last = {name: value for name, value in self._last.items() if isinstance(value, int | float)}
        number = exits.meaning(code)
        if number == exits.OUT_OF_MEMORY or (number == exits.ABORTED and self._last_words()):
            return self._raise(out_of_memory(last=last, said=self._last_words() or "nothing more is known"))
        if number == exits.KILLED:
            return self._raise(killed(last=last))
        return None  # a divergence was said by the program itself

    def _raise(self, alert: Alert) -> Alert:
        entry = {"event": "alert", **as_metadata(alert)}
        append_event(self._plan.progress_file, entry)
        self._hear(entry)
        return alert

    def _last_words(self) -> str:
        """The last line of the log that says that an allocation failed, empty where none does."""
        text = self._log_file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        said = [line for line in text.splitlines() if exits.says_out_of_memory(line)]
        return said[-1].removeprefix("out of memory: ")[:300] if said else ""
