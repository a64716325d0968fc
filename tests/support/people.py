"""Answers of people with planted agreements and differences, for tests of everything that reads `human_annotations`.

Belongs here: rows of the tables `annotations` and `answers` in few words. Where real answers come from is tested with
the desk.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from sap_llm.schema.annotation import ANSWERS
from sap_llm.schema.tables import ANNOTATIONS, conform

START = datetime(2025, 6, 2, 8, 0, tzinfo=UTC)


def field(name: str, value: str | None, box: Sequence[float] | None = None, **changes: Any) -> dict[str, Any]:
    """A field as a person marks it: without a box it points nowhere."""
    return {
        "field": name,
        "value": value,
        "printed": value,
        "page": None if box is None else 1,
        "box": None if box is None else list(box),
        "word_ids": None,
        "confidence": 1.0,
        "source": "human",
    } | changes


def line(number: int, **values: str) -> dict[str, Any]:
    """A line item."""
    return {
        "line_number": number,
        "page": 1,
        "box": None,
        "fields": [field(name, value) for name, value in values.items()],
    }


def answer(
    document: str,
    annotator: str,
    fields: Mapping[str, str] | Sequence[Mapping[str, Any]] = (),
    *,
    kind: str = "SUPPLIER_INVOICE",
    minutes: float = 0,
    **changes: Any,
) -> dict[str, Any]:
    """One answer; `minutes` after the start. Keys of both tables may be changed by name."""
    rows = [field(name, value) for name, value in fields.items()] if isinstance(fields, Mapping) else list(fields)
    revision = changes.get("revision", 1)
    return {
        "document_id": document,
        "annotator": annotator,
        "revision": revision,
        "source": "human",
        "created_at": START + timedelta(minutes=minutes),
        "document_type": kind,
        "document_subtype": None,
        "type_confidence": 1.0,
        "fields": rows,
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
        "queue": "annotators",
        "desk_id": f"{document}/{annotator}/{revision}",
        "lead_seconds": 60.0,
        "why": None,
        "decides_on": [],
    } | changes


def arbitration(document: str, senior: str, fields: Any = (), **changes: Any) -> dict[str, Any]:
    """A senior's decision; `decides_on` has to be given."""
    return answer(document, senior, fields, **({"queue": "seniors", "why": "the stamp covers the total"} | changes))


def tables(rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, pa.Table]:
    """The tables `annotations` and `answers`."""
    return tuple(  # type: ignore[return-value]
        conform([{name: row[name] for name in schema.names} for row in rows], schema)
        for schema in (ANNOTATIONS, ANSWERS)
    )
