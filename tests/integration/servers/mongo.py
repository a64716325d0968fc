"""A server that speaks MongoDB's wire protocol as a plain process on loopback, for tests of the document source.

It is `mongo-java-server` with its H2 file backend, not the real mongod: tests keep to plain queries.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers.maven import jars, java
from tests.integration.servers.process import free_port, is_open, running

VERSION = "1.47.0"
_NAME = "MongoDB wire server"
_START_SECONDS = 90

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
    lib = jars(_NAME, group="de.bwaldvogel", artifact="mongo-java-server-h2-backend", version=VERSION)
    port = free_port()
    command = java(folder, lib, _MAIN, str(folder / "store.mv"), str(port), options=["-Xmx256m"])
    with running(command, name=_NAME, folder=folder, is_ready=lambda _: is_open(port), seconds=_START_SECONDS):
        yield f"mongodb://127.0.0.1:{port}/qorsync"
