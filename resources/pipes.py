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
from typing import Any

import dagster as dg

Message = Mapping[str, Any]
_POLL_SECONDS = 0.5


class ProcessGroupPipesClient(dg.ConfigurableResource, dg.PipesClient):
    """Runs a command as the leader of its own process group, in a Pipes session."""

    stop_timeout_seconds: float = 20.0

    def run(  # type: ignore[override]
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        command: Sequence[str],
        extras: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_message: Callable[[Message], None] | None = None,
    ) -> dg.PipesClientCompletedInvocation:
        """Run to the end; `on_message` gets each custom message of the program while it runs.

        Raises:
            dg.Failure: The program ended with another exit code than 0.
        """
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
            extras=dict(extras or {}),
        ) as session:
            environment = {**os.environ, **(env or {}), **session.get_bootstrap_env_vars()}
            with self.process_group(command, env=environment, cwd=cwd) as process:
                seen = 0
                while process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                    seen = _forward(session, seen, on_message)
                _forward(session, seen, on_message)
        if process.returncode != 0:
            raise dg.Failure(
                f"{command[0]} ended with exit code {process.returncode}; its last lines are in the step's stderr log.",
                metadata={"command": " ".join(command), "exit_code": process.returncode},
            )
        return dg.PipesClientCompletedInvocation(session)

    @contextmanager
    def process_group(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The command as leader of a new process group; whatever leaves the block, the group is gone afterwards."""
        process = subprocess.Popen([*_ends_with_parent(), *command], env=env, cwd=cwd, start_new_session=True)
        try:
            yield process
        finally:
            self._stop(process)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """TERM to the group, KILL to what is left of it after the deadline."""
        deadline = time.monotonic() + self.stop_timeout_seconds
        if _signal_group(process.pid, signal.SIGTERM):
            while time.monotonic() < deadline:
                process.poll()  # reaps the leader, so that its group can be seen to be empty
                if not _signal_group(process.pid, 0):
                    break
                time.sleep(0.05)
            _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _forward(session: dg.PipesSession, seen: int, on_message: Callable[[Message], None] | None) -> int:
    messages = session.get_custom_messages()
    for message in messages[seen:]:
        if on_message is not None:
            on_message(message)
    return len(messages)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to all of a group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _ends_with_parent() -> list[str]:
    """Prefix that asks the kernel for TERM when the step's process dies without a word (SIGKILL, out of memory)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
