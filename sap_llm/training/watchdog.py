"""The heartbeat of every rank, and the watchdog that dumps the stacks of ranks that do no step any more.

Belongs here: both sides, the files between them, and nothing else of the loop. Ending the processes is the launcher's
(`launch`, Dagster's Pipes client); what an alert says is `monitor`.

Ranks train in step, so one that hangs stops all of them: it is a stall when *no* rank has done anything for so long,
and the rank seen longest ago is the likely cause. A rank that is only waiting for rank 0 to validate is none.
"""

import faulthandler
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sap_llm.storage.whole import write_whole

HEARTBEATS = "heartbeats"
_EVERY_SECONDS = 1.0
_GRACE_SECONDS = 60.0  # after the watchdog's time, a rank that nobody ended ends itself
_DUMP_SECONDS = 5.0
_MOST_CHARACTERS = 20_000


class Heartbeat:
    """A rank's side: a file whose time says when it last did something, and a handler that writes its stacks."""

    def __init__(self, work: Path, *, rank: int, stall_seconds: float) -> None:
        """Begin to live.

        Args:
            work: Work folder of the plan.
            rank: Of this process.
            stall_seconds: As the watchdog's. A minute later a rank that is on another machine, where no watchdog can
                signal it, writes its stacks and ends by itself; 0 for never.
        """
        folder = work / HEARTBEATS
        self._file = folder / f"rank-{rank}.json"
        write_whole(self._file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        self._stacks = (folder / f"rank-{rank}.stacks").open("w")
        self._limit = stall_seconds + _GRACE_SECONDS if stall_seconds else 0.0
        self._last = self._rearmed = float("-inf")
        faulthandler.register(signal.SIGUSR1, file=self._stacks, all_threads=True, chain=False)
        self.beat()

    def beat(self) -> None:
        """This rank is alive; costs nothing more than once a second."""
        now = time.monotonic()
        if now - self._last < _EVERY_SECONDS:
            return
        self._last = now
        with suppress(FileNotFoundError):  # a newer launcher cleared the folder
            os.utime(self._file)
        if self._limit and now - self._rearmed > _GRACE_SECONDS / 6:
            faulthandler.dump_traceback_later(self._limit, exit=True, file=self._stacks)
            self._rearmed = now

    def close(self) -> None:
        """The end is no stall."""
        faulthandler.cancel_dump_traceback_later()
        faulthandler.unregister(signal.SIGUSR1)
        self._stacks.close()


@dataclass(frozen=True)
class Stall:
    """What the watchdog found."""

    seconds: float  # since any rank was seen
    slowest: str  # sentence part: which rank was seen longest ago
    stacks: str  # of all ranks on this machine


class Watchdog:
    """The launcher's side. A rank on another machine is watched by its file, where the work folder is shared."""

    def __init__(self, work: Path, *, stall_seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Watch from now on; what earlier ranks left is removed."""
        self._folder, self._limit, self._clock = work / HEARTBEATS, stall_seconds, clock
        self._started = self._looked = clock()
        for path in self._folder.glob("rank-*"):
            path.unlink(missing_ok=True)

    def wait(self) -> None:
        """The program still waits for its machines: the time in which it must move begins later."""
        self._started = self._clock()

    def look(self) -> Stall | None:
        """A stall with the stacks of the ranks, None while something moves. Call it as often as you like."""
        now = self._clock()
        if not self._limit or now - self._looked < _EVERY_SECONDS:
            return None
        self._looked = now
        seen = self._seen()
        latest = max([self._started, *seen.values()])
        if now - latest < self._limit:
            return None
        slowest = min(seen, key=lambda path: seen[path], default=None)
        said = "no rank ever began" if slowest is None else f"{slowest.stem} was seen longest ago"
        return Stall(seconds=now - latest, slowest=said, stacks=self._dump())

    def _seen(self) -> dict[Path, float]:
        found = {}
        for path in sorted(self._folder.glob("rank-*.json")):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime
        return found

    def _dump(self) -> str:
        """Ask every rank here for its stacks; a stopped process is woken for it, and its owner ends it right after."""
        asked = []
        for path in self._seen():
            rank = json.loads(path.read_text())
            if rank["host"] != socket.gethostname() or not _is_training(rank["pid"]):
                continue
            with suppress(ProcessLookupError, PermissionError):
                os.kill(rank["pid"], signal.SIGUSR1)
                os.kill(rank["pid"], signal.SIGCONT)
                asked.append(path.with_suffix(".stacks"))
        end = time.monotonic() + _DUMP_SECONDS
        while time.monotonic() < end and not all(path.exists() and path.stat().st_size for path in asked):
            time.sleep(0.05)
        time.sleep(0.1)  # for the last lines
        parts = [f"{path.stem}:\n{path.read_text(errors='replace').strip()}" for path in asked]
        return "\n\n".join(parts)[:_MOST_CHARACTERS] or "no rank on this machine could be asked"


def _is_training(pid: int) -> bool:
    """Whether a process is still what its heartbeat said: pids are used again."""
    try:
        return b"--plan" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc").is_dir()
