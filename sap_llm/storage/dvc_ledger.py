"""Dataset versions under DVC: `versions/<name>/<version>` is what DVC tracks, one `.dvc` file a version.

Belongs here: which versions DVC knows, pushing them, and taking them back into the store. The folder holds links to the
version's files, on object storage only its manifest; DVC never writes into the store itself, so a killed pull leaves
nothing there. Remotes, cache and transfer are DVC's own; the lock is `dvc_writer`.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import AwareDatetime, BaseModel, ValidationError

from sap_llm.schema.errors import DamagedDatasetError, DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.storage import deletion
from sap_llm.storage.build import Progress, silent
from sap_llm.storage.dvc_cache import DIGEST, DvcCache
from sap_llm.storage.dvc_writer import WAIT_SECONDS, DvcWriter, batches, is_checkout, only_writer
from sap_llm.storage.store import MANIFEST, DatasetStore
from sap_llm.storage.whole import write_whole

LEDGER = "versions"
_SUFFIX, _RETIRED = ".dvc", ".dvc.retired"
_BATCH = 16


class About(BaseModel):
    """What the `.dvc` file says of a version whose manifest may not be here."""

    created_at: AwareDatetime
    data_version: str
    code_version: str
    rows: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One version that DVC knows."""

    ref: DatasetRef
    path: Path
    digest: str
    """DVC's hash of the folder."""
    size_bytes: int
    is_retired: bool
    """Deleted here by retention; DVC's own commands pass it over, `data pull` and `checkout` still find it."""
    about: About | None


class DvcLedger:
    """The versions of one store that DVC tracks in one checkout."""

    def __init__(self, home: Path, store: DatasetStore) -> None:
        self.home, self.folder, self._store = home, home / LEDGER, store

    def entries(self) -> dict[DatasetRef, Entry]:
        """Every version that DVC knows, retired ones too; half-written files of a killed DVC are none."""
        paths = [*self.folder.rglob(f"*{_RETIRED}"), *self.folder.rglob(f"*{_SUFFIX}")]
        found = (self._entry(path) for path in paths)
        return {entry.ref: entry for entry in found if entry is not None}

    def record(
        self, writer: DvcWriter, refs: Collection[DatasetRef], *, progress: Progress = silent
    ) -> list[DatasetRef]:
        """Track versions that DVC does not know yet; returns them.

        Raises:
            DatasetNotFoundError: One is not complete here.
        """
        known = self.entries()
        fresh = [ref for ref in refs if ref not in known or known[ref].is_retired]
        for number, group in enumerate(batches([str(ref) for ref in fresh], _BATCH)):
            progress("telling DVC of versions", done=number * _BATCH, total=len(fresh))
            parsed = [DatasetRef.parse(text) for text in group]
            for ref in parsed:
                self._link_into_ledger(ref)
                self._file(ref).unlink(missing_ok=True)  # what a killed DVC may have left half-written
            writer.run("add", *(str(self._tracked(ref)) for ref in parsed))
            for ref in parsed:
                self._describe(ref)
                self._file(ref, _RETIRED).unlink(missing_ok=True)
                self._share(ref)
        return fresh

    def push(
        self, writer: DvcWriter, refs: Sequence[DatasetRef], *, remote: str | None, progress: Progress = silent
    ) -> None:
        """Copy versions to a DVC remote. What is there already is not sent again, so a killed push goes on."""
        self.record(writer, refs, progress=progress)
        self._transfer(writer, "push", refs, remote, progress)

    def pull(
        self, writer: DvcWriter, refs: Sequence[DatasetRef], *, remote: str | None, progress: Progress = silent
    ) -> None:
        """Bring versions back from DVC's cache or a remote; each appears whole and verified, or not at all.

        Raises:
            DatasetNotFoundError: DVC does not know one, or its data are not on object storage.
            DamagedDatasetError: What came differs from its manifest.
        """
        known = self.entries()
        for ref in refs:
            if ref not in known:
                raise DatasetNotFoundError(
                    "DVC does not know the version", where=str(ref), remedy=f"Get its .dvc file into {self.folder}."
                )
            if known[ref].is_retired:
                known[ref].path.rename(self._file(ref))
        missing = [ref for ref in refs if self._store.find(ref) is None and deletion.restore(self._store, ref) is None]
        self._transfer(writer, "pull", missing, remote, progress)
        for ref in missing:
            self._adopt(ref)

    def discard_damaged(
        self, writer: DvcWriter, ref: DatasetRef, *, now: datetime, progress: Progress = silent
    ) -> None:
        """Remove a damaged version, and damaged objects of DVC's cache (they may be the same files)."""
        entry = self.entries().get(ref)
        if entry is None:
            raise DatasetNotFoundError("DVC does not know the version", where=str(ref), remedy="Build it anew.")
        progress(f"removing what is damaged of {ref}")
        DvcCache(writer).drop_damaged(entry.digest)
        if self._store.find(ref) is not None:
            deletion.hide(self._store, ref, now=now)
        deletion.purge(self._store, ref)
        shutil.rmtree(self._tracked(ref), ignore_errors=True)

    def retire(self, writer: DvcWriter, refs: Collection[DatasetRef]) -> int:
        """Let go of the local copies of deleted versions; returns the bytes of cache that became free.

        Their `.dvc` files get another name, so that `dvc pull` passes them over, and can be fetched again by name.
        """
        entries = self.entries()
        gone = [entries[ref] for ref in refs if ref in entries and not entries[ref].is_retired]
        for entry in gone:
            entry.path.rename(self._file(entry.ref, _RETIRED))
            shutil.rmtree(self._tracked(entry.ref), ignore_errors=True)
        if not gone:
            return 0
        kept = [entry.digest for entry in self.entries().values() if not entry.is_retired]
        return DvcCache(writer).drop([entry.digest for entry in gone], kept=kept)

    def _transfer(
        self, writer: DvcWriter, verb: str, refs: Sequence[DatasetRef], remote: str | None, progress: Progress
    ) -> None:
        named = ["--remote", remote] if remote else []
        force = ["--force"] if verb == "pull" else []  # a killed pull may have left half a file in our folder
        done = 0
        for group in batches([str(self._file(ref)) for ref in refs], _BATCH):
            progress(f"dvc {verb}", done=done, total=len(refs))
            writer.run(verb, *force, *named, *group)
            done += len(group)

    def _tracked(self, ref: DatasetRef) -> Path:
        return self.folder / ref.name / ref.version

    def _file(self, ref: DatasetRef, suffix: str = _SUFFIX) -> Path:
        return self.folder / ref.name / f"{ref.version}{suffix}"

    def _entry(self, path: Path) -> Entry | None:
        version, is_retired = path.name.removesuffix(_RETIRED), path.name.endswith(_RETIRED)
        name = path.parent.relative_to(self.folder).as_posix()
        try:
            content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            (out,) = content["outs"]
            if DIGEST.fullmatch(str(out["md5"])) is None:
                return None
            return Entry(
                ref=DatasetRef(name=name, version=version.removesuffix(_SUFFIX)),
                path=path,
                digest=out["md5"],
                size_bytes=int(out.get("size", 0)),
                is_retired=is_retired,
                about=_about(content),
            )
        except (yaml.YAMLError, KeyError, TypeError, ValueError):
            return None

    def _link_into_ledger(self, ref: DatasetRef) -> None:
        """Fill the folder that DVC tracks: links to the version's files, on object storage its manifest alone."""
        dataset, target = self._store.open(ref), self._tracked(ref)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        if self._store.is_local:
            for name in dataset.manifest.files:
                _link(dataset.path(name), target / name)
        write_whole(target / MANIFEST, dataset.manifest.model_dump_json(indent=2).encode())

    def _describe(self, ref: DatasetRef) -> None:
        """Add to the `.dvc` file what a person wants to know before fetching; `meta` is nothing to DVC."""
        path, manifest = self._file(ref), self._store.open(ref).manifest
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["meta"] = About.model_validate(manifest.model_dump()).model_dump(mode="json")
        write_whole(path, yaml.safe_dump(content, sort_keys=False).encode())

    def _share(self, ref: DatasetRef) -> None:
        """Let the store's files be DVC's (one copy on disk instead of two), replacing one link after the other."""
        if not self._store.is_local:
            return
        scratch = self._store.scratch(ref)
        scratch.mkdir()
        try:
            for name in self._store.open(ref).manifest.files:
                os.link(self._tracked(ref) / name, scratch / "link")
                (scratch / "link").replace(Path(self._store.prefix(ref)) / name)
        except OSError:
            return  # another filesystem: two copies it is
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _adopt(self, ref: DatasetRef) -> None:
        """Take what DVC brought into the store, after comparing every byte with the manifest."""
        folder = self._tracked(ref)
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (FileNotFoundError, ValidationError) as error:
            raise DamagedDatasetError(
                "what DVC brought has no readable manifest", where=str(folder), remedy="Push the version again."
            ) from error
        if not self._store.is_local:
            raise DatasetNotFoundError(
                "DVC has only the manifest of the version: its data belong on object storage, and are not there",
                where=self._store.prefix(ref),
                remedy="Restore the bucket, or build the version anew.",
            )
        writer = self._store.writer(ref)
        try:
            for name in manifest.files:
                if (folder / name).is_file():
                    _link(folder / name, writer.path(name))
            differing = sorted(dict(manifest.files.items() ^ writer.files().items()))
            if differing or manifest.ref != ref:
                raise DamagedDatasetError(
                    f"what DVC brought differs from its manifest: {', '.join(differing[:5]) or manifest.ref}",
                    where=str(ref),
                    remedy="`sap-llm data pull --replace` fetches it again; if that does not help, push it again.",
                )
            self._store.commit(writer, manifest)
        finally:
            self._store.discard(writer)
        if ref.name not in self._store.names():
            self._store.set_current(ref)


def _about(content: dict[str, Any]) -> About | None:
    try:
        return About.model_validate(content.get("meta"))
    except ValidationError:
        return None


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another filesystem, or one without links
        shutil.copyfile(source, target)


def local_versions(store: DatasetStore, names: Collection[str] = ()) -> Iterator[DatasetRef]:
    """All complete versions of the named datasets (by default of all), oldest first."""
    for manifest in deletion.manifests(store):
        if not names or manifest.name in names or manifest.name.partition("/")[0] in names:
            yield manifest.ref


def retire_in(
    home: Path, store: DatasetStore, *, wait_seconds: float = WAIT_SECONDS
) -> Callable[[list[DatasetRef]], None]:
    """What `retention.apply` calls for versions whose bytes went; does nothing where there is no DVC checkout."""

    def retire(refs: list[DatasetRef]) -> None:
        if is_checkout(home):
            with only_writer(home, "retention", wait_seconds=wait_seconds) as writer:
                DvcLedger(home, store).retire(writer, refs)

    return retire


def split_stages(home: Path) -> tuple[list[str], list[str]]:
    """The stages of `dvc.yaml` whose outputs are all there, and the others."""
    from dvc.repo import Repo

    with Repo(str(home)) as repo:
        stages = [
            (f"{stage.path_in_repo}:{stage.name}", all(Path(out.fs_path).exists() for out in stage.outs))
            for stage in repo.index.stages
            if stage.is_data_source is False
        ]
    built = [name for name, is_built in stages if is_built]
    return built, [name for name, is_built in stages if not is_built]
