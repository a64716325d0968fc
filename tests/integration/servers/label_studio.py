"""A real Label Studio as a plain process on loopback, in the virtual environment of `make label-studio`.

The environment is made once (minutes). Where it cannot be made the tests are skipped with that reason, except in CI,
where a missing server is a failure.
"""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

PASSWORD = "a-long-word-9"
"""Of everybody who signs up in tests."""
ROOT = Path(__file__).parents[3]
_INSTALL_SECONDS, _START_SECONDS = 840, 600


@dataclass(frozen=True)
class LabelStudioServer:
    """A running server."""

    url: str
    token: str

    def person(self, email: str) -> str:
        """Token of somebody new, who signs up as annotators do."""
        with httpx.Client(base_url=self.url, follow_redirects=True, timeout=60) as browser:
            browser.get("/user/signup/").raise_for_status()
            form = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
            browser.post("/user/signup/", data=form, headers={"Referer": self.url}).raise_for_status()
            answer = browser.get("/api/current-user/token").raise_for_status()
            return str(answer.json()["token"])


@contextmanager
def label_studio_server(folder: Path) -> Iterator[LabelStudioServer]:
    """Run a server with its data in `folder`; stopped hard at the end."""
    _install()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [ROOT / "deploy/label-studio/start.sh", str(folder), str(port)],
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, process, log)
        token = (folder / "token").read_text()
        assert re.fullmatch("[0-9a-f]{40}", token)
        yield LabelStudioServer(url, token)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _install() -> None:
    if (ROOT / ".venv-label-studio/.installed").exists():
        return
    done = subprocess.run(
        ["make", ".venv-label-studio/.installed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        reason = f"no Label Studio: its environment cannot be made: {(done.stdout + done.stderr)[-500:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"Label Studio ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(1)
    raise RuntimeError(f"Label Studio was not ready in {_START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}")
