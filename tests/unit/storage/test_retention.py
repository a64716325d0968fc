"""What may be deleted: nothing alive, nothing that something alive was made from, whatever the lineage looks like."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import deletion, retention
from sap_llm.storage.retention import Held, LiveRoots, RetentionConfig, RetentionPlan, decide, held_versions
from sap_llm.storage.store import DatasetStore
from tests.support.versioned import START, small

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RELEASED = ("training_set", "multitask_model", "registered_model")


def policy(**changes: Any) -> RetentionConfig:
    values: dict[str, Any] = {
        "keep_last": 1,
        "keep_days": 0,
        "grace_hours": 48,
        "released": RELEASED,
        "keep_releases": 100,
        "follow_models": ("registered_model",),
        "protected": ("raw_exports",),
        "keep_unjudged": True,
    }
    return RetentionConfig(**{**values, **changes})


def held(name: str, version: str, *, days: float = 100, inputs: tuple[DatasetRef, ...] = (), **more: Any) -> Held:
    return Held(
        ref=DatasetRef(name=name, version=version), created_at=NOW - timedelta(days=days), inputs=inputs, **more
    )


def actions(plan: RetentionPlan) -> dict[str, str]:
    return {str(one.ref): one.action for one in plan.decisions}


def reasons(plan: RetentionPlan, ref: DatasetRef) -> tuple[str, ...]:
    return next(one.reasons for one in plan.decisions if one.ref == ref)


def test_the_newest_the_current_the_young_and_the_protected_stay() -> None:
    versions = [
        held("a", "1", days=50),
        held("a", "2", days=40, is_current=True),
        held("a", "3", days=30),
        held("a", "4", days=20),
        held("raw_exports/2026-01", "1", days=99),
        held("raw_exports/2026-01", "2", days=98, is_current=True),
    ]
    plan = decide(versions, roots=LiveRoots(), config=policy(keep_days=25), now=NOW)
    assert actions(plan) == {
        "a@1": "hide",
        "a@2": "keep",
        "a@3": "hide",
        "a@4": "keep",
        "raw_exports/2026-01@1": "keep",
        "raw_exports/2026-01@2": "keep",
    }
    assert reasons(plan, versions[1].ref) == ("current",)
    assert reasons(plan, versions[3].ref) == ("one of the newest 1", "younger than 25 days")


def test_a_running_build_may_use_what_is_younger_than_a_run() -> None:
    versions = [held("a", "1", days=1.9), held("a", "2", days=1, is_current=True)]
    assert actions(decide(versions, roots=LiveRoots(), config=policy(), now=NOW)) == {"a@1": "keep", "a@2": "keep"}


def test_what_a_live_model_was_made_from_and_what_tells_about_it_stay() -> None:
    corpus = held("synthetic_docs/0", "old")
    training = held("training_set/r1", "old", inputs=(corpus.ref,))
    model = held("multitask_model/r1", "old", inputs=(training.ref,))
    about = held("registered_model/r1", "old", inputs=(model.ref,))
    other = held("registered_model/r1", "other", inputs=(held("multitask_model/r1", "x").ref,))
    newer = [held(one.ref.name, "new", days=90) for one in (corpus, training, model, about)]
    roots = LiveRoots(models={model.ref: "model version 3 (champion)"})
    plan = decide([corpus, training, model, about, other, *newer], roots=roots, config=policy(), now=NOW)
    found = actions(plan)
    assert {found[str(one.ref)] for one in (corpus, training, model, about)} == {"keep"}
    assert found[str(other.ref)] == "hide"
    assert reasons(plan, about.ref) == ("about model version 3 (champion)",)
    assert reasons(plan, corpus.ref) == ("input of training_set/r1@old",)


def test_old_releases_may_go_even_though_each_is_the_current_version_of_its_partition() -> None:
    versions = [held(f"training_set/w{week}", "1", days=100 - week, is_current=True) for week in range(5)]
    plan = decide(versions, roots=LiveRoots(), config=policy(keep_releases=2), now=NOW)
    assert [one.ref.name for one in plan.having("keep")] == ["training_set/w3", "training_set/w4"]
    roots = LiveRoots(models={versions[0].ref: "model version 1 (previous)"})
    kept = decide(versions, roots=roots, config=policy(keep_releases=2), now=NOW).having("keep")
    assert [one.ref.name for one in kept] == ["training_set/w0", "training_set/w3", "training_set/w4"]


def test_all_partitions_of_a_kept_release_stay() -> None:
    versions = [
        held(f"training_set/w{week}/{part}", "1", days=100 - week, is_current=True)
        for week in range(3)
        for part in ("inbox", "routing", "validation")
    ]
    kept = decide(versions, roots=LiveRoots(), config=policy(keep_releases=2), now=NOW).having("keep")
    assert {one.ref.name.split("/")[1] for one in kept} == {"w1", "w2"}
    assert len(kept) == 6


def test_bytes_wait_for_the_grace_period_and_what_is_used_again_comes_back() -> None:
    gone = held("a", "gone", deleted_at=NOW - timedelta(hours=49))
    waiting = held("a", "waiting", deleted_at=NOW - timedelta(hours=47))
    used = held("a", "used", deleted_at=NOW - timedelta(hours=100))
    user = held("b", "1", days=1, inputs=(used.ref,), is_current=True)
    plan = decide([gone, waiting, used, user], roots=LiveRoots(), config=policy(), now=NOW)
    assert actions(plan) == {"a@gone": "purge", "a@waiting": "wait", "a@used": "restore", "b@1": "keep"}


def test_a_lineage_with_a_hole_is_reported() -> None:
    missing = DatasetRef(name="training_set/r1", version="lost")
    plan = decide([held("multitask_model/r1", "1", inputs=(missing,))], roots=LiveRoots(), config=policy(), now=NOW)
    assert "training_set/r1@lost" in plan.gaps[0]


@st.composite
def lineages(draw: st.DrawFn) -> tuple[list[Held], LiveRoots]:
    """Random versions, each made from older ones; some current, some out of sight, some alive for outside reasons."""
    names = ["a", "b/1", "b/2", "training_set/r1", "training_set/r2", "multitask_model/r1", "registered_model/r1"]
    count = draw(st.integers(1, 25))
    versions: list[Held] = []
    for number in range(count):
        parents = draw(st.lists(st.sampled_from(versions), max_size=3)) if versions else []
        age = timedelta(days=draw(st.integers(0, 400)))
        deleted_at = draw(st.none() | st.none() | st.integers(0, 200).map(lambda hours: NOW - timedelta(hours=hours)))
        versions.append(
            Held(
                ref=DatasetRef(name=draw(st.sampled_from(names)), version=str(number)),
                created_at=NOW - age,
                inputs=tuple(parent.ref for parent in parents),
                is_current=deleted_at is None and draw(st.booleans()),
                deleted_at=deleted_at,
            )
        )
    alive = draw(st.lists(st.sampled_from(versions), max_size=3))
    pinned = draw(st.lists(st.sampled_from(versions), max_size=2))
    roots = LiveRoots(models={one.ref: "model" for one in alive}, others={one.ref: "override" for one in pinned})
    return sorted(versions, key=lambda one: one.created_at), roots


def ancestry(by_ref: dict[DatasetRef, Held], ref: DatasetRef) -> set[DatasetRef]:
    """Everything that a version was made from, itself included; written without looking at the code under test."""
    found = {ref}
    for parent in by_ref[ref].inputs:
        found |= ancestry(by_ref, parent)
    return found


@given(
    lineage=lineages(),
    keep_last=st.integers(1, 3),
    keep_days=st.sampled_from([0, 10, 100]),
    keep_releases=st.integers(1, 2),
    grace_hours=st.sampled_from([0, 48]),
)
@settings(max_examples=200, deadline=None)
def test_nothing_that_something_alive_was_made_from_is_ever_deleted(
    lineage: tuple[list[Held], LiveRoots], **changes: Any
) -> None:
    versions, roots = lineage
    by_ref = {one.ref: one for one in versions}
    plan = decide(versions, roots=roots, config=policy(**changes), now=NOW)
    assert [one.ref for one in plan.decisions] == [one.ref for one in versions]
    assert plan.gaps == ()
    lost = {one.ref for one in plan.decisions if one.action in {"hide", "wait", "purge"}}
    for ref in (*roots.models, *roots.others):
        assert not ancestry(by_ref, ref) & lost
    for one in versions:
        if one.is_current and one.ref.name in {"a", "b/1", "b/2"}:
            assert not ancestry(by_ref, one.ref) & lost
    for decision in plan.decisions:  # whoever stays has all its ancestors, so no version is left without its inputs
        if decision.ref not in lost:
            assert not ancestry(by_ref, decision.ref) & lost
    youngest = timedelta(days=changes["keep_days"])
    assert not {one.ref for one in versions if NOW - one.created_at < youngest} & lost
    assert all(one.reasons for one in plan.decisions)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


def test_two_applies_delete_and_free_and_the_rest_is_untouched(store: DatasetStore) -> None:
    first = small(store, "a", mark="1")
    middle = small(store, "a", day=1, mark="2")
    last = small(store, "a", day=2, mark="3")
    user = small(store, "b", day=3, inputs=[first])
    gone: list[list[DatasetRef]] = []

    def run(now: datetime) -> RetentionPlan:
        plan = decide(held_versions(store), roots=LiveRoots(), config=policy(), now=now)
        retention.apply(store, plan, now=now, release=gone.append)
        return plan

    plan = run(NOW)
    assert actions(plan) == {str(first): "keep", str(middle): "hide", str(last): "keep", str(user): "keep"}
    assert plan.bytes_of("hide") > 0
    assert store.find(middle) is None
    assert run(NOW + timedelta(hours=1)).having("wait")
    assert run(NOW + timedelta(hours=49)).having("purge")
    assert gone == [[middle]]
    assert not Path(store.prefix(middle)).exists()
    assert {one.ref for one in deletion.manifests(store)} == {first, last, user}
    assert held_versions(store)[0].created_at == START


def test_a_build_that_finishes_after_its_input_was_deleted_brings_it_back(store: DatasetStore) -> None:
    old = small(store, "a", mark="1")
    small(store, "a", day=1, mark="2")
    deletion.hide(store, old, now=NOW)
    deletion.restore(store, old)
    late = small(store, "b", day=2, inputs=[old])
    deletion.hide(store, old, now=NOW)  # as if the plan had been made before `late` was finished
    plan = decide(held_versions(store), roots=LiveRoots(), config=policy(), now=NOW + timedelta(days=9))
    assert actions(plan)[str(old)] == "restore"
    retention.apply(store, plan, now=NOW)
    assert store.find(old) is not None
    assert store.open(late).manifest.inputs == {"a": old}
