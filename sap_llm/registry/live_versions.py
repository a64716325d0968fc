"""Dataset versions that are alive because of registered models and gates: the roots that retention starts from.

Belongs here: asking the registry and the verdicts. What follows from the roots is `storage.retention`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sap_llm.registry.gates import gates_of
from sap_llm.schema.errors import DatasetNotFoundError, GateClosedError
from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.storage.deletion import leftovers, manifests
from sap_llm.storage.retention import LiveRoots, RetentionConfig, RetentionPlan, decide, held_versions
from sap_llm.storage.store import DatasetStore

if TYPE_CHECKING:
    from sap_llm.registry.mlflow_registry import ModelRegistry, RegisteredVersion
    from sap_llm.registry.verdicts import VerdictStore


def plan_retention(
    store: DatasetStore,
    *,
    registry: "ModelRegistry",
    verdicts: "VerdictStore",
    config: RetentionConfig,
    now: datetime,
    newest: Mapping[DatasetRef, str] | None = None,
) -> RetentionPlan:
    """What retention would do now; changes nothing.

    Args:
        store: The versions.
        registry: Its models with an alias are alive.
        verdicts: Overrides in force and gates that have not judged.
        config: The policy.
        now: Present moment.
        newest: Further versions that are alive, and why: those that an orchestrator shows as an asset's newest.
    """
    roots = live_roots(store, registry=registry, verdicts=verdicts, config=config)
    roots = LiveRoots(models=roots.models, others={**(newest or {}), **roots.others})
    return decide(held_versions(store), roots=roots, config=config, now=now, leftovers=leftovers(store))


def live_roots(
    store: DatasetStore, *, registry: "ModelRegistry", verdicts: "VerdictStore", config: RetentionConfig
) -> LiveRoots:
    """What models with an alias (champion, challenger, ...) and gates keep alive.

    Raises:
        MlflowException: The registry cannot be asked; without it nothing may be called dead.
    """
    models: dict[DatasetRef, str] = {}
    for alias, version in _aliased(registry):
        reason = f"model version {version.version} ({alias})"
        for text in (version.model, version.evaluation):
            models.setdefault(DatasetRef.parse(text), reason)
    return LiveRoots(models=models, others=dict(_at_gates(manifests(store), verdicts, config)))


def _aliased(registry: "ModelRegistry") -> "Iterator[tuple[str, RegisteredVersion]]":
    """By MLflow's aliases, which are the record, and by the pointer file, which is what serves."""
    yield from registry.aliased().items()
    try:
        champion = registry.champion()
    except DatasetNotFoundError:
        return  # its files are gone: it cannot serve
    if champion is not None:
        yield "serving", champion


def _at_gates(
    found: Sequence[Manifest], verdicts: "VerdictStore", config: RetentionConfig
) -> Iterator[tuple[DatasetRef, str]]:
    for manifest in found:
        for gate in gates_of(manifest.name):
            override = verdicts.standing_override(manifest.data_version, gate)
            if override is not None:
                yield manifest.ref, f"override of {gate} by {override.who} until {override.until:%Y-%m-%d}"
            elif config.keep_unjudged and not _is_judged(verdicts, manifest.data_version, gate):
                yield manifest.ref, f"not judged by {gate} yet"


def _is_judged(verdicts: "VerdictStore", data_version: str, gate: str) -> bool:
    try:
        return verdicts.find(data_version, gate) is not None
    except GateClosedError:
        return False  # a damaged verdict is none
