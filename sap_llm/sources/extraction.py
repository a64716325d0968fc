"""QorSync's extraction payload: its form, and joining its boxes to the words of a page.

Belongs here: both directions, annotation row to payload (for seeding a local source) and payload to annotation columns
(for the export), so that they cannot drift apart. Stores are `qorsync_stores`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sap_llm.schema.page import Page

_TOLERANCE_POINTS = 0.5
_SOURCE = "export"


class PayloadError(ValueError):
    """A payload that is no JSON or lacks what it must have; the message is for the quarantine row."""


def payload_of(annotation: Mapping[str, Any], pages: Mapping[int, Page]) -> str:
    """The JSON that QorSync would hold for a row of `annotations`; places are page and box, never word ids."""
    return json.dumps(
        {
            "document_type": annotation["document_type"],
            "document_subtype": annotation["document_subtype"],
            "fields": [_field_out(field) for field in annotation["fields"]],
            "line_items": [
                {"number": item["line_number"], "fields": [_field_out(field) for field in item["fields"]]}
                for item in annotation["line_items"]
            ],
            "tables": [_table_out(table, pages) for table in annotation["tables"]],
            "blocks": [
                {"page": block["page"], "kind": block["kind"], "box": block["box"]}
                for block in annotation["layout_blocks"]
            ],
        },
        ensure_ascii=False,
    )


def columns_of(payload: str, pages: Sequence[Page]) -> tuple[dict[str, Any], int]:
    """Annotation columns (`fields`, `line_items`, `tables`, `layout_blocks`, type and subtype) of a payload.

    Returns:
        The columns, and how many boxes hold no word of the page (their fields keep the value, `printed` is null).

    Raises:
        PayloadError: No JSON, or a key is missing or of the wrong kind.
    """
    by_number = {page.page_number: page for page in pages}
    missed: list[str] = []
    try:
        record = json.loads(payload)
        columns = {
            "document_type": str(record["document_type"]),
            "document_subtype": record.get("document_subtype"),
            "fields": [_field_in(field, by_number, missed) for field in record["fields"]],
            "line_items": [_item_in(item, by_number, missed) for item in record["line_items"]],
            "tables": [_table_in(table, by_number) for table in record.get("tables", [])],
            "layout_blocks": [_block_in(block, by_number) for block in record.get("blocks", [])],
        }
    except json.JSONDecodeError as error:
        raise PayloadError(f"not JSON: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PayloadError(f"not an extraction: {error!r}") from error
    return columns, len(missed)


def words_in(page: Page, box: Sequence[float], text: str | None = None) -> list[int]:
    """Indices of the words whose middle lies in `box`; where that catches strangers, those that spell `text`."""
    if not page.words:
        return []
    middles = (page.boxes[:, :2] + page.boxes[:, 2:]) / 2
    low, high = np.asarray(box[:2]) - _TOLERANCE_POINTS, np.asarray(box[2:]) + _TOLERANCE_POINTS
    inside: list[int] = np.flatnonzero(((middles >= low) & (middles <= high)).all(axis=1)).tolist()
    if text is None or " ".join(page.words[index] for index in inside) == text:
        return inside
    wanted = text.split()
    spelled: list[int] = []
    for index in inside:
        if len(spelled) < len(wanted) and page.words[index] == wanted[len(spelled)]:
            spelled.append(index)
    return spelled if len(spelled) == len(wanted) else inside


def _field_out(field: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": field["field"],
        "value": field["value"],
        "text": field["printed"],
        "page": field["page"],
        "box": field["box"],
        "confidence": field["confidence"],
    }


def _field_in(field: Mapping[str, Any], pages: Mapping[int, Page], missed: list[str]) -> dict[str, Any]:
    page = pages.get(field["page"]) if field["page"] is not None else None
    words = words_in(page, field["box"], field["text"]) if page and field["box"] else []
    if not words and field["text"] is not None:
        missed.append(field["name"])
    return {
        "field": str(field["name"]),
        "value": None if field["value"] is None else str(field["value"]),
        "printed": " ".join(page.words[index] for index in words) if page and words else None,
        "page": page.page_number if page and words else None,
        "box": page.union(words) if page and words else None,
        "word_ids": words or None,
        "confidence": float(field.get("confidence", 1.0)),
        "source": _SOURCE,
    }


def _item_in(item: Mapping[str, Any], pages: Mapping[int, Page], missed: list[str]) -> dict[str, Any]:
    fields = [_field_in(field, pages, missed) for field in item["fields"]]
    placed = [field for field in fields if field["word_ids"]]
    number: int | None = None
    box: list[float] | None = None
    if placed:
        number = int(placed[0]["page"])
        words = [word for field in placed if field["page"] == number for word in field["word_ids"]]
        box = pages[number].union(words)
    return {"line_number": int(item["number"]), "page": number, "box": box, "fields": fields}


def _table_out(table: Mapping[str, Any], pages: Mapping[int, Page]) -> dict[str, Any]:
    page = pages[table["page"]]
    cells = [
        {
            "row": cell["row"],
            "column": cell["column"],
            "text": cell["text"],
            "box": page.union(list(cell["word_ids"])) if cell["word_ids"] else None,
        }
        for cell in table["cells"]
    ]
    return {key: table[key] for key in ("page", "box", "rows", "columns")} | {"cells": cells}


def _table_in(table: Mapping[str, Any], pages: Mapping[int, Page]) -> dict[str, Any]:
    page = pages[table["page"]]
    cells = [
        {
            "row": cell["row"],
            "column": cell["column"],
            "row_span": 1,
            "column_span": 1,
            "text": cell["text"],
            "word_ids": words_in(page, cell["box"], cell["text"]) if cell["box"] else [],
        }
        for cell in table["cells"]
    ]
    return {key: table[key] for key in ("page", "box", "rows", "columns")} | {"cells": cells}


def _block_in(block: Mapping[str, Any], pages: Mapping[int, Page]) -> dict[str, Any]:
    words = words_in(pages[block["page"]], block["box"]) if block["box"] else []
    return {"page": block["page"], "kind": str(block["kind"]), "box": block["box"], "word_ids": words}
