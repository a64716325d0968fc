"""What a truth says that can be seen on the pages shown, in the terms of an answer.

Belongs here: choosing one printed mention of each field and the printed cells of line items, and writing them as an
answer's JSON. Reading answers back is `answers`, their form `answer_schema`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sap_llm.modeling.generative.answer_schema import Kind, fits, header_fields, line_fields
from sap_llm.modeling.generative.frame import Frame

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Printed values of one document.

    Attributes:
        document_type: Class.
        document_subtype: Subtype, where it has one.
        header: Taxonomy name -> row of `tables.FIELD`, in the taxonomy's order; only what is printed.
        line_items: Line items in order, each name -> row of `tables.FIELD`; only what is printed.
        absent: Header fields of which the truth says that the document does not have them.
    """

    document_type: str
    document_subtype: str | None
    header: Mapping[str, Row]
    line_items: tuple[Mapping[str, Row], ...]
    absent: frozenset[str]

    @classmethod
    def of(cls, truth: Row, *, covered: Collection[str]) -> "Facts":
        """The facts of a row of `tables.ANNOTATIONS`.

        A field with several values counts with the first that is printed; what is known but not printed can be
        neither asked for nor called absent.

        Args:
            truth: The row.
            covered: Header fields that the truth's source always names where a document has them.
        """
        named = {entry["field"] for entry in truth["fields"]}
        items = (_printed(item["fields"], line_fields()) for item in truth["line_items"])
        return cls(
            document_type=truth["document_type"],
            document_subtype=truth["document_subtype"],
            header=_printed(truth["fields"], header_fields()),
            line_items=tuple(item for item in items if item),
            absent=frozenset(covered) - named,
        )

    def misfit(self) -> str | None:
        """A field whose value has not the form that an answer wants, or None."""
        rows = [row for item in (self.header, *self.line_items) for row in item.values()]
        return next((row["field"] for row in rows if not fits(row["field"], row["value"])), None)

    def answer(
        self, kind: Kind, frames: Sequence[Frame], *, fields: Collection[str] = (), field: str | None = None
    ) -> dict[str, Any]:
        """The right answer to an instruction other than a question.

        Args:
            kind: Of the instruction.
            frames: Of the pages shown, first page first.
            fields: Header fields that `extract` may name; all by default.
            field: The one that `extract_field` asks for.
        """
        found = {name: _shown(row, frames) for name, row in self.header.items() if not fields or name in fields}
        if kind == "extract_field":
            assert field is not None
            return {field: found.get(field)}
        lines = [_item(item, frames) for item in self.line_items]
        if kind == "table":
            return {"line_items": lines}
        classes = {"document_type": self.document_type, "document_subtype": self.document_subtype}
        return classes if kind == "classify" else {**classes, "fields": found, "line_items": lines}


def to_json(answer: Mapping[str, Any]) -> str:
    """An answer as the model writes it: no spaces, no escapes that need not be."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def _printed(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Row]:
    first: dict[str, Row] = {}
    for row in rows:
        if row["value"] and row["printed"] is not None and row["box"] is not None:
            first.setdefault(row["field"], row)
    return {name: first[name] for name in names if name in first}


def _shown(row: Row, frames: Sequence[Frame]) -> dict[str, Any]:
    frame = frames[row["page"] - 1]
    return {"value": row["value"], "page": row["page"], "box": list(frame.to_pixels(row["box"]))}


def _item(item: Mapping[str, Row], frames: Sequence[Frame]) -> dict[str, Any]:
    """A line item on the page of its first cell, in the box around its cells there."""
    page = next(iter(item.values()))["page"]
    boxes = [row["box"] for row in item.values() if row["page"] == page]
    left, top, right, bottom = zip(*boxes, strict=True)
    box = frames[page - 1].to_pixels((min(left), min(top), max(right), max(bottom)))
    return {"page": page, "box": list(box), **{name: row["value"] for name, row in item.items()}}
