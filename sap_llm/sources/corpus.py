"""Corpus tables from documents, whatever their source.

Belongs here: the record that readers yield, its rows, and a spool that keeps memory flat while five tables grow at
once. What a single source looks like is its reader's affair.
"""

import hashlib
import json
import tempfile
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from sap_llm.schema.errors import SourceError
from sap_llm.schema.page import Page
from sap_llm.schema.tables import CORPUS, conform
from sap_llm.sources.alignment import Aligned
from sap_llm.sources.truth import Truth
from sap_llm.storage.store import DatasetWriter

NAMESPACE = uuid.UUID("7d8f4f0e-3f0b-5c5e-9c55-1f0a3a0b6a11")
UNPRINTED = "unprinted.jsonl"
_FLUSH_ROWS = 256
_FLUSH_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class SourceDocument:
    """One readable document of a source.

    Attributes:
        document_id: `doc-<uuid>`, stable over runs.
        name: File or key in the source, for people.
        content: The file.
        blobs: Further blobs (page pictures) as media type and bytes.
        is_test_layout: On the simulator's list of test layouts; other real documents have their role.
        annotator: Who vouches for the annotation: truth, or model:<name> where nobody reviewed it.
        changed_at: When the source last changed it, where the source says so; it stands for the time of ingestion then,
            so that exporting the same state again gives the same rows.
    """

    document_id: str
    name: str
    source: str
    role: str
    content: bytes
    media_type: str
    pages: list[Page]
    truth: Truth
    aligned: Aligned
    language: str | None
    quality: float
    vendor: str | None = None
    layout: str | None = None
    is_test_layout: bool = False
    split_group: str = ""
    chain: str | None = None
    world: str | None = None
    licence: str | None = None
    event_time: datetime | None = None
    blobs: tuple[tuple[str, bytes], ...] = ()
    annotator: str = "truth"
    changed_at: datetime | None = None
    tables: list[dict[str, Any]] = field(default_factory=list)
    layout_blocks: list[dict[str, Any]] = field(default_factory=list)

    def row(self, *, ingest_time: datetime) -> dict[str, Any]:
        """Row of `tables.DOCUMENTS`."""
        return {
            "document_id": self.document_id,
            "source": self.source,
            "role": self.role,
            "document_type": self.truth.document_type,
            "document_subtype": self.truth.document_subtype,
            "language": self.language,
            "page_count": len(self.pages),
            "quality": self.quality,
            "sha256": sha256(self.content),
            "media_type": self.media_type,
            "world": self.world,
            "vendor": self.vendor,
            "chain": self.chain,
            "layout": self.layout,
            "is_test_layout": self.is_test_layout,
            "split_group": self.split_group or self.document_id,
            "licence": self.licence,
            "event_time": self.event_time,
            "ingest_time": self.changed_at or ingest_time,
        }

    def annotation(self, *, created_at: datetime) -> dict[str, Any]:
        """Row of `tables.ANNOTATIONS` with the source's truth."""
        return {
            "document_id": self.document_id,
            "annotator": self.annotator,
            "revision": 1,
            "source": self.truth.source,
            "created_at": self.changed_at or created_at,
            "document_type": self.truth.document_type,
            "document_subtype": self.truth.document_subtype,
            "type_confidence": 1.0,
            "fields": self.aligned.fields,
            "line_items": self.aligned.line_items,
            "tables": self.tables,
            "layout_blocks": self.layout_blocks,
        }

    def unprinted(self) -> Iterator[dict[str, Any]]:
        """True values that no words show and why, so that nobody scores a model by them."""
        for entry in self.aligned.unprinted() if self.pages else ():  # without a page nothing could be printed
            yield {"document_id": self.document_id, "name": self.name, **asdict(entry)}


class UnusableError(SourceError):
    """A document that is not what was asked for; `reason` is its short code for the quarantine."""

    def __init__(self, reason: str, what: str, *, remedy: str) -> None:
        super().__init__(what, remedy=remedy)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One record that could not become a document: a row of `tables.QUARANTINE`."""

    record: str
    source: str
    reason: str
    detail: str
    field: str | None = None
    payload: Any = None

    def row(self) -> dict[str, Any]:
        """Row of `tables.QUARANTINE`."""
        payload = self.payload
        if payload is not None and not isinstance(payload, str):
            payload = json.dumps(payload, ensure_ascii=False, default=str, sort_keys=True)
        return {
            "record": self.record,
            "source": self.source,
            "field": self.field,
            "reason": self.reason,
            "detail": self.detail,
            "payload": payload,
        }


@dataclass
class CorpusMetrics:
    """Counts of a corpus, for the manifest and the UI."""

    documents: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    printed: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    pages: int = 0
    words: int = 0
    without_pages: int = 0

    def add(self, document: SourceDocument) -> None:
        """Count one document."""
        self.documents[document.truth.document_type] += 1
        self.pages += len(document.pages)
        self.words += sum(len(page.words) for page in document.pages)
        self.without_pages += not document.pages
        for name, (printed, stated) in document.aligned.found.items() if document.pages else ():
            self.printed[name][0] += printed
            self.printed[name][1] += stated

    def as_dict(self) -> dict[str, Any]:
        """Flat numbers: totals, per class, per quarantine reason, and per field the share that is printed."""
        printed, stated = (sum(counts[part] for counts in self.printed.values()) for part in (0, 1))
        by_stated = sorted(self.printed.items(), key=lambda entry: (-entry[1][1], entry[0]))  # the UI plots the first
        return {
            "documents": sum(self.documents.values()),
            "pages": self.pages,
            "words": self.words,
            "quarantined": sum(self.quarantined.values()),
            "documents_without_pages": self.without_pages,
            **(
                {"alignment_rate": round(printed / stated, 4)} if stated else {}
            ),  # a corpus of classes states no values
            **{f"documents_{name}": count for name, count in sorted(self.documents.items())},
            **{f"quarantined_{reason}": count for reason, count in sorted(self.quarantined.items())},
            **{f"printed_{name}": round(hits / all_, 4) for name, (hits, all_) in by_stated},
        }


class Spool:
    """Collects rows of the corpus tables on disk, then hands each table to the writer whole."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sap_llm_spool_")
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._bytes: Counter[str] = Counter()
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
        self._seen_blobs: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._folder.cleanup()

    def add(self, table: str, row: Mapping[str, Any], *, size: int = 0) -> None:
        """Append one row; `size` counts towards the memory limit."""
        self._rows[table].append(dict(row))
        self._bytes[table] += size
        if len(self._rows[table]) >= _FLUSH_ROWS or self._bytes[table] >= _FLUSH_BYTES:
            self._flush(table)

    def add_blob(self, content: bytes, media_type: str) -> str:
        """Append a blob unless its bytes are already there; returns their sha256."""
        digest = sha256(content)
        if digest not in self._seen_blobs:
            self._seen_blobs.add(digest)
            row = {"sha256": digest, "media_type": media_type, "content": content}
            self.add("blobs", row, size=len(content))
        return digest

    def write(self, writer: DatasetWriter) -> None:
        """Write all corpus tables; empty ones too."""
        for table, schema in CORPUS.items():
            self._flush(table)
            if table in self._writers:
                self._writers.pop(table).close()
            writer.write_table(table, self._batches(table), schema)

    def _flush(self, table: str) -> None:
        rows = self._rows.pop(table, [])
        self._bytes[table] = 0
        if not rows:
            return
        if table not in self._writers:
            self._writers[table] = pa.ipc.new_stream(str(self._path(table)), CORPUS[table])
        self._writers[table].write_table(conform(rows, CORPUS[table]))

    def _batches(self, table: str) -> Iterator[pa.RecordBatch]:
        if self._path(table).exists():
            with pa.ipc.open_stream(str(self._path(table))) as stream:
                yield from stream

    def _path(self, table: str) -> Path:
        return Path(self._folder.name) / f"{table}.arrow"


def write_corpus(writer: DatasetWriter, records: Iterable[SourceDocument | Fault], *, now: datetime) -> CorpusMetrics:
    """Write documents and faults as the five corpus tables; a document met twice is quarantined.

    True values that no words show are listed in the file `UNPRINTED`, one JSON object a line.
    """
    metrics = CorpusMetrics()
    with Spool() as spool, writer.path(UNPRINTED).open("w", encoding="utf-8") as unprinted:
        for record in without_duplicates(records):
            if isinstance(record, Fault):
                spool.add("quarantine", record.row())
                metrics.quarantined[record.reason] += 1
                continue
            spool.add("documents", record.row(ingest_time=now))
            spool.add("annotations", record.annotation(created_at=now))
            for page in record.pages:
                spool.add("pages", page.to_row(record.document_id))
            spool.add_blob(record.content, record.media_type)
            for media_type, content in record.blobs:
                spool.add_blob(content, media_type)
            metrics.add(record)
            unprinted.writelines(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in record.unprinted())
        spool.write(writer)
    return metrics


def without_duplicates(records: Iterable[SourceDocument | Fault]) -> Iterator[SourceDocument | Fault]:
    """The records, each document whose id was met before replaced by a fault that says where."""
    seen: dict[str, str] = {}
    for record in records:
        fault = None if isinstance(record, Fault) else _duplicate(record, seen)
        yield fault or record


def document_id(source: str, key: str) -> str:
    """Stable id of a document of a source by its key there."""
    return f"doc-{uuid.uuid5(NAMESPACE, f'{source}/{key}')}"


def sha256(content: bytes) -> str:
    """Hexadecimal digest, the key of a blob."""
    return hashlib.sha256(content).hexdigest()


def _duplicate(document: SourceDocument, seen: dict[str, str]) -> Fault | None:
    if document.document_id not in seen:
        seen[document.document_id] = document.name
        return None
    return Fault(
        record=document.document_id,
        source=document.name,
        reason="duplicate",
        detail=f"Same document as {seen[document.document_id]}; the first is kept.",
    )
