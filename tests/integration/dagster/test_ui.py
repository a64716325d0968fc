"""The UI as people see it: `dg dev` in a headless browser over an instance with a real run in it."""

import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sap_llm_dagster.build import build_defs
from sap_llm_dagster.home import open_instance
from sap_llm_dagster.local_run import run_job
from tests.integration.servers.process import free_port, running

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
    """`dg dev` in the foreground of a session of its own, whose processes are all told to end."""
    port = free_port()
    binaries = Path(sys.executable).parent
    url = f"http://127.0.0.1:{port}"
    with running(
        [binaries / "dg", "dev", "--host", "127.0.0.1", "--port", str(port)],
        name="dg dev",
        folder=home,
        is_ready=lambda _: _answers(f"{url}/server_info"),
        seconds=_START_SECONDS,
        end=signal.SIGTERM,
        cwd=CHECKOUT,
        environment={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "VIRTUAL_ENV": str(binaries.parent)},
    ):
        yield url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


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
    log = (home / "server.log").read_text()
    assert "Traceback" not in log
    assert "Warning" not in log
