"""A real Neo4j Community server as a plain process on loopback, for contract tests."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers.maven import jars, java
from tests.integration.servers.process import free_port, is_open, running

VERSION = "5.26.16"
_NAME = "Neo4j"
_START_SECONDS = 120

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
    lib = jars(_NAME, group="org.neo4j", artifact="neo4j", version=VERSION)
    port = free_port()
    opens = [part for name in _OPENS for part in ("--add-opens", f"java.base/{name}=ALL-UNNAMED")]
    command = java(folder, lib, _MAIN, str(folder / "data"), str(port), options=["-Xmx512m", *opens])
    with running(
        command,
        name=_NAME,
        folder=folder,
        is_ready=lambda _: is_open(port),
        seconds=_START_SECONDS,
        end=signal.SIGTERM,
    ):
        yield f"bolt://127.0.0.1:{port}"
