"""One header joined with its extraction, graph pattern and file: a document, or the reason why it is none.

Belongs here: the join and its faults, row by row. Which rows are joined is `qorsync_census`, keeping what came out is
`qorsync_chunks`, the payload's form is `extraction`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sap_llm.reading.document import ReadDocument
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.alignment import Aligned
from sap_llm.sources.corpus import Fault, SourceDocument, document_id, sha256
from sap_llm.sources.extraction import PayloadError, columns_of
from sap_llm.sources.qorsync_census import Stores, state_of
from sap_llm.sources.qorsync_records import KEPT
from sap_llm.sources.qorsync_stores import Stamp, extended_json
from sap_llm.sources.truth import Truth

SOURCE = "qorsync"
HEADERS, EXTRACTIONS = "qorsync_documents", "extractions"
_REVIEWED = "reviewed"
_TIMES = ("received_at", "processed_at", "updated_at")


class Joiner:
    """Joins rows of one range; keeps the row of `records` for each header beside the documents."""

    def __init__(
        self, stores: Stores, sandbox: Sandbox, *, max_pages: int, batch_rows: int, licence: str | None
    ) -> None:
        self._stores, self._sandbox = stores, sandbox
        self._max_pages, self._batch_rows, self._licence = max_pages, batch_rows, licence
        self._classes = {entry.name for entry in load_taxonomy().classes}
        self.records: list[dict[str, Any]] = []

    def join(self, headers: Iterable[dict[str, Any]]) -> Iterator[SourceDocument | Fault]:
        """One document or fault for each header, in order; extractions are asked for a batch at a time."""
        rows = iter(headers)
        while batch := list(islice(rows, self._batch_rows)):
            found = self._stores.extractions.get(row["document_id"] for row in batch)
            for row in batch:
                extraction = found.get(row["document_id"])
                content = self._stores.blobs.get(row["file_sha256"]) if row["file_sha256"] else None
                record = self._record(row, extraction, content)
                joined = self._joined(record, extraction, content)
                record["outcome"] = joined.reason if isinstance(joined, Fault) else KEPT
                self.records.append(record)
                yield joined

    def _record(
        self, header: Mapping[str, Any], extraction: Mapping[str, Any] | None, content: bytes | None
    ) -> dict[str, Any]:
        stamp = None
        if extraction is not None:
            changed = extended_json({"updated_at": extraction.get("updated_at")})
            stamp = Stamp(changed, str(extraction.get("template")))
        template = stamp.template if stamp else ""
        vendor, kind = header["vendor_number"] or "", header["document_type"] or ""
        pattern = self._stores.patterns.get(vendor, kind, template)
        size = len(content) if content is not None else None
        return {
            **header,
            "extraction": extended_json(extraction) if extraction is not None else None,
            "template": template or None,
            "pattern": json.dumps(pattern, sort_keys=True, ensure_ascii=False) if pattern is not None else None,
            "blob_bytes": size,
            "boxes_without_words": None,
            "state": state_of(changed_text(header), stamp, size, pattern),
        }

    def _joined(
        self, record: dict[str, Any], extraction: Mapping[str, Any] | None, content: bytes | None
    ) -> SourceDocument | Fault:
        fault = self._fault_of_stores(record, extraction, content)
        if fault is not None:
            return fault
        assert extraction is not None
        assert content is not None
        try:
            read = self._sandbox.read(content, name=record["document_id"], max_pages=self._max_pages)
            columns, missed = columns_of(str(extraction.get("payload")), read.pages)
        except SapLlmError as error:
            return fault_of(record, "unreadable", str(error))
        except PayloadError as error:
            return fault_of(record, "bad_json", f"The extraction's payload cannot be used: {error}")
        record["boxes_without_words"] = missed
        return self._document(record, content, read, columns)

    def _fault_of_stores(
        self, record: Mapping[str, Any], extraction: Mapping[str, Any] | None, content: bytes | None
    ) -> Fault | None:
        if record["document_type"] not in self._classes:
            return fault_of(record, "unknown_class", f"{record['document_type']!r} is no class of the taxonomy.")
        if fault := _fault_of_values(record):
            return fault
        if extraction is None:
            return fault_of(record, "no_extraction", "The document store has no record of this document.")
        if record["pattern"] is None:
            return fault_of(
                record,
                "dangling_reference",
                f"The graph has no pattern of vendor {record['vendor_number']!r} with template {record['template']!r}.",
            )
        if content is None:
            return fault_of(record, "missing_blob", "The file is not in the blob folder: copy it there, export again.")
        if sha256(content) != record["file_sha256"]:
            return fault_of(record, "blob_mismatch", "The file's bytes do not have the sha256 that names it.")
        return None

    def _document(
        self, record: dict[str, Any], content: bytes, read: ReadDocument, columns: dict[str, Any]
    ) -> SourceDocument:
        pattern = json.loads(record["pattern"])
        vendor = pattern.get("vendor_name") or record["vendor_number"]
        company = pattern.get("company")
        return SourceDocument(
            document_id=document_id(SOURCE, record["document_id"]),
            name=record["document_id"],
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
            aligned=Aligned(fields=columns["fields"], line_items=columns["line_items"], found={}),
            language=record["language"],
            quality=read.quality,
            vendor=vendor,
            layout=pattern.get("template"),
            is_test_layout=bool(pattern.get("is_reserved")),
            split_group=company or vendor or "",
            chain=record["process_number"],
            world=company,
            licence=self._licence,
            event_time=record["received_at"],
            annotator="truth" if record["status"] == _REVIEWED else f"model:{SOURCE}",
            changed_at=record["updated_at"],
            tables=columns["tables"],
            layout_blocks=columns["layout_blocks"],
        )


def changed_text(header: Mapping[str, Any]) -> str:
    """`updated_at` of a typed header as the census saw it: a text that is no time stands in `extra`."""
    if header["updated_at"] is not None:
        return str(header["updated_at"].isoformat())
    misfits = json.loads(header["extra"]) if header["extra"] else {}
    return str(misfits.get("updated_at") or "")


def fault_of(record: Mapping[str, Any], reason: str, detail: str) -> Fault:
    """The quarantine row of a header, with all that was read of it."""
    payload: dict[str, Any] = {"header": {name: value for name, value in record.items() if name not in _DERIVED}}
    if record["extraction"] is not None:
        payload["extraction"] = json.loads(record["extraction"])
    return Fault(record=record["document_id"], source=HEADERS, reason=reason, detail=detail, payload=payload)


def dangling_fault(identifier: str, extraction: Mapping[str, Any] | None) -> Fault:
    """The quarantine row of an extraction without header."""
    return Fault(
        record=identifier,
        source=EXTRACTIONS,
        reason="no_header",
        detail="The relational store has no header of this extraction: it cannot be classed or dated.",
        payload=extended_json(extraction) if extraction is not None else None,
    )


_DERIVED = {"extraction", "template", "pattern", "blob_bytes", "boxes_without_words", "state", "outcome"}


def _fault_of_values(record: Mapping[str, Any]) -> Fault | None:
    """A value that does not fit its column; `extra` also holds columns of the source that nobody expects."""
    misfits = json.loads(record["extra"]) if record["extra"] else {}
    for name in (*_TIMES, "total_amount"):
        if name in misfits:
            reason = "bad_time" if name in _TIMES else "bad_amount"
            return fault_of(record, reason, f"{name} cannot be read: {misfits[name]!r}.")
    return None
