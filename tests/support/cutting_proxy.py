"""A TCP proxy on loopback that cuts connections when a test says so: a network that fails between us and a real server.

Belongs here: forwarding and cutting. The servers are `tests/integration/servers`.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingProxy:
    """Forwards every connection to one server."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._is_refusing = False
        self._bytes_left: int | None = None
        self.cuts = 0

    def serve(self) -> None:
        """Accept until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_refusing:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    is_answer = source is server
                    threading.Thread(target=self._forward, args=(source, sink, is_answer), daemon=True).start()

    def cut(self) -> None:
        """End all connections there are."""
        self.cuts += 1
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._sockets = []

    def cut_after(self, answered_bytes: int) -> None:
        """Cut once the server has answered that many bytes more, in the middle of a result."""
        self._bytes_left = answered_bytes

    def refuse(self, is_refusing: bool = True) -> None:
        """Cut, and let nobody in."""
        self._is_refusing = is_refusing
        self.cut()

    def close(self) -> None:
        """Stop."""
        self._listener.close()
        self.cut()

    def _forward(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 14):
                if is_answer and self._bytes_left is not None:
                    self._bytes_left -= len(part)
                    if self._bytes_left < 0:
                        self._bytes_left = None
                        self.cut()
                        return
                sink.sendall(part)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def cutting_proxy(target_port: int) -> Iterator[CuttingProxy]:
    """Run a proxy in a thread of its own."""
    proxy = CuttingProxy(target_port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
