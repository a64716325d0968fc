"""The stage `raw_exports`: headers, extractions, graph patterns and files of a QorSync source as corpus tables.

Belongs here: the join and its faults. The stores themselves are `qorsync_stores`, the payload's form is `extraction`.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from sap_llm.reading.document import ReadDocument
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.alignment import Aligned
from sap_llm.sources.corpus import Fault, SourceDocument, document_id, sha256, write_corpus
from sap_llm.sources.extraction import PayloadError, columns_of
from sap_llm.sources.qorsync_stores import (
    Blobs,
    Extractions,
    GraphReader,
    Headers,
    PatternKey,
    open_extractions,
    patterns_fingerprint,
    read_patterns,
)
from sap_llm.sources.truth import Truth
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "3"
SOURCE = "qorsync"
_REVIEWED = "reviewed"

Patterns = Mapping[PatternKey, Mapping[str, Any]]


class RawExportsConfig(StageConfig):
    """Configuration of `raw_exports`."""

    max_documents: int = 0  # 0 for all
    max_pages: int = 50
    timeout_seconds: float = 60.0  # for reading one file
    memory_bytes: int = 4 * 2**30  # of the reader process
    batch_rows: int = 256  # headers joined at a time
    licence: str = "proprietary"


def build_raw_exports(
    context: StageContext,
    *,
    config: RawExportsConfig,
    relational: str,
    documents: str,
    blobs: str,
    graph: GraphReader | None,
) -> BuildResult:
    """Export a QorSync source into the dataset `raw_exports`.

    A header becomes a document when its file is there and unharmed, its extraction can be read and its vendor is known
    to the graph; else it becomes a quarantine row, as do extractions without a header.

    Args:
        context: Store, clock and progress.
        config: Limits.
        relational: SQLite file or `postgresql://` URI.
        documents: mongodump folder or `mongodb://` URI.
        blobs: Folder or fsspec URL of the files by sha256.
        graph: Client of the graph with QorSync's patterns; None leaves vendors and templates unknown.

    Raises:
        SourceError: A store cannot be reached or read as a whole.
    """
    headers = Headers(relational)
    patterns = read_patterns(graph) if graph is not None else None
    with open_extractions(documents) as extractions:
        fingerprint = {
            "relational": headers.fingerprint(),
            "documents": extractions.fingerprint(),
            "blobs": Blobs(blobs).fingerprint(),
            "graph": patterns_fingerprint(patterns) if patterns is not None else "none",
        }

        def produce(writer: DatasetWriter) -> Mapping[str, Any]:
            with Sandbox(timeout_seconds=config.timeout_seconds, memory_bytes=config.memory_bytes) as sandbox:
                export = _Export(config, headers, extractions, Blobs(blobs), patterns, sandbox)
                metrics = write_corpus(writer, _reported(export.records(), context), now=context.clock.now())
            return metrics.as_dict() | {"boxes_without_words": export.missed}

        return build(
            context,
            name="raw_exports",
            stage_version=STAGE_VERSION,
            config=config,
            fingerprint=fingerprint,
            produce=produce,
        )


class _Export:
    """One run of the join."""

    def __init__(
        self,
        config: RawExportsConfig,
        headers: Headers,
        extractions: Extractions,
        blobs: Blobs,
        patterns: Patterns | None,
        sandbox: Sandbox,
    ) -> None:
        self._config, self._headers, self._extractions = config, headers, extractions
        self._blobs, self._patterns, self._sandbox = blobs, patterns, sandbox
        self._known: set[str] = set()
        self._files: dict[str, str] = {}  # sha256 -> first document
        self._classes = {entry.name for entry in load_taxonomy().classes}
        self.missed = 0

    def records(self) -> Iterator[SourceDocument | Fault]:
        """Documents and faults: first all headers in order of id, then extractions that no header names."""
        rows = self._headers.rows()
        limit = self._config.max_documents
        rows = islice(rows, limit) if limit else rows
        while batch := list(islice(rows, self._config.batch_rows)):
            found = self._extractions.get(row["document_id"] for row in batch)
            for row in batch:
                self._known.add(row["document_id"])
                yield self._join(row, found.get(row["document_id"]))
        if not limit:
            for identifier in sorted(self._extractions.ids()):
                if identifier not in self._known:
                    yield _dangling(identifier)

    def _join(self, header: dict[str, Any], extraction: Mapping[str, Any] | None) -> SourceDocument | Fault:
        fault = self._fault_of_header(header)
        if fault is not None:
            return fault
        if extraction is None:
            return _fault(header, "no_extraction", "The document store has no record of this document.")
        pattern = self._pattern(header, extraction)
        if pattern is None:
            return _fault(
                header,
                "dangling_reference",
                f"The graph has no pattern of vendor {header['vendor_number']!r} "
                f"with template {extraction.get('template')!r}.",
            )
        content = self._blobs.get(header["file_sha256"])
        if content is None:
            return _fault(header, "missing_blob", "The file is not in the blob folder: copy it there, export again.")
        if sha256(content) != header["file_sha256"]:
            return _fault(header, "blob_mismatch", "The file's bytes do not have the sha256 that names it.")
        try:
            read = self._sandbox.read(content, name=header["document_id"], max_pages=self._config.max_pages)
            columns, missed = columns_of(str(extraction.get("payload")), read.pages)
            event_time = _moment(header["received_at"])
        except SapLlmError as error:
            return _fault(header, "unreadable", str(error))
        except PayloadError as error:
            return _fault(header, "bad_json", f"The extraction's payload cannot be used: {error}", extraction)
        except ValueError as error:
            return _fault(header, "bad_time", f"received_at cannot be read: {error}")
        self.missed += missed
        self._files.setdefault(header["file_sha256"], header["document_id"])
        return self._document(header, content, read, columns, event_time, pattern)

    def _fault_of_header(self, header: dict[str, Any]) -> Fault | None:
        first = self._files.get(header["file_sha256"])
        if first is not None:
            return _fault(header, "duplicate", f"Same file as {first}; the first is kept.")
        if header["document_type"] not in self._classes:
            return _fault(header, "unknown_class", f"{header['document_type']!r} is no class of the taxonomy.")
        return None

    def _pattern(self, header: Mapping[str, Any], extraction: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the graph knows of the document's vendor and template; None if nothing, empty without a graph."""
        if self._patterns is None:
            return {}
        key = (header["vendor_number"], header["document_type"], str(extraction.get("template")))
        return self._patterns.get(key)

    def _document(
        self,
        header: dict[str, Any],
        content: bytes,
        read: ReadDocument,
        columns: dict[str, Any],
        event_time: datetime | None,
        pattern: Mapping[str, Any],
    ) -> SourceDocument:
        vendor = pattern.get("vendor_name") or header["vendor_number"]
        company = pattern.get("company")
        return SourceDocument(
            document_id=document_id(SOURCE, header["document_id"]),
            name=header["document_id"],
            source=SOURCE,
            role="train",
            content=content,
            media_type=read.media_type,
            pages=read.pages,
            truth=Truth(
                document_type=columns["document_type"],
                document_subtype=columns["document_subtype"],
                source="export",
            ),
            aligned=Aligned(fields=columns["fields"], line_items=columns["line_items"], found=_found(columns)),
            language=header["language"],
            quality=read.quality,
            vendor=vendor,
            layout=pattern.get("template"),
            is_test_layout=bool(pattern.get("is_reserved")),
            split_group=company or vendor or "",
            chain=header["process_number"],
            world=company,
            licence=self._config.licence,
            event_time=event_time,
            annotator="truth" if header["status"] == _REVIEWED else f"model:{SOURCE}",
            tables=columns["tables"],
            layout_blocks=columns["layout_blocks"],
        )


def _found(columns: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for field in [*columns["fields"], *(field for item in columns["line_items"] for field in item["fields"])]:
        printed, stated = found.get(field["field"], (0, 0))
        found[field["field"]] = (printed + (field["printed"] is not None), stated + 1)
    return found


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _fault(header: Mapping[str, Any], reason: str, detail: str, extraction: Mapping[str, Any] | None = None) -> Fault:
    payload = dict(header) if extraction is None else {"header": dict(header), "extraction": dict(extraction)}
    return Fault(
        record=header["document_id"], source="qorsync_documents", reason=reason, detail=detail, payload=payload
    )


def _dangling(identifier: str) -> Fault:
    return Fault(
        record=identifier,
        source="extractions",
        reason="no_header",
        detail="The relational store has no header of this extraction: it cannot be classed or dated.",
    )


def _reported(records: Iterable[SourceDocument | Fault], context: StageContext) -> Iterator[SourceDocument | Fault]:
    for count, record in enumerate(records, start=1):
        if count % 100 == 0:
            context.progress("raw_exports", done=count)
        yield record
