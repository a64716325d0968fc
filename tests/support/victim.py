"""Processes that are killed with -9 while they work.

They are started up to the point where the work begins, so that a kill falls into the work and not into the imports.

The program prints `ready`, and begins with a line on its standard input.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Python with these arguments, imported and ready."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: "subprocess.Popen[str]", *, timeout: float) -> float:
    """Let it work to its end; how many seconds that took."""
    started = time.monotonic()
    process.communicate("go\n", timeout=timeout)
    assert process.returncode == 0
    return time.monotonic() - started


def strike(process: "subprocess.Popen[str]", *, after: float) -> None:
    """Let it work for so many seconds and kill it."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
