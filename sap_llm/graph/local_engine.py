"""The graph without a server to install: an engine in a process of its own, started on demand and shared by all.

Belongs here: finding the running engine of a folder, starting it, and the client that does so. The process itself is
`supervise`. Engine and step are two processes because a Java machine inside a step would take the step down with it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sap_llm.graph.client import GraphClient, Result
from sap_llm.graph.engine_folder import DATABASE, USER, Endpoint, EngineFolder
from sap_llm.graph.supervise import engine_package
from sap_llm.schema.errors import MissingToolError, SourceError

if TYPE_CHECKING:
    from neo4j import Driver

DEFAULT_IDLE_SECONDS = 60.0
_START_SECONDS = 90.0
_RETRY_SECONDS = 5.0
_MERGE_RETRIES = 3


class LocalGraphClient(GraphClient):
    """A `GraphClient` that starts the engine of its folder when it is not running, also after it died."""

    def __init__(self, folder: Path, *, idle_seconds: float, heap: str) -> None:
        super().__init__("bolt://local", user=USER, database=DATABASE)
        self.retry_seconds = _RETRY_SECONDS  # a dead engine is better restarted than waited for
        self.folder = EngineFolder(folder)
        self._idle_seconds, self._heap = idle_seconds, heap

    def endpoint(self) -> Endpoint:
        """Where the engine listens; starts it if need be."""
        self._connected()
        endpoint = self.folder.endpoint()
        assert endpoint is not None, "published by the engine that we are connected to"
        return endpoint

    def _guarded(self, execute: "Callable[[Driver], Result]") -> Result:
        try:
            return super()._guarded(execute)
        except SourceError:
            self.close()  # the engine died under us: start it again, once
            return super()._guarded(execute)

    def write(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query in one write transaction, as `GraphClient.write` does.

        Of two transactions that MERGE the same new node at once, this engine lets the later one fail on the
        constraint, where Neo4j lets it wait and find the node: so a broken constraint is believed only after retries.
        """
        from neo4j.exceptions import ConstraintError

        for attempt in range(_MERGE_RETRIES):
            try:
                return super().write(query, **parameters)
            except ConstraintError:
                time.sleep(0.01 * 2**attempt)
        return super().write(query, **parameters)

    def _connected(self) -> "Driver":
        if self._driver is not None:
            return self._driver
        self.folder.make()
        # Under the lock until a connection stands: the supervisor stops an idle engine under the same lock.
        with self.folder.locked():
            self._password = self.folder.password
            driver = self._reach(self.folder.endpoint()) or self._reach(self._start())
        if driver is None:
            raise self._failure("the local graph engine started but does not answer")
        return driver

    def _reach(self, endpoint: Endpoint | None) -> "Driver | None":
        if endpoint is None or not _is_alive(endpoint.engine_pid):
            return None
        from neo4j.exceptions import DriverError, Neo4jError

        self.uri = endpoint.uri
        driver = super()._connected()
        try:
            with driver.session(database=self.database) as session:
                session.run("RETURN 1 AS one").consume()
        except (
            DriverError,
            Neo4jError,
            OSError,
        ):  # an engine that does not answer is replaced
            self.close()
            return None
        return driver

    def _start(self) -> Endpoint:
        self._end_unresponsive()
        try:
            engine_package()
        except FileNotFoundError as error:
            raise MissingToolError(
                "the local graph engine is not installed",
                where="arcadedb-embedded",
                remedy="Install the package, or set `graph` in deployment.yaml to a Neo4j URI.",
            ) from error
        command = [
            sys.executable,
            "-m",
            "sap_llm.graph.supervise",
            str(self.folder.path),
        ]
        options = ["--idle-seconds", str(self._idle_seconds), "--heap", self._heap]
        with (self.folder.path / "supervisor.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # outlives the step that started it, and its terminal's Ctrl-C
                env=_supervisor_environment(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and supervisor.poll() is None:
            endpoint = self.folder.endpoint()
            if endpoint is not None and endpoint.supervisor_pid == supervisor.pid:
                return endpoint
            time.sleep(0.05)
        if supervisor.poll() is None:
            supervisor.terminate()
        raise self._failure("the local graph engine did not start")

    def _end_unresponsive(self) -> None:
        """End the supervisor of an endpoint that does not answer; it takes its engine along."""
        endpoint = self.folder.endpoint()
        if endpoint is None:
            return
        self.folder.withdraw()
        import psutil

        try:
            supervisor = psutil.Process(endpoint.supervisor_pid)
            if "sap_llm.graph.supervise" in supervisor.cmdline():
                supervisor.terminate()
                supervisor.wait(30)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            supervisor.kill()

    def _failure(self, what: str) -> SourceError:
        return SourceError(
            what,
            where=str(self.folder.path),
            remedy=f"End of {self.folder.log}: {self.folder.log_tail()}",
        )


def open_local_graph(folder: Path, *, idle_seconds: float | None = None, heap: str = "512m") -> LocalGraphClient:
    """A client of the engine whose data lie in `folder`; connects, and starts the engine if need be, at first use.

    Args:
        folder: Data folder of one engine; any number of processes may open it.
        idle_seconds: The engine ends this long after the last connection; only the process that starts it decides.
            None takes `SAP_LLM_GRAPH_IDLE_SECONDS`, else 60.
        heap: Java heap of the engine, e.g. `512m`.
    """
    if idle_seconds is None:
        idle_seconds = float(os.environ.get("SAP_LLM_GRAPH_IDLE_SECONDS", DEFAULT_IDLE_SECONDS))
    return LocalGraphClient(Path(folder), idle_seconds=idle_seconds, heap=heap)


def _supervisor_environment() -> dict[str, Any]:
    """Ours, with the folder of this package importable also when it was put on sys.path by other means."""
    root = str(Path(__file__).parents[2])
    inherited = os.environ.get("PYTHONPATH", "")
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, [root, inherited]))}


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
