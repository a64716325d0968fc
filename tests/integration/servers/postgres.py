"""A real PostgreSQL as a plain process on loopback, for tests of the relational source.

The server refuses to run as root, so root starts it as `nobody`.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers.process import free_port, running, unavailable

_NAME = "PostgreSQL"
_START_SECONDS = 60
_PLACES = ("/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin", "/usr/local/bin")


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server in a temporary folder and yield its URI; stopped hard at the end."""
    initdb, postgres = _program("initdb"), _program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="sap_llm_pg_"))
    data = folder / "data"
    prefix = _unprivileged(folder)
    try:
        subprocess.run(
            [
                *prefix,
                initdb,
                "-D",
                str(data),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        port = free_port()
        command = [*prefix, postgres, "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1", "-F"]
        with running(
            command,
            name=_NAME,
            folder=folder,
            is_ready=lambda log: "ready to accept connections" in log.read_text(errors="replace"),
            seconds=_START_SECONDS,
            end=signal.SIGQUIT,  # immediate shutdown
        ):
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([*_PLACES, os.environ.get("PATH", "")]))
    if found is None:
        unavailable(_NAME, f"{name} is not installed")
    return found


def _unprivileged(folder: Path) -> list[str]:
    """Words in front of a command that make it run as `nobody` when we are root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        unavailable(_NAME, "setpriv is not installed, and PostgreSQL refuses to run as root")
    shutil.chown(folder, "nobody")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
