"""`sap-llm build sap-knowledge`: options become the stage's configuration; what is missing is said in a sentence."""

from functools import partial
from pathlib import Path

import pytest

from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError, SourceError
from tests.support.build_command import run_build
from tests.support.metadata_site import document

pytestmark = pytest.mark.usefixtures("home")
_run = partial(run_build, "sap-knowledge")


def test_without_documents_it_says_how_to_name_some() -> None:
    error = _run().exception
    assert isinstance(error, ConfigurationError)
    assert "Name folder, urls or pages" in error.remedy


def test_offline_addresses_come_from_the_cache_alone() -> None:
    error = _run("--url", "http://127.0.0.1:9/a", "--url", "http://127.0.0.1:9/b", "--offline").exception
    assert isinstance(error, SourceError)
    assert "none of 2 documents could be had: not in the cache" in str(error)


@pytest.mark.slow
def test_a_folder_fills_store_and_graph(home: Path) -> None:
    (home / "edmx").mkdir()
    (home / "edmx/a.xml").write_bytes(document("A"))
    result = _run("--folder", str(home / "edmx"))
    assert result.exception is None
    assert "sap_knowledge built" in result.stdout
    assert "1 SapProperty in the graph" in result.stdout
    store = Deployment.load().store
    assert store.open(store.current("sap_knowledge")).manifest.metrics["services"] == 1
