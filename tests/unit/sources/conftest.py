"""The folder of real documents, where it lies beside the checkout, and a server of SAP metadata."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.metadata_site import Server, serve


@pytest.fixture(scope="session")
def shared_data() -> Path:
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("SAP_LLM_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no real documents at {folder}; set SAP_LLM_SHARED")
    return folder


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as server:
        yield server
