"""The doors of training and promotion refuse whoever asks, whatever way the run was launched."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.launch import collect_model
from resources.deployment import DeploymentResource
from resources.partitions import RELEASE, VARIANT, release
from resources.results import materialized
from sap_llm.cli.build import commands
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import GATES, gates_of
from sap_llm.registry.verdicts import VerdictStore
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import GateClosedError
from sap_llm.storage.build import BuildResult
from sap_llm.storage.store import Dataset
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.multitask import MULTITASK_MODEL
from sap_llm_dagster.local_run import failure_of
from tests.support.altered import altered
from tests.support.dagster_records import record_materialisation, record_verdicts, small_dataset
from tests.support.toy_training import planned

TRAINING_SET, MODEL = "training_set", "multitask_model"
REPOSITORY = Path(__file__).parents[2]
Launch = Callable[[dg.Definitions, dg.DagsterInstance], str]


def _said(result: dg.ExecuteInProcessResult) -> str:
    return "" if result.success else failure_of(result)


def _whole_job(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    job = defs.resolve_job_def("train_model")
    return _said(job.execute_in_process(instance=instance, partition_key="r1", raise_on_error=False))


def _downstream_alone_in_the_ui(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    job = defs.resolve_implicit_global_asset_job_def()
    return _said(
        job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(MODEL)], partition_key="r1", raise_on_error=False
        )
    )


def _job_of_the_downstream_only(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    job = dg.define_asset_job("only_the_model", selection=dg.AssetSelection.assets(MODEL))
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    found = merged.resolve_job_def("only_the_model")
    return _said(found.execute_in_process(instance=instance, partition_key="r1", raise_on_error=False))


def _request_of_a_sensor(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    @dg.sensor(target=dg.AssetSelection.assets(MODEL))
    def asks_for_the_model(context: dg.SensorEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(asset_selection=[dg.AssetKey(MODEL)], partition_key="r1")

    request = asks_for_the_model(dg.build_sensor_context(instance=instance))
    assert isinstance(request, dg.RunRequest)
    job = defs.resolve_implicit_global_asset_job_def()
    return _said(
        job.execute_in_process(
            instance=instance,
            asset_selection=request.asset_selection,
            partition_key=request.partition_key,
            raise_on_error=False,
        )
    )


def _single_run_backfill(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    tags = {"dagster/asset_partition_range_start": "r1", "dagster/asset_partition_range_end": "r1"}
    job = defs.resolve_implicit_global_asset_job_def()
    return _said(
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(MODEL)], tags=tags, raise_on_error=False)
    )


def _automation_condition(defs: dg.Definitions, instance: dg.DagsterInstance) -> str:
    """Even where somebody gives the model the condition that ignores gates, and its sensor is on."""
    eager = defs.map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(automation_condition=dg.AutomationCondition.eager()),
        selection=dg.AssetSelection.assets(MODEL),
    )
    before = dg.evaluate_automation_conditions(defs=eager, instance=instance)
    (record,) = instance.fetch_materializations(dg.AssetKey(TRAINING_SET), limit=1).records
    assert record.asset_materialization is not None
    instance.report_runless_asset_event(record.asset_materialization)  # the training set is new
    after = dg.evaluate_automation_conditions(defs=eager, instance=instance, cursor=before.cursor)
    assert after.get_requested_partitions(dg.AssetKey(MODEL)) == {"r1"}
    return _downstream_alone_in_the_ui(eager, instance)


def _command_line(_: dg.Definitions, __: dg.DagsterInstance) -> str:
    result = CliRunner().invoke(commands, ["model", "--release", "r1"])
    return str(result.exception) if isinstance(result.exception, GateClosedError) else ""


WAYS: list[Launch] = [
    _whole_job,
    _downstream_alone_in_the_ui,
    _job_of_the_downstream_only,
    _request_of_a_sensor,
    _automation_condition,
    _single_run_backfill,
    _command_line,
]


def _end_of_an_override(house: Deployment, dataset: Dataset) -> None:
    """Overrides of all gates that ended an hour ago."""
    now = datetime.now(UTC)
    past = VerdictStore(house.path(house.settings.registry), clock=FrozenClock(now - timedelta(days=1)))
    for gate in gates_of(dataset.ref.name):
        until = now - timedelta(hours=1)
        past.override(dataset.manifest.data_version, gate, who="Ada", why="a false alarm", until=until)


@pytest.mark.parametrize("state", ["failed", "missing", "override ended"])
@pytest.mark.parametrize("launch", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_training_refuses_a_training_set_behind_a_closed_gate(
    launch: Launch, state: str, defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    training_set = small_dataset(house, "training_set/r1")
    record_materialisation(instance, training_set)
    # What another partition of the same asset passed opens nothing here.
    record_verdicts(house, small_dataset(house, "training_set/r2"), passed=True)
    if state == "failed":
        record_verdicts(house, training_set, passed=False)
    if state == "override ended":
        _end_of_an_override(house, training_set)

    said = launch(defs, instance)

    assert "multitask_model is refused, because the gate schema is closed" in said
    assert "sap-llm gate override" in said  # the whole sentence: how to open, how to override
    assert ("as the test says" in said) is (state == "failed")
    assert ("The override by Ada ended" in said) is (state == "override ended")
    assert not list((house.home / "data").rglob("plan.json"))
    assert not instance.get_materialized_partitions(dg.AssetKey(MODEL))


@pytest.mark.parametrize(
    ("consumer", "consumed"),
    [
        ("corpus_release", "annotated_docs"),
        ("training_set", "corpus_release"),
        ("doc_router", TRAINING_SET),
        ("model_evaluation", TRAINING_SET),
        ("base_comparison", TRAINING_SET),
        ("quantized_models", TRAINING_SET),
    ],
)
def test_every_consumer_of_gated_data_has_a_door(
    consumer: str, consumed: str, defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    """A run of the consumer alone, which no check of another run stops."""
    for name in (consumed, MODEL):
        record_materialisation(instance, small_dataset(house, f"{name}/r1"))
    key: str = dg.MultiPartitionKey({RELEASE: "r1", VARIANT: "int8"}) if consumer == "quantized_models" else "r1"
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(consumer)], partition_key=key, raise_on_error=False
    )
    assert f"{consumer} is refused, because the gate {gates_of(consumed)[0]} is closed" in _said(result)


@pytest.mark.parametrize(
    ("verb", "consumed"),
    [("training-set", "corpus_release"), ("evaluation", TRAINING_SET), ("quantized", TRAINING_SET)],
)
def test_the_command_line_has_the_same_doors(house: Deployment, verb: str, consumed: str) -> None:
    for name in (consumed, MODEL):
        small_dataset(house, f"{name}/r1")
    result = CliRunner().invoke(commands, [verb, "--release", "r1"])
    assert isinstance(result.exception, GateClosedError)
    assert f"the gate {gates_of(consumed)[0]} is closed" in str(result.exception)


@pytest.mark.slow
def test_dvc_repro_refuses_what_a_closed_gate_keeps_back(house: Deployment) -> None:
    training_set = small_dataset(house, "training_set/r1")
    _end_of_an_override(house, training_set)
    text = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")
    text = text.replace("profile: tiny", f"profile: {house.profile}").replace("release: dvc", "release: r1")
    (house.home / "dvc.yaml").write_text(text.replace("sap-llm ", f"{sys.executable} -m sap_llm.cli "))
    (house.home / ".dvc").mkdir()
    (house.home / ".dvc/config").write_text("[core]\n    analytics = false\n    no_scm = true\n")
    (house.home / "configs").symlink_to(REPOSITORY / "configs")
    for room in ("modeling", "training"):
        (house.home / "sap_llm" / room).mkdir(parents=True)
    done = subprocess.run(
        [Path(sys.executable).with_name("dvc"), "repro", "--single-item", "model"],
        cwd=house.home,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "multitask_model is refused, because the gate schema is closed" in said
    assert not (house.home / "data/local/datasets/multitask_model").exists()


def test_promotion_refuses_a_model_behind_a_closed_gate(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    closed = "model_evaluation/r1"
    instance.add_dynamic_partitions(RELEASE, ["r1"])
    for name in ("multitask_model/r1", "model_evaluation/r1", "quantized_models/r1/int8"):
        dataset = small_dataset(house, name)
        record_verdicts(house, dataset, passed=name != closed)
        record_materialisation(instance, dataset)
    job = defs.resolve_job_def("release_model")

    said = _said(job.execute_in_process(instance=instance, partition_key="r1", raise_on_error=False))

    assert f"registered_model is refused, because the gate {gates_of(closed)[0]} is closed" in said
    assert not instance.get_materialized_partitions(dg.AssetKey("registered_model"))


def _consume(house: Deployment, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """A consumer that is nothing but a door."""

    @dg.asset(partitions_def=release, deps=[TRAINING_SET])
    def consumer(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        with deployment.open(context) as stage:
            ref = stage.ref(TRAINING_SET, stage.release)
            stage.pass_door(ref)
            return materialized(stage, BuildResult(dataset=stage.open_dataset(ref), is_reused=True))

    return dg.materialize(
        [consumer],
        instance=instance,
        partition_key="r1",
        resources={"deployment": DeploymentResource(profile=house.profile)},
        raise_on_error=False,
    )


def test_the_door_opens_when_every_gate_passed(house: Deployment, instance: dg.DagsterInstance) -> None:
    training_set = small_dataset(house, "training_set/r1")
    record_materialisation(instance, training_set)
    record_verdicts(house, training_set, passed=True)
    assert _consume(house, instance).success


def test_a_verdict_about_another_version_opens_nothing(house: Deployment, instance: dg.DagsterInstance) -> None:
    record_verdicts(house, small_dataset(house, "training_set/r0"), passed=True)
    record_materialisation(instance, small_dataset(house, "training_set/r1"))
    assert not _consume(house, instance).success


def test_an_override_opens_the_door_and_is_said(house: Deployment, instance: dg.DagsterInstance) -> None:
    training_set = small_dataset(house, "training_set/r1")
    record_materialisation(instance, training_set)
    for gate in GATES[TRAINING_SET]:
        house.verdicts.override(
            training_set.manifest.data_version,
            gate,
            who="Ada",
            why="a known false alarm",
            until=datetime.now(UTC) + timedelta(days=1),
        )

    result = _consume(house, instance)

    assert result.success
    (made,) = result.get_asset_materialization_events()
    shown = str(made.materialization.metadata["overrides"].value)
    assert shown.count("Ada (unverified)|a known false alarm") == len(GATES[TRAINING_SET])
    assert "opens it now" in shown
    warnings = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level >= 30]
    assert sum("Ada (unverified) let it through" in text for text in warnings) == len(GATES[TRAINING_SET])


def test_a_later_step_shows_the_override_although_it_has_ended_since(
    house: Deployment, instance: dg.DagsterInstance
) -> None:
    """A training may take longer than the override that let it begin."""
    training_set = small_dataset(house, "training_set/r1")
    record_materialisation(instance, training_set)
    _end_of_an_override(house, training_set)

    @dg.asset(partitions_def=release, deps=[TRAINING_SET])
    def collected(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        with deployment.open(context) as stage:
            ref = stage.ref(TRAINING_SET, stage.release)
            stage.note_overrides(ref)
            return materialized(stage, BuildResult(dataset=stage.open_dataset(ref), is_reused=True))

    result = dg.materialize(
        [collected],
        instance=instance,
        partition_key="r1",
        resources={"deployment": DeploymentResource(profile=house.profile)},
    )

    (made,) = result.get_asset_materialization_events()
    shown = str(made.materialization.metadata["overrides"].value)
    assert shown.count("|Ada (unverified)|a false alarm|") == shown.count("|ended|") == len(GATES[TRAINING_SET])


def test_a_training_set_that_appears_during_training_is_not_taken(
    house: Deployment, instance: dg.DagsterInstance
) -> None:
    """Nobody judged it: what was trained is collected, and nothing is trained anew."""
    dataset = small_dataset(house, "training_set/r1")
    config = house.config(MultitaskModelConfig, MODEL, {"report.documents": 0, "validation_documents": 0})
    plan = planned(house.context(), config, dataset.ref, work=house.work_folder)
    for relative, text in (("model/model.safetensors", "weights"), ("losses.json", "[]"), ("metrics.json", "{}")):
        (plan.result / relative).parent.mkdir(parents=True, exist_ok=True)
        (plan.result / relative).write_text(text)
    newer = altered(house.context(), dataset, "shards", lambda rows: rows[0].update(document_id="another"))
    record_materialisation(instance, newer)

    @dg.op
    def written_plan() -> str:
        return str(plan.write())

    @dg.graph_asset(name=MODEL, partitions_def=release)
    def only_collect() -> Any:
        return collect_model(MULTITASK_MODEL)(written_plan())

    resources = {"deployment": DeploymentResource(profile=house.profile)}
    assert dg.materialize([only_collect], partition_key="r1", instance=instance, resources=resources).success
    model = house.store.open(house.store.current("multitask_model/r1"))
    assert list(model.manifest.inputs.values()) == [dataset.ref]


def test_a_run_over_several_partitions_is_refused(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    for name in ("training_set/r1", "training_set/r2"):
        dataset = small_dataset(house, name)
        record_verdicts(house, dataset, passed=True)
        record_materialisation(instance, dataset)
    tags = {"dagster/asset_partition_range_start": "r1", "dagster/asset_partition_range_end": "r2"}
    job = defs.resolve_implicit_global_asset_job_def()

    result = job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(MODEL)], tags=tags, raise_on_error=False
    )

    assert "one partition a run" in _said(result)


def test_what_was_never_materialised_is_named(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(RELEASE, ["r1"])
    assert "training_set was never materialised for partition r1" in _whole_job(defs, instance)
