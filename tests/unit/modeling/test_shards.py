"""Corpus tables to shards and back: labels on the right words, nothing invented."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sap_llm.modeling.features import WINDOW_WORDS
from sap_llm.modeling.labels import (
    BLOCK_KINDS,
    BLOCK_START,
    CELL_START,
    CORE_HEADER_FIELDS,
    HEADER_FIELDS,
    IGNORED,
    LINE_FIELDS,
    TABLE_ROW_START,
    VALUE_START,
    default_labels,
)
from sap_llm.modeling.shards import SHARD_SCHEMA, FieldTruth, encode_shard, for_training, read_shard, untaught
from sap_llm.schema.tables import ANNOTATIONS, PAGES, conform


def field(name: Any, value: Any, words: Any, page: Any = 1) -> Any:
    return {
        "field": name,
        "value": value,
        "printed": value,
        "page": page,
        "box": None,
        "word_ids": words,
        "confidence": 1.0,
        "source": "synthetic",
    }


def page_row(document_id: Any, words: Any, number: Any = 1) -> Any:
    return {
        "document_id": document_id,
        "page_number": number,
        "width": 595.0,
        "height": 842.0,
        "words": words,
        "boxes": [[10.0 * i, 10, 10.0 * i + 8, 18] for i in range(len(words))],
        "lines": [0] * len(words),
        "reader": "typeset",
        "quality": 1.0,
    }


def annotation(
    document_id: Any,
    fields: Any,
    *,
    items: Any = (),
    source: Any = "synthetic",
    revision: Any = 0,
    kind: Any = "SUPPLIER_INVOICE",
) -> Any:
    return {
        "document_id": document_id,
        "annotator": f"{source}-{revision}",
        "revision": revision,
        "source": source,
        "document_type": kind,
        "document_subtype": "STANDARD",
        "type_confidence": 1.0,
        "fields": list(fields),
        "line_items": list(items),
        "tables": [],
        "layout_blocks": [],
    }


def cell(row: int, column: int, words: Any) -> Any:
    return {"row": row, "column": column, "row_span": 1, "column_span": 1, "text": "", "word_ids": words}


def shard_of(pages: Any, annotations: Any, *, source: Any = "synthetic", split: Any = "train") -> Any:
    ids = sorted({row["document_id"] for row in pages})
    documents = pa.table({"document_id": ids, "source": [source] * len(ids), "split": [split] * len(ids)})
    return encode_shard(documents, conform(pages, PAGES), conform(annotations, ANNOTATIONS))


def test_labels_stand_on_the_annotated_words() -> Any:
    words = ["Invoice", "RE-77", "Acme", "GmbH", "1", "Bolt", "9.50", "Total", "9.50"]
    item = {
        "line_number": 1,
        "page": 1,
        "box": None,
        "fields": [
            field("line_number", "1", [4]),
            field("line_description", "Bolt", [5]),
            field("line_net_amount", "9.50", [6]),
        ],
    }
    fields = [
        field("document_number", "RE-77", [1]),
        field("seller_name", "Acme GmbH", [2, 3]),
        field("total_amount", "9.50", [8]),
    ]
    table = shard_of([page_row("d1", words)], [annotation("d1", fields, items=[item])])
    assert table.schema == SHARD_SCHEMA
    shard = read_shard(table, split="train")

    def tag(name: Any) -> Any:
        return HEADER_FIELDS.index(name) + 1

    # the amount stands in the table a second time: neither right nor wrong to call it the total
    expected = [0, tag("document_number"), tag("seller_name"), tag("seller_name"), 0, 0, -1, 0, tag("total_amount")]
    assert shard.header_labels.tolist() == expected
    lines = [0, 0, 0, 0, *(LINE_FIELDS.index(f"line_{name}") + 1 for name in ("number", "description", "net_amount"))]
    assert shard.line_labels.tolist() == [*lines, 0, 0]
    assert shard.row_starts.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert default_labels().classes[shard.class_ids[0]] == "SUPPLIER_INVOICE"
    assert default_labels().subtypes[shard.subtype_ids[0]] == ("SUPPLIER_INVOICE", "STANDARD")


def test_a_second_page_continues_the_first() -> None:
    pages = [page_row("d1", ["a", "b"], 2), page_row("d1", ["x", "RE-1"], 1)]
    table = shard_of(pages, [annotation("d1", [field("iban", "b", [1], page=2)])])
    assert read_shard(table).header_labels.tolist() == [0, 0, 0, HEADER_FIELDS.index("iban") + 1]


def test_a_persons_correction_beats_the_source_and_a_model_is_no_truth() -> None:
    rows = [
        annotation("d1", [field("iban", "a", [0])]),
        annotation("d1", [field("bic", "a", [0])], source="human"),
        annotation("d1", [field("due_date", "a", [0])], source="human", revision=1),
        annotation("d1", [field("tax_rate", "a", [0])], source="model", revision=9),
    ]
    shard = read_shard(shard_of([page_row("d1", ["abcd"])], rows))
    assert shard.header_labels.tolist() == [HEADER_FIELDS.index("due_date") + 1]


def test_without_truth_every_label_says_nothing() -> None:
    shard = read_shard(shard_of([page_row("d1", ["a", "b"])], []))
    assert shard.header_labels.tolist() == [IGNORED, IGNORED]
    assert shard.class_ids.tolist() == [IGNORED]


def test_receipts_speak_about_three_fields_and_no_lines() -> None:
    table = shard_of(
        [page_row("d1", ["Shop", "5.00"])], [annotation("d1", [field("total_amount", "5.00", [1])])], source="sroie"
    )
    shard = read_shard(table)
    assert sorted(np.array(HEADER_FIELDS)[shard.known_fields[0]]) == ["document_date", "seller_name", "total_amount"]
    assert set(shard.line_labels.tolist()) == {IGNORED}


def test_long_documents_give_windows_and_only_the_first_carries_the_class() -> None:
    words = [f"w{i}" for i in range(WINDOW_WORDS * 2)]
    last = len(words) - 1
    table = shard_of([page_row("d1", words)], [annotation("d1", [field("iban", "x", [last])])])
    shard = read_shard(table)
    assert len(shard) == table.num_rows > 1
    assert shard.class_ids[0] >= 0
    assert (shard.class_ids[1:] == IGNORED).all()
    assert shard.header_labels[-1] == HEADER_FIELDS.index("iban") + 1
    assert shard.offsets[-1] == len(shard.characters)


def test_documents_without_words_and_unknown_classes_do_not_break_a_shard() -> None:
    rows = [annotation("d1", []), annotation("d2", [], kind="NO_SUCH_CLASS")]
    shard = read_shard(shard_of([page_row("d1", []), page_row("d2", ["a"])], rows))
    assert shard.document_ids == ["d2"]
    assert shard.class_ids.tolist() == [IGNORED]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_reading_a_split_gives_only_its_rows(split: Any) -> None:
    tables = [
        shard_of([page_row("d1", ["a"])], [], split="train"),
        shard_of([page_row("d2", ["b", "c"])], [], split="validation"),
    ]
    shard = read_shard(pa.concat_tables(tables), split=split)
    assert shard.document_ids == ["d1" if split == "train" else "d2"]
    assert len(shard.characters) == (1 if split == "train" else 2)


def test_tables_and_blocks_are_labelled_with_their_beginnings() -> None:
    words = ["Acme", "Ring", "7", "Pos", "Text", "1", "Steel", "bolt"]
    row = annotation("d1", [field("seller_name", "Acme", [0])])
    cells = [(0, 0, [3]), (0, 1, [4]), (1, 0, [5]), (1, 1, [6, 7])]
    row["tables"] = [{"page": 1, "box": None, "rows": 2, "columns": 2, "cells": [cell(*entry) for entry in cells]}]
    row["layout_blocks"] = [
        {"page": 1, "kind": "address", "box": None, "word_ids": [0, 1, 2]},
        {"page": 1, "kind": "table", "box": None, "word_ids": [3, 4, 5, 6, 7]},
    ]
    shard = read_shard(shard_of([page_row("d1", words)], [row]))
    assert shard.table_labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    address, table = (BLOCK_KINDS.index(kind) + 1 for kind in ("address", "table"))
    assert shard.block_labels.tolist() == [address] * 3 + [table] * 5

    def begins(which: int) -> list[int]:
        return np.flatnonzero((shard.starts >> which) & 1).tolist()

    assert begins(VALUE_START) == [0]
    assert begins(CELL_START) == [3, 4, 5, 6]
    assert begins(TABLE_ROW_START) == [3, 5]
    assert begins(BLOCK_START) == [0, 3]


def test_a_person_says_nothing_about_pages_on_which_they_drew_no_words_of_a_table() -> None:
    row = annotation("d1", [field("iban", "a", [0])], source="human")
    wordless = {**cell(0, 0, []), "word_ids": None, "text": "b"}
    row["tables"] = [{"page": 1, "box": None, "rows": 1, "columns": 1, "cells": [wordless]}]
    shard = read_shard(shard_of([page_row("d1", ["abcd", "b"])], [row]))
    assert shard.table_labels.tolist() == [IGNORED, IGNORED]
    assert shard.block_labels.tolist() == [IGNORED, IGNORED]
    assert shard.known_fields[0, : len(CORE_HEADER_FIELDS)].all()
    assert not shard.known_fields[0, len(CORE_HEADER_FIELDS) :].any()  # what people are not asked for is not absent


def test_training_computes_the_shown_fields_alone_and_counts_them() -> None:
    fields = [field("iban", "a", [0]), field("plant", "b", [1])]
    table = shard_of([page_row("d1", ["abcd", "b"])], [annotation("d1", fields)])
    shard = read_shard(table)
    labels = replace(default_labels(), untaught=untaught(shard))
    trained = for_training(shard, labels)
    names = [HEADER_FIELDS[index] for index in labels.trained_header_fields]
    assert names == [*CORE_HEADER_FIELDS, "plant"]
    assert [names[tag - 1] for tag in trained.header_labels] == ["iban", "plant"]
    assert [name for name, known in zip(names, trained.known_fields[0], strict=True) if known] == ["iban", "plant"]
    counts = FieldTruth()
    counts.add(table)
    counts.add(table)
    rows = {row["field"]: row for row in counts.rows()}
    assert len(rows) == len(HEADER_FIELDS) + len(LINE_FIELDS) > 200
    assert (rows["plant"]["train_documents"], rows["plant"]["train_words"]) == (2, 2)
    assert rows["cost_center"]["train_documents"] == 0
