"""A real Label Studio as a plain process on loopback, in the virtual environment of `make label-studio`.

The environment is made once (minutes).
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration.servers.process import free_port, running, unavailable

PASSWORD = "a-long-word-9"
"""Of everybody who signs up in tests."""
ROOT = Path(__file__).parents[3]
_NAME = "Label Studio"
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
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    with running(
        [ROOT / "deploy/label-studio/start.sh", str(folder), str(port)],
        name=_NAME,
        folder=folder,
        is_ready=lambda _: _is_healthy(url),
        seconds=_START_SECONDS,
    ):
        token = (folder / "token").read_text()
        assert re.fullmatch("[0-9a-f]{40}", token)
        yield LabelStudioServer(url, token)


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
        unavailable(_NAME, f"its environment cannot be made: {(done.stdout + done.stderr)[-500:]}")


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
