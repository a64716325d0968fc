"""The record of one exported document: its columns and types, and what a relational source may do to them.

Belongs here: the Arrow contract of the table `records`, bringing rows of any source to it without losing a value, and
naming where a source's columns differ. Reading rows is `qorsync_headers`; what the other stores add is `qorsync_join`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from sap_llm.schema.tables import TIMESTAMP

MONEY = pa.decimal128(38, 10)  # wide enough for NUMERIC(28, 10); the scale is fixed so that equal amounts are equal
KEPT, DUPLICATE = "kept", "duplicate"
REQUIRED = ("document_id", "processed_at", "updated_at", "file_sha256")
"""Without these columns nothing can be dated, joined or resumed."""

HEADER = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("document_type", pa.string()),
        pa.field("document_subtype", pa.string()),
        pa.field("language", pa.string()),
        pa.field("status", pa.string()),
        pa.field("vendor_number", pa.string()),
        pa.field("process_number", pa.string()),
        pa.field("document_number", pa.string()),
        pa.field("total_amount", MONEY),
        pa.field("currency", pa.string()),
        pa.field("file_sha256", pa.string()),
        pa.field("media_type", pa.string()),
        pa.field("received_at", TIMESTAMP),
        pa.field("processed_at", TIMESTAMP),
        pa.field("updated_at", TIMESTAMP),
        pa.field("extra", pa.string()),  # JSON: columns beyond these, and values that do not fit their type
    ]
)
CONTRACT = tuple(name for name in HEADER.names if name != "extra")
RECORDS = pa.schema(
    [
        *HEADER,
        pa.field("extraction", pa.string()),  # canonical extended JSON: Decimal128, dates, ObjectId, binary keep type
        pa.field("template", pa.string()),
        pa.field("pattern", pa.string()),  # JSON: what the graph knows of vendor and template
        pa.field("blob_bytes", pa.int64()),  # size of the file; null where it is missing
        pa.field("boxes_without_words", pa.int32()),  # stated places that hold no word of the page; null if not kept
        pa.field("state", pa.string(), nullable=False),  # hash of what the four stores said of this document
        pa.field("outcome", pa.string(), nullable=False),  # kept, duplicate, or the reason in quarantine
    ]
)
"""One row for every header that was read, whatever became of it."""

_TEXTS = {"text", "varchar", "character varying", "character", "char", "uuid"}
_FITTING: Mapping[pa.DataType, set[str]] = {
    pa.string(): _TEXTS,
    MONEY: _TEXTS | {"numeric", "decimal", "integer", "bigint", "smallint"},
    TIMESTAMP: _TEXTS | {"timestamp with time zone", "timestamp without time zone", "date"},
}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How the columns of a source differ from what was expected, by name."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`added a, b; removed c`, or an empty text."""
        parts = (("added", self.added), ("removed", self.removed), ("retyped", self.retyped))
        return "; ".join(f"{kind} {', '.join(names)}" for kind, names in parts if names)


def drift_from_contract(columns: Mapping[str, str]) -> Drift:
    """What a table with these columns (name -> type as the source says it) has more, less or otherwise."""
    return Drift(
        added=tuple(sorted(columns.keys() - set(CONTRACT))),
        removed=tuple(sorted(set(CONTRACT) - columns.keys())),
        retyped=tuple(
            f"{name} ({columns[name]})"
            for name in CONTRACT
            if name in columns and columns[name] not in _FITTING[HEADER.field(name).type]
        ),
    )


def drift_since(before: Mapping[str, str], now: Mapping[str, str]) -> Drift:
    """What changed between two exports of one source."""
    return Drift(
        added=tuple(sorted(now.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - now.keys())),
        retyped=tuple(
            f"{name} ({before[name]} -> {now[name]})"
            for name in sorted(before.keys() & now.keys())
            if before[name] != now[name]
        ),
    )


def typed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the columns of `HEADER`, in its types; a value that does not fit is null and stays in `extra`."""
    columns: dict[str, pa.Array] = {}
    misfits: dict[int, dict[str, str]] = {}
    for field in HEADER:
        array = batch.column(field.name)
        try:
            columns[field.name] = array if array.type == field.type else array.cast(field.type)
        except pa.ArrowInvalid:
            columns[field.name] = _one_by_one(array, field, misfits)
    if misfits:
        extra = columns["extra"].to_pylist()
        for row, values in misfits.items():
            extra[row] = json.dumps(json.loads(extra[row] or "{}") | values, ensure_ascii=False, sort_keys=True)
        columns["extra"] = pa.array(extra, pa.string())
    return pa.RecordBatch.from_arrays([columns[name] for name in HEADER.names], schema=HEADER)


def moment(text: str) -> datetime:
    """A time in ISO 8601 as UTC; without a zone it is taken to be UTC.

    Raises:
        ValueError: It is no such time.
    """
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _money(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite():
        raise ValueError(text)
    rounded = amount.quantize(Decimal(1).scaleb(-MONEY.scale))
    if rounded != amount:
        raise ValueError(f"more than {MONEY.scale} decimals: {text}")
    return rounded


_READ: Mapping[pa.DataType, Callable[[str], Any]] = {MONEY: _money, TIMESTAMP: moment, pa.string(): str}


def _one_by_one(array: pa.Array, field: pa.Field, misfits: dict[int, dict[str, str]]) -> pa.Array:
    values: list[Any] = []
    for row, value in enumerate(array.to_pylist()):
        try:
            values.append(None if value is None or value == "" else _READ[field.type](str(value)))
        except (ValueError, InvalidOperation, OverflowError):
            values.append(None)
            misfits.setdefault(row, {})[field.name] = str(value)
    return pa.array(values, field.type)
