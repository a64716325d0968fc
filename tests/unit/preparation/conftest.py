"""A frozen release of toy documents with planted faults, prepared once for all tests here."""

from datetime import UTC, datetime

import pytest

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.prepared import Prepared, prepare_all, write_corpora


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """An empty store on a day in 2025."""
    clock = FrozenClock(datetime(2025, 6, 1, 12, tzinfo=UTC))
    return StageContext(store=DatasetStore(tmp_path_factory.mktemp("store")), clock=clock)


@pytest.fixture(scope="session")
def corpora(context: StageContext) -> dict[str, DatasetRef]:
    """Two corpora: synthetic documents with faults, real ones that may only test."""
    return write_corpora(context)


@pytest.fixture(scope="session")
def prepared(context: StageContext, corpora: dict[str, DatasetRef]) -> Prepared:
    """The chain up to the training set."""
    return prepare_all(context, corpora)
