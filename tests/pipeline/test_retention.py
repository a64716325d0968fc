"""The job that reports on retention: it plans in the UI, and deletes only when its configuration says so."""

from pathlib import Path

import dagster as dg
import pytest

from resources.partitions import RELEASE
from resources.stage_run import DATASET_REF
from sap_llm.deployment import Deployment
from sap_llm.storage import deletion
from sap_llm.storage.retention import RetentionConfig
from sap_llm_dagster.local_run import run_job
from tests.support.versioned import small


def execute(defs: dg.Definitions, instance: dg.DagsterInstance, *, delete: bool) -> dg.ExecuteInProcessResult:
    config = {"ops": {"plan_and_report": {"config": {"delete": delete}}}}
    return defs.resolve_job_def("retention_report").execute_in_process(run_config=config, instance=instance)


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = [one for one in result.all_events if one.is_successful_output]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def test_by_default_the_job_reports_and_deletes_nothing(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    old, new = small(house.store, "a"), small(house.store, "a", day=1, mark="new")
    assert run_job(instance, "retention_report", defs=defs, is_quiet=True).is_success
    found = metadata(execute(defs, instance, delete=False))
    assert (found["versions_to_delete"], found["versions_kept"], found["deleted"]) == (1, 1, False)
    assert f"| {old} |" in str(found["plan"])
    assert "current" in str(found["plan"])
    assert {one.ref for one in deletion.manifests(house.store)} == {old, new}


def test_asked_to_delete_it_deletes_what_the_plan_says(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    old, new = small(house.store, "a"), small(house.store, "a", day=1, mark="new")
    execute(defs, instance, delete=True)
    assert [one.ref for one in deletion.manifests(house.store)] == [new]
    execute(defs, instance, delete=True)  # the seconds profile has no grace period
    assert not Path(house.store.prefix(old)).exists()


def test_what_dagster_shows_as_newest_is_kept_though_the_pointer_was_moved(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    shown, middle = small(house.store, "a"), small(house.store, "a", day=1, mark="middle")
    small(house.store, "a", day=2, mark="last")
    instance.report_runless_asset_event(dg.AssetMaterialization("a", metadata={DATASET_REF: str(shown)}))
    found = str(metadata(execute(defs, instance, delete=False))["plan"])
    assert f"| {middle} |" in found.partition("### Kept")[0]
    assert "newest in Dagster" in found


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu", "cluster"])
def test_whatever_is_made_of_a_release_may_go_with_it(defs: dg.Definitions, profile: str) -> None:
    config = Deployment.load(profile, is_preview=True).config(RetentionConfig, "retention")
    specs = [spec for spec in defs.resolve_all_asset_specs() if spec.partitions_def is not None]
    made = {spec.key.path[-1] for spec in specs if RELEASE in _dimensions(spec.partitions_def)}
    assert "stage_adapters" in made
    assert made <= {*config.released, *config.protected}
    assert set(config.released) <= made


def _dimensions(definition: dg.PartitionsDefinition | None) -> set[str | None]:
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return {dimension.name for dimension in definition.partitions_defs}
    return {definition.name} if isinstance(definition, dg.DynamicPartitionsDefinition) else set()


@pytest.mark.parametrize("name", ["weekly_retention_report"])
def test_the_weekly_report_is_scheduled_and_deletes_nothing(defs: dg.Definitions, name: str) -> None:
    schedule = defs.get_repository_def().get_schedule_def(name)
    assert schedule.job_name == "retention_report"
    assert schedule.execution_timezone
