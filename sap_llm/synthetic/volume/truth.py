"""Placed pages to corpus tables: words in reading order, and fields, line items, cells and blocks joined to them.

The tables `pages` and `annotations` of the volume tier belong here, built column by column for many documents; drawing
does not (`canvas`), nor where words are (`placing`), nor rows of single documents (`synthetic.rows`).
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.schema.page import Lines
from sap_llm.schema.tables import ANNOTATIONS, CELL, FIELD, LAYOUT_BLOCK, LINE_ITEM, PAGES, TABLE
from sap_llm.synthetic.volume.canvas import BLOCK, MENTION, Canvas
from sap_llm.synthetic.volume.placing import Numbers, Placed, spread

Places = npt.NDArray[np.float32]
"""Left, top, right and bottom of words or groups of words, [n, 4] in points."""
_ROWS, _COLUMNS, _NAMES, _WORDS = 1 << 16, 1 << 8, 1 << 10, 1 << 24  # more than there are on a page


class Truth:
    """The truth of some documents.

    Args:
        canvases: Their pages, document by document.
        placed: The same pages.
        order: Words in reading order, page by page.
        lines: The visual line of each word in that order.
        document_of: Which document each page is of.
        line_numbers: Of each document's line items.
    """

    def __init__(
        self, canvases: Sequence[Canvas], placed: Placed, order: Numbers, lines: Lines, document_of: Numbers,
        line_numbers: Sequence[Sequence[int]],
    ) -> None:  # fmt: skip
        self._canvases, self.placed, self._order, self._lines = canvases, placed, order, lines
        self._document_of, self._line_numbers = document_of, line_numbers
        self.first_words = np.array(placed.first_words)
        self._documents = int(document_of[-1]) + 1
        firsts = np.zeros(self._documents, dtype=np.intp)
        firsts[document_of[::-1]] = np.arange(len(document_of))[::-1]
        self._number_of = np.arange(len(document_of)) - firsts[document_of] + 1
        """Each page's number in its document."""
        self.texts = pa.array(placed.words, pa.string())
        self.places: Places = placed.places[:, :4].astype(np.float32)
        self.rank = np.empty(len(order), dtype=np.intp)
        """Place in reading order of each drawn word, over all pages."""
        self.rank[order] = np.arange(len(order))
        self._columns()

    def _columns(self) -> None:
        """What the pages' words mean, as arrays."""
        canvases, first_words = self._canvases, self.first_words
        self._page = np.repeat(np.arange(len(canvases)), [len(canvas.mentions) // MENTION for canvas in canvases])
        mentions = [*chain.from_iterable([canvas.mentions for canvas in canvases])]
        starts, stops, names, values, lines, rows, columns = (mentions[at::MENTION] for at in range(MENTION))
        self._start = _integers(starts) + first_words[self._page]
        self._length = _integers(stops) - _integers(starts)
        self._has_words = self._length > 0  # empty cells mean nothing
        codes = {name: code for code, name in enumerate(dict.fromkeys(("", *names)))}
        self._name = _integers([*map(codes.__getitem__, names)])
        self._line, self._row, self._column = map(_integers, (lines, rows, columns))
        self._names, self._values = pa.array(names, pa.string()), pa.array(values, pa.string())

    def pages(self, document_ids: Sequence[str], widths: Sequence[float], heights: Sequence[float]) -> pa.Table:
        """The table `pages`.

        Args:
            document_ids: Of the documents.
            widths: Of each page, in points.
            heights: Likewise.
        """
        offsets = pa.array(self.first_words, pa.int32())
        count = len(widths)
        columns = [
            pa.array(document_ids, pa.string()).take(pa.array(self._document_of)),
            pa.array(self._number_of, pa.int16()),
            pa.array(widths, pa.float32()),
            pa.array(heights, pa.float32()),
            pa.ListArray.from_arrays(offsets, self.texts.take(pa.array(self._order))),
            pa.ListArray.from_arrays(offsets, _boxes(self.places[self._order])),
            pa.ListArray.from_arrays(offsets, pa.array(self._lines)),
            pa.repeat("typeset", count),
            pa.array(np.ones(count, dtype=np.float32)),
            pa.nulls(count, pa.string()),
        ]
        return pa.table(columns, schema=PAGES)

    def annotations(self, facts: Sequence[Mapping[str, Any]]) -> pa.Table:
        """The table `annotations` of documents that show these rows of `facts.FACTS`."""
        count = len(facts)
        fields, line_items = self._fields_and_items()
        tables, blocks = self._tables_and_blocks()
        columns = [
            pa.array([fact["document_id"] for fact in facts], pa.string()),
            pa.repeat("truth", count),
            pa.array(np.ones(count, dtype=np.int32)),
            pa.repeat("synthetic", count),
            pa.array([fact["event_time"] for fact in facts], ANNOTATIONS.field("created_at").type),
            pa.array([fact["document_type"] for fact in facts], pa.string()),
            pa.array([fact["document_subtype"] for fact in facts], pa.string()),
            pa.array(np.ones(count, dtype=np.float32)),
            fields,
            line_items,
            tables,
            blocks,
        ]
        return pa.table(columns, schema=ANNOTATIONS)

    def _fields_and_items(self) -> tuple[pa.Array, pa.Array]:
        """Mentions of fields of the document's header, and those of its lines by item."""
        header = np.flatnonzero((self._name > 0) & (self._line < 0) & self._has_words)
        in_lines = np.flatnonzero((self._name > 0) & (self._line >= 0) & self._has_words)
        # What goes on in a further line of its cell is one entry.
        key = self._cell_keys(in_lines) * _NAMES + self._name[in_lines]
        firsts, entry = _grouped(key)
        # Within a cell in the order of drawing, not of names.
        by_drawing = np.argsort(self._cell_keys(in_lines[firsts]) * _WORDS + firsts, kind="stable")
        place = np.empty(len(firsts), dtype=np.intp)
        place[by_drawing] = np.arange(len(firsts))
        firsts = in_lines[firsts[by_drawing]]
        words = self._words(
            np.concatenate([header, in_lines]), np.concatenate([np.arange(len(header)), len(header) + place[entry]])
        )
        mentions = np.concatenate([header, firsts])
        entries = self._entries(mentions, words)
        boxes = words.boxes[len(header) :]
        items = np.flatnonzero(np.diff(self._page[firsts] * _ROWS + self._line[firsts], prepend=-1))
        pages = self._page[firsts[items]]
        documents = self._document_of[pages]
        numbers = [
            self._line_numbers[document][line]
            for document, line in zip(documents.tolist(), self._line[firsts[items]].tolist(), strict=True)
        ]
        line_items = _structs(
            LINE_ITEM, pa.array(numbers, pa.int32()), self._numbers_of(pages), _boxes(_unions(boxes, items)),
            pa.ListArray.from_arrays(_offsets(items, len(firsts)), entries.slice(len(header))),
        )  # fmt: skip
        return (
            self._by_document(self._document_of[self._page[header]], entries.slice(0, len(header))),
            self._by_document(documents, line_items),
        )

    def _entries(self, mentions: Numbers, words: "_Words") -> pa.Array:
        count, chosen = len(mentions), pa.array(mentions)
        return _structs(
            FIELD, self._names.take(chosen), self._values.take(chosen), words.printed(),
            self._numbers_of(self._page[mentions]), _boxes(words.boxes), words.ids(),
            pa.array(np.ones(count, dtype=np.float32)), pa.repeat("synthetic", count),
        )  # fmt: skip

    def _tables_and_blocks(self) -> tuple[pa.Array, pa.Array]:
        """The line table of each page that has one, and layout blocks with those tables among them."""
        in_cells = np.flatnonzero((self._row >= 0) & self._has_words)
        firsts, cell = _grouped(self._cell_keys(in_cells))
        firsts = in_cells[firsts]
        words = self._words(in_cells, cell)
        pages, rows, columns = self._page[firsts], self._row[firsts], self._column[firsts]
        starts = np.flatnonzero(np.diff(pages, prepend=-1))
        counts = np.diff(np.append(starts, len(pages)))
        row_numbers = np.cumsum(np.diff(pages * _ROWS + rows, prepend=-1) != 0)
        row_numbers -= np.repeat(row_numbers[starts], counts)
        ones = pa.array(np.ones(len(firsts), dtype=np.int16))
        cells = _structs(
            CELL, pa.array(row_numbers, pa.int16()), pa.array(columns, pa.int16()), ones, ones, words.printed(),
            words.ids(),
        )  # fmt: skip
        table_pages = pages[starts]
        ends = np.append(starts[1:], len(pages)) - 1
        boxes = _unions(words.boxes, starts)
        tables = _structs(
            TABLE, self._numbers_of(table_pages), _boxes(boxes), pa.array(row_numbers[ends] + 1, pa.int16()),
            pa.array(np.maximum.reduceat(columns, starts) + 1 if len(starts) else [], pa.int16()),
            pa.ListArray.from_arrays(_offsets(starts, len(pages)), cells),
        )  # fmt: skip
        table_of = np.searchsorted(table_pages, self._page[in_cells])
        blocks = self._blocks(in_cells, table_of, table_pages)
        return self._by_document(self._document_of[table_pages], tables), blocks

    def _blocks(self, in_cells: Numbers, table_of: Numbers, table_pages: Numbers) -> pa.Array:
        canvases = self._canvases
        block_pages = np.repeat(np.arange(len(canvases)), [len(canvas.blocks) // BLOCK for canvas in canvases])
        given = [*chain.from_iterable([canvas.blocks for canvas in canvases])]
        starts, stops, kinds = (given[at::BLOCK] for at in range(BLOCK))
        first = _integers(starts)
        pages = np.concatenate([block_pages, table_pages])
        order = np.argsort(pages, kind="stable")
        place = np.empty(len(order), dtype=np.intp)
        place[order] = np.arange(len(order))
        words = _Words(
            self,
            np.concatenate([first + self.first_words[block_pages], self._start[in_cells]]),
            np.concatenate([_integers(stops) - first, self._length[in_cells]]),
            place[np.concatenate([np.arange(len(starts)), len(starts) + table_of])],
        )
        named = pa.array([*kinds, *["table"] * len(table_pages)], pa.string()).take(pa.array(order))
        pages = pages[order]
        blocks = _structs(LAYOUT_BLOCK, self._numbers_of(pages), named, _boxes(words.boxes), words.ids())
        return self._by_document(self._document_of[pages], blocks)

    def _cell_keys(self, mentions: Numbers) -> Numbers:
        """Numbers that are the same for mentions in one cell."""
        return (self._page[mentions] * _ROWS + self._row[mentions]) * _COLUMNS + self._column[mentions]

    def _words(self, mentions: Numbers, groups: Numbers) -> "_Words":
        return _Words(self, self._start[mentions], self._length[mentions], groups)

    def _numbers_of(self, pages: Numbers) -> pa.Array:
        return pa.array(self._number_of[pages], pa.int16())

    def _by_document(self, documents: Numbers, values: pa.Array) -> pa.Array:
        """A list for each document of its values, which stand in order."""
        return pa.ListArray.from_arrays(
            pa.array(np.searchsorted(documents, np.arange(self._documents + 1)), pa.int32()), values
        )


class _Words:
    """Groups of words, each in reading order.

    Args:
        truth: Of whose pages.
        starts: The first word of each range.
        lengths: Of the ranges.
        groups: The group of each range, from 0; none is left out.
    """

    def __init__(self, truth: Truth, starts: Numbers, lengths: Numbers, groups: Numbers) -> None:
        group_of = np.repeat(groups, lengths)
        words = spread(starts, lengths)
        order = np.argsort(group_of * _WORDS + truth.rank[words])
        self._truth, self._chosen = truth, words[order]
        counts = np.bincount(group_of)
        ends = np.cumsum(counts)
        self._offsets = pa.array(np.append(0, ends), pa.int32())
        self.boxes = _unions(truth.places[self._chosen], ends - counts)
        """The smallest box around each group."""

    def ids(self) -> pa.Array:
        """Places of the words in their page's reading order."""
        truth = self._truth
        pages = truth.placed.page_of[self._chosen]
        ids = truth.rank[self._chosen] - truth.first_words[pages]
        return pa.ListArray.from_arrays(self._offsets, pa.array(ids, pa.int32()))

    def printed(self) -> pa.Array:
        """The words with spaces between them."""
        return pc.binary_join(
            pa.ListArray.from_arrays(self._offsets, self._truth.texts.take(pa.array(self._chosen))), " "
        )


def _integers(values: Sequence[int]) -> Numbers:
    """An array of integers: `np.array` looks at each of them twice."""
    return np.fromiter(values, dtype=np.intp, count=len(values))


def _grouped(keys: Numbers) -> tuple[Numbers, Numbers]:
    """Where each key stands first, by ascending keys, and the number of its key for each entry."""
    _, firsts, numbers = np.unique(keys, return_index=True, return_inverse=True)
    return firsts, numbers


def _unions(places: Places, starts: Numbers) -> Places:
    """The smallest boxes around the runs of places that begin at `starts`, the last one up to the end."""
    if not len(starts):
        return np.zeros((0, 4), dtype=np.float32)
    upper_left = np.minimum.reduceat(places[:, :2], starts)
    return np.concatenate([upper_left, np.maximum.reduceat(places[:, 2:], starts)], axis=1)


def _offsets(starts: Numbers, stop: int) -> pa.Array:
    return pa.array(np.append(starts, stop), pa.int32())


def _boxes(places: Places) -> pa.Array:
    offsets = pa.array(np.arange(0, 4 * len(places) + 1, 4), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(places.ravel()))


def _structs(kind: pa.StructType, *columns: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(columns, fields=[*kind])
