"""Build a dataset version once: same inputs, code and configuration are reused, never rebuilt.

`build` is what every stage calls. The version's name is derived from what makes it, so a finished version is found
without importing anything heavy. What a stage does inside belongs to its room.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from sap_llm.schema.clock import Clock, SystemClock
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.storage.deletion import restore
from sap_llm.storage.store import Dataset, DatasetStore, DatasetWriter


class Progress(Protocol):
    """Receives progress of long work; `total` is 0 when unknown."""

    def __call__(self, message: str, *, done: int = 0, total: int = 0) -> None:
        """Report one step."""
        ...


def silent(message: str, *, done: int = 0, total: int = 0) -> None:
    """Progress that goes nowhere, for tests and library use."""


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """What every stage function gets: where data live, what time it is, whom to tell, and who asked."""

    store: DatasetStore
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress = silent
    built_by: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """Outcome of `build`: the version and whether it already existed."""

    dataset: Dataset
    is_reused: bool

    @property
    def ref(self) -> DatasetRef:
        """The version that now exists."""
        return self.dataset.ref

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.dataset.manifest


class StageConfig(BaseModel):
    """Base of the one configuration model of each stage: keyword-only, frozen, no unknown keys."""

    model_config = {"frozen": True, "extra": "forbid"}

    seed: int = 7


def code_version(stage_version: str, config: StageConfig) -> str:
    """`<stage version>+<hash of the resolved configuration>`, as Dagster and the manifest show it."""
    digest = hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    return f"{stage_version}+{digest[:12]}"


def version_id(name: str, code: str, inputs: Mapping[str, str]) -> str:
    """Name of the version made by `code` from inputs with the given data versions (by role)."""
    parts = json.dumps([name, code, taxonomy_version(), sorted(inputs.items())])
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def build(
    context: StageContext,
    *,
    name: str,
    stage_version: str,
    config: StageConfig,
    inputs: Mapping[str, DatasetRef] | None = None,
    fingerprint: Mapping[str, str] | None = None,
    produce: Callable[[DatasetWriter], Mapping[str, Any]],
) -> BuildResult:
    """Return the version of `name` made from exactly these things, producing it only if it does not exist.

    Args:
        context: Store, clock and progress.
        name: Dataset name, with partition behind a slash.
        stage_version: Hand-raised version of the stage's code.
        config: The stage's resolved configuration.
        inputs: Consumed dataset versions by role.
        fingerprint: Identity of consumed things outside the store (source files, upstream watermarks) by role.
        produce: Writes tables and files, returns metrics for the manifest. Runs only when the version is missing.

    Raises:
        DatasetNotFoundError: An input is not complete.
    """
    refs = dict(inputs or {})
    versions = {role: context.store.open(ref).manifest.data_version for role, ref in refs.items()}
    versions |= {f"outside:{role}": value for role, value in (fingerprint or {}).items()}
    code = code_version(stage_version, config)
    ref = DatasetRef(name=name, version=version_id(name, code, versions))
    existing = context.store.find(ref) or restore(context.store, ref)
    if existing is not None:
        context.progress(f"{name}: reused {ref.version}")
        context.store.set_current(ref)
        return BuildResult(dataset=existing, is_reused=True)
    writer = context.store.writer(ref)
    try:
        metrics = dict(produce(writer))
        files = writer.files()
        manifest = Manifest(
            name=name,
            version=ref.version,
            taxonomy_version=taxonomy_version(),
            code_version=code,
            data_version=writer.data_version(files),
            inputs=refs,
            configuration=config.model_dump(mode="json"),
            seed=config.seed,
            created_at=context.clock.now(),
            rows=writer.rows,
            files=files,
            metrics=metrics,
            built_by=context.built_by,
        )
        dataset = context.store.commit(writer, manifest)
    except BaseException:
        context.store.discard(writer)
        raise
    context.store.set_current(ref)
    return BuildResult(dataset=dataset, is_reused=False)
