"""A Pipes client whose program and all its children end with the step.

Belongs here: launching, following and stopping an external program. What the program does is its own module; which
program a stage launches is `assets.launch`.

Dagster's own subprocess client interrupts only its direct child and never escalates, so ranks that ignore the signal
outlive the run. Here the program leads a process group that gets TERM, and KILL after a deadline.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from sap_llm.training.exits import worst

Message = Mapping[str, Any]
Command = tuple[Sequence[str], Mapping[str, str]]
Process = subprocess.Popen[bytes]
_POLL_SECONDS = 0.5
_TAIL_BYTES = 4000
_KILLED_SECONDS = 2.0  # for the kernel to clear away what was killed; zombies of others may stay longer


class ProgramFailed(dg.Failure):
    """A launched program ended with another exit code than 0."""

    def __init__(self, description: str, *, exit_code: int, metadata: Mapping[str, Any]) -> None:
        super().__init__(description, metadata=metadata)
        self.exit_code = exit_code


class ProcessGroupPipesClient(dg.ConfigurableResource, dg.PipesClient):
    """Runs the processes of one program, each leading its own process group, in one Pipes session."""

    stop_timeout_seconds: float = 20.0

    def run(  # type: ignore[override]
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        commands: Sequence[Command],
        log_file: Path,
        extras: Mapping[str, Any] | None = None,
        on_message: Callable[[Message], None] | None = None,
        watch: Callable[[], None] | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Run to the end; as soon as one process fails, the others are ended.

        Args:
            context: Of the op or asset.
            commands: Command and additional environment of each process; only one of them may open Pipes.
            log_file: Receives what the processes print; a failure quotes its end.
            extras: Readable by the program through Pipes.
            on_message: Gets each custom message of the program while it runs, in this thread.
            watch: Called twice a second while the program runs; what it raises ends the program.

        Raises:
            ProgramFailed: A process ended with another exit code than 0.
        """
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
            extras=dict(extras or {}),
        ) as session:
            pipes = session.get_bootstrap_env_vars()
            with self.started([(command, {**env, **pipes}) for command, env in commands], log_file) as processes:
                seen = 0
                while (code := _exit_code(processes)) is None:
                    time.sleep(_POLL_SECONDS)
                    seen = _forward(session, seen, on_message)
                    if watch is not None:
                        watch()
        _forward(session, seen, on_message)
        if code != 0:
            raise ProgramFailed(
                f"The launched program ended with exit code {code}. Its log ends with: {_last_line(log_file)}",
                exit_code=code,
                metadata={
                    "exit_code": code,
                    "command": " ".join(commands[0][0]),
                    "log": dg.MetadataValue.path(str(log_file)),
                    "log_end": dg.MetadataValue.md(f"```\n{_tail(log_file)}\n```"),
                },
            )
        return dg.PipesClientCompletedInvocation(session)

    @contextmanager
    def started(self, commands: Sequence[Command], log_file: Path) -> Iterator[list[Process]]:
        """The commands as leaders of new process groups; however the block is left, the groups are gone afterwards."""
        processes: list[Process] = []
        log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log_file.open("ab") as log:
                for command, env in commands:
                    processes.append(
                        subprocess.Popen(
                            [*_ends_with_parent(), *command],
                            env={**os.environ, **env},
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    )
            yield processes
        finally:
            self._stop(processes)

    def _stop(self, processes: Sequence[Process]) -> None:
        """TERM to the groups, KILL to what is left of them after the deadline."""
        deadline = time.monotonic() + self.stop_timeout_seconds
        _signal_groups(processes, signal.SIGTERM)
        while time.monotonic() < deadline and _signal_groups(processes, 0):
            time.sleep(0.05)
        _signal_groups(processes, signal.SIGKILL)
        deadline = time.monotonic() + _KILLED_SECONDS
        while time.monotonic() < deadline and _signal_groups(processes, 0):
            time.sleep(0.05)


def _exit_code(processes: Sequence[Process]) -> int | None:
    """The failure that explains the others, or 0 when all are done; None while the program runs."""
    codes = [process.poll() for process in processes]
    return worst(codes) or (None if None in codes else 0)


def _tail(log_file: Path) -> str:
    return log_file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()


def _last_line(log_file: Path) -> str:
    return (_tail(log_file).splitlines() or ["nothing"])[-1]


def _forward(session: dg.PipesSession, seen: int, on_message: Callable[[Message], None] | None) -> int:
    messages = session.get_custom_messages()
    for message in messages[seen:]:
        if on_message is not None:
            on_message(message)
    return len(messages)


def _signal_groups(processes: Sequence[Process], number: int) -> bool:
    """Send a signal to all groups; False when nobody is left in them."""
    is_anyone_left = False
    for process in processes:
        process.poll()  # reaps the leader, so that its group can be seen to be empty
        try:
            os.killpg(process.pid, number)
            is_anyone_left = True
        except ProcessLookupError:
            continue
    return is_anyone_left


def _ends_with_parent() -> list[str]:
    """Prefix that asks the kernel for TERM when the step's process dies without a word (SIGKILL, out of memory)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
