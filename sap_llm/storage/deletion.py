"""Taking dataset versions away in two steps: out of sight first, bytes later.

Belongs here: tombstones, bringing back, removing bytes, and what killed writers left. A version is out of sight once
its manifest is gone, so a killed deletion leaves nothing that looks complete; runs that had opened it read on,
because its files stay until `purge`. Which versions may go is `retention`.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from sap_llm.schema.errors import DamagedDatasetError
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.storage.store import MANIFEST, Dataset, DatasetStore, abandoned
from sap_llm.storage.whole import write_whole

TOMBSTONE = "deleted.json"


class Tombstone(BaseModel):
    """What stands in a deleted version's place while its bytes are still there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deleted_at: AwareDatetime
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """What a killed writer left: a folder, or the files of an attempt on object storage."""

    path: str
    size_bytes: int
    modified_at: float
    """Seconds since 1970 of its newest file."""
    is_abandoned: bool
    """Whether its writer is known to be dead; on other machines and object storage only age can tell."""


def hide(store: DatasetStore, ref: DatasetRef, *, now: datetime) -> None:
    """Put a version out of sight: tombstone, pointer, manifest, in this order. Its files stay."""
    manifest = store.open(ref).manifest
    body = Tombstone(deleted_at=now, manifest=manifest).model_dump_json(indent=2).encode()
    _write(store, f"{store.prefix(ref)}/{TOMBSTONE}", body)
    pointer = f"{store.root}/{ref.name}/current"
    if store.filesystem.exists(pointer) and store.current(ref.name) == ref:
        store.filesystem.rm_file(pointer)
    store.filesystem.rm_file(f"{store.prefix(ref)}/{MANIFEST}")


def tombstone(store: DatasetStore, ref: DatasetRef) -> Tombstone | None:
    """The tombstone of a version that is out of sight, None if it is complete or was never there."""
    if store.find(ref) is not None:  # a deletion was interrupted before it took effect
        return None
    try:
        text = store.filesystem.cat_file(f"{store.prefix(ref)}/{TOMBSTONE}")
    except FileNotFoundError:
        return None
    return Tombstone.model_validate_json(text)


def restore(store: DatasetStore, ref: DatasetRef) -> Dataset | None:
    """Bring a version back whose bytes are still there; None if there is no tombstone of it."""
    found = tombstone(store, ref)
    if found is None:
        return None
    _write(store, f"{store.prefix(ref)}/{MANIFEST}", found.manifest.model_dump_json(indent=2).encode())
    store.filesystem.rm_file(f"{store.prefix(ref)}/{TOMBSTONE}")
    return store.find(ref)


def purge(store: DatasetStore, ref: DatasetRef) -> bool:
    """Remove the bytes of a version that is out of sight; False if somebody brought it back meanwhile."""
    found = tombstone(store, ref)
    if found is None:
        return False
    if store.is_local:
        return _purge_folder(store, ref)
    attempt = f"{store.prefix(ref)}/{found.manifest.attempt}"  # a newer attempt of the same version stays
    if store.filesystem.exists(attempt):
        store.filesystem.rm(attempt, recursive=True)
    store.filesystem.rm_file(f"{store.prefix(ref)}/{TOMBSTONE}")
    return True


def _purge_folder(store: DatasetStore, ref: DatasetRef) -> bool:
    """One rename takes the folder away; a kill afterwards leaves scratch that the next writer sweeps."""
    folder, scratch = Path(store.prefix(ref)), store.scratch(ref)
    folder.rename(scratch)
    if (scratch / MANIFEST).exists():
        scratch.rename(folder)
        return False
    shutil.rmtree(scratch)
    return True


def manifests(store: DatasetStore) -> list[Manifest]:
    """The manifests of all complete versions, of every dataset, oldest first.

    Raises:
        DamagedDatasetError: One cannot be read; whoever decides about deletion must not overlook a version.
    """
    found = (_manifest(store, path) for path in store.filesystem.glob(f"{store.root}/**/{MANIFEST}"))
    return sorted((one for one in found if one is not None), key=lambda one: (one.created_at, str(one.ref)))


def tombstones(store: DatasetStore) -> list[Tombstone]:
    """All versions that are out of sight and still have bytes."""
    found = []
    for path in store.filesystem.glob(f"{store.root}/**/{TOMBSTONE}"):
        entry = Tombstone.model_validate_json(store.filesystem.cat_file(path))
        is_hidden = f"{store.prefix(entry.manifest.ref)}/{TOMBSTONE}" == path and store.find(entry.manifest.ref) is None
        if is_hidden:
            found.append(entry)
    return found


def size_bytes(store: DatasetStore, manifest: Manifest) -> int:
    """Bytes of a version's files, as far as they are there."""
    found = store.filesystem.find(Dataset(store, manifest).prefix, detail=True)
    return int(sum(about["size"] for about in found.values()))


def leftovers(store: DatasetStore) -> list[Scratch]:
    """What killed writers left in the store."""
    return list(_local_leftovers(store) if store.is_local else _attempts(store))


def remove_leftover(store: DatasetStore, scratch: Scratch) -> None:
    """Remove one."""
    store.filesystem.rm(scratch.path, recursive=True)


def _local_leftovers(store: DatasetStore) -> Iterator[Scratch]:
    for folder in Path(store.root).rglob(".*.*-*.*"):
        if not folder.is_dir() or any(part.startswith(".") for part in folder.parent.relative_to(store.root).parts):
            continue
        try:
            status = [path.stat() for path in (folder, *folder.rglob("*"))]
        except FileNotFoundError:  # its writer is at work: files go, and the folder gets its name
            continue
        yield Scratch(
            path=str(folder),
            size_bytes=sum(one.st_size for one in status),
            modified_at=max(one.st_mtime for one in status),
            is_abandoned=folder in abandoned(folder.parent),
        )


def _attempts(store: DatasetStore) -> Iterator[Scratch]:
    """Folders of attempts on object storage that neither a manifest nor a tombstone names."""
    by_attempt: dict[str, list[dict[str, object]]] = {}
    for path, about in store.filesystem.find(store.root, detail=True).items():
        parts = path.removeprefix(f"{store.root}/").split("/")
        for depth, part in enumerate(parts[:-1]):
            if len(part) == 32 and not set(part) - set("0123456789abcdef"):
                by_attempt.setdefault("/".join([store.root, *parts[: depth + 1]]), []).append(about)
                break
    known = {Dataset(store, one).prefix for one in manifests(store)}
    known |= {Dataset(store, one.manifest).prefix for one in tombstones(store)}
    for folder, files in sorted(by_attempt.items()):
        if folder not in known:
            moments = [one["LastModified"] for one in files if isinstance(one.get("LastModified"), datetime)]
            yield Scratch(
                path=folder,
                size_bytes=sum(int(str(one["size"])) for one in files),
                modified_at=max((one.timestamp() for one in moments if isinstance(one, datetime)), default=0.0),
                is_abandoned=False,
            )


def _manifest(store: DatasetStore, path: str) -> Manifest | None:
    """The manifest at a path; None for scratch, and for a file of that name inside a version."""
    parts = path.removeprefix(f"{store.root}/").split("/")[:-1]
    if len(parts) < 2 or any(part.startswith(".") for part in parts):
        return None
    ref = DatasetRef(name="/".join(parts[:-1]), version=parts[-1])
    try:
        found = Manifest.model_validate_json(store.filesystem.cat_file(path))
    except ValidationError as error:
        if any(store.find(_ref(parts[:depth])) for depth in range(2, len(parts))):
            return None  # an opaque file of a version
        raise DamagedDatasetError(
            f"the manifest cannot be read ({error.error_count()} errors)",
            where=path,
            remedy="Put it back from a copy, or remove the version's folder.",
        ) from error
    return found if found.ref == ref else None


def _ref(parts: list[str]) -> DatasetRef:
    return DatasetRef(name="/".join(parts[:-1]), version=parts[-1])


def _write(store: DatasetStore, path: str, body: bytes) -> None:
    if store.is_local:
        write_whole(Path(path), body)
    else:
        store.filesystem.pipe_file(path, body)
