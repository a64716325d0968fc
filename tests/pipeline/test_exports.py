"""Months of QorSync under Dagster: partitions, the nightly schedule, the sensor on late rows, what the UI shows."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from resources.stage_run import DATASET_REF
from sap_llm.deployment import Deployment
from sap_llm.schema.manifest import DatasetRef
from sap_llm.sources.qorsync_seed import seed_qorsync
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm_dagster.local_run import run_job
from sensors.exports import late_rows_sensor
from tests.support.typeset_corpus import typeset_corpus

MONTHS = ("2025-01", "2025-02")


@pytest.fixture
def seeded(house: Deployment, tmp_path: Path) -> Deployment:
    """A source of two months, without patterns in the graph: nobody starts its engine for a look at headers."""
    original = typeset_corpus(StageContext(store=DatasetStore(tmp_path / "source")))
    folder = Path(house.path(house.settings.relational)).parent
    seed_qorsync(folder, dataset=original, graph=None, months=MONTHS, plant_faults=False)
    return house


def _seed_patterns(house: Deployment, folder: Path) -> None:
    original = typeset_corpus(StageContext(store=DatasetStore(folder / "source")))
    with house.graph() as graph:
        seed_qorsync(folder / "patterns", dataset=original, graph=graph, months=MONTHS, plant_faults=False)


def _tick(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"deployment": defs.resources["deployment"]} if defs.resources else {}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        ticked = late_rows_sensor(context)
    assert isinstance(ticked, dg.SensorResult)
    return ticked


def _late_row(house: Deployment) -> None:
    """A row of January that arrives in March."""
    with sqlite3.connect(house.path(house.settings.relational)) as connection:
        connection.execute(
            "INSERT INTO qorsync_documents SELECT 'late', document_type, document_subtype, language, status, "
            "vendor_number, process_number, document_number, total_amount, currency, 'none', media_type, received_at, "
            "processed_at, '2025-03-09T10:00:00+00:00' FROM qorsync_documents ORDER BY processed_at LIMIT 1"
        )


@pytest.mark.slow
def test_a_month_is_exported_and_reported_and_a_late_row_makes_a_new_version(
    seeded: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    _seed_patterns(seeded, tmp_path)
    first, second = (run_job(instance, "export_sources", month, defs=defs, is_quiet=True) for month in MONTHS)
    assert first.is_success, first.failure
    assert second.is_success, second.failure
    (asset,) = first.assets
    assert asset.partition == "2025-01"
    assert list(asset.metadata)[:3] == ["documents", "quarantined", "duplicates"]
    assert asset.metadata["documents"] == 3
    assert "3 headers = 3 documents + 0 duplicates + 0 quarantined." in asset.metadata["report_full"]
    version = DatasetRef.parse(asset.metadata[DATASET_REF])

    _late_row(seeded)
    (again,) = run_job(instance, "export_sources", "2025-01", defs=defs, is_quiet=True).assets
    assert DatasetRef.parse(again.metadata[DATASET_REF]).version != version.version
    assert (again.metadata["late_rows"], again.metadata["rows_read"], again.metadata["rows_carried"]) == (1, 1, 3)
    (untouched,) = run_job(instance, "export_sources", "2025-02", defs=defs, is_quiet=True).assets
    assert untouched.is_reused


def test_late_rows_are_asked_for_once(seeded: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
    first = _tick(defs, instance, None)
    assert [request.partition_key for request in first.run_requests or []] == list(MONTHS)
    quiet = _tick(defs, instance, first.cursor)
    assert not quiet.run_requests
    assert "No finished month changed" in str(quiet.skip_reason)

    _late_row(seeded)
    late = _tick(defs, instance, quiet.cursor)
    (request,) = late.run_requests or []
    assert request.partition_key == "2025-01"
    assert request.run_key == "late-2025-01-2025-03-09T10:00:00+00:00"
    assert not _tick(defs, instance, late.cursor).run_requests


def test_many_late_months_are_asked_for_in_bounded_batches(
    seeded: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    with sqlite3.connect(seeded.path(seeded.settings.relational)) as connection:
        for number in range(1, 10):
            connection.execute(
                "INSERT INTO qorsync_documents (document_id, document_type, status, file_sha256, media_type, "
                "processed_at, updated_at) VALUES "
                f"('m{number}', 'X', 'new', 'x', 'x', '2024-0{number}-01', '2025-04-0{number}'), "
                f"('n{number}', 'X', 'new', 'x', 'x', '2025-0{number}-01', '2025-04-0{number}')"
            )
    asked: list[str] = []
    cursor = None
    for _ in range(3):
        ticked = _tick(defs, instance, cursor)
        cursor = ticked.cursor
        assert len(ticked.run_requests or []) <= 6
        asked += [str(request.partition_key) for request in ticked.run_requests or []]
    assert asked == [f"2025-0{number}" for number in range(1, 10)]  # those before the first month are no partitions
    assert json.loads(cursor or "{}")["waiting"] == {}


def test_without_a_source_the_sensor_says_so(
    house: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    assert "No QorSync source" in str(_tick(defs, instance, None).skip_reason)


@pytest.mark.parametrize(
    ("night", "months"),
    [
        (datetime(2026, 3, 15, 1, tzinfo=UTC), ["2026-03"]),
        (datetime(2026, 3, 1, 1, tzinfo=UTC), ["2026-02", "2026-03"]),
    ],
)
def test_the_nightly_export_takes_the_running_month_and_ends_the_last_one(
    night: datetime, months: list[str], defs: dg.Definitions
) -> None:
    repository = defs.get_repository_def()
    context = dg.build_schedule_context(scheduled_execution_time=night, repository_def=repository)
    ticked = repository.get_schedule_def("daily_export").evaluate_tick(context)
    assert [request.partition_key for request in ticked.run_requests or []] == months
    partitions = defs.resolve_job_def("export_sources").partitions_def
    assert isinstance(partitions, dg.MonthlyPartitionsDefinition)
    assert partitions.get_partition_keys(current_time=night)[-1] == months[-1]
