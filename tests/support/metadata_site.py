"""A real HTTP server for `$metadata` that behaves as a test tells it to, and counts what it was asked."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", int], None]


def document(name: str) -> bytes:
    return (
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        f'<Schema Namespace="{name}" xmlns="http://docs.oasis-open.org/odata/ns/edm"><EntityType Name="T">'
        '<Key><PropertyRef Name="EBELN"/></Key><Property Name="EBELN" Type="Edm.String"/></EntityType></Schema>'
        "</edmx:DataServices></edmx:Edmx>"
    ).encode()


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's table of paths; the second argument of an answer is how often the path was asked."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.server
        with site.lock:
            site.asked.append((self.path, time.monotonic()))
            site.conditions.append(self.headers.get("If-None-Match") or self.headers.get("If-Modified-Since"))
            site.running += 1
            site.most = max(site.most, site.running)
            count = sum(path == self.path for path, _ in site.asked)
        try:
            site.answers.get(self.path, Handler.absent)(self, count)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has gone, as it should
        finally:
            with site.lock:
                site.running -= 1

    def absent(self, count: int) -> None:
        self.say(404)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keep the output of tests clean."""


class Server(ThreadingHTTPServer):
    """What was asked, when, under which condition, and how many at once."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, float]] = []
        self.conditions: list[str | None] = []
        self.running = self.most = 0
        self.release = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def counts(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer that is always the same."""
    return lambda at, _: at.say(status, body, **headers)


@contextmanager
def serve() -> Iterator[Server]:
    """A server on a free port of this machine; those who still wait for it are let go at the end."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
