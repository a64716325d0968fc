"""Processes of one launched program on this machine: started together, ended together, with all their children.

Belongs here: sessions, signals and the end of a log. What is started is `launch`; Dagster's Pipes client for other
programs uses the same group (`resources.pipes`).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from sap_llm.training.exits import worst

_TAIL_BYTES = 4000
_KILLED_SECONDS = 2.0  # for the kernel to clear away what was killed; zombies of others may stay longer


class ProcessGroup(AbstractContextManager["ProcessGroup"]):
    """Processes that live and die together, each with its children in a session of its own.

    Used as a context, however the block is left, the groups are gone afterwards.
    """

    has_started = True

    def __init__(self, log_file: Path, *, deadline_seconds: float) -> None:
        self.log_file, self._deadline = log_file, deadline_seconds
        self.processes: list[subprocess.Popen[bytes]] = []
        log_file.parent.mkdir(parents=True, exist_ok=True)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start one process with this process's environment and the given one; its output goes to the log's end."""
        with self.log_file.open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [*_ends_with_parent(), *command],
                    env={**os.environ, **environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def code(self) -> int | None:
        """The failure that explains the others, or 0 when all are done; None while the program runs."""
        codes = [process.poll() for process in self.processes]
        return worst(codes) or (None if None in codes else 0)

    def stop(self) -> None:
        """TERM to every group, KILL to what is left after the deadline."""
        self._signal(signal.SIGTERM)
        self._wait_until_gone(self._deadline)
        self._signal(signal.SIGKILL)
        self._wait_until_gone(_KILLED_SECONDS)

    def log_end(self) -> str:
        """The last words."""
        return tail(self.log_file)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_gone(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._signal(0):
            time.sleep(0.05)

    def _signal(self, number: int) -> bool:
        """Send a signal to all groups; False when nobody is left in them."""
        is_anyone_left = False
        for process in self.processes:
            process.poll()  # reaps the leader, so that its group can be seen to be empty
            try:
                os.killpg(process.pid, number)
                is_anyone_left = True
            except ProcessLookupError:
                continue
            except PermissionError:
                is_anyone_left = True
        return is_anyone_left


class TerminationAsExit(AbstractContextManager[None]):
    """Turns SIGTERM into SystemExit, so that contexts end their processes; restores the handler.

    For command lines only: Dagster's step has a handler of its own.
    """

    def __enter__(self) -> None:
        try:
            self._before: Any = signal.signal(signal.SIGTERM, self._exit)
        except ValueError:  # not the main thread: whoever owns it handles signals
            self._before = None

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _exit(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)


def tail(log_file: Path) -> str:
    """The end of a log, empty where there is none yet."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _ends_with_parent() -> list[str]:
    """Prefix that asks the kernel for TERM when the launching process dies without a word (SIGKILL, out of memory)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
