"""What keeps dataset versions alive: models with an alias in a real MLflow, overrides, gates that have not judged."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sap_llm.registry.gates import SCHEMA, gates_of
from sap_llm.registry.live_versions import live_roots, plan_retention
from sap_llm.registry.mlflow_registry import ModelRegistry
from sap_llm.registry.verdicts import Verdict, VerdictStore
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage import retention
from sap_llm.storage.retention import RetentionConfig, RetentionPlan
from sap_llm.storage.store import DatasetStore
from tests.support.versioned import small

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = RetentionConfig(
    keep_last=1,
    keep_days=0,
    grace_hours=0,
    released=("training_set", "multitask_model", "model_evaluation", "registered_model", "pmg_snapshot"),
    keep_releases=1,
    follow_models=("registered_model", "pmg_snapshot"),
    protected=(),
    keep_unjudged=True,
)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "datasets")


@pytest.fixture
def verdicts(tmp_path: Path) -> VerdictStore:
    return VerdictStore(tmp_path / "registry", clock=FrozenClock(NOW))


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", root=tmp_path / "registry", clock=FrozenClock(NOW))


def judge(verdicts: VerdictStore, store: DatasetStore, ref: DatasetRef, *gates: str) -> None:
    for gate in gates:
        verdicts.record(
            Verdict(
                gate=gate,
                data_version=store.open(ref).manifest.data_version,
                passed=True,
                measured={},
                required={},
                explanation="fine",
                created_at=NOW,
            )
        )


def test_gates_that_have_not_judged_and_overrides_keep_a_version(
    store: DatasetStore, verdicts: VerdictStore, registry: ModelRegistry
) -> None:
    unjudged = small(store, "training_set/r1")
    judged = small(store, "training_set/r2", mark="2")
    overridden = small(store, "training_set/r3", mark="3")
    judge(verdicts, store, judged, *gates_of("training_set"))
    judge(verdicts, store, overridden, *gates_of("training_set"))
    version = store.open(overridden).manifest.data_version
    verdicts.override(version, SCHEMA, who="anna", why="known", until=NOW + timedelta(days=1))
    roots = live_roots(store, registry=registry, verdicts=verdicts, config=POLICY)
    assert roots.models == {}
    assert set(roots.others) == {unjudged, overridden}
    assert "anna" in roots.others[overridden]
    later = VerdictStore(verdicts.files.root_url, clock=FrozenClock(NOW + timedelta(days=2)))
    assert set(live_roots(store, registry=registry, verdicts=later, config=POLICY).others) == {unjudged}


def test_asking_a_registry_that_was_never_used_does_not_make_it(registry: ModelRegistry, tmp_path: Path) -> None:
    assert registry.aliased() == {}
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_database_without_a_registered_model_has_no_aliases(registry: ModelRegistry) -> None:
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=registry.tracking_uri).create_experiment("somebody's")
    assert registry.aliased() == {}


@pytest.mark.slow
def test_the_lineage_of_models_with_an_alias_survives_every_apply(
    store: DatasetStore, verdicts: VerdictStore, registry: ModelRegistry, tmp_path: Path
) -> None:
    releases = [release(store, verdicts, number) for number in range(5)]
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"1")
    made = [
        registry.register_model(
            folder=folder,
            release=f"r{number}",
            model=str(found["multitask_model"]),
            evaluation=str(found["model_evaluation"]),
            test_version="t",
            metrics={},
            parameters={},
            tags={},
        )
        for number, found in enumerate(releases)
    ]
    registry.promote(made[0].version, reason="first")
    registry.promote(made[2].version, reason="better")  # 0 becomes `previous`
    registry._mlflow().set_registered_model_alias("sap_llm-multitask-model", "challenger", made[3].version)
    for _ in range(3):
        plan: RetentionPlan = plan_retention(store, registry=registry, verdicts=verdicts, config=POLICY, now=NOW)
        retention.apply(store, plan, now=NOW)
    for number in (0, 2, 3, 4):  # previous, champion, challenger, and the newest release
        assert all(store.find(ref) is not None for ref in releases[number].values()), number
    assert not any(store.find(ref) for ref in releases[1].values())
    kept = {str(one.ref): one.reasons for one in plan.decisions}
    assert kept[str(releases[0]["pmg_snapshot"])] == (f"about model version {made[0].version} (previous)",)
    assert kept[str(releases[2]["synthetic_docs/0"])] == (f"input of {releases[2]['training_set']}",)


def release(store: DatasetStore, verdicts: VerdictStore, number: int) -> dict[str, DatasetRef]:
    """A corpus of its own, and everything that is made from it up to the memory."""
    mark, day = str(number), number * 10
    corpus = small(store, "synthetic_docs/0", day=day, mark=mark)
    found = {"synthetic_docs/0": corpus}
    for asset, inputs in (
        ("training_set", ["synthetic_docs/0"]),
        ("multitask_model", ["training_set"]),
        ("model_evaluation", ["multitask_model", "training_set"]),
        ("registered_model", ["multitask_model", "model_evaluation"]),
        ("pmg_snapshot", ["multitask_model", "model_evaluation"]),
    ):
        refs = [found[name] for name in inputs]
        found[asset] = small(store, f"{asset}/r{number}", day=day + len(found), inputs=refs, mark=mark)
    judge(verdicts, store, found["training_set"], *gates_of("training_set"))
    judge(verdicts, store, found["model_evaluation"], "model_quality")
    return found
