"""Running a plan to its end, on whatever place: one client interface, and what is done when a run fails.

Belongs here: memory check, attempts, out of memory, and the words for an exit code. A place is a `Trainer`: this machine
and hosts here, a Kubernetes cluster in `kubernetes`. Starting commands is `processes`, making them `launch`.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sap_llm.schema.errors import SapLlmError
from sap_llm.training import outcome
from sap_llm.training.launch import commands, hosts_command
from sap_llm.training.memory import GIB
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.processes import ProcessGroup
from sap_llm.training.trainer_config import HostsTrainerConfig, LocalTrainerConfig

MOST_HALVINGS = 4
LOG = "training.log"
# As subprocess, a shell, and DeepSpeed's launcher (a negative code, modulo 256) say it.
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL, 256 - signal.SIGKILL)

Session = Callable[[], AbstractContextManager[Mapping[str, str]]]
Tick = Callable[[], None]


class TrainingFailedError(SapLlmError):
    """The training program ended without a result.

    Attributes:
        code: Its exit code.
        log_end: Its last words.
    """

    def __init__(self, what: str, *, where: str, remedy: str, code: int, log_end: str) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.code, self.log_end = code, log_end


class Run(Protocol):
    """A program that was started."""

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


@contextmanager
def no_session() -> Iterator[Mapping[str, str]]:
    """Of a program that nobody but its files listens to."""
    yield {}


def run_to_end(
    trainer: Trainer, plan: TrainingPlan[Any], *, session: Session = no_session, tick: Tick = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> None:  # fmt: skip
    """Run a plan until its result is there; out of memory, try again with half the micro-batch.

    The effective batch stays the same (`shares`), and a further attempt goes on from the newest checkpoint.

    Args:
        trainer: The place.
        plan: Its work folder receives plan.json, the log and the result.
        session: Opened for each attempt; yields variables for the program, e.g. of Dagster Pipes.
        tick: Called at every look at the run.
        say: Told in a sentence what is decided.

    Raises:
        TrainingFailedError: The program ended without a result; the next launch resumes.
    """
    while True:
        plan.write()
        outcome.clear_outcome(plan)
        with session() as environment, trainer.started(plan, environment) as run:
            while (code := run.code()) is None:
                time.sleep(trainer.poll_seconds)
                tick()
            log_end = run.log_end()
        tick()
        if code == 0 and plan.result.is_dir():
            return
        if not _is_out_of_memory(plan, code) or plan.halvings >= MOST_HALVINGS:
            raise _failure(plan, code, log_end)
        plan = plan.model_copy(update={"halvings": plan.halvings + 1})
        say(f"out of memory; trying again with the micro-batch halved {plan.halvings} times, the same effective batch")


def print_progress(plan: TrainingPlan[Any]) -> Tick:
    """A tick that prints the messages and steps which rank 0 appends to progress.jsonl."""
    path = plan.progress_file
    offset = path.stat().st_size if path.exists() else 0

    def tick() -> None:
        nonlocal offset
        if not path.exists():
            return
        with path.open("rb") as stream:
            stream.seek(offset)
            text = stream.read()
        complete = text[: text.rfind(b"\n") + 1]
        offset += len(complete)
        for line in complete.splitlines():
            entry = json.loads(line)
            if entry["event"] == "message":
                print(f"  {entry['message']}", flush=True)
            elif entry["event"] == "step":
                print(f"  step {entry['step']:.0f}/{entry['steps']}  loss {entry['loss']:.4f}", flush=True)

    return tick


def _is_out_of_memory(plan: TrainingPlan[Any], code: int) -> bool:
    said = outcome.read_outcome(plan)
    return code == outcome.OUT_OF_MEMORY_EXIT or (said is not None and said.reason == "out_of_memory")


def _failure(plan: TrainingPlan[Any], code: int, log_end: str) -> TrainingFailedError:
    said = outcome.read_outcome(plan)
    what = f"the training program ended with code {code} and no result"
    remedy = "Materialise again to resume from the newest checkpoint."
    if said is not None:
        what += f": {said.reason.replace('_', ' ')} on rank {said.rank}. {said.detail}".rstrip(". ")
    elif code in _KILLED:
        what += ": somebody killed it (SIGKILL), most often the kernel when the machine or the container has no memory"
        remedy = (
            "Look for `Out of memory: Killed process` in the kernel's log, or OOMKilled in the pod's status. Lower "
            "launch.micro_batch or launch.ranks, or give it more memory; then materialise again to resume."
        )
    if _is_out_of_memory(plan, code):
        remedy = f"The micro-batch was halved {plan.halvings} times already. See `sap-llm training plan` for what helps."
    return TrainingFailedError(
        what, where=str(_log(plan)), remedy=f"{remedy}\nThe log ends:\n{log_end}", code=code, log_end=log_end
    )


def _log(plan: TrainingPlan[Any]) -> Path:
    return Path(plan.work) / LOG


def _line(command: list[str], environment: Mapping[str, str]) -> str:
    import shlex

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
