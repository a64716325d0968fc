"""A server that speaks MongoDB's wire protocol as a plain process on loopback, for tests of the document source.

It is `mongo-java-server` with its H2 file backend, not the real mongod: tests keep to plain queries. Jars come from
Maven once and are kept below `~/.cache/sap_llm`. Where Java or Maven is missing the tests are skipped with that reason,
except in CI, where a missing server is a failure.
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

VERSION = "1.47.0"
CACHE = Path.home() / ".cache" / "sap_llm" / f"mongo-java-server-{VERSION}"
_START_SECONDS = 90

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>mongo-server</artifactId><version>1</version>
<dependencies><dependency><groupId>de.bwaldvogel</groupId><artifactId>mongo-java-server-h2-backend</artifactId>
<version>{version}</version></dependency></dependencies></project>
"""
# Its built-in versions state wire version 8; current clients want 9.
_MAIN = """
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.ServerVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.MongoVersion;
import java.util.List;

public class MongoWireServer {
    public static void main(String[] arguments) throws Exception {
        MongoVersion version = new MongoVersion() {
            public List<Integer> getVersionArray() { return List.of(4, 4, 29); }
            public int getWireVersion() { return 9; }
        };
        var server = new MongoServer(new H2Backend(arguments[0]).version(version));
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        Thread.currentThread().join();
    }
}
"""


@contextmanager
def mongo_server(folder: Path) -> Iterator[str]:
    """Run a server with its data in `folder` and yield its URI; stopped hard at the end."""
    jars = _jars()
    main = folder / "MongoWireServer.java"
    main.write_text(_MAIN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["java", "-Xmx256m", "-cp", f"{jars}/*", str(main), str(folder / "store.mv"), str(port)]
    log = folder / "mongo.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, start_new_session=True)
    try:
        _wait_for(port, process, log)
        yield f"mongodb://127.0.0.1:{port}/qorsync"
    finally:
        process.send_signal(signal.SIGKILL)
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
            _unavailable(f"Maven cannot fetch mongo-java-server: {(done.stdout + done.stderr)[-500:]}")
        (CACHE / "complete").touch()
    return CACHE / "lib"


def _unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no MongoDB: {reason}")
    pytest.skip(f"no MongoDB: {reason}")


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the MongoDB server ended: {log.read_text(errors='replace')[-2000:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the MongoDB server did not open port {port} in {_START_SECONDS} s")
