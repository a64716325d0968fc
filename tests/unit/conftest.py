"""The folder of real documents, where it lies beside the checkout."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("SAP_LLM_SHARED", default))
    if not folder.is_dir():
        pytest.skip(f"no real documents at {folder}; set SAP_LLM_SHARED")
    return folder
