"""From word scores to tables: which words are in one, its rows, its columns and its cells with their spans.

Belongs here: the structure of a table on its page. What the cells mean for a business document is `line_items`.

Rows and cells begin where the model says. Columns and spans are geometry: a cell stands in the columns that it covers,
and two columns that no row has together are one whose heading and values are set at different edges.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Scroll
from sap_llm.modeling.grouping import grouped
from sap_llm.modeling.labels import CELL_START, TABLE_ROW_START
from sap_llm.modeling.protocol import PredictedCell, PredictedTable
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
Span = tuple[float, float]
_LIKELY = 0.5
_FEWEST_WORDS = 2
_LINES_BETWEEN = 3  # visual lines without a word of a table that end it
_COVERED = 0.5  # share of the narrower of cell and column that must overlap


@dataclass(eq=False)
class _Cell:
    words: list[int]
    row: int
    rows: int
    extent: Span
    column: int = 0
    columns: int = 1


def decode_tables(
    pages: Sequence[Page], in_table: Array, starts: Array, *, scroll: Scroll
) -> tuple[PredictedTable, ...]:
    """Tables in reading order.

    Args:
        pages: The document's pages in order.
        in_table: float [n], probability of each word being in a table, over the words of all pages.
        starts: float [n, 4], probabilities of beginning a cell, a row and others, see `labels.CELL_START`.
        scroll: The pages' words concatenated.
    """
    tables = []
    for number, words in enumerate(_regions(scroll, in_table >= _LIKELY), start=1):
        kinds = np.zeros(len(scroll.words), dtype=np.int64)
        kinds[words] = number
        begins = [word for word in words if starts[word, TABLE_ROW_START] >= _LIKELY]
        row_lines = np.unique(scroll.lines[begins])
        rows = np.searchsorted(row_lines, scroll.lines, side="right")
        groups = grouped(scroll, kinds, starts[:, CELL_START] >= _LIKELY, rows)
        cells = _cells(scroll, groups, rows)
        columns = _place(cells)
        tables.append(_table(pages, scroll, cells, columns))
    return tuple(tables)


def _regions(scroll: Scroll, is_inside: Array) -> list[list[int]]:
    """Words of each table: a table ends with its page, or where several lines have no word of it."""
    regions: list[list[int]] = []
    for word in np.flatnonzero(is_inside).tolist():
        last = regions[-1][-1] if regions else None
        if (
            last is None
            or scroll.pages[last] != scroll.pages[word]
            or scroll.lines[word] - scroll.lines[last] > _LINES_BETWEEN
        ):
            regions.append([])
        regions[-1].append(word)
    return [region for region in regions if len(region) >= _FEWEST_WORDS]


def _cells(scroll: Scroll, groups: Sequence[list[int]], rows: Array) -> list[_Cell]:
    """Cells with their rows; a row goes on until the visual line on which the next begins."""
    cells = []
    for words in groups:
        first, last = int(rows[words].min()), int(rows[words].max())
        boxes = scroll.boxes[words]
        cells.append(_Cell(words, first, last - first + 1, (float(boxes[:, 0].min()), float(boxes[:, 2].max()))))
    used = {row: place for place, row in enumerate(sorted({cell.row for cell in cells}))}
    for cell in cells:
        stop = max(used[row] for row in used if row < cell.row + cell.rows)
        cell.row, cell.rows = used[cell.row], stop - used[cell.row] + 1
    return cells


def _place(cells: Sequence[_Cell]) -> int:
    """Give each cell its columns; returns how many there are."""
    columns = _columns(cells)
    for cell in cells:
        covered = [place for place, column in enumerate(columns) if _overlap(cell.extent, column) >= _COVERED]
        nearest = min(range(len(columns)), key=lambda place: _distance(cell.extent, columns[place]))
        cell.column = covered[0] if covered else nearest
        cell.columns = covered[-1] - covered[0] + 1 if covered else 1
    taken: dict[tuple[int, int], _Cell] = {}
    for cell in cells:
        taken.setdefault((cell.row, cell.column), cell)
    for cell in cells:  # a span ends where another cell begins
        for column in range(cell.column + 1, cell.column + cell.columns):
            if (cell.row, column) in taken:
                cell.columns = column - cell.column
                break
        for row in range(cell.row + 1, cell.row + cell.rows):
            if (row, cell.column) in taken:
                cell.rows = row - cell.row
                break
    return len(columns)


def _columns(cells: Sequence[_Cell]) -> list[Span]:
    """Extents of the columns from left to right.

    Cells are taken from the narrowest on, so that a cell over several columns finds them there and founds none.
    """
    columns: list[tuple[Span, set[int]]] = []
    for cell in sorted(cells, key=lambda cell: cell.extent[1] - cell.extent[0]):
        hits = [place for place, (extent, _) in enumerate(columns) if _overlap(cell.extent, extent) >= _COVERED]
        if not hits:
            columns.append((cell.extent, {cell.row}))
        elif len(hits) == 1:
            extent, rows = columns[hits[0]]
            joined = min(extent[0], cell.extent[0]), max(extent[1], cell.extent[1])
            columns[hits[0]] = joined, rows | {cell.row}
    columns.sort(key=lambda column: column[0])
    while (pair := _nearest_apart(columns)) is not None:
        (one, rows), (other, others) = columns[pair], columns[pair + 1]
        columns[pair : pair + 2] = [((min(one[0], other[0]), max(one[1], other[1])), rows | others)]
    return [extent for extent, _ in columns]


def _nearest_apart(columns: Sequence[tuple[Span, set[int]]]) -> int | None:
    """The first of the two neighbouring columns nearest to each other that no row has both."""
    gaps = [
        (second[0][0] - first[0][1], place)
        for place, (first, second) in enumerate(itertools.pairwise(columns))
        if not first[1] & second[1]
    ]
    return min(gaps)[1] if gaps else None


def _overlap(one: Span, other: Span) -> float:
    """Common width by the narrower of two extents."""
    common = min(one[1], other[1]) - max(one[0], other[0])
    return common / max(min(one[1] - one[0], other[1] - other[0]), 1e-6)


def _distance(one: Span, other: Span) -> float:
    return max(one[0] - other[1], other[0] - one[1])


def _table(pages: Sequence[Page], scroll: Scroll, cells: Sequence[_Cell], columns: int) -> PredictedTable:
    index = int(scroll.pages[cells[0].words[0]])
    page, first = pages[index], scroll.starts[index]
    made: dict[tuple[int, int], PredictedCell] = {}
    for cell in sorted(cells, key=lambda cell: (cell.row, cell.column)):
        before = made.get((cell.row, cell.column))
        ids = sorted({*(word - first for word in cell.words), *(before.word_ids if before else ())})
        made[cell.row, cell.column] = PredictedCell(
            row=cell.row,
            column=cell.column,
            row_span=cell.rows,
            column_span=cell.columns,
            text=" ".join(page.words[word] for word in ids),
            box=page.box_of(ids),
            word_ids=tuple(ids),
        )
    return PredictedTable(
        page=page.page_number,
        box=page.box_of([word - first for cell in cells for word in cell.words]),
        rows=max(cell.row + cell.row_span for cell in made.values()),
        columns=columns,
        cells=tuple(made.values()),
    )
