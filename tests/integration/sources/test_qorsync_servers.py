"""The QorSync export from real servers: as from local forms, after kills, cuts and changed columns too."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sap_llm.schema.errors import SourceError
from sap_llm.sources.qorsync import RawExportsConfig, build_raw_exports
from sap_llm.sources.qorsync_headers import Headers
from sap_llm.sources.qorsync_stores import open_extractions
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from tests.integration.servers.mongo import mongo_server
from tests.integration.servers.postgres import postgres_server
from tests.support.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.export_process import CONFIG
from tests.support.qorsync_source import MONTH, POSTGRES_TABLE, Source, fill_mongo, fill_postgres, run_sql

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as uri:
        yield uri


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """120 documents, some with faults, one file twice."""
    source = Source(tmp_path / "qorsync")
    for number in range(118):
        source.add(number)
    source.add(200, text="twice")
    source.add(201, text="twice")
    source.extractions["d0000010"]["payload"] = '{"fields": ['
    source.remove_blob("d0000020")
    del source.extractions["d0000030"]
    source.extractions["lonely"] = {**source.extractions["d0000040"], "_id": "lonely"}
    source.write()
    return source


def _export(
    source: Source,
    store: Path,
    *,
    config: RawExportsConfig = CONFIG,
    progress: Callable[[str, int], None] | None = None,
    **places: str,
) -> BuildResult:
    def report(message: str, *, done: int = 0, total: int = 0) -> None:
        if progress is not None:
            progress(message, done)

    context = StageContext(store=DatasetStore(store), progress=report)
    return build_raw_exports(context, config=config, source=source.stores(store / "work", **places), month=MONTH)


def _port(uri: str) -> int:
    return int(uri.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def proxy(postgres: str, source: Source) -> Iterator[CuttingProxy]:
    fill_postgres(postgres, source.headers.values())
    with cutting_proxy(_port(postgres)) as opened:
        yield opened


def _through(proxy: CuttingProxy) -> str:
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"


@pytest.mark.parametrize("amount_type", ["TEXT", "NUMERIC(24, 4)"])
def test_servers_and_local_forms_give_the_same_dataset(
    source: Source, postgres: str, tmp_path: Path, amount_type: str
) -> None:
    local = _export(source, tmp_path / "local")
    with mongo_server(tmp_path) as mongo:
        fill_postgres(
            postgres,
            reversed(source.headers.values()),
            table=POSTGRES_TABLE.replace("NUMERIC(24, 4)", amount_type),
        )
        fill_mongo(mongo, source.extractions.values())
        remote = _export(
            source,
            tmp_path / "remote",
            config=RawExportsConfig(readers=3, chunk_rows=17, batch_rows=5),
            relational=postgres,
            documents=mongo,
        )
    assert remote.manifest.data_version == local.manifest.data_version
    assert remote.manifest.rows["documents"] == 116
    assert remote.manifest.metrics["quarantined_missing_blob"] == 1
    assert remote.manifest.metrics["quarantined_no_header"] == 1


def test_a_killed_export_goes_on_where_it_was(source: Source, postgres: str, tmp_path: Path) -> None:
    fill_postgres(postgres, source.headers.values())
    undisturbed = _export(source, tmp_path / "undisturbed", relational=postgres)
    stores = source.stores(tmp_path / "killed" / "work", relational=postgres)
    arguments = [str(tmp_path / "killed"), str(stores.work), postgres, stores.documents, stores.blobs]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.export_process", *arguments], cwd=CHECKOUT, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(finished := _chunks(stores.work)) < 2 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert DatasetStore(tmp_path / "killed").versions(f"raw_exports/{MONTH}") == []

    finished = _chunks(stores.work)
    resumed = _export(source, tmp_path / "killed", relational=postgres)
    metrics = resumed.manifest.metrics
    assert metrics["ranges_resumed"] == len(finished) >= 2
    assert metrics["ranges_read"] + metrics["ranges_resumed"] == 6
    assert resumed.manifest.data_version == undisturbed.manifest.data_version
    assert _chunks(stores.work) == []


def _chunks(work: Path) -> list[Path]:
    return [path for path in work.glob(f"raw_exports/{MONTH}/*/*/*") if not path.name.startswith(".") and path.is_dir()]


def test_a_connection_that_drops_between_ranges_loses_nothing(
    source: Source, postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    said: list[str] = []

    def cut_once(message: str, done: int) -> None:
        said.append(message)
        if done == 3 and proxy.cuts == 0:
            proxy.cut()

    undisturbed = _export(source, tmp_path / "undisturbed", relational=postgres)
    built = _export(source, tmp_path / "cut", relational=_through(proxy), progress=cut_once)
    assert proxy.cuts == 1
    assert any("Try 2 of" in message for message in said)
    assert built.manifest.metrics["ranges_resumed"] >= 3
    assert built.manifest.data_version == undisturbed.manifest.data_version


def test_a_connection_that_drops_inside_a_result_loses_nothing(
    postgres: str, proxy: CuttingProxy, source: Source, tmp_path: Path
) -> None:
    for header in source.headers.values():
        header["document_number"] = "9" * 4000
    source.write()
    fill_postgres(postgres, source.headers.values())
    undisturbed = _export(source, tmp_path / "undisturbed", relational=postgres)
    proxy.cut_after(200_000)  # of 480,000
    built = _export(source, tmp_path / "cut", relational=_through(proxy))
    assert proxy.cuts == 1
    assert built.manifest.data_version == undisturbed.manifest.data_version


def test_a_document_store_whose_connections_drop_loses_nothing(source: Source, postgres: str, tmp_path: Path) -> None:
    fill_postgres(postgres, source.headers.values())
    undisturbed = _export(source, tmp_path / "undisturbed", relational=postgres)
    with mongo_server(tmp_path) as mongo, cutting_proxy(_port(mongo)) as proxy:
        fill_mongo(mongo, source.extractions.values())

        def cut_twice(message: str, done: int) -> None:
            if done in {2, 4}:
                proxy.cut()

        address = f"mongodb://127.0.0.1:{proxy.port}/qorsync"
        built = _export(source, tmp_path / "cut", relational=postgres, documents=address, progress=cut_twice)
        assert proxy.cuts >= 2
    assert built.manifest.data_version == undisturbed.manifest.data_version


def test_a_server_that_stays_away_is_named_with_range_and_remedy(
    source: Source, proxy: CuttingProxy, tmp_path: Path
) -> None:
    def go_away(message: str, done: int) -> None:
        if done == 3:
            proxy.refuse()

    with pytest.raises(SourceError, match=r"documents d\d+ to d\d+.*Given up after 5 tries") as raised:
        _export(source, tmp_path / "store", relational=_through(proxy), progress=go_away)
    assert "finished ranges are kept" in str(raised.value)
    kept = _chunks(tmp_path / "store/work")
    assert len(kept) >= 3
    proxy.refuse(False)
    built = _export(source, tmp_path / "store", relational=_through(proxy))
    assert built.manifest.metrics["ranges_resumed"] == len(kept)


def test_changed_columns_are_named_and_lose_nothing(source: Source, postgres: str, tmp_path: Path) -> None:
    fill_postgres(postgres, source.headers.values())
    first = _export(source, tmp_path / "store", relational=postgres)
    assert first.manifest.metrics["drift"] == "none"
    run_sql(
        postgres,
        'ALTER TABLE qorsync_documents ADD COLUMN note jsonb DEFAULT \'{"by": "ana", "rate": 1.10}\'',
        "ALTER TABLE qorsync_documents DROP COLUMN currency",
        "ALTER TABLE qorsync_documents ALTER COLUMN total_amount TYPE double precision",
    )
    second = _export(source, tmp_path / "store", relational=postgres)
    metrics = second.manifest.metrics
    assert metrics["drift"] == "added note; removed currency; retyped total_amount (double precision)"
    assert metrics["drift_since"].startswith("added note; removed currency; retyped total_amount (numeric ->")
    assert (metrics["rows_carried"], metrics["rows_read"]) == (0, 120)
    assert second.manifest.rows["documents"] == first.manifest.rows["documents"]
    row = second.dataset.table("records").to_pylist()[0]
    assert json.loads(row["extra"]) == {"note": {"by": "ana", "rate": 1.1}}
    assert row["total_amount"] is not None
    run_sql(postgres, "ALTER TABLE qorsync_documents RENAME COLUMN updated_at TO changed")
    with pytest.raises(SourceError, match="lacks updated_at"):
        _export(source, tmp_path / "store", relational=postgres)


def test_columns_that_change_half_way_are_read_anew(
    source: Source, postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    def change(message: str, done: int) -> None:
        if done == 3 and proxy.cuts == 0:
            proxy.cut()  # the readers' transactions hold the table until then
            run_sql(postgres, "ALTER TABLE qorsync_documents ADD COLUMN note text DEFAULT 'x'")

    built = _export(source, tmp_path / "store", relational=_through(proxy), progress=change)
    extras = built.dataset.table("records", ["extra"]).column("extra").to_pylist()
    assert [json.loads(extra) for extra in extras] == [{"note": "x"}] * 120
    assert built.manifest.metrics["ranges_resumed"] == 0


def test_all_readers_see_one_state(postgres: str, source: Source) -> None:
    fill_postgres(postgres, source.headers.values())
    with Headers(postgres, first_month="2025-01").snapshot() as first:
        run_sql(postgres, "DELETE FROM qorsync_documents WHERE document_id > 'd0000050'")
        with first.another() as second, Headers(postgres, first_month="2025-01").snapshot() as later:
            counts = [sum(batch.num_rows for batch in one.keys(MONTH)) for one in (first, second, later)]
    assert counts == [120, 120, 51]


def test_incremental_and_full_exports_of_a_server_are_equal(source: Source, postgres: str, tmp_path: Path) -> None:
    fill_postgres(postgres, source.headers.values())
    _export(source, tmp_path / "incremental", relational=postgres)
    source.touch_extraction("d0000033", payload="null")
    source.add(300)
    source.write()
    run_sql(
        postgres,
        "UPDATE qorsync_documents SET language = 'pl', updated_at = '2025-04-01 10:00:00.5+02' "
        "WHERE vendor_number = 'v3'",
        "DELETE FROM qorsync_documents WHERE document_id = 'd0000200'",
        "INSERT INTO qorsync_documents SELECT 'aa', document_type, document_subtype, language, status, vendor_number, "
        "process_number, document_number, total_amount, currency, file_sha256, media_type, received_at, processed_at, "
        "updated_at FROM qorsync_documents WHERE document_id = 'd0000001'",
    )
    incremental = _export(source, tmp_path / "incremental", relational=postgres)
    full = _export(source, tmp_path / "full", relational=postgres)
    assert incremental.manifest.metrics["rows_carried"] > 90
    assert full.manifest.metrics["rows_carried"] == 0
    assert incremental.manifest.data_version == full.manifest.data_version


def test_unreachable_servers_are_named_without_passwords() -> None:
    with (
        pytest.raises(SourceError, match="relational store") as relational,
        Headers("postgresql://user:secret@127.0.0.1:1/none", first_month="2025-01").snapshot(),
    ):
        pass
    assert "secret" not in str(relational.value)
    with (
        pytest.raises(SourceError, match="document store") as documents,
        open_extractions("mongodb://user:secret@127.0.0.1:1/none?serverSelectionTimeoutMS=500"),
    ):
        pass
    assert "secret" not in str(documents.value)


def test_times_are_compared_in_utc_whatever_the_server_thinks(postgres: str, source: Source) -> None:
    fill_postgres(postgres, source.headers.values())
    run_sql(postgres, "ALTER DATABASE postgres SET timezone TO 'America/New_York'")
    run_sql(
        postgres, "UPDATE qorsync_documents SET processed_at = '2025-03-31 22:30-05' WHERE document_id = 'd0000001'"
    )
    with Headers(postgres, first_month="2025-01").snapshot() as snapshot:
        assert [(state.month, state.documents) for state in snapshot.months()] == [("2025-03", 119), ("2025-04", 1)]
        (row,) = [row for batch in snapshot.rows("2025-04", first="a", last="z") for row in batch.to_pylist()]
    assert row["processed_at"] == datetime(2025, 4, 1, 3, 30, tzinfo=UTC)
    run_sql(postgres, "ALTER DATABASE postgres RESET timezone")
