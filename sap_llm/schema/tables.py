"""Arrow schemas of the corpus: the contract between all stages.

A corpus is four tables (`documents`, `pages`, `annotations`, `blobs`) plus `quarantine`. Schemas and the tiny helpers
that build conforming tables belong here; reading and writing files does not (`storage`).

Conventions: boxes are float32 `[x0, y0, x1, y1]` in page points (1/72 inch), origin top left, after rotation and crop
box. Words are referred to by their index in the page's word list (`word_ids`). Values are canonical strings: money and
quantities as plain decimals with a point, dates as ISO 8601, everything else as trimmed text; what the page shows is
kept in `printed`. Times are UTC.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = "1.0"

# Four floats. Not a fixed-size list: Parquet files with a null one inside a struct are written, but never read again
# (pyarrow 25: "Expected all lists to be of size=4 but index n had size=0").
BOX = pa.list_(pa.float32())
WORD_IDS = pa.list_(pa.int32())
TIMESTAMP = pa.timestamp("us", tz="UTC")

FIELD = pa.struct(
    [
        pa.field("field", pa.string(), nullable=False),  # taxonomy name, e.g. total_amount
        pa.field("value", pa.string()),  # canonical value
        pa.field("printed", pa.string()),  # text as it stands on the page; null when it is not printed
        pa.field("page", pa.int16()),  # 1-based; null when not printed
        pa.field("box", BOX),
        pa.field("word_ids", WORD_IDS),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # synthetic | xml | export | human | model
    ]
)
LINE_ITEM = pa.struct(
    [
        pa.field("line_number", pa.int32(), nullable=False),
        pa.field("page", pa.int16()),
        pa.field("box", BOX),
        pa.field("fields", pa.list_(FIELD), nullable=False),
    ]
)
CELL = pa.struct(
    [
        pa.field("row", pa.int16(), nullable=False),
        pa.field("column", pa.int16(), nullable=False),
        pa.field("row_span", pa.int16(), nullable=False),
        pa.field("column_span", pa.int16(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("word_ids", WORD_IDS),
    ]
)
TABLE = pa.struct(
    [
        pa.field("page", pa.int16(), nullable=False),
        pa.field("box", BOX),
        pa.field("rows", pa.int16(), nullable=False),
        pa.field("columns", pa.int16(), nullable=False),
        pa.field("cells", pa.list_(CELL), nullable=False),
    ]
)
LAYOUT_BLOCK = pa.struct(
    [
        pa.field("page", pa.int16(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # header | address | table | totals | text | footer
        pa.field("box", BOX),
        pa.field("word_ids", WORD_IDS),
    ]
)

DOCUMENTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),  # doc-<uuid>
        pa.field("source", pa.string(), nullable=False),  # synthetic | qorsync | sroie | zugferd | order-x | ...
        pa.field("role", pa.string(), nullable=False),  # train | develop | test_only
        pa.field("document_type", pa.string(), nullable=False),  # taxonomy class
        pa.field("document_subtype", pa.string()),
        pa.field("language", pa.string()),  # ISO 639-1
        pa.field("page_count", pa.int16(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),  # 0..1, of the reading
        pa.field("sha256", pa.string(), nullable=False),  # of the file; key into blobs
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("world", pa.string()),  # closed world of the simulator
        pa.field("vendor", pa.string()),
        pa.field("chain", pa.string()),  # order -> confirmation -> receipt -> invoice
        pa.field("layout", pa.string()),  # layout id of a synthetic document, template family of a real one
        pa.field("is_test_layout", pa.bool_(), nullable=False),
        pa.field("split_group", pa.string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("event_time", TIMESTAMP),  # when the business event happened
        pa.field("ingest_time", TIMESTAMP),
    ]
)
PAGES = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("page_number", pa.int16(), nullable=False),  # 1-based
        pa.field("width", pa.float32(), nullable=False),  # points
        pa.field("height", pa.float32(), nullable=False),
        pa.field("words", pa.list_(pa.string()), nullable=False),
        pa.field("boxes", pa.list_(BOX), nullable=False),
        pa.field("lines", pa.list_(pa.int32()), nullable=False),  # visual line number of each word, from 0
        pa.field("reader", pa.string(), nullable=False),  # text_layer | ocr | typeset | source
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("image_sha256", pa.string()),
    ]
)
ANNOTATIONS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),  # truth | person's id | model:<version>
        pa.field("revision", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # synthetic | xml | export | human | model
        pa.field("created_at", TIMESTAMP),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("document_subtype", pa.string()),
        pa.field("type_confidence", pa.float32(), nullable=False),
        pa.field("fields", pa.list_(FIELD), nullable=False),
        pa.field("line_items", pa.list_(LINE_ITEM), nullable=False),
        pa.field("tables", pa.list_(TABLE), nullable=False),
        pa.field("layout_blocks", pa.list_(LAYOUT_BLOCK), nullable=False),
    ]
)
BLOBS = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("content", pa.large_binary(), nullable=False),
    ]
)
QUARANTINE = pa.schema(
    [
        pa.field("record", pa.string(), nullable=False),  # id of the record: document id, file, primary key
        pa.field("source", pa.string(), nullable=False),  # file or table and row where it was met
        pa.field("field", pa.string()),
        pa.field("reason", pa.string(), nullable=False),  # short code: missing_blob, bad_json, ...
        pa.field("detail", pa.string(), nullable=False),  # sentence for a person, with the remedy
        pa.field("payload", pa.string()),  # the record itself (JSON) as far as it could be read
    ]
)

CORPUS: dict[str, pa.Schema] = {
    "documents": DOCUMENTS,
    "pages": PAGES,
    "annotations": ANNOTATIONS,
    "blobs": BLOBS,
    "quarantine": QUARANTINE,
}
"""Schema of each corpus table by name."""

LOGICAL_KEY: dict[str, tuple[str, ...]] = {
    "documents": ("document_id",),
    "pages": ("document_id", "page_number"),
    "annotations": ("document_id", "annotator", "revision"),
    "blobs": ("sha256",),
    "quarantine": ("record", "source", "reason"),
}
"""Columns that identify a row of each corpus table."""


def conform(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Build a table of exactly `schema` from row mappings; missing keys become null.

    Raises:
        pa.ArrowInvalid: A value does not fit its column, or a required column is null.
    """
    table = pa.Table.from_pylist(list(rows), schema=schema)
    table.validate(full=True)
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise pa.ArrowInvalid(f"column {field.name} must not be null")
    return table
