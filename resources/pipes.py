"""A Pipes client whose program and all its children end with the step.

Belongs here: launching and following an external program on this machine. What the program does is its own module;
training programs have a place of their own to run, see `resources.training_pipes`.

Dagster's own subprocess client interrupts only its direct child and never escalates, so ranks that ignore the signal
outlive the run. Here the program leads a process group that gets TERM, and KILL after a deadline.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from sap_llm.training.processes import ProcessGroup

Message = Mapping[str, Any]
Command = tuple[Sequence[str], Mapping[str, str]]
_POLL_SECONDS = 0.5


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
    ) -> dg.PipesClientCompletedInvocation:
        """Run to the end; as soon as one process fails, the others are ended.

        Args:
            context: Of the op or asset.
            commands: Command and additional environment of each process; only one of them may open Pipes.
            log_file: Receives what the processes print; a failure quotes its end.
            extras: Readable by the program through Pipes.
            on_message: Gets each custom message of the program while it runs, in this thread.

        Raises:
            dg.Failure: A process ended with another exit code than 0.
        """
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
            extras=dict(extras or {}),
        ) as session:
            pipes = session.get_bootstrap_env_vars()
            with self.started([(command, {**env, **pipes}) for command, env in commands], log_file) as group:
                follower = Follower(session, on_message)
                while (code := group.code()) is None:
                    time.sleep(_POLL_SECONDS)
                    follower()
        follower()
        if code != 0:
            raise failure_of_program(code, log_file, group.log_end(), command=" ".join(commands[0][0]))
        return dg.PipesClientCompletedInvocation(session)

    @contextmanager
    def started(self, commands: Sequence[Command], log_file: Path) -> Iterator[ProcessGroup]:
        """The commands as leaders of new process groups; however the block is left, the groups are gone afterwards."""
        with ProcessGroup(log_file, deadline_seconds=self.stop_timeout_seconds) as group:
            for command, environment in commands:
                group.start(command, environment)
            yield group


class Follower:
    """Hands on the custom messages of a session that arrived since it was last called."""

    def __init__(self, session: dg.PipesSession, on_message: Callable[[Message], None] | None) -> None:
        self._session, self._on_message, self._seen = session, on_message, 0

    def __call__(self) -> None:
        """Hand on what is new, in this thread."""
        messages = self._session.get_custom_messages()
        for message in messages[self._seen :]:
            if self._on_message is not None:
                self._on_message(message)
        self._seen = len(messages)


def failure_of_program(code: int, log_file: Path, log_end: str, *, command: str, what: str = "") -> dg.Failure:
    """A failure that Dagster may retry and that shows the end of the program's log."""
    last = (log_end.splitlines() or ["nothing"])[-1]
    said = what or f"The launched program ended with exit code {code}. Its log ends with: {last}"
    return dg.Failure(
        said,
        metadata={
            "exit_code": code,
            "command": command,
            "log": dg.MetadataValue.path(str(log_file)),
            "log_end": dg.MetadataValue.md(f"```\n{log_end}\n```"),
        },
    )
