"""The versions of a dataset as a person sees them: finding by a prefix, history, verifying, bringing back, exporting.

Belongs here: what `sap-llm data log` and `checkout` do. Comparing two versions is `diff`, copies on a DVC remote are
`dvc_ledger`.
"""

import hashlib
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from sap_llm.schema.errors import ConfigurationError, DamagedDatasetError, DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.storage.deletion import restore, tombstones
from sap_llm.storage.diff import Change, changed_metrics
from sap_llm.storage.logical_hash import hash_rows
from sap_llm.storage.store import MANIFEST, Dataset, DatasetStore, data_version_of

_CHUNK_BYTES = 1 << 20
_NAMED = 5  # differing files that a message names


class LogEntry(BaseModel):
    """One version in the history of a dataset."""

    manifest: Manifest
    is_current: bool
    is_hidden: bool
    """Deleted, with its bytes still here until the grace period ends."""
    metrics_changed: dict[str, Change]
    """Against the version before it in time."""


def history(store: DatasetStore, name: str) -> list[LogEntry]:
    """All versions that have bytes here, newest first."""
    current = store.current(name) if name in store.names() else None
    complete = [(store.open(ref).manifest, False) for ref in store.versions(name)]
    hidden = [(one.manifest, True) for one in tombstones(store) if one.manifest.name == name]
    entries: list[LogEntry] = []
    before: Manifest | None = None
    for manifest, is_hidden in sorted([*complete, *hidden], key=lambda one: one[0].created_at):
        changed = changed_metrics(before, manifest) if before else {}
        is_current = manifest.ref == current
        entries.append(LogEntry(manifest=manifest, is_current=is_current, is_hidden=is_hidden, metrics_changed=changed))
        before = manifest
    return entries[::-1]


def resolve(store: DatasetStore, text: str, *, elsewhere: Iterable[DatasetRef] = ()) -> DatasetRef:
    """The version that a person means by `NAME` (the current one) or `NAME@VERSION`, of which a clear prefix will do.

    Args:
        store: Where versions are.
        text: As typed.
        elsewhere: Versions that are not here but can be fetched.

    Raises:
        DatasetNotFoundError: There is none.
        ConfigurationError: The prefix fits several versions.
    """
    name, separator, prefix = text.partition("@")
    if not separator:
        return store.current(name)
    hidden = (one.manifest.ref for one in tombstones(store))
    known = {*store.versions(name), *(ref for ref in (*hidden, *elsewhere) if ref.name == name)}
    fitting = sorted(ref.version for ref in known if ref.version.startswith(prefix))
    if len(fitting) == 1 or prefix in fitting:
        return DatasetRef(name=name, version=prefix if prefix in fitting else fitting[0])
    if not fitting:
        raise DatasetNotFoundError(
            f"{name} has no version {prefix!r}",
            where=store.root_url,
            remedy=f"`sap-llm data log {name}` lists those that there are.",
        )
    raise ConfigurationError(
        f"{prefix!r} fits {len(fitting)} versions of {name}", where=", ".join(fitting), remedy="Write more of it."
    )


def differences(dataset: Dataset, store: DatasetStore) -> list[str]:
    """What a version holds differently from what its manifest promises: file digests, row counts, the logical hash.

    Every byte is read, and every row of every table is hashed again.
    """
    manifest = dataset.manifest
    found = []
    for name, sha256 in manifest.files.items():
        path = f"{dataset.prefix}/{name}"
        if not store.filesystem.exists(path):
            found.append(f"{name} is missing")
        elif _digest(store, path) != sha256:
            found.append(f"{name} has other bytes")
    if found:
        return found
    for name, rows in manifest.rows.items():
        held = dataset.scan(name).count_rows()
        if held != rows:
            found.append(f"table {name} has {held} rows instead of {rows}")
    if logical_hash(dataset) != manifest.data_version:
        found.append("the rows have another logical hash")
    return found


def logical_hash(dataset: Dataset) -> str:
    """The data version that follows from the rows themselves and the digests of opaque files."""
    hashes = {name: hash_rows(dataset.batches(name)) for name in dataset.manifest.rows}
    return data_version_of(hashes, dataset.manifest.files)


def require_sound(dataset: Dataset, store: DatasetStore) -> None:
    """Refuse a version that does not hold what its manifest promises.

    Raises:
        DamagedDatasetError: Names what differs.
    """
    found = differences(dataset, store)
    if found:
        rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise DamagedDatasetError(
            f"the version is damaged: {'; '.join(found[:_NAMED])}{rest}",
            where=str(dataset.ref),
            remedy="`sap-llm data pull --replace` takes it from the DVC remote again, or build it anew.",
        )


def checkout(store: DatasetStore, ref: DatasetRef) -> Dataset:
    """Make a version that is here current again, after looking at every byte; the pointer moves in one step.

    Raises:
        DatasetNotFoundError: It is not here.
        DamagedDatasetError: It is damaged; the pointer stays where it was.
    """
    dataset = restore(store, ref) or store.open(ref)
    require_sound(dataset, store)
    store.set_current(ref)
    return dataset


def export(store: DatasetStore, ref: DatasetRef, folder: Path) -> None:
    """Copy a version with its manifest into a new folder, which appears whole.

    Raises:
        ConfigurationError: The folder exists.
        DatasetNotFoundError: The version is not here.
        DamagedDatasetError: It is damaged.
    """
    if folder.exists():
        raise ConfigurationError("the folder exists already", where=str(folder), remedy="Name one that does not.")
    dataset = restore(store, ref) or store.open(ref)
    require_sound(dataset, store)
    scratch = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    try:
        for name in dataset.manifest.files:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            store.filesystem.get_file(f"{dataset.prefix}/{name}", str(scratch / name))
        (scratch / MANIFEST).write_text(dataset.manifest.model_dump_json(indent=2), encoding="utf-8")
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _digest(store: DatasetStore, path: str) -> str:
    digest = hashlib.sha256()
    with store.filesystem.open(path, "rb") as stream:
        while block := stream.read(_CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()
