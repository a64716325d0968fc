"""Dataset versions: a prefix with files and `manifest.json`, which is written last.

The existence of the manifest means complete: locally the whole prefix appears by one atomic rename; on object storage
every writer puts its files below a folder of its own (the manifest's `attempt`), then the manifest, only if absent. So
two writers of one version are harmless: the second adopts the first's and never touches its files.
Hashing rows is `logical_hash`; deciding whether to build at all is `build`.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa

from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.storage.logical_hash import RowHasher

if TYPE_CHECKING:
    import pyarrow.dataset as pads

MANIFEST = "manifest.json"
_BLOB_GROUP_BYTES = 8 * 2**20  # a reader of one blob fetches at most this much
_ROW_GROUP_ROWS = 4096


class Dataset:
    """A complete dataset version, open for reading."""

    def __init__(self, store: "DatasetStore", manifest: Manifest) -> None:
        self.manifest = manifest
        self._store = store
        self._prefix = "/".join(part for part in (store.prefix(manifest.ref), manifest.attempt) if part)

    @property
    def ref(self) -> DatasetRef:
        """The exact version that this is."""
        return self.manifest.ref

    @property
    def local_root(self) -> Path | None:
        """Folder of the whole store; None where it is on an object store."""
        return Path(self._store.root) if self._store.is_local else None

    @property
    def prefix(self) -> str:
        """Where the files are on the store's filesystem."""
        return self._prefix

    def sibling(self, ref: DatasetRef) -> "Dataset":
        """Another version of the same store, such as an input of this one."""
        return self._store.open(ref)

    def has_table(self, name: str) -> bool:
        """Whether the version holds the table at all (an empty table counts as held)."""
        return name in self.manifest.rows

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Read one table whole."""
        return self.scan(name).to_table(columns=columns)

    def batches(self, name: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Stream one table in batches of at most 4096 rows."""
        yield from self.scan(name).to_batches(columns=columns, batch_size=_ROW_GROUP_ROWS)

    def scan(self, name: str) -> "pads.Dataset":
        """The table as an Arrow dataset, for filters and projections.

        Raises:
            DatasetNotFoundError: The version has no such table.
        """
        import pyarrow.dataset as pads  # brings pandas, which finding a version does not need

        if not self.has_table(name):
            raise DatasetNotFoundError(
                f"no table {name!r}",
                where=str(self.ref),
                remedy=f"It has {', '.join(self.manifest.rows)}.",
            )
        return pads.dataset(
            f"{self._prefix}/{name}.parquet",
            filesystem=self._store.filesystem,
            format="parquet",
        )

    def path(self, relative: str = "") -> Path:
        """Local path of a file or folder of the version; downloaded once when the store is remote."""
        if self._store.is_local:
            return Path(self._prefix) / relative
        home = hashlib.sha256(self._prefix.encode()).hexdigest()[:16]
        cache = Path(tempfile.gettempdir()) / "sap_llm_cache" / home / self.ref.version
        if not cache.exists():
            partial = cache.with_name(f".{cache.name}.{uuid.uuid4().hex}")
            for name in self.manifest.files:
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                self._store.filesystem.get_file(f"{self._prefix}/{name}", str(partial / name))
            (partial / MANIFEST).write_text(self.manifest.model_dump_json(indent=2))
            try:
                partial.rename(cache)
            except OSError:  # another process was faster
                shutil.rmtree(partial, ignore_errors=True)
        return cache / relative


class DatasetWriter:
    """Collects the files of one version in a scratch folder; nothing is visible before `DatasetStore.commit`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.rows: dict[str, int] = {}
        self._hashes: dict[str, str] = {}

    def write_table(
        self,
        name: str,
        data: Iterable[pa.RecordBatch | pa.Table] | pa.Table,
        schema: pa.Schema,
    ) -> int:
        """Write a table in streaming fashion and return its row count. Each table is written once.

        Raises:
            pa.ArrowInvalid: A batch does not have the given schema.
        """
        import pyarrow.parquet as pq

        assert name not in self.rows, f"table {name} written twice"
        hasher = RowHasher()
        parts = [data] if isinstance(data, pa.Table) else data
        with pq.ParquetWriter(self.scratch / f"{name}.parquet", schema, compression="zstd") as writer:
            for part in parts:
                table = part if isinstance(part, pa.Table) else pa.Table.from_batches([part])
                table = table.select(schema.names).cast(schema)
                hasher.update(table)
                writer.write_table(table, row_group_size=_group_rows(table))
        self.rows[name] = hasher.rows
        self._hashes[name] = hasher.hexdigest()
        return hasher.rows

    def path(self, relative: str) -> Path:
        """Where to write an opaque file (weights, reports); parents are made."""
        target = self.scratch / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def files(self) -> dict[str, str]:
        """sha256 of every file written so far by relative path."""
        found = sorted(path for path in self.scratch.rglob("*") if path.is_file())
        return {path.relative_to(self.scratch).as_posix(): _sha256(path) for path in found}

    def data_version(self, files: dict[str, str]) -> str:
        """Hash over logical table hashes and, for opaque files, their bytes."""
        return data_version_of(self._hashes, files)


def data_version_of(tables: Mapping[str, str], files: Mapping[str, str]) -> str:
    """`data_version` of tables (logical hash by name) and files (sha256 by relative path, tables passed over)."""
    opaque = {name: digest for name, digest in files.items() if name.removesuffix(".parquet") not in tables}
    parts = json.dumps([sorted(tables.items()), sorted(opaque.items())])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


class DatasetStore:
    """All dataset versions under one root: a folder or an fsspec URL such as `s3://bucket/prefix`."""

    def __init__(self, root: str | Path, **storage_options: Any) -> None:
        self.root_url = str(root)
        storage_options.setdefault("use_listings_cache", False)  # other processes write here too
        self.filesystem, path = fsspec.core.url_to_fs(self.root_url, **storage_options)
        self.is_local = "file" in (
            self.filesystem.protocol if isinstance(self.filesystem.protocol, tuple) else (self.filesystem.protocol,)
        )
        self.root = str(Path(path).resolve()) if self.is_local else path.rstrip("/")

    def prefix(self, ref: DatasetRef) -> str:
        """Folder or key prefix of a version."""
        return f"{self.root}/{ref.name}/{ref.version}"

    def find(self, ref: DatasetRef) -> Dataset | None:
        """Open a version if it is complete, else None."""
        try:
            text = self.filesystem.cat_file(f"{self.prefix(ref)}/{MANIFEST}")
        except FileNotFoundError:
            return None
        return Dataset(self, Manifest.model_validate_json(text))

    def open(self, ref: DatasetRef) -> Dataset:
        """Open a version.

        Raises:
            DatasetNotFoundError: No complete version of that name exists here.
        """
        dataset = self.find(ref)
        if dataset is None:
            raise DatasetNotFoundError(
                "no complete dataset version",
                where=f"{self.root_url}/{ref.name}/{ref.version}",
                remedy=f"Materialise {ref.name.partition('/')[0]} again, or point the profile at the right storage.",
            )
        return dataset

    def versions(self, name: str) -> list[DatasetRef]:
        """All complete versions of a dataset, oldest first."""
        found = self.filesystem.glob(f"{self.root}/{name}/*/{MANIFEST}")
        refs = [DatasetRef(name=name, version=path.rsplit("/", 2)[-2]) for path in found]
        visible = [ref for ref in refs if not ref.version.startswith(".")]
        return sorted(visible, key=lambda ref: self.open(ref).manifest.created_at)

    def names(self) -> list[str]:
        """Every dataset (with its partition) that has a current version here, sorted."""
        found = self.filesystem.glob(f"{self.root}/**/current")
        return sorted(path.removeprefix(f"{self.root}/").removesuffix("/current") for path in found)

    def current(self, name: str) -> DatasetRef:
        """The version that the CLI's pointer names (Dagster resolves from its materialisations instead).

        Raises:
            DatasetNotFoundError: The dataset was never built here.
        """
        try:
            text = self.filesystem.cat_file(f"{self.root}/{name}/current")
        except FileNotFoundError:
            raise DatasetNotFoundError(
                f"{name} was never built",
                where=self.root_url,
                remedy="Run `make demo`, or materialise it in the UI.",
            ) from None
        return DatasetRef(name=name, version=text.decode().strip())

    def set_current(self, ref: DatasetRef) -> None:
        """Move the `current` pointer atomically to a complete version."""
        self.open(ref)
        target = f"{self.root}/{ref.name}/current"
        if self.is_local:
            scratch = Path(f"{target}.{uuid.uuid4().hex}")
            scratch.write_text(ref.version)
            scratch.replace(target)
        else:
            self.filesystem.pipe_file(target, ref.version.encode())

    def writer(self, ref: DatasetRef) -> DatasetWriter:
        """A writer into a fresh scratch folder (beside the target when local, so that the rename is atomic)."""
        if self.is_local:
            _sweep(Path(self.root) / ref.name)
            scratch = self.scratch(ref)
            scratch.mkdir(parents=True)
        else:
            scratch = Path(tempfile.mkdtemp(prefix="sap_llm_"))
        return DatasetWriter(scratch)

    def scratch(self, ref: DatasetRef) -> Path:
        """A fresh name beside a local version that nobody takes for one, and that tells which process it belongs to."""
        process = f"{socket.gethostname()}-{os.getpid()}"
        return Path(self.root) / ref.name / f".{ref.version}.{process}.{uuid.uuid4().hex}"

    def commit(self, writer: DatasetWriter, manifest: Manifest) -> Dataset:
        """Make the version visible, or adopt the one that another writer completed first."""
        if self.is_local:
            self._commit_local(writer, manifest)
        else:
            self._commit_remote(writer, manifest)
        return self.open(manifest.ref)

    def discard(self, writer: DatasetWriter) -> None:
        """Throw the scratch folder away."""
        shutil.rmtree(writer.scratch, ignore_errors=True)

    def _commit_local(self, writer: DatasetWriter, manifest: Manifest) -> None:
        (writer.scratch / MANIFEST).write_text(manifest.model_dump_json(indent=2))
        for path in (*writer.scratch.rglob("*"), writer.scratch):
            _fsync(path)  # the rename must not outlive the bytes at a power cut
        target = Path(self.prefix(manifest.ref))
        try:
            writer.scratch.rename(target)
        except OSError:
            if self.find(manifest.ref) is None:
                raise
            self.discard(writer)
        _fsync(target.parent)

    def _commit_remote(self, writer: DatasetWriter, manifest: Manifest) -> None:
        prefix, attempt = self.prefix(manifest.ref), uuid.uuid4().hex
        for relative in manifest.files:
            self.filesystem.put_file(str(writer.scratch / relative), f"{prefix}/{attempt}/{relative}")
        body = manifest.model_copy(update={"attempt": attempt}).model_dump_json(indent=2).encode()
        try:
            self.filesystem.pipe_file(f"{prefix}/{MANIFEST}", body, mode="create")  # If-None-Match: *
        except FileExistsError:
            self.filesystem.rm(f"{prefix}/{attempt}", recursive=True)
        self.discard(writer)


def _group_rows(table: pa.Table) -> int:
    if "content" not in table.schema.names or not table.num_rows:
        return _ROW_GROUP_ROWS
    return max(
        1,
        min(
            _ROW_GROUP_ROWS,
            int(_BLOB_GROUP_BYTES * table.num_rows / max(1, table.nbytes)),
        ),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def abandoned(home: Path) -> list[Path]:
    """Scratch folders directly in `home` that killed processes of this machine left behind."""
    found = []
    for scratch in home.glob(f".*.{socket.gethostname()}-*.*"):
        process = scratch.name.rsplit(".", 1)[0].rsplit("-", 1)[-1]
        if process.isdecimal() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            found.append(scratch)
    return found


def _sweep(home: Path) -> None:
    for scratch in abandoned(home):
        shutil.rmtree(scratch, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
