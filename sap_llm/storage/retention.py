"""Which dataset versions may be deleted: the policy, the plan with a reason for every version, and carrying it out.

Belongs here: the decision, as a pure function over versions, and the order of its execution. What is alive because of
models and gates is found by `registry.live_versions`; how a version is deleted is `deletion`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import deletion
from sap_llm.storage.build import Progress, StageConfig, silent
from sap_llm.storage.store import DatasetStore

RETENTION = "retention"
Action = Literal["keep", "hide", "wait", "purge", "restore"]
"""Keep; put out of sight; leave its bytes until the grace period ends; remove its bytes; bring it back, because
something alive uses it again."""


class RetentionConfig(StageConfig):
    """`configs/<profile>/retention.yaml`."""

    keep_last: int = Field(ge=1, description="newest versions kept of each dataset (of each partition)")
    keep_days: float = Field(ge=0, description="versions younger than this are kept")
    grace_hours: float = Field(
        ge=0, description="longest run: nothing younger goes, and bytes stay that long after a version is out of sight"
    )
    released: tuple[str, ...] = Field(description="assets partitioned by release, whose old releases may go")
    keep_releases: int = Field(
        ge=1, description="newest partitions of each of these that keep_last and current protect"
    )
    follow_models: tuple[str, ...] = Field(
        description="assets kept when made directly from what a live model is made of"
    )
    protected: tuple[str, ...] = Field(description="assets never deleted, because their sources change or are people")
    keep_unjudged: bool = Field(description="whether versions that a gate has not judged yet are kept")


class Held(BaseModel):
    """A version whose bytes are here, as far as retention has to know it."""

    model_config = ConfigDict(frozen=True)

    ref: DatasetRef
    created_at: AwareDatetime
    inputs: tuple[DatasetRef, ...] = ()
    is_current: bool = False
    deleted_at: AwareDatetime | None = Field(
        default=None, description="since when it is out of sight; None if it is not"
    )
    size_bytes: int = 0


class Decision(BaseModel):
    """What becomes of one version, and why."""

    model_config = ConfigDict(frozen=True)

    ref: DatasetRef
    action: Action
    reasons: tuple[str, ...]
    size_bytes: int
    created_at: AwareDatetime


class RetentionPlan(BaseModel):
    """A decision for every version that is here, and what killed runs left behind."""

    model_config = ConfigDict(frozen=True)

    decisions: tuple[Decision, ...]
    leftovers: tuple[deletion.Scratch, ...] = ()
    gaps: tuple[str, ...] = Field(default=(), description="inputs of kept versions that are not here themselves")

    def having(self, action: Action) -> list[Decision]:
        """The decisions of one kind, oldest version first."""
        return [one for one in self.decisions if one.action == action]

    def bytes_of(self, *actions: Action) -> int:
        """Bytes of the versions with these decisions."""
        return sum(one.size_bytes for one in self.decisions if one.action in actions)


@dataclass(frozen=True, kw_only=True)
class LiveRoots:
    """What is alive for a reason outside the datasets: by version, why."""

    models: Mapping[DatasetRef, str] = field(default_factory=dict)
    """What registered models with an alias are made of."""
    others: Mapping[DatasetRef, str] = field(default_factory=dict)
    """Overrides in force, gates that have not judged, versions that an orchestrator shows as newest."""


def held_versions(store: DatasetStore) -> list[Held]:
    """Every version that has bytes here, oldest first."""
    current = {store.current(name) for name in store.names()}
    complete = [(one, None) for one in deletion.manifests(store)]
    hidden = [(one.manifest, one.deleted_at) for one in deletion.tombstones(store)]
    found = [
        Held(
            ref=manifest.ref,
            created_at=manifest.created_at,
            inputs=tuple(manifest.inputs.values()),
            is_current=manifest.ref in current,
            deleted_at=deleted_at,
            size_bytes=deletion.size_bytes(store, manifest),
        )
        for manifest, deleted_at in [*complete, *hidden]
    ]
    return sorted(found, key=lambda one: (one.created_at, str(one.ref)))


def decide(
    held: Sequence[Held],
    *,
    roots: LiveRoots,
    config: RetentionConfig,
    now: datetime,
    leftovers: Iterable[deletion.Scratch] = (),
) -> RetentionPlan:
    """Decide about every version; whatever a kept version was made from, at any distance, is kept as well.

    Args:
        held: All versions with bytes.
        roots: What is alive for reasons outside the datasets.
        config: The policy.
        now: Present moment.
        leftovers: What killed writers left; those known to be dead, or older than the grace period, may go.
    """
    by_ref = {one.ref: one for one in held}
    reasons: dict[DatasetRef, list[str]] = defaultdict(list)
    for ref, reason in _kept(held, roots, config, now):
        reasons[ref].append(reason)
    gaps = _follow_inputs(by_ref, reasons)
    grace = timedelta(hours=config.grace_hours)
    decisions = []
    for one in held:
        action = _action(one, is_kept=bool(reasons.get(one.ref)), is_grace_over=_age(one.deleted_at, now) >= grace)
        why = tuple(dict.fromkeys(reasons.get(one.ref, ()))) or (_fate(one, action, grace),)
        decisions.append(
            Decision(ref=one.ref, action=action, reasons=why, size_bytes=one.size_bytes, created_at=one.created_at)
        )
    gone = [one for one in leftovers if one.is_abandoned or now.timestamp() - one.modified_at >= grace.total_seconds()]
    return RetentionPlan(decisions=tuple(decisions), leftovers=tuple(gone), gaps=tuple(gaps))


def apply(
    store: DatasetStore,
    plan: RetentionPlan,
    *,
    now: datetime,
    progress: Progress = silent,
    release: Callable[[list[DatasetRef]], object] | None = None,
) -> None:
    """Carry a plan out. Killed at any moment it leaves nothing that looks complete; the next plan goes on.

    Args:
        store: The versions.
        plan: Of a moment ago.
        now: Written into tombstones.
        progress: Told of every version.
        release: Called with the versions whose bytes went, to let go of further copies of them.
    """
    for one in plan.having("restore"):
        progress(f"bringing {one.ref} back: {one.reasons[0]}")
        deletion.restore(store, one.ref)
    gone = []
    for one in plan.having("purge"):
        progress(f"removing the bytes of {one.ref}")
        if deletion.purge(store, one.ref):
            gone.append(one.ref)
    if release is not None and gone:
        release(gone)
    # Newest first: what was made from others goes before them, so a kill leaves no version without its inputs.
    for one in reversed(plan.having("hide")):
        progress(f"putting {one.ref} out of sight")
        deletion.hide(store, one.ref, now=now)
    for scratch in plan.leftovers:
        progress(f"removing {scratch.path}")
        deletion.remove_leftover(store, scratch)


def _kept(
    held: Sequence[Held], roots: LiveRoots, config: RetentionConfig, now: datetime
) -> Iterable[tuple[DatasetRef, str]]:
    """Every reason to keep a version that does not come from another dataset version."""
    old = _old_releases(held, config)
    newest: dict[str, int] = defaultdict(int)
    youngest = timedelta(days=config.keep_days), timedelta(hours=config.grace_hours)
    for one in reversed(held):
        asset, name = one.ref.name.partition("/")[0], one.ref.name
        if asset in config.protected:
            yield one.ref, "never deleted"
        if one.deleted_at is None and name not in old:
            newest[name] += 1
            if one.is_current:
                yield one.ref, "current"
            if newest[name] <= config.keep_last:
                yield one.ref, f"one of the newest {config.keep_last}"
        if now - one.created_at < max(youngest):
            yield one.ref, f"younger than {max(youngest).total_seconds() / 86400:g} days"
        if asset in config.follow_models:
            yield from ((one.ref, f"about {roots.models[ref]}") for ref in one.inputs if ref in roots.models)
    yield from roots.models.items()
    yield from roots.others.items()


def _old_releases(held: Sequence[Held], config: RetentionConfig) -> set[str]:
    """Names of the partitions whose releases are older than the newest `keep_releases` of their asset."""
    newest: dict[str, dict[str, datetime]] = defaultdict(dict)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in held:  # oldest first
        asset, release, *_ = [*one.ref.name.split("/"), ""]
        if asset in config.released:
            newest[asset][release] = one.created_at
            names[asset, release].add(one.ref.name)  # several, where the release is one of two dimensions
    old: set[str] = set()
    for asset, moments in newest.items():
        by_age = sorted(moments, key=lambda release: (moments[release], release), reverse=True)
        old.update(name for release in by_age[config.keep_releases :] for name in names[asset, release])
    return old


def _follow_inputs(by_ref: Mapping[DatasetRef, Held], reasons: dict[DatasetRef, list[str]]) -> list[str]:
    """Give every input of a kept version a reason too; returns the inputs that are not here."""
    waiting = [ref for ref in reasons if ref in by_ref]
    gaps = [f"{ref} ({found[0]}) is not here" for ref, found in reasons.items() if ref not in by_ref]
    seen = set(waiting)
    while waiting:
        parent = waiting.pop()
        for ref in by_ref[parent].inputs:
            if ref not in by_ref:
                gaps.append(f"{ref}, input of {parent}, is not here: what it was made from is not protected by it")
                continue
            reasons[ref].append(f"input of {parent}")
            if ref not in seen:
                seen.add(ref)
                waiting.append(ref)
    return sorted(set(gaps))


def _action(one: Held, *, is_kept: bool, is_grace_over: bool) -> Action:
    if one.deleted_at is None:
        return "keep" if is_kept else "hide"
    if is_kept:
        return "restore"
    return "purge" if is_grace_over else "wait"


def _fate(one: Held, action: Action, grace: timedelta) -> str:
    if one.deleted_at is None:
        return "nothing alive uses it"
    since, until = f"{one.deleted_at:%Y-%m-%d %H:%M}", f"{one.deleted_at + grace:%Y-%m-%d %H:%M}"
    return f"out of sight since {since}, bytes {'wait' if action == 'wait' else 'stayed'} until {until} UTC"


def _age(moment: datetime | None, now: datetime) -> timedelta:
    return timedelta(0) if moment is None else now - moment
