"""From scores of words to tables and blocks: rows, columns, spans, and neighbours of one kind that stay apart."""

import dataclasses

import numpy as np

from sap_llm.modeling.candidates import Scroll, candidates
from sap_llm.modeling.labels import BLOCK_KINDS, BLOCK_START, CELL_START, TABLE_ROW_START, VALUE_START
from sap_llm.modeling.layout_decoding import decode_blocks
from sap_llm.modeling.normalise import manner_of
from sap_llm.modeling.protocol import PredictedTable
from sap_llm.modeling.table_decoding import decode_tables
from sap_llm.schema.page import Page

Placed = tuple[str, float, int]  # word, left edge, visual line


def page_of(placed: list[Placed], number: int = 1) -> Page:
    left = np.array([x for _, x, _ in placed], dtype=np.float32)
    lines = np.array([line for _, _, line in placed], dtype=np.int32)
    width = np.array([6.0 * len(word) for word, _, _ in placed], dtype=np.float32)
    boxes = np.stack([left, 40 + 12.0 * lines, left + width, 50 + 12.0 * lines], axis=1).astype(np.float32)
    return Page(
        page_number=number, width=595, height=842, words=[word for word, _, _ in placed], boxes=boxes, lines=lines,
        reader="",
    )  # fmt: skip


def starts_of(count: int, **which: set[int]) -> np.ndarray:
    places = {"cells": CELL_START, "rows": TABLE_ROW_START, "blocks": BLOCK_START, "values": VALUE_START}
    starts = np.zeros((count, 4), dtype=np.float32)
    for name, words in which.items():
        starts[sorted(words), places[name]] = 0.9
    return starts


def texts(table: PredictedTable) -> dict[tuple[int, int], str]:
    return {(cell.row, cell.column): cell.text for cell in table.cells}


HEADING: list[Placed] = [("Pos", 40, 0), ("Text", 80, 0), ("Qty", 260, 0), ("Amount", 330, 0)]


def test_cells_over_several_lines_and_headings_at_another_edge_find_their_place() -> None:
    placed = [
        *HEADING,
        ("1", 40, 1), ("Bolt", 80, 1), ("M8", 110, 1), ("12", 290, 1), ("9.50", 342, 1),
        ("zinc", 80, 2), ("plated", 110, 2),
        ("2", 40, 3), ("Nut", 80, 3), ("100", 284, 3), ("3.20", 342, 3),
    ]  # fmt: skip
    page = page_of(placed)
    cells = {0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 14}
    starts = starts_of(len(placed), cells=cells, rows={0, 4, 11})
    (table,) = decode_tables([page], np.ones(len(placed)), starts, scroll=Scroll.of([page]))
    assert (table.rows, table.columns) == (3, 4)
    assert texts(table)[1, 1] == "Bolt M8 zinc plated"
    assert texts(table)[0, 2] == "Qty"
    assert texts(table)[2, 2] == "100"
    assert {(cell.row_span, cell.column_span) for cell in table.cells} == {(1, 1)}
    assert next(cell for cell in table.cells if (cell.row, cell.column) == (1, 1)).box == (80.0, 52.0, 146.0, 74.0)


def test_a_cell_over_two_columns_spans_them() -> None:
    placed = [*HEADING, ("1", 40, 1), ("Bolt", 80, 1), ("12", 262, 1), ("9.50", 332, 1),
              ("Carried", 80, 2), ("forward", 130, 2), ("from", 180, 2), ("the", 210, 2), ("preceding", 232, 2),
              ("9.50", 332, 2)]  # fmt: skip
    page = page_of(placed)
    starts = starts_of(len(placed), cells={0, 1, 2, 3, 4, 5, 6, 7, 8, 13}, rows={0, 4, 8})
    (table,) = decode_tables([page], np.ones(len(placed)), starts, scroll=Scroll.of([page]))
    spans = {cell.text: (cell.column, cell.column_span) for cell in table.cells if cell.row == 2}
    assert spans == {"Carried forward from the preceding": (1, 2), "9.50": (3, 1)}


def test_tables_end_with_their_page_and_words_outside_are_in_none() -> None:
    pages = [page_of([*HEADING, ("Thanks", 40, 6)], 1), page_of(HEADING, 2)]
    inside = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1], dtype=np.float32)
    starts = starts_of(9, cells=set(range(9)), rows={0, 5})
    tables = decode_tables(pages, inside, starts, scroll=Scroll.of(pages))
    assert [table.page for table in tables] == [1, 2]
    assert all(len(table.cells) == 4 for table in tables)
    assert decode_tables(pages, np.zeros(9), starts, scroll=Scroll.of(pages)) == ()


def test_addresses_side_by_side_are_two_blocks_and_a_column_of_values_stays_with_its_labels() -> None:
    placed = [
        ("Acme", 40, 0), ("GmbH", 70, 0), ("Meyer", 300, 0), ("AG", 336, 0),
        ("Hauptstrasse", 40, 1), ("Ring", 300, 1), ("7", 330, 1),
        ("Number", 40, 4), ("4711", 300, 4),
        ("Date", 40, 5), ("2026-01-02", 300, 5),
    ]  # fmt: skip
    page = page_of(placed)
    kinds = np.zeros((len(placed), 1 + len(BLOCK_KINDS)), dtype=np.float32)
    kinds[:7, 1 + BLOCK_KINDS.index("address")] = 1.0
    kinds[7:, 1 + BLOCK_KINDS.index("header")] = 1.0
    blocks = decode_blocks([page], kinds, starts_of(len(placed), blocks={0, 2, 7}), scroll=Scroll.of([page]))
    shown = [(block.kind, " ".join(page.words[word] for word in block.word_ids)) for block in blocks]
    assert shown == [
        ("address", "Acme GmbH Hauptstrasse"),
        ("address", "Meyer AG Ring 7"),
        ("header", "Number 4711 Date 2026-01-02"),
    ]


def test_the_beginning_of_a_value_tells_two_neighbours_from_one_that_wraps() -> None:
    page = page_of([("Nordwind", 40, 0), ("Handel", 40, 1)])
    likely, manner = np.array([0.9, 0.9]), manner_of(page.words)

    def names(begins: list[float]) -> set[str]:
        scroll = dataclasses.replace(Scroll.of([page]), begins=np.array(begins))
        found = candidates(scroll, likely, field="seller_name", kind="string", manner=manner, least=0.1)
        return {candidate.value for candidate in found}

    assert names([0.9, 0.1]) == {"Nordwind Handel"}
    assert names([0.9, 0.9]) == {"Nordwind", "Handel"}
