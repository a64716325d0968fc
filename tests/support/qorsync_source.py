"""A QorSync source of tiny text documents that a test may change as it likes, in local files or in real servers.

Belongs here: rows and records that are right by default, writing them to SQLite and BSON, copying them to PostgreSQL
and MongoDB. Typeset documents with true boxes are `typeset_corpus`.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sap_llm.sources.qorsync import QorSync
from sap_llm.sources.qorsync_seed import _COLUMNS as COLUMNS
from sap_llm.sources.qorsync_seed import BLOBS_FOLDER, DUMP_FOLDER, HEADERS_FILE, _write_dump, _write_headers
from sap_llm.sources.qorsync_stores import Blobs

MONTH = "2025-03"
BEGIN = datetime(2025, 3, 1, tzinfo=UTC)
PAYLOAD = json.dumps({"document_type": "SUPPLIER_INVOICE", "document_subtype": None, "fields": [], "line_items": []})
POSTGRES_TABLE = """
CREATE TABLE qorsync_documents (document_id TEXT PRIMARY KEY, document_type TEXT NOT NULL, document_subtype TEXT,
language TEXT, status TEXT NOT NULL, vendor_number TEXT, process_number TEXT, document_number TEXT,
total_amount NUMERIC(24, 4), currency TEXT, file_sha256 TEXT NOT NULL, media_type TEXT NOT NULL,
received_at TIMESTAMPTZ, processed_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL)
"""
_POSTGRES_TYPES = {"total_amount": "NUMERIC", "received_at": "TIMESTAMPTZ", "processed_at": "TIMESTAMPTZ",
                   "updated_at": "TIMESTAMPTZ"}  # fmt: skip


class Source:
    """State of a source in memory; `write` makes the local files say the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headers: dict[str, dict[str, Any]] = {}
        self.extractions: dict[str, dict[str, Any]] = {}
        self.blobs = Blobs(str(folder / BLOBS_FOLDER))
        self._changes = 0

    def add(self, number: int, *, text: str | None = None, **changes: Any) -> str:
        """One more document with extraction and file; processed `number` minutes after the month began."""
        identifier = f"d{number:07}"
        moment = (BEGIN + timedelta(minutes=number)).isoformat()
        content = (text or f"Invoice number {number}\nTotal amount {number}.50 EUR\n" * 3).encode()
        self.headers[identifier] = {
            "document_id": identifier,
            "document_type": "SUPPLIER_INVOICE",
            "document_subtype": None,
            "language": "en",
            "status": "reviewed",
            "vendor_number": f"v{number % 7}",
            "process_number": None,
            "document_number": str(number),
            "total_amount": f"{number}.5000",
            "currency": "EUR",
            "file_sha256": self.blobs.put(content),
            "media_type": "text/plain",
            "received_at": moment,
            "processed_at": moment,
            "updated_at": moment,
        } | changes
        self.extractions[identifier] = {
            "_id": identifier,
            "template": "plain",
            "updated_at": datetime.fromisoformat(moment).replace(tzinfo=None),
            "payload": PAYLOAD,
        }
        return identifier

    def touch(self, identifier: str, **changes: Any) -> None:
        """Change a header as QorSync does: its updated_at moves on."""
        self.headers[identifier] |= {"updated_at": self._later().isoformat(), **changes}

    def touch_extraction(self, identifier: str, **changes: Any) -> None:
        """Change an extraction likewise."""
        self.extractions[identifier] |= {"updated_at": self._later().replace(tzinfo=None), **changes}

    def remove_blob(self, identifier: str) -> None:
        """Lose the file of a document."""
        Path(self.blobs.path(self.headers[identifier]["file_sha256"])).unlink(missing_ok=True)

    def write(self) -> None:
        """Replace the local files."""
        self.folder.mkdir(exist_ok=True)
        _write_headers(self.folder / HEADERS_FILE, list(self.headers.values()))
        _write_dump(self.folder / DUMP_FOLDER, list(self.extractions.values()))

    def stores(self, work: Path, **places: str) -> QorSync:
        """What the export reads: the local files, or servers instead of them."""
        local = {"relational": str(self.folder / HEADERS_FILE), "documents": str(self.folder / DUMP_FOLDER)}
        blobs = str(self.folder / BLOBS_FOLDER)
        return QorSync(**(local | places), blobs=blobs, graph=None, first_month="2025-01", work=work)

    def _later(self) -> datetime:
        self._changes += 1
        return BEGIN + timedelta(days=40, seconds=self._changes)


def fill_postgres(uri: str, rows: Iterable[dict[str, Any]], *, table: str = POSTGRES_TABLE) -> None:
    """Create the table in a server, with a server's types, and fill it."""
    import pyarrow as pa
    from adbc_driver_postgresql import dbapi

    casts = ", ".join(f"CAST({name} AS {_POSTGRES_TYPES.get(name, 'TEXT')})" for name in COLUMNS)
    texts = pa.Table.from_pylist(list(rows), schema=pa.schema([(name, pa.string()) for name in COLUMNS]))
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS qorsync_documents")
        cursor.execute(table)
        cursor.adbc_ingest("texts", texts, mode="create", temporary=True)
        cursor.execute(f"INSERT INTO qorsync_documents ({', '.join(COLUMNS)}) SELECT {casts} FROM texts")
        cursor.execute("DROP TABLE texts")
        connection.commit()


def run_sql(uri: str, *statements: str) -> None:
    """Change a PostgreSQL server's table."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def fill_mongo(uri: str, records: Iterable[dict[str, Any]]) -> None:
    """Put extractions into a server, in reverse order."""
    from pymongo import MongoClient

    with MongoClient(uri) as client:
        collection = client.get_default_database()["extractions"]
        collection.delete_many({})
        collection.insert_many(list(records)[::-1])
