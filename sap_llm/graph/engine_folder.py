"""What lies in the data folder of a local graph engine, and the lock that orders those who use it.

Belongs here: the names of the files, the generated password, the endpoint file and the lock. Standard library only,
because the supervisor stays resident. Starting the engine is `supervise`, using it is `local_engine`.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

USER = "root"
DATABASE = "graph"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a running engine listens, and the two processes that it consists of."""

    port: int
    supervisor_pid: int
    engine_pid: int

    @property
    def uri(self) -> str:
        """Bolt URI on loopback."""
        return f"bolt://127.0.0.1:{self.port}"


class EngineFolder:
    """The data folder of one local engine; made on demand, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.data = self.path / "data"
        self.log = self.path / "engine.log"
        self.endpoint_file = self.path / "endpoint.json"
        self.password_file = self.path / "password"

    def make(self) -> None:
        """Create the folder and its password if they do not exist yet."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        # O_EXCL: of two processes that start at once, one generates and both read the same.
        with suppress(FileExistsError):
            scratch = self.path / f".password.{os.getpid()}.{secrets.token_hex(4)}"
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(secrets.token_urlsafe(24))
            try:
                os.link(scratch, self.password_file)
            finally:
                scratch.unlink()

    @property
    def password(self) -> str:
        """The generated password of user `root`."""
        return self.password_file.read_text()

    def endpoint(self) -> Endpoint | None:
        """The endpoint that was last published, None after a clean end. Whether it still answers is not checked."""
        try:
            return Endpoint(**json.loads(self.endpoint_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def publish(self, endpoint: Endpoint) -> None:
        """Replace the endpoint file atomically."""
        scratch = self.endpoint_file.with_suffix(f".{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(asdict(endpoint), stream)
        scratch.replace(self.endpoint_file)

    def withdraw(self) -> None:
        """Remove the endpoint file."""
        self.endpoint_file.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock: looking for, connecting to, starting and stopping the engine exclude each other.

        The kernel releases it when its holder dies.
        """
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def log_tail(self, characters: int = 1500) -> str:
        """The end of the engine's log."""
        try:
            return self.log.read_text(errors="replace")[-characters:].strip()
        except FileNotFoundError:
            return "(no log)"
