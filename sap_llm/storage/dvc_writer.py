"""One DVC writer at a time, and how DVC is called.

Belongs here: the lock that the command line and Dagster's job share (DVC's own fails as soon as two write), and turning
what DVC says into errors for users. What is tracked is `dvc_ledger`.
"""

import fcntl
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import AwareDatetime, BaseModel, ValidationError

from sap_llm.schema.clock import Clock, SystemClock
from sap_llm.schema.errors import MissingToolError, VersionControlError
from sap_llm.storage.build import Progress, silent

WAIT_SECONDS = 600.0
_LOCK = ".dvc/tmp/sap_llm_writer.lock"  # DVC's own .gitignore covers the folder
_MEMORY = ".dvc/tmp/sap_llm_memory"
_POLL_SECONDS = 0.25
_LAST_WORDS = 2000
_REMEDIES = (
    ("no remote specified", "Add one: `dvc remote add --default NAME URL`, or name one with --remote."),
    ("Unable to acquire lock", "Somebody runs dvc by hand here; try again when that has ended."),
    ("missing-files", "The remote does not hold them all. Run `sap-llm data push` where the version is complete."),
    ("doesn't exist", "`dvc remote list` shows the remotes that there are."),
)


class Holder(BaseModel):
    """Who has the lock, as the lock file says it."""

    who: str
    process: int
    doing: str
    since: AwareDatetime

    def __str__(self) -> str:
        """One clause for a message."""
        return f"{self.who} (process {self.process}) is doing {self.doing} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class DvcWriter:
    """The right to write with DVC in one folder; obtained from `only_writer`."""

    def __init__(self, home: Path, lock: IO[str]) -> None:
        self.home, self._lock = home, lock

    def run(self, *arguments: str) -> str:
        """Call `dvc`; returns what it printed. It holds the lock as well, so it is alone even if we are killed.

        Raises:
            VersionControlError: DVC refused; with its own words.
        """
        # DVC remembers between calls what it has to transfer, and notes it down target by target. After a kill in the
        # middle of that, the next push or pull (3.67) takes half the list for the whole and succeeds without the rest.
        memory = self.home / _MEMORY
        shutil.rmtree(memory, ignore_errors=True)
        done = subprocess.run(
            [dvc_program(), *arguments],
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=(self._lock.fileno(),),
            env={**os.environ, "DVC_NO_ANALYTICS": "true", "DVC_SITE_CACHE_DIR": str(memory)},
        )
        if done.returncode:
            said = done.stderr.strip()[-_LAST_WORDS:] or done.stdout.strip()[-_LAST_WORDS:]
            remedy = next((remedy for words, remedy in _REMEDIES if words in said), "")
            verb = next((word for word in arguments if not word.startswith("-")), "")
            raise VersionControlError(f"dvc {verb} failed: {said}", where=str(self.home), remedy=remedy)
        return done.stdout


def is_checkout(home: Path) -> bool:
    """Whether DVC was set up in the folder."""
    return (home / ".dvc" / "config").is_file()


@contextmanager
def only_writer(
    home: Path,
    doing: str,
    *,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    progress: Progress = silent,
) -> Iterator[DvcWriter]:
    """Hold the lock of the DVC checkout `home`; whoever comes second waits. The kernel frees it when its holder dies.

    Args:
        home: Folder with `.dvc`.
        doing: What for, shown to whoever waits.
        wait_seconds: How long to wait for another holder.
        clock: Source of the time in the lock file.
        progress: Told whom we wait for.

    Raises:
        VersionControlError: No DVC checkout, or the other holder took longer.
    """
    if not is_checkout(home):
        raise VersionControlError(
            "DVC was not set up here", where=str(home), remedy="Run `dvc init` there (`--no-scm` without Git)."
        )
    path = home / _LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        _wait(lock, wait_seconds, progress)
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        holder = Holder(who=who, process=os.getpid(), doing=doing, since=(clock or SystemClock()).now())
        _write(lock, holder.model_dump_json())
        try:
            yield DvcWriter(home, lock)
        finally:
            _write(lock, "")


def dvc_program() -> str:
    """Path of the `dvc` of this environment, else of the search path.

    Raises:
        MissingToolError: There is none.
    """
    beside = Path(sys.executable).with_name("dvc")
    found = str(beside) if beside.exists() else shutil.which("dvc")
    if found is None:
        raise MissingToolError("dvc is not installed", remedy="Install the package dvc[s3].")
    return found


def _wait(lock: IO[str], seconds: float, progress: Progress) -> None:
    end, told = time.monotonic() + seconds, ""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        holder = _holder(lock)
        if time.monotonic() >= end:
            raise VersionControlError(
                f"another DVC writer is at work: {holder}",
                where=lock.name,
                remedy="Wait until it has ended; only one may write at a time.",
            )
        if holder != told:
            progress(f"waiting for DVC: {holder}")
            told = holder
        time.sleep(_POLL_SECONDS)


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    try:
        return str(Holder.model_validate_json(lock.read()))
    except ValidationError:
        return "somebody who just took or is just giving back the lock"


def _write(lock: IO[str], text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


def batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Parts of a list: each call of DVC costs two seconds, and its command line is finite."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
