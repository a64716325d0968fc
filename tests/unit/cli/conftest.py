"""What the tests of the commands share."""

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of the seconds profile, without documents from outside."""
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.delenv("SAP_LLM_DOCUMENTS", raising=False)
    return tmp_path
