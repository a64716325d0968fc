"""A frozen release of toy documents with planted faults, shared by the preparation tests."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sap_llm.schema.clock import FrozenClock
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore


@pytest.fixture(scope="session")
def clock() -> FrozenClock:
    """Noon of a day in 2025."""
    return FrozenClock(datetime(2025, 6, 1, 12, tzinfo=UTC))


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory, clock: FrozenClock) -> StageContext:
    """An empty store."""
    root: Path = tmp_path_factory.mktemp("store")
    return StageContext(store=DatasetStore(root), clock=clock)
