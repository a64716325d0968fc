"""A real Spark standalone cluster on loopback: one master and workers, each a process of its own.

Belongs here: start and stop. The jars are those of the installed pyspark.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.servers.process import free_port, unavailable

_READY_SECONDS = 90.0


@dataclass(frozen=True)
class SparkCluster:
    """A running master with its workers; `worker-0.log` and so on are in the folder."""

    url: str
    master: subprocess.Popen[bytes]
    workers: tuple[subprocess.Popen[bytes], ...]


@contextmanager
def spark_cluster(folder: Path, *, workers: int = 1, cores: int = 2, memory: str = "1g") -> Iterator[SparkCluster]:
    """Start master and workers, wait for their registration, kill all at the end; cores and memory are a worker's."""
    if shutil.which("java") is None:
        unavailable("Spark cluster", "it needs Java 17")
    url = f"spark://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    master = _start(folder, "master", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", port)
    processes = [master]
    try:
        _await(folder / "master.log", r"New state: ALIVE", master)
        for number in range(workers):
            name, work = f"worker-{number}", str(folder / f"work-{number}")
            arguments = ("--host", "127.0.0.1", "--cores", str(cores), "--memory", memory, "--work-dir", work, url)
            processes.append(_start(folder, name, "org.apache.spark.deploy.worker.Worker", *arguments))
        for number, worker in enumerate(processes[1:]):
            _await(folder / f"worker-{number}.log", r"Successfully registered with master", worker)
        yield SparkCluster(url=url, master=master, workers=tuple(processes[1:]))
    finally:
        for process in reversed(processes):
            if process.poll() is None:
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
