"""Drawn pages to rows: words in reading order, and fields, line items, cells and blocks joined to them.

Reading order and annotation rows of the volume tier belong here; drawing does not (`canvas`), nor the rows that both
tiers share (`synthetic.rows`).
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.reading.lines import order_with_margin
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.volume.canvas import Canvas

Places = npt.NDArray[np.float32]
"""Left, top, right and bottom of words or runs of words, [n, 4] in points."""


class ReadPage:
    """One page in reading order."""

    def __init__(self, number: int, canvas: Canvas) -> None:
        places, given = canvas.places()
        # Words of one baseline come to the reader in the order of the file.
        sorted_in_file = places[given]
        in_file, lines, self.margin = order_with_margin(sorted_in_file[:, :4], np.round(sorted_in_file[:, 4], 3))
        order = given[in_file]
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        self.number = number
        self.drawn_words = canvas.words
        self.drawn_places: Places = places[:, :4].astype(np.float32)
        self.rank: list[int] = rank.tolist()
        """Place in reading order of each drawn word."""
        self.words = [canvas.words[index] for index in order.tolist()]
        self.boxes: list[list[float]] = self.drawn_places[order].tolist()
        self.lines: list[int] = lines.tolist()
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

    def runs(self) -> Places:
        """The smallest boxes around the words of each mention, then of each block."""
        edges = [edge for mention in self.mentions for edge in mention[:2]]
        edges += [edge for block in self.blocks for edge in block[:2]]
        if not edges:
            return np.zeros((0, 4), dtype=np.float32)
        # Every second run is what lies between two; a last row keeps the end of the last one within bounds.
        return _unions(np.concatenate([self.drawn_places, self.drawn_places[-1:]]), edges)[::2]


def _unions(places: Places, starts: Sequence[int]) -> Places:
    """The smallest boxes around the runs of places that begin at `starts`, the last one up to the end."""
    upper_left = np.minimum.reduceat(places[:, :2], starts)
    return np.concatenate([upper_left, np.maximum.reduceat(places[:, 2:], starts)], axis=1)


def truth_of(pages: Sequence[ReadPage], lines: Sequence[dict[str, Any]]) -> dict[str, list[Row]]:
    """The lists of the annotation row: fields, line items, tables and layout blocks."""
    found: dict[str, list[Row]] = {"fields": [], "line_items": [], "tables": [], "layout_blocks": []}
    for page in pages:
        runs = page.runs()
        boxes: list[list[float]] = runs.tolist()
        for (start, stop, kind), box in zip(page.blocks, boxes[len(page.mentions) :], strict=True):
            block = {"page": page.number, "kind": kind, "box": box, "word_ids": sorted(page.rank[start:stop])}
            found["layout_blocks"].append(block)
        table = _Table(page, runs, lines)
        found["fields"] += _read_mentions(page, boxes, table)
        if table.cells:
            found["line_items"] += table.items()
            found["tables"].append(table.row())
            found["layout_blocks"].append(table.block())
    return found


def _read_mentions(page: ReadPage, boxes: list[list[float]], table: "_Table") -> list[Row]:
    """The entries of the document's header; those of the line table are added to it."""
    number, rank, words, drawn_words = page.number, page.rank, page.words, page.drawn_words
    fields: list[Row] = []
    for index, (start, stop, name, value, line, row, column) in enumerate(page.mentions):
        if stop - start == 1:  # most runs are
            ids, printed = [rank[start]], drawn_words[start]
        else:
            ids = sorted(rank[start:stop])
            printed = " ".join([words[one] for one in ids])
        is_further = row >= 0 and table.add_cell(index, row, column, ids, printed)
        if not name:
            continue
        entry = {
            "field": name,
            "value": value,
            "printed": printed,
            "page": number,
            "box": boxes[index],
            "word_ids": ids,
            "confidence": 1.0,
            "source": "synthetic",
        }
        if line < 0:
            fields.append(entry)
        else:
            table.add_entry(index, line, entry, is_further=is_further)
    return fields


class _Table:
    """The line table of one page: its cells in the order that they were drawn in, row by row, and its items.

    Args:
        page: Where it stands.
        runs: Boxes of the page's mentions.
        lines: Of the document.
    """

    def __init__(self, page: ReadPage, runs: Places, lines: Sequence[dict[str, Any]]) -> None:
        self.page, self.runs, self.lines = page, runs, lines
        self.cells: dict[tuple[int, int], Row] = {}
        self._mentions: list[int] = []
        """Of all cells."""
        self._rows, self._last_row, self._last_column = 0, -1, 0
        self._items: list[Row] = []
        self._entries: list[int] = []
        """Mentions of the items' entries."""
        self._starts: list[int] = []
        """Where the entries of each item begin."""
        self._last_line = -1

    def add_cell(self, mention: int, row: int, column: int, ids: list[int], printed: str) -> bool:
        """Add words to a cell; returns whether it had some before."""
        self._mentions.append(mention)
        if row != self._last_row:
            self._rows, self._last_row = self._rows + 1, row
        cell = self.cells.get((row, column))
        if cell is not None:
            both = sorted(cell["word_ids"] + ids)
            cell |= {"word_ids": both, "text": self._text(both)}
            return True
        self.cells[row, column] = {
            "row": self._rows - 1,
            "column": column,
            "row_span": 1,
            "column_span": 1,
            "text": printed,
            "word_ids": ids,
        }
        return False

    def add_entry(self, mention: int, line: int, entry: Row, *, is_further: bool) -> None:
        """Add an entry to a line's item, or its words to an entry that goes on in a further line of its cell."""
        self._entries.append(mention)
        if line != self._last_line:
            self._last_line = line
            self._starts.append(len(self._entries) - 1)
            item = {"line_number": self.lines[line]["number"], "page": self.page.number, "box": [], "fields": [entry]}
            self._items.append(item)
            return
        entries: list[Row] = self._items[-1]["fields"]
        others = [other for other in entries if other["field"] == entry["field"]] if is_further else []
        if not others:
            entries.append(entry)
            return
        (other,) = others
        ids = sorted(other["word_ids"] + entry["word_ids"])
        left, top, right, bottom = zip(other["box"], entry["box"], strict=True)
        box = [min(left), min(top), max(right), max(bottom)]
        other |= {"word_ids": ids, "box": box, "printed": self._text(ids)}

    def _text(self, ids: list[int]) -> str:
        words = self.page.words
        return " ".join([words[index] for index in ids])

    def items(self) -> list[Row]:
        """The line items with their boxes."""
        if self._items:
            boxes = _unions(self.runs[self._entries], self._starts).tolist()
            for item, box in zip(self._items, boxes, strict=True):
                item["box"] = box
        return self._items

    def box(self) -> list[float]:
        """The smallest box around all cells."""
        every = _unions(self.runs[self._mentions], [0])
        return every[0].tolist()  # type: ignore[no-any-return]

    def row(self) -> Row:
        """The row of `tables`."""
        cells = [*self.cells.values()]
        last_column = max([cell["column"] for cell in cells])
        return {
            "page": self.page.number,
            "box": self.box(),
            "rows": self._rows,
            "columns": last_column + 1,
            "cells": cells,
        }

    def block(self) -> Row:
        """The table as a layout block."""
        ids = sorted(chain.from_iterable([cell["word_ids"] for cell in self.cells.values()]))
        return {"page": self.page.number, "kind": "table", "box": self.box(), "word_ids": ids}
