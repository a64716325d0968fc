"""The annotation JSON (`schema.document.DocumentForm`) as columns of `annotations`: what a person wrote into a file.

Belongs here: pixels to page points and words, names of the edge to fields of the taxonomy. Where the files lie is
`file_desk`; rules that hold for every desk are `answer_values`.

The form says less than a row: boxes are whole pixels, and a line item has one box for all its values. A value is placed
on the words of its row where exactly one place in it says the same, otherwise it has no place. It has no layout blocks.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from sap_llm.annotation.answer_values import (
    known_class,
    known_field,
    known_subtype,
    on_page,
    person_says,
    read_value,
    words_in,
)
from sap_llm.annotation.desk import UnreadableAnswerError
from sap_llm.schema.document import DocumentForm, FieldForm, LineItemForm, PageForm, TableForm, edge_name
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import FieldSpec, load_taxonomy
from sap_llm.schema.values import canonical

Row = dict[str, Any]
_LONGEST_SPAN = 12  # words


def from_form(content: Any, pages: Sequence[Page], *, language: str | None = None) -> Row:
    """What a person answered: the columns of `tables.ANNOTATIONS` from `document_type` on, and `why`.

    Args:
        content: The JSON, parsed.
        pages: Pages of the document, in order.
        language: ISO 639-1 code; decides how printed numbers and dates are read.

    Raises:
        UnreadableAnswerError: It is no annotation JSON, or says something that cannot be.
    """
    try:
        form = DocumentForm.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableAnswerError("garbled", f"no annotation JSON: {where}: {first['msg']}", field=where) from error
    kind = known_class(form.document_type)
    reader = _Reader(kind, language)
    found = [(entry, _page(entry, pages)) for entry in form.pages]
    return {
        "document_type": kind,
        "document_subtype": known_subtype(kind, form.document_subtype),
        "type_confidence": 1.0,
        "fields": [reader.field(field, entry, page) for entry, page in found for field in entry.fields],
        "line_items": [reader.line_item(item, entry, page) for entry, page in found for item in entry.line_items],
        "tables": [_table(table, entry, page) for entry, page in found for table in entry.tables],
        "layout_blocks": [],
        "why": str(form.metadata["why"]) if form.metadata.get("why") else None,
    }


class _Reader:
    def __init__(self, kind: str, language: str | None) -> None:
        self._language = language
        self._names = {
            level: {edge_name(spec.name, kind): spec.name for spec in load_taxonomy().fields if spec.level == level}
            for level in ("header", "line")
        }

    def field(self, form: FieldForm, entry: PageForm, page: Page) -> Row:
        spec = self._spec(form.field_name, "header")
        box = None if form.bbox is None else _points(form.bbox, entry, page, field=spec.name)
        word_ids = None if box is None else words_in(page, box)
        words = " ".join(page.words[index] for index in word_ids or ())
        printed = form.printed or words or None
        if form.value is None:
            value = read_value(printed or "", spec, language=self._language, page=page.page_number)
        else:
            value = _value(form.value, spec)
        return person_says(spec.name, value, printed, page.page_number if box else None, box, word_ids)

    def line_item(self, form: LineItemForm, entry: PageForm, page: Page) -> Row:
        box = None if form.bbox is None else _points(form.bbox, entry, page, field=f"line item {form.line_number}")
        free = [] if box is None else words_in(page, box)
        values = {"line_number": form.line_number} | (form.model_extra or {})
        specs = {name: self._spec(name, "line") for name, value in values.items() if value is not None}
        fields = []
        for name, spec in specs.items():
            value = _value(values[name], spec)
            span = _only_span(page, free, value, spec, self._language)
            place = None if span is None else (page.page_number, page.union(span), span)
            printed = None if span is None else " ".join(page.words[index] for index in span)
            fields.append(person_says(spec.name, value, printed, *(place or (None, None, None))))
        number = page.page_number if box is not None else None
        return {"line_number": form.line_number, "page": number, "box": box, "fields": fields}

    def _spec(self, name: str, level: str) -> FieldSpec:
        return known_field(self._names[level].get(name, name), level=level)


def _page(entry: PageForm, pages: Sequence[Page]) -> Page:
    if not 1 <= entry.page_number <= len(pages) or entry.image_width <= 0 or entry.image_height <= 0:
        raise UnreadableAnswerError(
            "no_place",
            f"no page {entry.page_number} of {entry.image_width} x {entry.image_height} pixels, there are {len(pages)}",
            field="pages",
        )
    return pages[entry.page_number - 1]


def _points(box: Sequence[int], entry: PageForm, page: Page, *, field: str) -> list[float]:
    x, y = page.width / entry.image_width, page.height / entry.image_height
    return on_page([box[0] * x, box[1] * y, box[2] * x, box[3] * y], page, field=field)


def _value(value: Any, spec: FieldSpec) -> str:
    text = format(Decimal(str(value)), "f") if isinstance(value, int | float) else str(value)
    return read_value(text, spec, language=None, page=None)


def _table(table: TableForm, entry: PageForm, page: Page) -> Row:
    if len(table.cells) > table.rows or any(len(row) > table.columns for row in table.cells):
        raise UnreadableAnswerError(
            "garbled", f"a table of {table.rows} x {table.columns} has more cells", field="tables"
        )
    cells = [
        {"row": row, "column": column, "row_span": 1, "column_span": 1, "text": text, "word_ids": None}
        for row, texts in enumerate(table.cells)
        for column, text in enumerate(texts)
        if text
    ]
    box = None if table.bbox is None else _points(table.bbox, entry, page, field="table")
    return {"page": page.page_number, "box": box, "rows": table.rows, "columns": table.columns, "cells": cells}


def _only_span(page: Page, free: list[int], value: str, spec: FieldSpec, language: str | None) -> list[int] | None:
    """The only run of the row's words that says the value; None where there is no such or more than one."""
    found = [
        span
        for span in _spans(free)
        if canonical(" ".join(page.words[index] for index in span), spec.type, language=language) == value
    ]
    return found[0] if len(found) == 1 else None


def _spans(ids: Sequence[int]) -> Iterator[list[int]]:
    for start in range(len(ids)):
        for end in range(start + 1, min(len(ids), start + _LONGEST_SPAN) + 1):
            yield list(ids[start:end])
