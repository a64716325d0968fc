"""The QorSync export from real servers gives the same dataset as from the local forms of the same stores."""

import sqlite3
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import bson
import pytest

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import SourceError
from sap_llm.sources.qorsync import RawExportsConfig, build_raw_exports
from sap_llm.sources.qorsync_seed import seed_qorsync
from sap_llm.sources.qorsync_stores import Headers, open_extractions
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.integration.servers.mongo import mongo_server
from tests.integration.servers.postgres import postgres_server
from tests.support.typeset_corpus import typeset_corpus

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("amount_type", ["TEXT", "NUMERIC(18, 2)"])
def test_servers_and_local_forms_give_the_same_dataset(tmp_path: Path, amount_type: str) -> None:
    clock = FrozenClock(datetime(2026, 1, 1, tzinfo=UTC))
    source = StageContext(store=DatasetStore(tmp_path / "source"), clock=clock)
    seeded = seed_qorsync(tmp_path / "qorsync", dataset=typeset_corpus(source), graph=None)
    local = build_raw_exports(
        StageContext(store=DatasetStore(tmp_path / "local"), clock=clock),
        config=RawExportsConfig(),
        relational=str(seeded.relational),
        documents=str(seeded.documents),
        blobs=str(seeded.blobs),
        graph=None,
    )
    with postgres_server() as postgres, mongo_server(tmp_path) as mongo:
        _copy_headers(seeded.relational, postgres, amount_type)
        _copy_extractions(seeded.documents, mongo)
        remote = build_raw_exports(
            StageContext(store=DatasetStore(tmp_path / "remote"), clock=clock),
            config=RawExportsConfig(batch_rows=2),
            relational=postgres,
            documents=mongo,
            blobs=str(seeded.blobs),
            graph=None,
        )
        assert list(Headers(postgres).rows()) == list(Headers(str(seeded.relational)).rows())
    assert remote.manifest.data_version == local.manifest.data_version
    assert remote.manifest.rows["documents"] > 0
    assert remote.manifest.metrics["quarantined_missing_blob"] == 1


def test_unreachable_servers_are_named_without_passwords() -> None:
    with pytest.raises(SourceError, match="relational store") as relational:
        list(Headers("postgresql://user:secret@127.0.0.1:1/none").rows())
    assert "secret" not in str(relational.value)
    with (
        pytest.raises(SourceError, match="document store") as documents,
        open_extractions("mongodb://user:secret@127.0.0.1:1/none?serverSelectionTimeoutMS=500"),
    ):
        pass
    assert "secret" not in str(documents.value)


def _copy_headers(sqlite: Path, uri: str, amount_type: str) -> None:
    from adbc_driver_postgresql import dbapi

    schema = files("sap_llm.sources").joinpath("qorsync_schema.sql").read_text()
    rows = sqlite3.connect(sqlite).execute("SELECT * FROM qorsync_documents ORDER BY random()").fetchall()
    marks = ", ".join(f"${index}" for index in range(1, len(rows[0]) + 1))
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in schema.split(";"):
            code = "\n".join(row for row in statement.splitlines() if not row.startswith("--")).strip()
            if code:
                cursor.execute(code.replace("total_amount TEXT", f"total_amount {amount_type}"))
        cast = marks.replace("$9", f"CAST(CAST($9 AS TEXT) AS {amount_type})")
        for row in rows:
            cursor.execute(f"INSERT INTO qorsync_documents VALUES ({cast})", row)
        connection.commit()


def _copy_extractions(dump: Path, uri: str) -> None:
    from pymongo import MongoClient

    records = bson.decode_all((dump / "qorsync" / "extractions.bson").read_bytes())
    with MongoClient(uri) as client:
        client.get_default_database()["extractions"].insert_many(records[::-1])
