"""Months of QorSync: what an incremental export reads, and that it says the same as a full one, whatever happened."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId, json_util
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sap_llm.sources.qorsync import RawExportsConfig, build_raw_exports
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.qorsync_source import MONTH, PAYLOAD, Source


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "qorsync")


def _export(source: Source, store: Path, month: str = MONTH, **changes: Any) -> BuildResult:
    source.write()
    config = RawExportsConfig(**({"chunk_rows": 3, "batch_rows": 2} | changes))
    context = StageContext(store=DatasetStore(store))
    return build_raw_exports(context, config=config, source=source.stores(store / "work"), month=month)


def _outcomes(built: BuildResult) -> dict[str, str]:
    rows = built.dataset.table("records", ["document_id", "outcome"]).to_pylist()
    return {row["document_id"]: row["outcome"] for row in rows}


def test_only_what_changed_is_read_again(source: Source, tmp_path: Path) -> None:
    for number in range(10):
        source.add(number)
    first = _export(source, tmp_path / "store")
    assert (first.manifest.metrics["rows_read"], first.manifest.metrics["ranges_read"]) == (10, 4)
    source.touch("d0000004", language="de")
    source.add(50)
    second = _export(source, tmp_path / "store")
    metrics = second.manifest.metrics
    assert (metrics["rows_read"], metrics["rows_carried"]) == (2, 9)
    assert metrics["watermark"] == [source.headers["d0000004"]["updated_at"], "d0000004"]
    languages = second.dataset.table("documents", ["language"]).column("language").to_pylist()
    assert sorted(languages) == ["de", *["en"] * 10]
    assert not list((tmp_path / "store/work/raw_exports").glob("*/*"))  # scratch goes when the month is complete


def test_a_changed_configuration_reads_everything(source: Source, tmp_path: Path) -> None:
    for number in range(4):
        source.add(number)
    _export(source, tmp_path / "store")
    assert _export(source, tmp_path / "store", max_pages=7).manifest.metrics["rows_carried"] == 0


def test_a_month_holds_what_was_processed_in_it_and_nothing_is_lost(source: Source, tmp_path: Path) -> None:
    source.add(1, processed_at="2025-03-31T23:30:00-05:00")  # April in UTC
    source.add(2, processed_at="2025-02-28T23:59:59+00:00")
    source.add(3)
    source.add(4, processed_at="soon", updated_at="2025-03-02T00:00:00+00:00")
    source.add(5, processed_at="soon", updated_at="later")
    found = {
        month: _outcomes(_export(source, tmp_path / "store", month)) for month in ("2025-01", "2025-02", "2025-03")
    }
    assert found == {
        "2025-01": {"d0000005": "bad_time"},  # undated rows count to the first month
        "2025-02": {"d0000002": "kept"},
        "2025-03": {"d0000003": "kept", "d0000004": "bad_time"},
    }
    assert _outcomes(_export(source, tmp_path / "store", "2025-04")) == {"d0000001": "kept"}


def test_two_exports_of_one_month_at_once_make_one_version(source: Source, tmp_path: Path) -> None:
    for number in range(6):
        source.add(number)
    source.write()
    with ThreadPoolExecutor(2) as pool:
        context = StageContext(store=DatasetStore(tmp_path / "store"))
        stores = source.stores(tmp_path / "work")
        config = RawExportsConfig(chunk_rows=2)
        tasks = [pool.submit(build_raw_exports, context, config=config, source=stores, month=MONTH) for _ in range(2)]
        first, second = (task.result() for task in tasks)
    assert first.ref == second.ref
    assert sorted([first.is_reused, second.is_reused]) == [False, True]


def test_an_empty_month_is_a_complete_dataset(source: Source, tmp_path: Path) -> None:
    source.add(1)
    built = _export(source, tmp_path / "store", "2025-07")
    assert built.manifest.rows["documents"] == built.manifest.rows["records"] == 0
    assert "0 headers = 0 documents" in built.dataset.path("report.md").read_text()


def test_of_equal_files_the_one_processed_first_is_kept(source: Source, tmp_path: Path) -> None:
    source.add(1, text="the same file", processed_at="2025-03-09T00:00:00+00:00")
    source.add(2, text="the same file", processed_at="2025-03-05T00:00:00+00:00")
    source.add(3, text="the same file", processed_at="2025-03-04T00:00:00+00:00")
    source.extractions["d0000003"]["payload"] = "{"  # the very first cannot be used
    built = _export(source, tmp_path / "store", chunk_rows=1)
    assert _outcomes(built) == {"d0000001": "duplicate", "d0000002": "kept", "d0000003": "bad_json"}
    rows = built.dataset.table("quarantine").to_pylist()
    assert "Same file as d0000002" in next(row["detail"] for row in rows if row["reason"] == "duplicate")
    assert built.manifest.rows["blobs"] == 1

    del source.headers["d0000002"]
    assert _outcomes(_export(source, tmp_path / "store", chunk_rows=1))["d0000001"] == "kept"


def test_types_survive(source: Source, tmp_path: Path) -> None:
    name = source.add(1, total_amount="12345678901234567.0123456789", received_at="2025-03-14T09:00:00+02:00")
    nested = {
        "amount": Decimal128("0.10"),
        "seen": datetime(2025, 3, 1, 12, 30, tzinfo=UTC),
        "owner": ObjectId("65f000000000000000000001"),
        "bytes": Binary(b"\x00\xff", 5),
        "count": Int64(2**53 + 1),
        "list": [{"deep": [1, 2.5, None, True]}],
        "far": bson.DatetimeMS(253402300800000),  # the year 10000
    }
    source.extractions[name]["nested"] = nested
    (row,) = _export(source, tmp_path / "store").dataset.table("records").to_pylist()
    assert row["total_amount"] == Decimal("12345678901234567.0123456789")
    assert row["received_at"] == datetime(2025, 3, 14, 7, tzinfo=UTC)
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(
        tz_aware=True, datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_AUTO
    )
    assert json_util.loads(row["extraction"], json_options=options)["nested"] == nested


def test_values_that_do_not_fit_are_kept_as_they_were(source: Source, tmp_path: Path) -> None:
    source.add(1, total_amount="twelve", updated_at="2025-03-01T00:00:01+00:00")
    source.add(2, received_at="yesterday")
    source.add(3, total_amount="", received_at="2025-03-04 10:00:00")
    built = _export(source, tmp_path / "store")
    assert _outcomes(built) == {"d0000001": "bad_amount", "d0000002": "bad_time", "d0000003": "kept"}
    extras = {row["document_id"]: row["extra"] for row in built.dataset.table("records").to_pylist()}
    assert json.loads(extras["d0000001"]) == {"total_amount": "twelve"}
    assert json.loads(extras["d0000002"]) == {"received_at": "yesterday"}
    assert built.manifest.metrics["nulls_total_amount"] == 2


def test_the_report_accounts_for_everything(source: Source, tmp_path: Path) -> None:
    for number in range(6):
        source.add(number)
    source.add(7, text="twice")
    source.add(8, text="twice")
    del source.extractions["d0000001"]
    source.remove_blob("d0000002")
    source.extractions["d0000003"]["payload"] = "[1"
    source.extractions["lonely"] = {**source.extractions["d0000004"], "_id": "lonely"}
    built = _export(source, tmp_path / "store")
    report = built.dataset.path("report.md").read_text()
    assert "8 headers = 4 documents + 1 duplicates + 3 quarantined." in report
    for line in (
        "Columns of the source against the contract: as expected.",
        "| headers_without_extraction | 1 |",
        "| headers_without_file | 1 |",
        "| extractions_without_header | 1 |",
        "| bad_json (d0000003) | 1 |",
        "| no_header (lonely) | 1 |",
        "| process_number | 8 |",
    ):
        assert line in report
    assert built.manifest.metrics["duplicates"] == 1


_OPERATIONS = st.tuples(
    st.sampled_from(
        ["add", "copy", "touch", "delete", "change", "break", "repair", "lose", "find", "orphan", "revive", "late"]
    ),
    st.integers(0, 7),
)


def _apply(source: Source, operation: str, number: int) -> None:
    name = f"d{number:07}"
    if operation == "add" or name not in source.headers:
        source.add(number)
    elif operation == "copy":
        source.add(number + 20, text=f"copy {number % 2}")
    elif operation == "touch":
        source.touch(name, language="fr")
    elif operation == "delete":
        del source.headers[name]
    elif operation == "late":  # committed after others, with an earlier time of change
        source.add(number + 40, updated_at="2025-03-01T00:00:00+00:00")
    else:
        _apply_to_others(source, operation, name)


def _apply_to_others(source: Source, operation: str, name: str) -> None:
    if operation == "lose":
        source.remove_blob(name)
    elif operation == "find":
        source.add(int(name[1:]), updated_at=source.headers[name]["updated_at"])
    elif operation == "orphan":
        source.extractions.pop(name, None)
    elif name in source.extractions:
        payload = {"break": "{", "repair": PAYLOAD, "revive": PAYLOAD}.get(operation, PAYLOAD + " ")
        source.touch_extraction(name, payload=payload)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.lists(_OPERATIONS, min_size=1, max_size=4), min_size=1, max_size=2))
def test_incremental_and_full_exports_of_one_state_are_equal(
    steps: list[list[tuple[str, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("states")
    source = Source(folder / "qorsync")
    for number in range(5):
        source.add(number)
    _export(source, folder / "incremental")
    for turn, operations in enumerate(steps):
        for operation, number in operations:
            _apply(source, operation, number)
        incremental = _export(source, folder / "incremental")
        full = _export(source, folder / f"full-{turn}")
        assert full.manifest.metrics["rows_carried"] == 0
        assert incremental.manifest.data_version == full.manifest.data_version
        assert incremental.manifest.rows == full.manifest.rows
