"""Heartbeats and the watchdog, with real processes that hang in three ways."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sap_llm.training.watchdog import HEARTBEATS, Watchdog

# `--plan` in the command is how the watchdog knows that a pid is still a rank
RANK = """
import sys, threading, time
from pathlib import Path
from sap_llm.training.watchdog import Heartbeat
heart = Heartbeat(Path(sys.argv[2]), rank=int(sys.argv[3]), stall_seconds=float(sys.argv[4]))
def waits_for_ever():
    print("ready", flush=True)  # from within: its frame is on the stack before anybody looks
    time.sleep(120)
if sys.argv[5] == "hangs":
    waits_for_ever()
print("ready", flush=True)
while True:
    heart.beat()
    time.sleep(0.02)
"""


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(work: Path, rank: int, does: str, *, stall_seconds: float = 600.0) -> "subprocess.Popen[str]":
    arguments = ["--plan", str(work), str(rank), str(stall_seconds), does]
    process = subprocess.Popen([sys.executable, "-c", RANK, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def later(seconds: float) -> float:
    return time.time() + seconds


def test_a_rank_that_hangs_is_found_with_its_stack(tmp_path: Path, ranks: list["subprocess.Popen[str]"]) -> None:
    now = time.time()
    watchdog = Watchdog(tmp_path, stall_seconds=30.0, clock=lambda: now)
    ranks.append(start(tmp_path, 0, "hangs"))
    now = later(20)
    assert watchdog.look() is None
    now = later(40)
    stall = watchdog.look()
    assert stall is not None
    assert stall.seconds > 30
    assert "rank-0:" in stall.stacks
    assert "waits_for_ever" in stall.stacks


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
def test_a_stopped_rank_is_woken_for_its_stack(tmp_path: Path, ranks: list["subprocess.Popen[str]"]) -> None:
    now = time.time()
    watchdog = Watchdog(tmp_path, stall_seconds=30.0, clock=lambda: now)
    ranks.append(start(tmp_path, 0, "beats"))
    ranks[0].send_signal(signal.SIGSTOP)
    now = later(40)
    stall = watchdog.look()
    assert stall is not None
    assert "most recent call first" in stall.stacks


def test_one_rank_that_moves_is_enough(tmp_path: Path, ranks: list["subprocess.Popen[str]"]) -> None:
    """The others may be waiting for it while it validates."""
    watchdog = Watchdog(tmp_path, stall_seconds=3.0)
    ranks += [start(tmp_path, 0, "beats"), start(tmp_path, 1, "hangs")]
    seen = []
    for _ in range(5):
        time.sleep(1.1)
        seen.append(watchdog.look())
    assert seen == [None] * 5
    ranks[0].send_signal(signal.SIGKILL)
    time.sleep(4.5)
    stall = watchdog.look()
    assert stall is not None
    assert "rank-1 was seen longest ago" in stall.slowest


def test_a_program_that_never_begins_is_a_stall_and_no_limit_is_none(tmp_path: Path) -> None:
    now = time.time()
    watchdog = Watchdog(tmp_path, stall_seconds=30.0, clock=lambda: now)
    now = later(31)
    stall = watchdog.look()
    assert stall is not None
    assert stall.slowest == "no rank ever began"
    unlimited = Watchdog(tmp_path, stall_seconds=0.0, clock=lambda: now)
    now = later(10**6)
    assert unlimited.look() is None


def test_the_wait_for_machines_is_no_stall(tmp_path: Path) -> None:
    now = time.time()
    watchdog = Watchdog(tmp_path, stall_seconds=30.0, clock=lambda: now)
    now = later(3600)
    watchdog.wait()
    assert watchdog.look() is None
    now = later(3640)
    assert watchdog.look() is not None


def test_a_new_launch_forgets_the_ranks_before_it_and_signals_no_stranger(tmp_path: Path) -> None:
    folder = tmp_path / HEARTBEATS
    folder.mkdir()
    (folder / "rank-0.json").write_text('{"pid": 1, "host": "elsewhere"}')
    now = time.time()
    watchdog = Watchdog(tmp_path, stall_seconds=30.0, clock=lambda: now)
    assert list(folder.iterdir()) == []
    # this process is no rank: its pid is one that was used again
    (folder / "rank-0.json").write_text(f'{{"pid": {os.getpid()}, "host": "{os.uname().nodename}"}}')
    now = later(40)
    stall = watchdog.look()
    assert stall is not None
    assert stall.stacks == "no rank on this machine could be asked"


@pytest.mark.slow
def test_a_rank_that_nobody_watches_ends_itself(tmp_path: Path, ranks: list["subprocess.Popen[str]"]) -> None:
    """As on another machine: a minute after the watchdog's time, with its stack written."""
    ranks.append(start(tmp_path, 0, "hangs", stall_seconds=0.1))
    assert ranks[0].wait(timeout=120) == 1
    assert "waits_for_ever" in (tmp_path / HEARTBEATS / "rank-0.stacks").read_text()
