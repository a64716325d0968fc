"""The code location on the seconds profile, with a home folder and an instance of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from sap_llm.deployment import Deployment
from sap_llm_dagster.build import build_defs

PROFILE = "seconds"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep Dagster's notes on beta features out of the output, as `sap_llm_dagster` does."""
    for item in items:
        if HERE in item.path.parents:
            for category in ("BetaWarning", "PreviewWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::dagster.{category}"))


@pytest.fixture(scope="session")
def defs() -> dg.Definitions:
    """All definitions, built once: they hold no state."""
    return build_defs(deployment=PROFILE)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment whose data lie in the test's folder."""
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", PROFILE)
    return Deployment.load()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that forgets everything afterwards."""
    with dg.DagsterInstance.ephemeral(str(tmp_path / "dagster")) as opened:
        yield opened
