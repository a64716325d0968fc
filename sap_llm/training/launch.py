"""Starting the training program: DeepSpeed's launcher, or a plain spawn of gloo ranks, in a process group of its own.

Belongs here: choosing the launcher, building command and environment, and ending everything (TERM, then KILL after a
deadline). What the program does is the stage's own; Dagster's Pipes client adds its environment.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, Literal

from sap_llm.schema.errors import MissingToolError, SapLlmError
from sap_llm.training.config import LaunchConfig
from sap_llm.training.plan import PLAN, TrainingPlan

_TAIL_BYTES = 4000


Backend = Literal["deepspeed", "gloo"]


class TrainingFailedError(SapLlmError):
    """The training program ended without a result."""


def choose_backend(config: LaunchConfig) -> tuple[Backend, str]:
    """Which backend runs, and the reason as a sentence part.

    Raises:
        MissingToolError: DeepSpeed was demanded and there is no C++ compiler for its ops.
    """
    if config.launcher == "gloo":
        return "gloo", "as configured"
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler and shutil.which("ninja", path=_path()):
        return "deepspeed", f"compiler {compiler}"
    what = "no C++ compiler" if not compiler else "no ninja"
    if config.launcher == "deepspeed":
        raise MissingToolError(
            f"{what}, which DeepSpeed needs to build its operations",
            where="training.launch",
            remedy="Install g++ (apt install g++), or set launch.launcher to auto or gloo.",
        )
    return "gloo", f"{what}, so torch.distributed on gloo instead of DeepSpeed"


def commands(plan: TrainingPlan[Any], plan_file: Path) -> list[tuple[list[str], dict[str, str]]]:
    """Command and additional environment of every process to start (one for DeepSpeed, one per rank for gloo)."""
    launch = plan.config.launch
    port = str(_free_port())
    program = ["--plan", str(plan_file)]
    shared = {"OMP_NUM_THREADS": str(launch.threads), "PATH": _path(), "PYTHONUNBUFFERED": "1"}
    if plan.backend == "deepspeed":
        world = base64.urlsafe_b64encode(json.dumps({"localhost": list(range(launch.ranks))}).encode()).decode()
        # the node launcher itself: the `deepspeed` script would only look for a host file and start it (6 s of imports)
        launcher = [sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
        launcher += ["--master_addr=127.0.0.1", f"--master_port={port}", "--module", plan.program]
        return [(launcher + program, shared | {"DS_ACCELERATOR": launch.accelerator})]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(launch.ranks)}
    command = [sys.executable, "-m", plan.program, *program]
    return [(command, shared | master | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(launch.ranks)]


def run(plan: TrainingPlan[Any], *, environment: Mapping[str, str] | None = None, is_quiet: bool = False) -> None:
    """Run the program to its end; cancelling this process (TERM or INT) ends every rank.

    Args:
        plan: Its work folder receives plan.json, training.log and the result.
        environment: Added to this process's own, e.g. Dagster Pipes parameters.
        is_quiet: Do not pass the program's output through to the terminal.

    Raises:
        TrainingFailedError: A rank failed; the message carries the log's end.
    """
    plan_file = Path(plan.work) / PLAN
    plan.write()
    log_file = Path(plan.work) / "training.log"
    with log_file.open("ab") as log:
        group = ProcessGroup(deadline_seconds=plan.config.launch.stop_deadline_seconds)
        with group.forwarding_signals():
            for command, extra in commands(plan, plan_file):
                group.start(command, env={**os.environ, **(environment or {}), **extra}, log=log)
            code = group.wait(None if is_quiet else plan.progress_file)
    if code != 0 or not plan.result.is_dir():
        tail = log_file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
        raise TrainingFailedError(
            f"the training program ended with code {code} and no result",
            where=str(log_file),
            remedy=f"Materialise again to resume from the newest checkpoint. The log ends:\n{tail}",
        )


class ProcessGroup:
    """Processes that live and die together, each with its children in a session of its own."""

    def __init__(self, *, deadline_seconds: float) -> None:
        self._deadline = deadline_seconds
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], *, env: Mapping[str, str], log: IO[bytes]) -> None:
        """Start one process; its output goes to the log."""
        self._processes.append(
            subprocess.Popen(list(command), env=dict(env), stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        )

    def wait(self, progress_file: Path | None = None) -> int:
        """Wait for all; as soon as one fails, end the others. Returns the first failure's code, or 0."""
        follower = _Follower(progress_file)
        try:
            while True:
                codes = [process.poll() for process in self._processes]
                follower.print_new()
                failed = [code for code in codes if code]
                if failed:
                    return int(failed[0])
                if all(code == 0 for code in codes):
                    return 0
                time.sleep(0.2)
        finally:
            self.stop()

    def stop(self) -> None:
        """TERM to every group, KILL to what is left after the deadline."""
        self._signal(signal.SIGTERM)
        self._wait_until_gone(self._deadline)
        self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._wait_until_gone(self._deadline)  # children die a moment after their leader

    def forwarding_signals(self) -> "_Forwarding":
        """Context in which TERM and INT to this process stop the group (main thread only)."""
        return _Forwarding()

    def _wait_until_gone(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._alive():
            time.sleep(0.05)

    def _alive(self) -> bool:
        for process in self._processes:
            process.poll()  # reaps the leader, which would otherwise count as alive
        return any(_group_exists(process.pid) for process in self._processes)

    def _signal(self, number: int) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            process.poll()


class _Forwarding:
    """Turns SIGTERM into SystemExit, so that `finally` blocks stop the group; restores the handler."""

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


class _Follower:
    """Prints messages and steps that rank 0 appends to progress.jsonl."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._offset = path.stat().st_size if path and path.exists() else 0

    def print_new(self) -> None:
        """Print complete lines that appeared since the last call."""
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            text = stream.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            entry = json.loads(line)
            if entry["event"] == "message":
                print(f"  {entry['message']}", flush=True)
            elif entry["event"] == "step":
                print(f"  step {entry['step']:.0f}/{entry['steps']}  loss {entry['loss']:.4f}", flush=True)


def _group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _path() -> str:
    """PATH with this interpreter's scripts first: ninja comes with the environment."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
