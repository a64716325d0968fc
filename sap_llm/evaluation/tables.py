"""Table scores: which neighbourhoods of cells are right, and which cells.

Belongs here: comparing the tables of annotations. Line items, whose cells have business meanings, are `line_items`.

The F1 of adjacency relations is that of the ICDAR 2013 table competition (Göbel et al. 2012, "A methodology for
evaluating algorithms for table understanding in PDF documents"): every cell with content has one relation with its
nearest neighbour with content to the right, and one with that below; a relation is right when its direction and both
contents are. A missing row or a split column costs the relations that it breaks, not all cells behind it. Relations are
of one page; contents are compared without white space.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sap_llm.evaluation.fields import Rows, Score, latest

Cell = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TableScores:
    """Micro counts over all tables.

    Attributes:
        relations: Adjacency relations of cells: structure and content.
        cells: Cells by page and content: segmentation alone.
        by_type: Relations by the document's class.
    """

    relations: Score
    cells: Score
    by_type: dict[str, Score]


def score_tables(truth_rows: Rows, predicted_rows: Rows) -> TableScores:
    """Compare the tables of all documents whose truth has one, or is known to have none.

    Args:
        truth_rows: Rows of `tables.ANNOTATIONS`; those of other sources than the generator are left out where they have
            no table, because such truths cannot show that there is none on the page.
        predicted_rows: The same for the predictions.
    """
    predictions = latest(predicted_rows)
    relations, cells, by_type = Score(), Score(), dict[str, Score]()
    for document_id, truth in sorted(latest(truth_rows).items()):
        if not truth["tables"] and truth["source"] != "synthetic":
            continue
        found = predictions.get(document_id, {"tables": ()})["tables"]
        own = compared(_relations(truth["tables"]), _relations(found))
        relations += own
        cells += compared(_cells(truth["tables"]), _cells(found))
        by_type[truth["document_type"]] = by_type.get(truth["document_type"], Score()) + own
    return TableScores(relations=relations, cells=cells, by_type=dict(sorted(by_type.items())))


def compared(truth: Counter[Any], predicted: Counter[Any]) -> Score:
    """Counts of what two bags have in common."""
    hits = (truth & predicted).total()
    return Score(true_positives=hits, false_positives=predicted.total() - hits, false_negatives=truth.total() - hits)


def relations_of(cells: Iterable[Cell]) -> Iterator[tuple[str, Cell, Cell]]:
    """Each cell with content beside its nearest neighbour with content to the right, and above that below."""
    grid: dict[tuple[int, int], Cell] = {}
    filled = [cell for cell in cells if (cell["text"] or "").strip()]
    for cell in filled:
        for row in range(cell["row"], cell["row"] + cell["row_span"]):
            for column in range(cell["column"], cell["column"] + cell["column_span"]):
                grid[row, column] = cell
    rows, columns = (1 + max((place[axis] for place in grid), default=-1) for axis in (0, 1))
    for cell in filled:
        right = range(cell["column"] + cell["column_span"], columns)
        below = range(cell["row"] + cell["row_span"], rows)
        beside = next((grid[cell["row"], column] for column in right if (cell["row"], column) in grid), None)
        under = next((grid[row, cell["column"]] for row in below if (row, cell["column"]) in grid), None)
        if beside is not None:
            yield "right", cell, beside
        if under is not None:
            yield "below", cell, under


def _relations(tables: Iterable[Mapping[str, Any]]) -> Counter[Any]:
    return Counter(
        (table["page"], direction, _content(one), _content(other))
        for table in tables
        for direction, one, other in relations_of(table["cells"])
    )


def _cells(tables: Iterable[Mapping[str, Any]]) -> Counter[Any]:
    return Counter((table["page"], _content(cell)) for table in tables for cell in table["cells"] if _content(cell))


def _content(cell: Cell) -> str:
    return "".join((cell["text"] or "").split())
