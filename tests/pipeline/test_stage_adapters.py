"""Adapters as partitions: release by document stage, several of a release in one run, never of two releases."""

from collections.abc import Sequence

import dagster as dg
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from assets.checks.adapters import CHECK, result
from jobs.lineage import TRAIN_ADAPTERS
from resources.partitions import DOCUMENT_STAGE, RELEASE, release_stage
from resources.stage_run import DATASET_REF
from sap_llm.cli.build_adapters import register
from sap_llm.deployment import Deployment
from sap_llm.modeling.adapters import read_card
from sap_llm.schema.document_stages import document_stage_names
from sap_llm.schema.errors import GateClosedError
from sap_llm_dagster.local_run import failure_of, run_job
from tests.support.dagster_records import record_materialisation, record_verdicts
from tests.support.toy_adapters import toy_instructed_model
from tests.support.toy_training import toy_training_set

ASSET = "stage_adapters"


def _key(stage: str, release: str = "r1") -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({RELEASE: release, DOCUMENT_STAGE: stage})


def _range(first: dg.MultiPartitionKey, last: dg.MultiPartitionKey) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}


def _run(
    defs: dg.Definitions, instance: dg.DagsterInstance, tags: dict[str, str] | None = None, key: str | None = None
) -> dg.ExecuteInProcessResult:
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(ASSET)], tags=tags, partition_key=key, raise_on_error=False
    )


def _inputs(house: Deployment, instance: dg.DagsterInstance, *, passed: bool = True) -> None:
    training_set = house.store.open(toy_training_set(house.context(), 20))
    model = house.store.open(toy_instructed_model(house.context(), training_set.ref))
    record_verdicts(house, training_set, passed=passed)
    for dataset in (training_set, model):
        record_materialisation(instance, dataset)


def _command_line(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)  # else the one verb would need no name
    register(app)
    return CliRunner().invoke(app, ["stage-adapters", *arguments])


def _materialised(run: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    found = [event.step_materialization_data.materialization for event in run.get_asset_materialization_events()]
    return [entry for entry in found if entry.asset_key == dg.AssetKey(ASSET)]


def test_the_asset_has_a_partition_for_each_document_stage_of_a_release(
    defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(RELEASE, ["r1", "r2"])
    asset = defs.resolve_asset_graph().get(dg.AssetKey(ASSET))
    assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    assert asset.partitions_def is not None
    keys = asset.partitions_def.get_partition_keys(dynamic_partitions_store=instance)
    assert set(keys) == {str(_key(stage, name)) for name in ("r1", "r2") for stage in document_stage_names()}


def test_a_range_over_document_stages_stays_within_its_release(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions(RELEASE, ["r1", "r2"])
    whole = dg.PartitionKeyRange(str(_key("inbox")), str(_key("routing")))
    keys: Sequence[str] = release_stage.get_partition_keys_in_range(whole, dynamic_partitions_store=instance)
    assert list(keys) == [_key(stage) for stage in document_stage_names()]


def test_a_run_over_two_releases_is_refused_and_says_what_to_do(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions(RELEASE, ["r1", "r2"])
    run = _run(defs, instance, _range(_key("inbox"), _key("inbox", "r2")))
    assert "this run covers r1, r2. Launch one backfill for each release" in failure_of(run)
    assert not house.store.names()


def test_a_closed_gate_keeps_the_adapters_back(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    _inputs(house, instance, passed=False)
    run = _run(defs, instance, _range(_key("inbox"), _key("routing")))
    assert "stage_adapters is refused, because the gate schema is closed" in failure_of(run)
    assert not _materialised(run)


def test_the_command_line_has_the_same_door(house: Deployment, instance: dg.DagsterInstance) -> None:
    _inputs(house, instance, passed=False)
    result = _command_line("--release", "r1")
    assert isinstance(result.exception, GateClosedError)
    assert "stage_adapters is refused, because the gate schema is closed" in str(result.exception)


@pytest.mark.slow
def test_one_run_trains_several_stages_and_a_later_one_reuses_what_is_there(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    _inputs(house, instance)
    several = {RELEASE: "r1", DOCUMENT_STAGE: ("quality_check", "routing")}
    run = run_job(instance, TRAIN_ADAPTERS, several, defs=defs, is_quiet=True)
    assert run.is_success, run.failure

    stages = ["quality_check", "validation", "routing"]
    made = {str(entry.partition): entry for entry in run.assets}
    assert sorted(made) == sorted(str(_key(stage)) for stage in stages)
    assert len(run.assets) == len(stages)  # one materialisation each
    for stage in stages:
        dataset = house.store.open(house.store.current(f"{ASSET}/r1/{stage}"))
        assert made[str(_key(stage))].metadata[DATASET_REF] == str(dataset.ref)
        assert read_card(dataset.path("adapter")).document_stage == stage
    assert run.checks[f"{ASSET}.{CHECK}"]
    (log,) = house.home.rglob("training.log")
    assert log.read_text().count("to validate") == len(stages)  # one program for all

    alone = _run(defs, instance, key=_key("routing"))
    assert alone.success, failure_of(alone)
    (again,) = _materialised(alone)
    assert again.metadata["reused"].value is True
    assert again.tags is not None
    routing = house.store.open(house.store.current(f"{ASSET}/r1/routing"))
    assert again.tags["dagster/data_version"] == routing.manifest.data_version

    said = _command_line("--release", "r1", "--stage", "routing").stdout
    assert f"{ASSET}/r1/routing reused {routing.ref.version}" in said
    assert "without the adapter" in said


def test_an_adapter_that_does_not_improve_is_reported_and_blocks_nobody() -> None:
    said = result({"inbox": {"is_improved": True, "validation_loss_gain": 0.5}, "routing": {"is_improved": False}})
    assert not said.passed
    assert said.severity is dg.AssetCheckSeverity.WARN
    assert said.description == "no better than the base: routing"
    assert said.metadata["gain_inbox"].value == 0.5
