"""A real Neo4j Community server as a plain process on loopback, for contract tests.

Jars come from Maven once and are kept below `~/.cache/sap_llm`. Where Java or Maven is missing the tests are skipped
with that reason, except in CI, where a missing server is a failure.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = "5.26.16"
CACHE = Path.home() / ".cache" / "sap_llm" / f"neo4j-{VERSION}"
_START_SECONDS = 120

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>neo4j-server</artifactId><version>1</version>
<dependencies><dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{version}</version>
</dependency></dependencies></project>
"""
_MAIN = """
import java.nio.file.Path;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;

public class Neo4jServer {
    public static void main(String[] arguments) throws Exception {
        var server = new DatabaseManagementServiceBuilder(Path.of(arguments[0]))
            .setConfig(BoltConnector.enabled, true)
            .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", Integer.parseInt(arguments[1])))
            .build();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        Thread.currentThread().join();
    }
}
"""
_OPENS = ("java.nio", "java.io", "sun.nio.ch", "java.util.concurrent", "java.lang")


@contextmanager
def neo4j_server(folder: Path) -> Iterator[str]:
    """Run a server with its data in `folder` and yield its Bolt URI; stopped hard at the end."""
    jars = _jars()
    main = folder / "Neo4jServer.java"
    main.write_text(_MAIN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    opens = [part for name in _OPENS for part in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]
    command = ["java", "-Xmx512m", *opens, "-cp", f"{jars}/*", str(main), str(folder / "data"), str(port)]
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, start_new_session=True)
    try:
        _wait_for(port, process, log)
        yield f"bolt://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _jars() -> Path:
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            _unavailable(f"{tool} is not installed")
    if not (CACHE / "complete").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "pom.xml").write_text(_POM.format(version=VERSION))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={CACHE / 'lib'}"]
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            _unavailable(f"Maven cannot fetch Neo4j: {(done.stdout + done.stderr)[-500:]}")
        (CACHE / "complete").touch()
    return CACHE / "lib"


def _unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no Neo4j: {reason}")
    pytest.skip(f"no Neo4j: {reason}")


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"Neo4j ended: {log.read_text(errors='replace')[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"Neo4j did not open port {port} in {_START_SECONDS} s")
