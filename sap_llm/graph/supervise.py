"""The process that owns a local graph engine: `python -m sap_llm.graph.supervise FOLDER --idle-seconds 60`.

It starts the engine (ArcadeDB in its own Java process), publishes where it listens, and stops it when nobody has been
connected for a while, on TERM, or when the engine dies. Clients live in `local_engine`; only the standard library and
psutil are imported here, because this process stays resident.

Life and death: the engine gets SIGTERM from the kernel when this process dies in whatever way (Linux), and a later
supervisor ends an engine that was left behind (elsewhere).
"""

import argparse
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

import psutil

from sap_llm.graph.engine_folder import DATABASE, Endpoint, EngineFolder

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_UNUSED_JARS = (
    "arcadedb-mcp",
    "arcadedb-graphql",
    "arcadedb-redisw",
    "arcadedb-postgresw",
    "arcadedb-console",
)
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """Owns one engine process for one folder."""

    def __init__(self, folder: EngineFolder, *, idle_seconds: float, heap: str) -> None:
        self.folder, self.idle_seconds, self.heap = folder, idle_seconds, heap
        self.is_asked_to_stop = False
        self._engine: subprocess.Popen[bytes] | None = None
        self._port = 0

    def run(self) -> int:
        """Start, publish, watch, stop; the exit status of the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        self._end_leftover()
        http_port = self._start()
        try:
            if not self._wait_until_ready(http_port):
                return 1
            assert self._engine is not None
            self.folder.publish(
                Endpoint(
                    port=self._port,
                    supervisor_pid=os.getpid(),
                    engine_pid=self._engine.pid,
                )
            )
            self._watch()
            return 0
        finally:
            self._withdraw()
            self._stop()

    def _withdraw(self) -> None:
        endpoint = self.folder.endpoint()
        if endpoint is not None and endpoint.supervisor_pid == os.getpid():  # not a successor's
            self.folder.withdraw()

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.is_asked_to_stop = True

    def _end_leftover(self) -> None:
        """Wait for, then kill, an engine whose supervisor was killed; the data folder has room for one."""
        pid_file = self.folder.path / "engine.pid"
        try:
            leftover = psutil.Process(int(pid_file.read_text()))
            if str(self.folder.data) not in " ".join(leftover.cmdline()):
                return  # the number belongs to another process by now
            leftover.terminate()
            leftover.wait(_STOP_SECONDS)
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return
        except psutil.TimeoutExpired:
            with suppress(psutil.NoSuchProcess):
                leftover.kill()
                leftover.wait(_STOP_SECONDS)

    def _start(self) -> int:
        self._port, http_port = _free_ports(2)
        with self.folder.log.open("wb") as log:
            self._engine = subprocess.Popen(
                self._command(http_port),
                cwd=self.folder.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (no threads here)
            )
        (self.folder.path / "engine.pid").write_text(str(self._engine.pid))
        return http_port

    def _command(self, http_port: int) -> list[str]:
        package = engine_package()
        jars = [jar for jar in sorted((package / "jars").glob("*.jar")) if not jar.name.startswith(_UNUSED_JARS)]
        settings = {
            "server.rootPath": self.folder.data,
            "server.rootPasswordPath": self.folder.password_file,  # a file, since every user may read command lines
            "server.defaultDatabases": f"{DATABASE}[root]",
            "server.mode": "production",  # no web console
            "server.httpIncomingHost": "127.0.0.1",  # cannot be switched off; nobody uses it
            "server.httpIncomingPort": http_port,
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "bolt.host": "127.0.0.1",
            "bolt.port": self._port,
            "txWalFlush": 1,  # committed means on disk
        }
        return [
            str(package / "jre" / "bin" / "java"),
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            os.pathsep.join(map(str, jars)),
            *(f"-Darcadedb.{key}={value}" for key, value in settings.items()),
            "com.arcadedb.server.ArcadeDBServer",
        ]

    def _wait_until_ready(self, http_port: int) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and not self.is_asked_to_stop and self._is_running():
            if _is_ready(http_port):
                return True
            time.sleep(0.1)
        return False

    def _watch(self) -> None:
        last_used = time.monotonic()
        pause = min(1.0, self.idle_seconds / 4)
        while not self.is_asked_to_stop and self._is_running():
            time.sleep(pause)
            if self._connections():
                last_used = time.monotonic()
            elif time.monotonic() - last_used >= self.idle_seconds:
                # Clients connect while they hold the lock: whoever found the endpoint is counted here.
                with self.folder.locked():
                    if not self._connections():
                        self.folder.withdraw()
                        return
                last_used = time.monotonic()

    def _connections(self) -> int:
        assert self._engine is not None
        try:
            found = psutil.Process(self._engine.pid).net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            return 0
        return sum(1 for item in found if item.laddr.port == self._port and item.status == psutil.CONN_ESTABLISHED)

    def _is_running(self) -> bool:
        return self._engine is not None and self._engine.poll() is None

    def _stop(self) -> None:
        if self._engine is None:
            return
        self._engine.terminate()
        try:
            self._engine.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._engine.kill()
            self._engine.wait()


def engine_package() -> Path:
    """Folder of the installed engine; FileNotFoundError if the package is absent."""
    spec = find_spec("arcadedb_embedded")  # not imported: it would start a Java machine in this process
    if spec is None or spec.origin is None:
        raise FileNotFoundError("arcadedb_embedded")
    return Path(spec.origin).parent


def _is_ready(http_port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=2)
    try:
        connection.request("GET", "/api/v1/ready")
        return connection.getresponse().status == http.client.NO_CONTENT
    except OSError:
        return False
    finally:
        connection.close()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> int:
    """Read the command line and supervise until the end."""
    parser = argparse.ArgumentParser(description="Own the local graph engine of one folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--idle-seconds", type=float, default=60.0)
    parser.add_argument("--heap", default="512m")
    arguments = parser.parse_args()
    return Supervisor(
        EngineFolder(arguments.folder),
        idle_seconds=arguments.idle_seconds,
        heap=arguments.heap,
    ).run()


if __name__ == "__main__":
    sys.exit(main())
