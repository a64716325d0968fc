"""The gates as checks on real datasets: one step an asset, kept per partition, with rows, pages and overrides shown."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
from typer.testing import CliRunner

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.cli.gate import commands
from sap_llm.deployment import Deployment
from sap_llm.registry.gates import GATES
from sap_llm.storage.build import StageConfig, build
from sap_llm.storage.store import Dataset, DatasetWriter
from sap_llm_dagster.local_run import failure_of
from tests.support.altered import Rows, altered
from tests.support.dagster_records import record_materialisation
from tests.support.toy_corpus import toy_document, write_corpus

ASSET = "annotated_docs"
Evaluations = dict[str, dg.AssetCheckEvaluation]


def _annotated(house: Deployment, instance: dg.DagsterInstance, release: str, *, is_damaged: bool = False) -> Dataset:
    """Annotated documents on Dagster's record; damaged means that one amount is no amount."""
    context = house.context()
    documents = [toy_document(f"{release} {number}") for number in range(4)]
    corpora = {"synthetic_docs/0000-0005": write_corpus(context, "synthetic_docs/0000-0005", documents)}
    dataset = build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora=corpora, release=release).dataset

    def damage(rows: Rows) -> None:
        next(field for field in rows[0]["fields"] if field["field"] == "net_amount")["value"] = "1,5"

    if is_damaged:
        dataset = altered(context, dataset, "annotations", damage)
    record_materialisation(instance, dataset)
    return dataset


def _check(defs: dg.Definitions, instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    """A run of the checks alone. Tags, because Dagster takes no partition key for a job without assets."""
    job = dg.define_asset_job("only_checks", selection=dg.AssetSelection.checks_for_assets(ASSET))
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    named = {f"dagster/{name}": value for name, value in (tags or {"partition": "r1"}).items()}
    return merged.resolve_job_def("only_checks").execute_in_process(instance=instance, tags=named, raise_on_error=False)


def _evaluations(result: dg.ExecuteInProcessResult) -> Evaluations:
    return {entry.check_name: entry for entry in result.get_asset_check_evaluations()}


def test_every_group_is_a_check_of_its_partition(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    dataset = _annotated(house, instance, "r1", is_damaged=True)

    result = _check(defs, instance)

    found = _evaluations(result)
    assert set(found) == set(GATES[ASSET])
    assert {name for name, entry in found.items() if not entry.passed} == {"ranges"}
    assert {entry.partition for entry in found.values()} == {"r1"}
    steps = {event.step_key for event in result.all_events if event.is_step_start}
    assert len(steps) == 1  # a step costs seconds
    ranges = found["ranges"].metadata
    table = ranges["failing_rows"]
    assert isinstance(table, dg.TableMetadataValue)
    (row,) = table.records
    assert (row.data["field"], row.data["value"]) == ("net_amount", "1,5")
    assert Path(str(ranges["data_docs_path"].value)).is_file()
    assert ranges["data_version"].value == dataset.manifest.data_version
    assert "overrides" not in ranges


def test_a_check_of_another_partition_says_nothing(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    _annotated(house, instance, "r2", is_damaged=True)
    _annotated(house, instance, "r1")
    assert _check(defs, instance, partition="r1").success
    found = _evaluations(_check(defs, instance, partition="r2"))
    assert not found["ranges"].passed


def test_a_single_run_over_several_partitions_judges_nothing(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    for name in ("r1", "r2"):
        _annotated(house, instance, name)

    result = _check(defs, instance, asset_partition_range_start="r1", asset_partition_range_end="r2")

    assert "one partition a run" in failure_of(result)
    assert not (Path(house.path(house.settings.registry)) / "verdicts").exists()


def test_overrides_are_seen_on_the_check_and_on_the_command_line(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    dataset = _annotated(house, instance, "r1", is_damaged=True)
    house.verdicts.override(
        *(dataset.manifest.data_version, "ranges"),
        who="Ada [bold]",
        why="a comma | nothing else",
        until=datetime.now(UTC) + timedelta(days=1),
    )

    found = _evaluations(_check(defs, instance))

    assert not found["ranges"].passed  # an override opens the door, it does not change what was found
    shown = str(found["ranges"].metadata["overrides"].value)
    assert r"|ranges|Ada \[bold\] (unverified)|a comma \| nothing else|" in shown
    assert "overrides" not in found["money"].metadata
    listed = CliRunner().invoke(commands, ["overrides"]).stdout
    assert "Ada [bold]" in listed
    assert "stands" in listed


def _training_set(house: Deployment, instance: dg.DagsterInstance, release: str, *, words: int = 100) -> Dataset:
    """A training set of features alone, on Dagster's record."""
    rng = np.random.default_rng(len(release))
    count = 400
    rows = pa.table(
        {
            "document_type": rng.choice(["PURCHASE_ORDER", "SUPPLIER_INVOICE"], count),
            "word_count": rng.poisson(words, count),
            "split": ["train"] * count,
        }
    )

    def produce(writer: DatasetWriter) -> dict[str, int]:
        writer.write_table("documents", rows, rows.schema)
        return {}

    name = f"training_set/{release}"
    built = build(house.context(), name=name, stage_version="1", config=StageConfig(), produce=produce)
    record_materialisation(instance, built.dataset)
    return built.dataset


def test_drift_against_the_release_before_is_a_warning_with_numbers_to_plot(
    defs: dg.Definitions, house: Deployment, instance: dg.DagsterInstance
) -> None:
    key = dg.AssetCheckKey(dg.AssetKey("training_set"), "drift")
    job = dg.define_asset_job("only_drift", selection=dg.AssetSelection.checks(key))
    merged = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("only_drift")
    first = _training_set(house, instance, "r1")
    alone = merged.execute_in_process(instance=instance, tags={"dagster/partition": "r1"})
    assert "no earlier training set" in str(_evaluations(alone)["drift"].description)
    _training_set(house, instance, "r2 moved", words=300)

    result = merged.execute_in_process(instance=instance, tags={"dagster/partition": "r2 moved"})

    assert result.success
    found = _evaluations(result)["drift"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    numbers = {name: value.value for name, value in found.metadata.items()}
    assert numbers["alarms"] == 1
    assert float(str(numbers["psi_word_count"])) > 1
    assert "![" in str(numbers["report"])
    assert numbers["reference"] == str(first.ref)
    listed = CliRunner().invoke(commands, ["drift", "training_set/r2 moved", "--against", "training_set/r1"])
    assert "of 20 halvings" in " ".join(listed.stdout.split())
