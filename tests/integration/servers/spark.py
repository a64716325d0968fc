"""A real Spark standalone cluster on loopback: one master and one worker, each a process of its own.

Belongs here: start and stop. The jars are those of the installed pyspark.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_READY_SECONDS = 90.0


@dataclass(frozen=True)
class SparkCluster:
    """A running master with one worker."""

    url: str
    master: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]


@contextmanager
def spark_cluster(folder: Path, *, cores: int = 2, memory: str = "1g") -> Iterator[SparkCluster]:
    """Start master and worker, wait until the worker is registered, kill both at the end."""
    if shutil.which("java") is None:
        message = "no java: a Spark cluster needs Java 17"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    url = f"spark://127.0.0.1:{_free_port()}"
    port = url.rpartition(":")[2]
    master = _start(folder, "master", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", port)
    worker = None
    try:
        _await(folder / "master.log", r"New state: ALIVE", master)
        worker = _start(
            folder,
            "worker",
            "org.apache.spark.deploy.worker.Worker",
            *(
                "--host",
                "127.0.0.1",
                "--cores",
                str(cores),
                "--memory",
                memory,
                "--work-dir",
                str(folder / "work"),
                url,
            ),
        )
        _await(folder / "worker.log", r"Successfully registered with master", worker)
        yield SparkCluster(url=url, master=master, worker=worker)
    finally:
        for process in (worker, master):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _start(folder: Path, name: str, main: str, *arguments: str) -> subprocess.Popen[bytes]:
    import pyspark

    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-class"), main, *arguments, "--webui-port", "0"]
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(home), "SPARK_DAEMON_MEMORY": "256m"}
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
        )


def _await(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if re.search(pattern, text):
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"not ready: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
