"""kill -9 of a process that deletes versions, at many moments: each is complete or not found, never in between."""

from pathlib import Path

import pytest

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import deletion, versions
from sap_llm.storage.store import DatasetStore
from tests.support import victim
from tests.support.versioned import small

VERSIONS, ROUNDS = 40, 12
DELETER = """
import sys
from datetime import UTC, datetime
from sap_llm.storage import deletion
from sap_llm.storage.store import DatasetStore
store = DatasetStore(sys.argv[1])
refs = [one.ref for one in deletion.manifests(store)]
print("ready", flush=True)
sys.stdin.readline()
for ref in refs:
    deletion.hide(store, ref, now=datetime(2026, 1, 1, tzinfo=UTC))
    deletion.purge(store, ref)
"""

pytestmark = pytest.mark.slow


def fill(store: DatasetStore) -> list[DatasetRef]:
    return [small(store, "a", day=number, mark=str(number)) for number in range(VERSIONS)]


def test_whenever_it_is_killed_a_version_is_complete_or_not_there(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path / "timed")
    fill(store)
    duration = victim.finish(victim.start("-c", DELETER, store.root), timeout=120)
    assert deletion.manifests(store) == []
    states: set[int] = set()
    store = DatasetStore(tmp_path / "datasets")
    for number in range(ROUNDS):
        refs = fill(store)
        victim.strike(victim.start("-c", DELETER, store.root), after=number / ROUNDS * duration)
        left = {one.ref for one in deletion.manifests(store)}
        states.add(len(left))
        assert left == set(store.versions("a"))
        for ref in left:
            assert versions.differences(store.open(ref), store) == []
        for ref in refs:
            assert (store.find(ref) is not None) == (ref in left)
        if "a" in store.names():
            store.open(store.current("a"))
    assert len(states) > 3, states
    small(store, "a", mark="last")  # the next writer sweeps what the killed ones left
    assert [one.path for one in deletion.leftovers(store) if one.is_abandoned] == []
