"""Not a test: an HTTP server on loopback that keeps what is posted to it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """Bodies and paths of the requests so far; `status` is what it answers."""

    url: str
    status: int
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@contextmanager
def receiver(*, status: int = 200) -> Iterator[Received]:
    """A running server; gone after the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            received.bodies.append(json.loads(content))
            received.paths.append(self.path)
            self.send_response(received.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Received(url=f"http://127.0.0.1:{server.server_address[1]}", status=status)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
