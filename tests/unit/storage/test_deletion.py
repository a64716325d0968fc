"""Deleting a version: out of sight at once, readable for who had it open, gone later, never half there."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sap_llm.schema.errors import DamagedDatasetError, DatasetNotFoundError
from sap_llm.storage import deletion
from sap_llm.storage.store import DatasetStore
from tests.support.versioned import documents, labelled, small

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


def test_a_hidden_version_is_not_found_but_still_read_by_who_opened_it(store: DatasetStore) -> None:
    opened = labelled(store, documents(5)).dataset
    deletion.hide(store, opened.ref, now=NOW)
    assert store.find(opened.ref) is None
    assert store.versions(opened.ref.name) == []
    with pytest.raises(DatasetNotFoundError):
        store.current(opened.ref.name)
    assert opened.table("documents").num_rows == 5
    (found,) = deletion.tombstones(store)
    assert (found.manifest, found.deleted_at) == (opened.manifest, NOW)


def test_the_pointer_of_another_version_stays(store: DatasetStore) -> None:
    old, new = small(store, "a"), small(store, "a", day=1, mark="new")
    deletion.hide(store, old, now=NOW)
    assert store.current("a") == new


def test_whoever_builds_the_same_again_gets_the_bytes_back(store: DatasetStore) -> None:
    first = labelled(store, documents(5))
    deletion.hide(store, first.ref, now=NOW)
    again = labelled(store, documents(5))
    assert again.is_reused
    assert again.manifest == first.manifest
    assert deletion.tombstones(store) == []
    assert not deletion.purge(store, first.ref)
    assert store.find(first.ref) is not None


def test_after_purging_nothing_is_left_and_it_can_be_built_again(store: DatasetStore) -> None:
    first = labelled(store, documents(5))
    deletion.hide(store, first.ref, now=NOW)
    assert deletion.purge(store, first.ref)
    assert list((Path(store.root) / first.ref.name).iterdir()) == []
    assert deletion.restore(store, first.ref) is None
    again = labelled(store, documents(5))
    assert not again.is_reused
    assert again.manifest.data_version == first.manifest.data_version


@pytest.mark.parametrize("step", [1, 2])
def test_killed_between_tombstone_and_manifest_a_version_is_simply_complete(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    ref = small(store, "a")
    removed = 0
    original = type(store.filesystem).rm_file

    def killed(self: object, path: str) -> None:
        nonlocal removed
        removed += 1
        if removed == step:
            raise KeyboardInterrupt
        original(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.filesystem), "rm_file", killed)
        with pytest.raises(KeyboardInterrupt):
            deletion.hide(store, ref, now=NOW)
    assert store.find(ref) is not None
    assert deletion.tombstones(store) == []
    assert [one.ref for one in deletion.manifests(store)] == [ref]
    deletion.hide(store, ref, now=NOW)
    assert store.find(ref) is None


def test_scratch_of_dead_processes_is_found_and_that_of_living_ones_is_told_apart(store: DatasetStore) -> None:
    ref = small(store, "a/b")
    living = store.scratch(ref)
    living.mkdir()
    dead = living.with_name(living.name.replace(f"-{os.getpid()}.", "-999999999."))
    dead.mkdir()
    (dead / "half.parquet").write_bytes(b"12345")
    found = {Path(one.path): one for one in deletion.leftovers(store)}
    assert found[dead].is_abandoned
    assert found[dead].size_bytes >= 5
    assert not found[living].is_abandoned
    deletion.remove_leftover(store, found[dead])
    assert not dead.exists()


def test_an_opaque_manifest_inside_a_version_is_no_version_and_a_broken_one_stops_the_search(
    store: DatasetStore,
) -> None:
    ref = small(store, "a")
    inside = Path(store.prefix(ref)) / "onnx"
    inside.mkdir()
    (inside / "manifest.json").write_text("{}")
    assert [one.ref for one in deletion.manifests(store)] == [ref]
    broken = Path(store.root) / "b" / "1234"
    broken.mkdir(parents=True)
    (broken / "manifest.json").write_text("{")
    with pytest.raises(DamagedDatasetError, match="b/1234"):
        deletion.manifests(store)
