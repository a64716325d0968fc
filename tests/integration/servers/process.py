"""What all servers of the tests have in common: a free port, a start that is waited for, a hard stop, and the skip.

Belongs here: running one program. What it is and when it is ready is its own module's.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

_END_SECONDS = 30


def unavailable(name: str, reason: str) -> NoReturn:
    """Skip the test; in CI a missing server is a failure."""
    message = f"no {name}: {reason}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    name: str,
    folder: Path,
    is_ready: Callable[[Path], bool],
    seconds: float,
    end: signal.Signals = signal.SIGKILL,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a process group of its own.

    Args:
        command: Program and arguments.
        name: For errors.
        folder: Where it logs.
        is_ready: Asked with its log until it says so.
        seconds: How long it may take to be ready.
        end: Signal to the group at the end; what is left after some seconds is killed.
        cwd: Where it runs; by default in `folder`.
        environment: Of the process; by default ours.

    Raises:
        RuntimeError: It ended, or was not ready in time; the message has the end of its log.
    """
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=cwd or folder, env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        _wait(process, name, log, is_ready, seconds)
        yield process
    finally:
        _stop(process, end)


def _wait(
    process: subprocess.Popen[bytes], name: str, log: Path, is_ready: Callable[[Path], bool], seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended: {log.read_text(errors='replace')[-2000:]}")
        if is_ready(log):
            return
        time.sleep(0.2)
    raise RuntimeError(f"{name} was not ready in {seconds:g} s: {log.read_text(errors='replace')[-2000:]}")


def _stop(process: subprocess.Popen[bytes], end: signal.Signals) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, end)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
