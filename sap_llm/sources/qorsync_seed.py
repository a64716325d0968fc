"""A local QorSync source made from typeset synthetic documents, for people who have no QorSync.

Belongs here: writing the three stores and the files, with some planted faults that the export must find. Reading
them is `qorsync`. Company data never take this way.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from sap_llm.schema.page import Page
from sap_llm.sources.extraction import payload_of
from sap_llm.sources.qorsync_headers import month_bounds
from sap_llm.sources.qorsync_stores import COLLECTION, DATABASE, Blobs
from sap_llm.storage.store import Dataset

HEADERS_FILE = "headers.sqlite"
DUMP_FOLDER = "dump"
BLOBS_FOLDER = "blobs"

_COLUMNS = (
    "document_id", "document_type", "document_subtype", "language", "status", "vendor_number", "process_number",
    "document_number", "total_amount", "currency", "file_sha256", "media_type", "received_at", "processed_at",
    "updated_at",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN = """
UNWIND $rows AS row
MERGE (v:QorSyncVendor {number: row.vendor_number})
SET v.name = row.vendor_name, v.company = row.company
MERGE (t:QorSyncTemplate {template: row.template})
SET t.is_reserved = row.is_reserved
MERGE (v)-[s:SENDS {document_type: row.document_type}]->(t)
"""


class GraphWriter(Protocol):
    """What is needed of a graph client (`graph.client.GraphClient`)."""

    def schema(self, statement: str) -> None:
        """Run a schema statement."""
        ...

    def write(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query in a write transaction."""
        ...


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """What was written, and the planted faults by the reason under which the export must quarantine them.

    Attributes:
        relational: SQLite file.
        documents: mongodump folder.
        blobs: Folder of files.
    """

    relational: Path
    documents: Path
    blobs: Path
    headers: int
    extractions: int
    patterns: int
    planted: dict[str, int]


def seed_qorsync(
    folder: Path,
    *,
    dataset: Dataset,
    graph: GraphWriter | None,
    months: Sequence[str] = ("2025-01",),
    limit: int = 0,
    plant_faults: bool = True,
) -> Seeded:
    """Write a local QorSync source below `folder` from a dataset of `synthetic_docs`.

    Planted (where there are at least five documents): a missing file, a second header of one file, a payload that is no
    JSON, a header of an unknown vendor, an extraction without header. Writing again replaces the source.

    Args:
        folder: Gets `headers.sqlite`, `dump/` and `blobs/`.
        dataset: Corpus tables of typeset documents.
        graph: Where patterns go; None writes none.
        months: Months of processing (`2025-01`) that the documents are spread over, in order of id.
        limit: Documents taken, in order of id; 0 for all.
        plant_faults: Whether faults are planted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blobs = Blobs(str(folder / BLOBS_FOLDER))
    documents = sorted(dataset.table("documents").to_pylist(), key=lambda row: row["document_id"])
    documents = documents[:limit] if limit else documents
    wanted = {row["sha256"] for row in documents}
    for batch in dataset.batches("blobs"):
        for blob in batch.to_pylist():
            if blob["sha256"] in wanted:
                blobs.put(blob["content"])
    annotations = _annotations(dataset, {row["document_id"] for row in documents})
    processed = _processed(documents, months)
    headers = [_header(row, annotations[row["document_id"]], processed[row["document_id"]]) for row in documents]
    joined = _joined(dataset, documents, annotations)
    extractions = [
        _extraction(row, annotation, pages, processed[row["document_id"]]) for row, annotation, pages in joined
    ]
    planted = _plant(headers, extractions, blobs) if plant_faults and len(headers) >= 5 else {}
    _write_headers(folder / HEADERS_FILE, headers)
    _write_dump(folder / DUMP_FOLDER, extractions)
    patterns = _patterns(documents)
    if graph is not None:
        graph.schema("CREATE CONSTRAINT qorsync_vendor IF NOT EXISTS FOR (v:QorSyncVendor) REQUIRE v.number IS UNIQUE")
        graph.schema(
            "CREATE CONSTRAINT qorsync_template IF NOT EXISTS FOR (t:QorSyncTemplate) REQUIRE t.template IS UNIQUE"
        )
        graph.write(_PATTERN, rows=patterns)
    return Seeded(
        relational=folder / HEADERS_FILE,
        documents=folder / DUMP_FOLDER,
        blobs=folder / BLOBS_FOLDER,
        headers=len(headers),
        extractions=len(extractions),
        patterns=len(patterns),
        planted=planted,
    )


def vendor_number(document: Mapping[str, Any]) -> str:
    """QorSync's number of the party that a synthetic document names as vendor: unique over worlds."""
    return f"{document['world']}/{document['vendor']}"


def _processed(documents: Sequence[Mapping[str, Any]], months: Sequence[str]) -> dict[str, datetime]:
    """When each document was processed: as many in each month, a minute apart."""
    return {
        row["document_id"]: month_bounds(months[number * len(months) // len(documents)])[0] + timedelta(minutes=number)
        for number, row in enumerate(documents)
    }


def _annotations(dataset: Dataset, ids: set[str]) -> dict[str, dict[str, Any]]:
    return {
        row["document_id"]: row
        for batch in dataset.batches("annotations")
        for row in batch.to_pylist()
        if row["document_id"] in ids and row["annotator"] == "truth"
    }


def _joined(
    dataset: Dataset, documents: list[dict[str, Any]], annotations: dict[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[int, Page]]]:
    pages: dict[str, dict[int, Page]] = {}
    for batch in dataset.batches("pages"):
        for row in batch.to_pylist():
            if row["document_id"] in annotations:
                page = Page.from_row(row)
                pages.setdefault(row["document_id"], {})[page.page_number] = page
    for document in documents:
        identifier = document["document_id"]
        yield document, annotations[identifier], pages[identifier]


def _header(document: Mapping[str, Any], annotation: Mapping[str, Any], processed: datetime) -> dict[str, Any]:
    values: dict[str, str] = {}
    for field in annotation["fields"]:
        values.setdefault(field["field"], field["value"])
    received = document["event_time"] or _EPOCH
    return {
        "document_id": document["document_id"],
        "document_type": document["document_type"],
        "document_subtype": document["document_subtype"],
        "language": document["language"],
        "status": "reviewed",
        "vendor_number": vendor_number(document),
        "process_number": document["chain"],
        "document_number": values.get("document_number"),
        "total_amount": values.get("total_amount"),
        "currency": values.get("currency"),
        "file_sha256": document["sha256"],
        "media_type": document["media_type"],
        "received_at": received.isoformat(),
        "processed_at": processed.isoformat(),
        "updated_at": processed.isoformat(),
    }


def _extraction(
    document: Mapping[str, Any], annotation: Mapping[str, Any], pages: dict[int, Page], processed: datetime
) -> dict[str, Any]:
    return {
        "_id": document["document_id"],
        "extractor": "qorsync-4",
        "template": document["layout"],
        "updated_at": processed.replace(tzinfo=None),  # BSON dates are UTC without a zone
        "payload": payload_of(annotation, pages),
    }


def _plant(headers: list[dict[str, Any]], extractions: list[dict[str, Any]], blobs: Blobs) -> dict[str, int]:
    """Spoil a few records at fixed places and say what the export must find."""
    first, second, _, fourth, *_ = headers
    Path(blobs.path(first["file_sha256"])).unlink()
    copy_id = "doc-ffffffff-0000-5000-8000-000000000001"  # sorts last, so that the original is met first
    headers.append({**second, "document_id": copy_id})
    extractions.append({**extractions[1], "_id": copy_id})
    extractions[2]["payload"] = extractions[2]["payload"][: len(extractions[2]["payload"]) // 2]
    fourth["vendor_number"] = "nowhere/V0000"
    extractions.append({**extractions[4], "_id": "doc-ffffffff-0000-5000-8000-000000000002"})
    return {"missing_blob": 1, "duplicate": 1, "bad_json": 1, "dangling_reference": 1, "no_header": 1}


def _patterns(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = {
        (vendor_number(document), document["document_type"], document["layout"]): {
            "vendor_number": vendor_number(document),
            "vendor_name": document["vendor"],
            "company": document["world"],
            "document_type": document["document_type"],
            "template": document["layout"],
            "is_reserved": document["is_test_layout"],
        }
        for document in documents
    }
    return [rows[key] for key in sorted(rows)]


def _write_headers(path: Path, headers: list[dict[str, Any]]) -> None:
    import sqlite3

    path.unlink(missing_ok=True)
    schema = files("sap_llm.sources").joinpath("qorsync_schema.sql").read_text(encoding="utf-8")
    marks = ", ".join("?" for _ in _COLUMNS)
    connection = sqlite3.connect(path)
    try:
        connection.executescript(schema)
        rows = [tuple(header[column] for column in _COLUMNS) for header in headers]
        connection.executemany(f"INSERT INTO qorsync_documents ({', '.join(_COLUMNS)}) VALUES ({marks})", rows)  # noqa: S608 - names are constants
        connection.commit()
    finally:
        connection.close()


def _write_dump(folder: Path, extractions: list[dict[str, Any]]) -> None:
    import bson

    path = folder / DATABASE / f"{COLLECTION}.bson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bson.encode(record) for record in extractions))
