"""Drawn pages to rows: words in reading order, and fields, line items, cells and blocks joined to them.

Reading order and annotation rows of the volume tier belong here; drawing does not (`canvas`), nor the rows that both
tiers share (`synthetic.rows`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.reading.lines import order_with_margin
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.volume.canvas import Canvas

Cells = dict[tuple[int, int], list[int]]
"""Row and column -> word ids."""
_MANY = 40  # words from which on numpy is quicker than a loop


class ReadPage:
    """One page in reading order."""

    def __init__(self, number: int, canvas: Canvas) -> None:
        places = canvas.places()
        order: npt.NDArray[np.integer[Any]]
        if len(places):  # words of one baseline come to the reader in the order of the file
            given = canvas.file_order()
            order, lines, self.margin = order_with_margin(places[given, :4], baselines=np.round(places[given, 4], 3))
            order = given[order]
        else:
            order, lines, self.margin = order_with_margin(places, places[:, 4])
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        drawn = canvas.words
        self.number = number
        self.words = [drawn[index] for index in order.tolist()]
        self.places = places[order, :4].astype(np.float32)
        self.boxes: list[list[float]] = self.places.tolist()
        self.lines: list[int] = lines.tolist()
        self.rank: list[int] = rank.tolist()
        self.mentions, self.blocks = canvas.mentions, canvas.blocks

    def row(self, document_id: str, width: float, height: float) -> Row:
        """The row of `pages`."""
        return {
            "document_id": document_id,
            "page_number": self.number,
            "width": float(np.float32(width)),
            "height": float(np.float32(height)),
            "words": self.words,
            "boxes": self.boxes,
            "lines": self.lines,
            "reader": "typeset",
            "quality": 1.0,
            "image_sha256": None,
        }

    def box(self, ids: Sequence[int]) -> list[float]:
        """The smallest box around words."""
        if len(ids) > _MANY:
            chosen = self.places[ids]
            return chosen[:, :2].min(axis=0).tolist() + chosen[:, 2:].max(axis=0).tolist()  # type: ignore[no-any-return]
        boxes = self.boxes
        left, top, right, bottom = zip(*[boxes[index] for index in ids], strict=True)
        return [min(left), min(top), max(right), max(bottom)]

    def run(self, start: int, stop: int) -> tuple[list[int], str, list[float]]:
        """Word ids in reading order, text and box of a run of drawn words."""
        ids = sorted(self.rank[start:stop])
        words = self.words
        return ids, " ".join([words[index] for index in ids]), self.box(ids)


def truth_of(pages: Sequence[ReadPage], lines: Sequence[dict[str, Any]]) -> dict[str, list[Row]]:
    """The lists of the annotation row: fields, line items, tables and layout blocks."""
    fields: list[Row] = []
    items: dict[int, list[Row]] = {}
    tables: list[Row] = []
    blocks: list[Row] = []
    for page in pages:
        cells = _read_mentions(page, fields, items)
        for start, stop, kind in page.blocks:
            ids, _, box = page.run(start, stop)
            blocks.append({"page": page.number, "kind": kind, "box": box, "word_ids": ids})
        if cells:
            table, ids = _table(page, cells)
            tables.append(table)
            blocks.append({"page": page.number, "kind": "table", "box": table["box"], "word_ids": ids})
    return {
        "fields": fields,
        "line_items": [_item(lines[index]["number"], entries) for index, entries in sorted(items.items())],
        "tables": tables,
        "layout_blocks": blocks,
    }


def _read_mentions(page: ReadPage, fields: list[Row], items: dict[int, list[Row]]) -> Cells:
    """Add the entries of a page to those of the document's header and lines; returns the words of the table's cells."""
    number, rank, words, boxes = page.number, page.rank, page.words, page.boxes
    cells: Cells = {}
    for start, stop, name, value, line, row, column in page.mentions:
        if stop - start == 1:  # most runs are
            only = rank[start]
            ids, printed, box = [only], words[only], boxes[only]
        else:
            ids, printed, box = page.run(start, stop)
        others = None
        if row >= 0:
            others = cells.get((row, column))
            cells[row, column] = ids if others is None else others + ids
        if not name:
            continue
        entry = {
            "field": name,
            "value": value,
            "printed": printed,
            "page": number,
            "box": box,
            "word_ids": ids,
            "confidence": 1.0,
            "source": "synthetic",
        }
        if line < 0:
            fields.append(entry)
        elif others is None or not _continues(page, items.get(line, []), entry):
            items.setdefault(line, []).append(entry)
    return cells


def _continues(page: ReadPage, entries: list[Row], entry: Row) -> bool:
    """Whether an entry is a further line of one that is there, which then takes its words."""
    for other in entries:
        if other["field"] == entry["field"]:
            ids = sorted(other["word_ids"] + entry["word_ids"])
            other |= {"word_ids": ids, "box": page.box(ids), "printed": " ".join([page.words[one] for one in ids])}
            return True
    return False


def _item(number: int, entries: list[Row]) -> Row:
    page = entries[0]["page"]
    left, top, right, bottom = zip(*[entry["box"] for entry in entries if entry["page"] == page], strict=True)
    return {
        "line_number": number,
        "page": page,
        "box": [min(left), min(top), max(right), max(bottom)],
        "fields": entries,
    }


def _table(page: ReadPage, cells: Cells) -> tuple[Row, list[int]]:
    """The row of a table, and all its words."""
    rows = {row: position for position, row in enumerate(sorted({row for row, _ in cells}))}
    words = page.words
    shown, every = [], []
    last_column = 0
    for (row, column), found in sorted(cells.items()):
        last_column = max(last_column, column)
        ids = sorted(found) if len(found) > 1 else found
        every += ids
        shown.append(
            {
                "row": rows[row],
                "column": column,
                "row_span": 1,
                "column_span": 1,
                "text": words[ids[0]] if len(ids) == 1 else " ".join([words[index] for index in ids]),
                "word_ids": ids,
            }
        )
    every.sort()
    table = {
        "page": page.number, "box": page.box(every), "rows": len(rows), "columns": last_column + 1, "cells": shown,
    }  # fmt: skip
    return table, every
