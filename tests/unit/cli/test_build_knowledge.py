"""`sap-llm build sap-knowledge`: options become the stage's configuration; what is missing is said in a sentence."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from sap_llm.cli import build
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError, SourceError
from tests.support.metadata_site import document


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.delenv("SAP_LLM_DOCUMENTS", raising=False)
    return tmp_path


def _run(*arguments: str) -> Result:
    app = typer.Typer()
    build.register(app)
    app.command("other")(lambda: None)  # a single group would be taken for the program itself
    return CliRunner().invoke(app, ["build", "sap-knowledge", *arguments])


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
