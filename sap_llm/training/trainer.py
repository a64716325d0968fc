"""Running a plan to its end, on whatever place: one client interface, and what is done when a run fails.

Belongs here: attempts, out of memory, and the words for an exit code. A place is a `Trainer`: this machine and hosts
here, a Kubernetes cluster in `kubernetes`. Starting commands is `processes`, making them `launch`.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sap_llm.schema.errors import SapLlmError
from sap_llm.training import exits
from sap_llm.training.launch import commands, hosts_command
from sap_llm.training.memory import GIB
from sap_llm.training.monitor import Alert
from sap_llm.training.oversight import Message, Oversight
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.processes import ProcessGroup
from sap_llm.training.report import step_text
from sap_llm.training.trainer_config import HostsTrainerConfig, LocalTrainerConfig

MOST_HALVINGS = 4
LOG = "training.log"

Tick = Callable[[], None]


class TrainingFailedError(SapLlmError):
    """The training program ended without a result.

    Attributes:
        code: Its exit code.
        log_end: Its last words.
        alert: What is known of the reason, None where it is an error like any other.
    """

    def __init__(
        self, what: str, *, where: str, remedy: str, code: int, log_end: str, alert: Alert | None = None
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code, self.log_end, self.alert = code, log_end, alert


class Run(Protocol):
    """A program that was started."""

    @property
    def has_started(self) -> bool:
        """Whether it runs; False while it waits for its machines."""
        ...

    def code(self) -> int | None:
        """Exit code, None while it runs."""
        ...

    def log_end(self) -> str:
        """Its last words."""
        ...


class Trainer(Protocol):
    """A place where training programs run."""

    @property
    def messages(self) -> str:
        """URL below which Pipes' context and messages go; empty where program and launcher share a machine's files."""
        ...

    @property
    def poll_seconds(self) -> float:
        """Between two looks at a run."""
        ...

    def card_bytes(self) -> float | None:
        """Memory of one GPU; None where nobody knows."""
        ...

    def describe(self, plan: TrainingPlan[Any]) -> str:
        """What would be started, as a person can run it."""
        ...

    def started(self, plan: TrainingPlan[Any], environment: Mapping[str, str]) -> AbstractContextManager[Run]:
        """The program of a plan; however the context is left, nothing of it runs afterwards (TERM, then KILL)."""
        ...


class LocalTrainer:
    """This machine: CPU ranks, or its GPUs."""

    messages = ""
    poll_seconds = 0.2

    def __init__(self, config: LocalTrainerConfig | None = None) -> None:
        self._config = config or LocalTrainerConfig()

    def card_bytes(self) -> float | None:
        """As configured, else as the driver says."""
        return self._config.card_gib * GIB or _driver_says()

    def describe(self, plan: TrainingPlan[Any]) -> str:
        """One line a process."""
        return "\n".join(_line(*command) for command in commands(plan))

    @contextmanager
    def started(self, plan: TrainingPlan[Any], environment: Mapping[str, str]) -> Iterator[Run]:
        """Start the launcher, or every rank."""
        with ProcessGroup(_log(plan), deadline_seconds=plan.config.launch.stop_deadline_seconds) as group:
            for command, extra in commands(plan):
                group.start(command, {**environment, **extra})
            yield group


class HostsTrainer:
    """Hosts of a host file; this machine is the first of them."""

    messages = ""
    poll_seconds = 1.0

    def __init__(self, config: HostsTrainerConfig, *, home: Path) -> None:
        self._config, self._hostfile = config, home / config.hostfile

    def card_bytes(self) -> float | None:
        """As configured, else as the driver of this host says."""
        return self._config.card_gib * GIB or _driver_says()

    def describe(self, plan: TrainingPlan[Any]) -> str:
        """The launcher's line."""
        return _line(*hosts_command(plan, self._hostfile))

    @contextmanager
    def started(self, plan: TrainingPlan[Any], environment: Mapping[str, str]) -> Iterator[Run]:
        """Start the launcher; it carries the variables to all hosts by a file of its own form."""
        command, extra = hosts_command(plan, self._hostfile)
        file = Path(plan.work) / "deepspeed_env"
        carried = {**environment, **{name: value for name, value in extra.items() if name != "PATH"}}
        file.write_text("".join(f"{name}={value}\n" for name, value in carried.items()))
        with ProcessGroup(_log(plan), deadline_seconds=plan.config.launch.stop_deadline_seconds) as group:
            group.start(command, {**environment, **extra, "DS_ENV_FILE": str(file)})
            yield group


@dataclass(frozen=True, kw_only=True)
class Told:
    """Who is told what of a launch.

    Attributes:
        hear: Gets the program's messages: points, alerts, sentences.
        say: Gets sentences of the launcher.
        warn: Gets warnings and stacks.
    """

    hear: Callable[[Message], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None
    warn: Callable[[str], None] = lambda _: None

    @classmethod
    def by_printing(cls) -> "Told":
        """To a terminal."""
        return cls(hear=_show, say=_say, warn=_say)


class Session(Protocol):
    """How a program's messages reach its launcher."""

    def __call__(self, hear: Callable[[Message], None]) -> AbstractContextManager[tuple[Mapping[str, str], Tick]]:
        """For one attempt: variables for the program, and what to call at every look; what came is heard at the end."""
        ...


class FileSession:
    """What rank 0 appends to progress.jsonl of a plan, and of those that go along, during an attempt.

    What the launcher adds afterwards it knows itself.
    """

    def __init__(self, plan: TrainingPlan[Any], environment: Mapping[str, str] | None = None) -> None:
        folders = [Path(plan.work), *(Path(path).parent for path in plan.also)]
        self._paths = [folder / plan.progress_file.name for folder in folders]
        self._environment = dict(environment or {})
        self._offsets: dict[Path, int] = {}

    @contextmanager
    def __call__(self, hear: Callable[[Message], None]) -> Iterator[tuple[Mapping[str, str], Tick]]:
        """Follow the files from their present ends."""
        self._offsets = {path: path.stat().st_size if path.exists() else 0 for path in self._paths}
        yield self._environment, lambda: self._hear_new(hear)
        self._hear_new(hear)

    def _hear_new(self, hear: Callable[[Message], None]) -> None:
        for path in self._paths:
            if not path.exists():
                continue
            with path.open("rb") as stream:
                stream.seek(self._offsets[path])
                text = stream.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._offsets[path] += len(complete)
            for line in complete.splitlines():
                hear(json.loads(line))


def run_to_end(
    trainer: Trainer,
    plan: TrainingPlan[Any],
    *,
    session: Session,
    told: Told,
    mlflow_uri: str | None = None,
) -> None:
    """Run a plan until its result is there; out of memory, try again with half the micro-batch.

    The effective batch stays the same (`shares`), and a further attempt goes on from the newest checkpoint.

    Args:
        trainer: The place.
        plan: Its work folder receives plan.json, the log and the result.
        session: Opened for each attempt.
        told: Who hears of it.
        mlflow_uri: Tracking URI that gets the curve; None for none.

    Raises:
        TrainingFailedError: The program ended without a result or stalled; the next launch resumes.
    """
    while True:
        plan.write()
        log_file = Path(plan.work) / LOG
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with Oversight(
            plan, log_file=log_file, hear=told.hear, say=told.say, warn=told.warn, mlflow_uri=mlflow_uri
        ) as oversight:
            code, log_end = _attempt(trainer, plan, session, oversight)
            if code == 0 and plan.result.is_dir():
                return
            alert = oversight.ended(code)
            if exits.meaning(code) != exits.OUT_OF_MEMORY or plan.halvings >= MOST_HALVINGS:
                raise _failure(plan, code, log_end, alert)
        plan = plan.model_copy(update={"halvings": plan.halvings + 1})
        told.say(f"out of memory: again with the micro-batch halved {plan.halvings} times, the same effective batch")


def _attempt(trainer: Trainer, plan: TrainingPlan[Any], session: Session, oversight: Oversight) -> tuple[int, str]:
    """Exit code and last words of one run."""
    with session(oversight.hear) as (environment, tick), trainer.started(plan, environment) as run:
        while (code := run.code()) is None:
            time.sleep(trainer.poll_seconds)
            tick()
            if not run.has_started:
                oversight.wait()
            elif stall := oversight.look():
                raise _failure(plan, 1, run.log_end(), stall)
        return code, run.log_end()


def _failure(plan: TrainingPlan[Any], code: int, log_end: str, alert: Alert | None) -> TrainingFailedError:
    what = alert.explanation if alert else f"the training program ended with code {code} and no result"
    remedy = "Materialise again to resume from the newest checkpoint."
    number = exits.meaning(code)
    if number == exits.OUT_OF_MEMORY:
        remedy = (
            f"The micro-batch was halved {plan.halvings} times already. `sap-llm training plan` says what needs less."
        )
    elif number == exits.KILLED:
        remedy = (
            "Look for `Out of memory: Killed process` in the kernel's log, or OOMKilled in the pod's status. Lower "
            "launch.micro_batch or launch.ranks, or give it more memory; then materialise again to resume."
        )
    elif alert:
        remedy = f"{alert.remedy} {remedy}"
    return TrainingFailedError(
        what,
        where=str(_log(plan)),
        remedy=f"{remedy}\nThe log ends:\n{log_end}",
        code=code,
        log_end=log_end,
        alert=alert,
    )


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


def _show(message: Message) -> None:
    """Print what the program reports: sentences, points, alerts."""
    if message["event"] == "message":
        _say(message["message"])
    elif message["event"] == "step":
        numbers = {name: value for name, value in message.items() if isinstance(value, int | float)}
        _say(step_text(numbers, steps=message["steps"]))
    elif message["event"] == "alert":
        _say(f"ALERT {message['kind']}: {message['explanation']}. {message['remedy']}")


def _log(plan: TrainingPlan[Any]) -> Path:
    return Path(plan.work) / LOG


def _line(command: list[str], environment: Mapping[str, str]) -> str:
    shown = {name: value for name, value in environment.items() if name != "PATH"}
    return shlex.join([*(f"{name}={value}" for name, value in shown.items()), *command])


def _driver_says() -> float | None:
    """Total memory of this machine's first GPU."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return float(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).total)
    except pynvml.NVMLError:
        return None
