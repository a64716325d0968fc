"""The UI as people see it: `dg dev` in a headless browser over an instance with a real run in it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sap_llm_dagster.build import build_defs
from sap_llm_dagster.home import open_instance
from sap_llm_dagster.local_run import run_job

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no chromium; apt install chromium"),
]

CHECKOUT = Path(__file__).parents[3]
SEEDS = "0000-0005"
_START_SECONDS = 180
_PAGE_MILLISECONDS = 60_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SAP_LLM_HOME", str(folder))
        patched.setenv("SAP_LLM_PROFILE", "seconds")
        patched.setenv("DAGSTER_HOME", str(folder / "dagster"))
        with open_instance() as instance:
            defs = build_defs()
            assert run_job(instance, "make_synthetic", SEEDS, defs=defs, is_quiet=True).is_success
        yield folder


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    """`dg dev` in the foreground of a session of its own, ended as Ctrl-C ends it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "VIRTUAL_ENV": str(binaries.parent)}
    with (home / "dev.log").open("wb") as log:
        server = subprocess.Popen(
            [str(binaries / "dg"), "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=CHECKOUT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", server, home / "dev.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=30)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"dg dev did not answer: {log.read_text()[-3000:]}")


def test_lineage_and_asset_page(address: str, home: Path) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1900, "height": 1000})
        page.set_default_timeout(_PAGE_MILLISECONDS)
        page.goto(f"{address}/asset-groups")
        for group in ("01_sources", "05_training", "09_memory"):
            page.get_by_text(group, exact=False).first.wait_for()
        page.screenshot(path=str(home / "lineage.png"))

        page.goto(f"{address}/assets/synthetic_docs?view=overview")
        page.get_by_text("Typeset pages of those facts", exact=False).first.wait_for()
        page.get_by_text("document-data", exact=False).first.wait_for()
        page.screenshot(path=str(home / "asset.png"))

        page.goto(f"{address}/automation")
        page.get_by_text("retraining_sensor", exact=False).first.wait_for()
        page.get_by_text("daily_export", exact=False).first.wait_for()
        page.screenshot(path=str(home / "automation.png"))
        browser.close()
    log = (home / "dev.log").read_text()
    assert "Traceback" not in log
    assert "Warning" not in log
