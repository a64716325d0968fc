"""The code location as a whole: it loads lightly and silently, and every asset has what an asset of this house has."""

import graphlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from sap_llm.registry.gates import GATES, OPTIONAL
from sap_llm_dagster.build import STAGES, build_defs
from sap_llm_dagster.stages import STAGE_CODE

REPOSITORY = Path(__file__).parents[2]
HEAVY = (
    "torch", "transformers", "pyspark", "great_expectations", "mlflow", "deepspeed", "cv2", "albumentations",
    "onnxruntime", "typst",
)  # fmt: skip
LONGEST_NAME = 18  # the graph cuts longer ones

_LOAD = """
import sys, warnings
import dagster as dg
warnings.simplefilter("error", DeprecationWarning)
warnings.simplefilter("error", dg.SupersessionWarning)
warnings.simplefilter("error", UserWarning)
from sap_llm_dagster.definitions import defs
loaded = defs()
dg.Definitions.validate_loadable(loaded)
print("heavy:", *sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.fixture(scope="module")
def specs(defs: dg.Definitions) -> list[dg.AssetSpec]:
    return sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)


def _made_here(specs: list[dg.AssetSpec]) -> list[dg.AssetSpec]:
    return [spec for spec in specs if spec.key.path[-1] in STAGE_CODE]


def test_loading_warns_about_nothing_and_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD.format(heavy=HEAVY)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "heavy:"
    assert "Warning" not in done.stderr


def test_dg_lists_the_definitions_and_warns_about_nothing(tmp_path: Path) -> None:
    dg_program = Path(sys.executable).with_name("dg")
    plain = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    listed = subprocess.run(
        [dg_program, "list", "defs", "--json"],
        cwd=REPOSITORY,
        env=plain | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert listed.stderr == ""
    assert {"training_set", "multitask_model"} <= {entry["asset_key"] for entry in json.loads(listed.stdout)["assets"]}


@pytest.mark.parametrize("profile", ["seconds", "tiny", "gpu"])
def test_every_profile_gives_the_same_assets(profile: str, specs: list[dg.AssetSpec]) -> None:
    found = build_defs(deployment=profile).resolve_all_asset_specs()
    assert {spec.key for spec in found} == {spec.key for spec in specs}


def test_specs_are_as_reviewed(specs: list[dg.AssetSpec], snapshot: SnapshotAssertion) -> None:
    reviewed = {
        spec.key.to_user_string(): {
            "group": spec.group_name,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
            "automation": spec.automation_condition.get_label() if spec.automation_condition else None,
            "freshness": type(spec.freshness_policy).__name__ if spec.freshness_policy else None,
        }
        for spec in specs
    }
    assert reviewed == snapshot


def test_every_asset_says_what_it_is(specs: list[dg.AssetSpec]) -> None:
    for spec in specs:
        name = spec.key.path[-1]
        assert len(name) <= LONGEST_NAME, name
        assert spec.owners, name
        assert 1 <= len(spec.kinds) <= 2, name
        assert spec.description, name
        assert spec.group_name in STAGES, name


def test_every_asset_made_here_has_a_code_version_and_a_link_to_its_code(specs: list[dg.AssetSpec]) -> None:
    made = _made_here(specs)
    assert len(made) == len(STAGE_CODE)
    for spec in made:
        assert spec.code_version, spec.key
        assert "dagster/code_references" in spec.metadata, spec.key


def test_the_code_version_follows_the_configuration(specs: list[dg.AssetSpec]) -> None:
    tiny = {spec.key: spec.code_version for spec in build_defs(deployment="tiny").resolve_all_asset_specs()}
    changed = {spec.key.path[-1] for spec in specs if spec.code_version != tiny[spec.key]}
    assert "multitask_model" in changed


def test_groups_form_a_dag_in_their_order(specs: list[dg.AssetSpec]) -> None:
    group_of = {spec.key: spec.group_name for spec in specs}
    graph: dict[str, set[str]] = {}
    for spec in specs:
        above = {group_of[dep.asset_key] for dep in spec.deps} - {spec.group_name}
        graph.setdefault(str(spec.group_name), set()).update(str(group) for group in above)
    assert list(graphlib.TopologicalSorter(graph).static_order())
    for group, above in graph.items():
        assert all(other < group for other in above), (group, above)


def test_every_gate_is_a_check_of_its_asset_per_partition(defs: dg.Definitions) -> None:
    found = {
        (spec.asset_key.path[-1], spec.name): spec for check in defs.asset_checks or [] for spec in check.check_specs
    }
    assert not found.pop(("training_set", "drift")).blocking  # a warning, no gate
    assert set(found) == {(asset, gate) for asset, gates in GATES.items() for gate in gates}
    assert all(spec.description and spec.partitions_def for spec in found.values())
    assert {gate for (_, gate), spec in found.items() if not spec.blocking} == OPTIONAL


def test_jobs_schedules_and_sensors(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    for name in ("build_corpus", "train_model", "release_model", "retrain"):
        assert repository.get_job(name).description
    daily = repository.get_schedule_def("daily_export")
    assert (daily.cron_schedule, daily.execution_timezone) == ("0 2 * * *", "Europe/Berlin")
    assert repository.get_schedule_def("weekly_refresh").execution_timezone
    retraining = repository.get_sensor_def("retraining_sensor")
    assert [target.job_name for target in retraining.targets] == ["retrain"]


def test_training_has_its_pool(defs: dg.Definitions) -> None:
    nodes = defs.resolve_job_def("train_model").all_node_defs
    pools = {node.name: node.pools for node in nodes if isinstance(node, dg.OpDefinition)}
    assert pools["launch_multitask_model"] == {"gpu"}
    assert defs.resolve_job_def("commit_to_dvc").all_node_defs


def test_the_weekly_refresh_opens_a_release_named_after_its_week(defs: dg.Definitions) -> None:
    sunday = datetime(2026, 11, 29, 3, tzinfo=UTC)
    repository = defs.get_repository_def()
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=sunday, repository_def=repository
        )
        ticked = repository.get_schedule_def("weekly_refresh").evaluate_tick(context)
        assert instance.get_dynamic_partitions("release") == ["2026-w48"]
    assert [request.partition_key for request in ticked.run_requests or []] == ["2026-w48"]
