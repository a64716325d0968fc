"""What an asset is given: refs from Dagster's own record, its partition, its configuration, and the UI's metadata."""

import dagster as dg
import pyarrow as pa
import pytest

from resources.deployment import DeploymentResource
from resources.pictures import INLINE_CHARACTERS, bars, fit, loss_curve
from resources.results import materialized
from resources.stage_run import DATASET_REF, LogProgress, StageRunConfig
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.partitions import PARTITIONS, PartitionsConfig
from sap_llm.storage.store import DatasetWriter


def _build(context: StageContext, *, name: str, value: int) -> BuildResult:
    def produce(writer: DatasetWriter) -> dict[str, object]:
        rows = pa.table({"value": [value]})
        writer.write_table("documents", rows, rows.schema)
        return {"other": 1.5, "documents": value, "name": "x", "ignored": [1, 2]}

    return build(context, name=name, stage_version="1", config=StageConfig(seed=value), produce=produce)


def _materialise(
    house: Deployment, instance: dg.DagsterInstance, value: int, *, says: list[str] | None = None
) -> dg.ExecuteInProcessResult:
    @dg.asset
    def upstream(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        with deployment.open(context) as stage:
            return materialized(stage, _build(stage.context, name="upstream", value=value), headline=("documents",))

    @dg.asset(deps=[upstream])
    def downstream(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> None:
        with deployment.open(context) as stage:
            if says is not None:  # somebody else's run finishes between our two steps
                other = _build(stage.context, name="upstream", value=999)
                instance.report_runless_asset_event(
                    dg.AssetMaterialization("upstream", metadata={DATASET_REF: str(other.ref)})
                )
                says.append(str(stage.open_dataset(stage.ref("upstream")).table("documents")["value"][0]))

    resources = {"deployment": DeploymentResource(profile=house.profile)}
    return dg.materialize([upstream, downstream], instance=instance, resources=resources)


def test_metadata_begins_with_the_headline_and_names_the_exact_version(
    house: Deployment, instance: dg.DagsterInstance
) -> None:
    made = _materialise(house, instance, 3).asset_materializations_for_node("upstream")[0]
    assert list(made.metadata)[:2] == ["documents", "other"]
    assert "ignored" not in made.metadata
    assert made.metadata["dagster/row_count"].value == 1
    assert made.metadata["reused"].value is False
    assert str(house.store.current("upstream")) == made.metadata[DATASET_REF].value
    manifest = house.store.open(house.store.current("upstream")).manifest
    assert made.tags is not None
    assert made.tags["dagster/data_version"] == manifest.data_version


def test_a_second_run_reuses_and_says_so(house: Deployment, instance: dg.DagsterInstance) -> None:
    _materialise(house, instance, 3)
    again = _materialise(house, instance, 3).asset_materializations_for_node("upstream")[0]
    assert again.metadata["reused"].value is True


def test_a_run_reads_what_it_wrote_itself_though_another_run_wrote_later(
    house: Deployment, instance: dg.DagsterInstance
) -> None:
    says: list[str] = []
    _materialise(house, instance, 3, says=says)
    assert says == ["3"]


def test_refs_come_from_dagster_not_from_the_store_pointer(house: Deployment, instance: dg.DagsterInstance) -> None:
    _materialise(house, instance, 3)
    _build(house.context(), name="upstream", value=4)  # the command line moved the pointer

    @dg.asset(deps=["upstream"])
    def downstream(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.MaterializeResult:
        with deployment.open(context) as stage:
            return dg.MaterializeResult(metadata={"seen": str(stage.ref("upstream"))})

    resources = {"deployment": DeploymentResource(profile=house.profile)}
    result = dg.materialize([downstream], instance=instance, resources=resources)
    seen = result.asset_materializations_for_node("downstream")[0].metadata["seen"].value
    assert seen != str(house.store.current("upstream"))


def test_run_config_overrides_reach_the_stage_and_wrong_ones_fail_without_a_retry(
    house: Deployment, instance: dg.DagsterInstance
) -> None:
    attempts: list[object] = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
    def partitions(context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource) -> None:
        with deployment.open(context, config) as stage:
            attempts.append(None)
            attempts[-1] = stage.config(PartitionsConfig).variants

    def run(overrides: dict[str, object]) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [partitions],
            instance=instance,
            resources={"deployment": DeploymentResource(profile=house.profile)},
            run_config={"ops": {PARTITIONS: {"config": {"overrides": overrides}}}},
            raise_on_error=False,
        )

    assert run({"variants": ["int8", "fp16"]}).success
    assert attempts == [("int8", "fp16")]
    attempts.clear()
    failed = run({"nonsense": 1})
    failure = failed.failure_data_for_node(PARTITIONS)
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "nonsense" in str(failure.user_failure_data.description)
    assert attempts == [None]


@pytest.mark.parametrize("ranges", [["0000-0009", "0005-0019"], ["0-9"], ["0009-0000"]])
def test_partitions_that_overlap_or_run_backwards_are_refused(house: Deployment, ranges: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="seed_ranges"):
        house.config(PartitionsConfig, PARTITIONS, {"seed_ranges": ranges})


@pytest.mark.parametrize("month", ["2025-13", "2025", "2025-1", "25-01"])
def test_a_first_month_that_is_none_is_refused(house: Deployment, month: str) -> None:
    with pytest.raises(ConfigurationError, match="first_month"):
        house.config(PartitionsConfig, PARTITIONS, {"first_month": month})


def test_pictures_fit_into_inline_markdown() -> None:
    curve = loss_curve([3.0 / (step + 1) for step in range(5000)])
    shown = bars({f"field_{number}": number / 12 for number in range(12)})
    assert len(curve) <= INLINE_CHARACTERS
    assert len(shown) <= INLINE_CHARACTERS
    joined = fit(curve, shown, "a sentence")
    assert joined.startswith(curve)
    assert "a sentence" in joined
    assert len(joined) <= INLINE_CHARACTERS


def test_progress_logs_first_and_last_but_not_every_step() -> None:
    lines: list[str] = []

    class Log:
        def info(self, text: str, *values: object) -> None:
            lines.append(text % values)

    progress = LogProgress(Log())
    for done in range(1001):
        progress("typesetting", done=done, total=1000)
    assert lines == ["typesetting 0/1000", "typesetting 1000/1000"]
