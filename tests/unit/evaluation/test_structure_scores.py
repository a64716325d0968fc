"""Scores of tables and layout blocks on findings whose score is known by counting."""

from typing import Any

import pytest

from sap_llm.evaluation.layout import score_layout
from sap_llm.evaluation.tables import relations_of, score_tables


def cell(row: int, column: int, text: str, *, rows: int = 1, columns: int = 1) -> dict[str, Any]:
    return {"row": row, "column": column, "row_span": rows, "column_span": columns, "text": text, "word_ids": []}


def row(tables: list[list[dict[str, Any]]] = (), blocks: Any = (), source: str = "synthetic") -> dict[str, Any]:
    return {
        "document_id": "d1", "revision": 0, "source": source, "document_type": "SUPPLIER_INVOICE",
        "tables": [{"page": 1, "cells": cells} for cells in tables], "layout_blocks": list(blocks),
    }  # fmt: skip


GRID = [cell(0, 0, "a"), cell(0, 1, "b"), cell(1, 0, "c"), cell(1, 1, "d")]


def test_the_same_table_is_right_whatever_its_white_space() -> None:
    spaced = [{**entry, "text": f" {entry['text']} "} for entry in GRID]
    scores = score_tables([row([GRID])], [row([spaced])])
    assert (scores.relations.f1, scores.cells.f1, scores.relations.support) == (1.0, 1.0, 4)
    assert scores.by_type["SUPPLIER_INVOICE"].f1 == 1.0


def test_a_missing_row_costs_its_relations_and_a_shifted_table_nothing() -> None:
    missing = score_tables([row([GRID])], [row([GRID[:2]])])
    assert missing.relations.true_positives == 1  # a is left of b
    assert missing.relations.false_negatives == 3
    shifted = [{**entry, "row": entry["row"] + 5} for entry in GRID]
    assert score_tables([row([GRID])], [row([shifted])]).relations.f1 == 1.0


def test_split_cells_break_relations_and_cells() -> None:
    split = [cell(0, 0, "a"), cell(0, 1, "b"), cell(1, 0, "c"), cell(1, 1, "d1"), cell(1, 2, "d2")]
    scores = score_tables([row([[*GRID[:3], cell(1, 1, "d1 d2")]])], [row([split])])
    assert scores.cells.true_positives == 3
    assert scores.relations.true_positives == 2


def test_empty_places_are_passed_over_and_spans_neighbour_on_from_their_end() -> None:
    cells = [cell(0, 0, "wide", columns=2), cell(0, 3, "far"), cell(2, 0, "below"), cell(1, 0, " ")]
    found = {(direction, one["text"], other["text"]) for direction, one, other in relations_of(cells)}
    assert found == {("right", "wide", "far"), ("below", "wide", "below")}


def test_invented_tables_count_only_where_the_truth_would_know() -> None:
    assert score_tables([row()], [row([GRID])]).relations.false_positives == 4
    assert score_tables([row(source="export")], [row([GRID])]).relations.false_positives == 0


def test_blocks_are_matched_once_by_kind_and_overlap() -> None:
    def block(kind: str, *box: float) -> dict[str, Any]:
        return {"page": 1, "kind": kind, "box": list(box), "word_ids": []}

    truth = [block("address", 0, 0, 10, 10), block("header", 0, 20, 10, 30)]
    found = [block("address", 0, 0, 10, 9), block("address", 0, 0, 10, 8), block("totals", 0, 20, 10, 30)]
    scores = score_layout([row(blocks=truth)], [row(blocks=found)])
    assert scores.overall.true_positives == 1
    assert (scores.overall.false_positives, scores.overall.false_negatives) == (2, 1)
    assert scores.by_kind["address"].precision == pytest.approx(0.5)
