"""The document's form at the edge: the annotation JSON that people, APIs and tools exchange.

Belongs here: the pydantic models of that JSON and their conversion from and to rows of the `annotations` table. Inside
the house rows travel as Arrow (`tables`), because object by object is too slow for millions.

Source of the form: roadmap, month 2, "Annotation Schema". Boxes are pixels of the stated image size here, at
`DOTS_PER_INCH`; inside they are page points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy

DOTS_PER_INCH = 300
_SCALE = DOTS_PER_INCH / 72
_NUMERIC = {"amount", "quantity", "integer", "percent"}
_EXACT_DIGITS = 15  # a float holds that many decimal digits exactly; longer numbers stay text

Value = str | float | int | None


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FieldForm(_Form):
    """One extracted header field."""

    field_name: str
    field_type: str
    value: Value
    printed: str | None = None
    currency: str | None = None
    bbox: tuple[int, int, int, int] | None
    confidence: float
    source: str


class LineItemForm(BaseModel):
    """One line item: its number, box and one key per line field (`description`, `quantity`, ...)."""

    model_config = ConfigDict(extra="allow")

    line_number: int
    bbox: tuple[int, int, int, int] | None
    confidence: float


class SpanForm(_Form):
    """A cell that covers several rows or columns from its own on; all count from 0."""

    row: int
    column: int
    row_span: int
    column_span: int


class TableForm(_Form):
    """One table as rows of cell texts, with their boxes where the words are known."""

    bbox: tuple[int, int, int, int] | None
    rows: int
    columns: int
    cells: list[list[str]]
    cell_boxes: list[list[tuple[int, int, int, int] | None]] = []
    spans: list[SpanForm] = []


class BlockForm(_Form):
    """One block of the layout: header, address, table, totals, text or footer."""

    kind: str
    bbox: tuple[int, int, int, int] | None


class PageForm(_Form):
    """One page with what was found on it."""

    page_number: int
    image_width: int
    image_height: int
    fields: list[FieldForm]
    line_items: list[LineItemForm]
    tables: list[TableForm]
    blocks: list[BlockForm] = []


class DocumentForm(_Form):
    """A whole document, as the roadmap's annotation JSON spells it."""

    document_id: str
    document_type: str
    document_subtype: str | None
    language: str | None
    pages: list[PageForm]
    metadata: dict[str, Any]

    @classmethod
    def from_row(
        cls,
        row: Mapping[str, Any],
        *,
        page_sizes: Sequence[tuple[float, float]],
        pages: Sequence[Page] = (),
        language: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> "DocumentForm":
        """Build the form from a row of `annotations`.

        Args:
            row: Mapping with the columns of `tables.ANNOTATIONS`.
            page_sizes: Width and height in points of pages 1, 2, ...
            pages: The pages with their words, where cells shall have boxes.
            language: ISO 639-1 code.
            metadata: Added to annotator, time and class confidence.
        """
        kind = row["document_type"]
        currency = next(
            (field["value"] for field in row["fields"] if field["field"] == "currency"),
            None,
        )
        words = {page.page_number: page for page in pages}
        forms = [
            PageForm(
                page_number=number,
                image_width=round(width * _SCALE),
                image_height=round(height * _SCALE),
                fields=[
                    _field_form(field, kind, currency) for field in row["fields"] if (field["page"] or 1) == number
                ],
                line_items=[_line_form(item, kind) for item in row["line_items"] if (item["page"] or 1) == number],
                tables=[_table_form(table, words.get(number)) for table in row["tables"] if table["page"] == number],
                blocks=[
                    BlockForm(kind=block["kind"], bbox=_pixels(block["box"]))
                    for block in row.get("layout_blocks", ())
                    if block["page"] == number
                ],
            )
            for number, (width, height) in enumerate(page_sizes, start=1)
        ]
        created = row.get("created_at")
        about = {
            "annotator_id": row["annotator"],
            "annotation_time": created.isoformat() if created else None,
            "type_confidence": round(float(row["type_confidence"]), 4),
        }
        return cls(
            document_id=row["document_id"],
            document_type=kind,
            document_subtype=row.get("document_subtype"),
            language=language,
            pages=forms,
            metadata=about | dict(metadata or {}),
        )


def edge_name(field: str, document_type: str) -> str:
    """The name that the annotation JSON uses for a taxonomy field on a class (`po_number` for a purchase order)."""
    return load_taxonomy().field(field).aliases.get(document_type, field)


def _field_form(field: Mapping[str, Any], kind: str, currency: str | None) -> FieldForm:
    spec = load_taxonomy().field(field["field"])
    return FieldForm(
        field_name=edge_name(field["field"], kind),
        field_type=spec.type,
        value=_edge_value(field["value"], spec.type),
        printed=field.get("printed"),
        currency=currency if spec.type == "amount" else None,
        bbox=_pixels(field["box"]),
        confidence=round(float(field["confidence"]), 4),
        source=field["source"],
    )


def _line_form(item: Mapping[str, Any], kind: str) -> LineItemForm:
    taxonomy = load_taxonomy()
    values = {
        edge_name(field["field"], kind): _edge_value(field["value"], taxonomy.field(field["field"]).type)
        for field in item["fields"]
        if field["field"] != "line_number"
    }
    confidence = min((float(field["confidence"]) for field in item["fields"]), default=0.0)
    return LineItemForm(
        line_number=item["line_number"],
        bbox=_pixels(item["box"]),
        confidence=round(confidence, 4),
        **values,
    )


def _table_form(table: Mapping[str, Any], page: Page | None) -> TableForm:
    cells = [["" for _ in range(table["columns"])] for _ in range(table["rows"])]
    boxes: list[list[tuple[int, int, int, int] | None]] = [[None] * table["columns"] for _ in cells]
    spans = []
    for cell in table["cells"]:
        cells[cell["row"]][cell["column"]] = cell["text"] or ""
        if page is not None and cell["word_ids"]:
            boxes[cell["row"]][cell["column"]] = _pixels(page.union(cell["word_ids"]))
        if cell["row_span"] > 1 or cell["column_span"] > 1:
            spans.append(SpanForm(**{name: cell[name] for name in SpanForm.model_fields}))
    return TableForm(
        bbox=_pixels(table["box"]),
        rows=table["rows"],
        columns=table["columns"],
        cells=cells,
        cell_boxes=boxes if page is not None else [],
        spans=spans,
    )


def _edge_value(value: str | None, kind: str) -> Value:
    if value is None or kind not in _NUMERIC or sum(char.isdigit() for char in value) > _EXACT_DIGITS:
        return value
    try:
        return int(value) if kind == "integer" else float(value)
    except ValueError:  # a correction may hold anything
        return value


def _pixels(box: Sequence[float] | None) -> tuple[int, int, int, int] | None:
    if box is None:
        return None
    x0, y0, x1, y1 = (round(float(edge) * _SCALE) for edge in box)
    return x0, y0, x1, y1
