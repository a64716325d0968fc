"""Rows of annotations as Label Studio results and back: nothing is lost, and what cannot be is said."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.annotation import labelling_config as config
from sap_llm.annotation.desk import UnreadableAnswerError
from sap_llm.annotation.region_answers import from_results
from sap_llm.annotation.regions import to_results
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, conform
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical

TAXONOMY = load_taxonomy()
HEADER = [spec.name for spec in TAXONOMY.fields if spec.level == "header"]
LINE = [spec.name for spec in TAXONOMY.fields if spec.level == "line"]
CLASSES = [
    (entry.name, subtype) for entry in TAXONOMY.classes for subtype in (None, *(sub.name for sub in entry.subtypes[:2]))
]


def page(number: int, *, width: float = 595.0, height: float = 842.0) -> Page:
    """Ten words in two columns of five lines."""
    words = [f"word{index}" for index in range(10)]
    places = [(50 + 200 * (index % 2), 40 + 30 * (index // 2)) for index in range(10)]
    boxes = np.asarray([[x, y, x + 80, y + 12] for x, y in places], dtype=np.float32)
    lines = np.asarray([index // 2 for index in range(10)], dtype=np.int32)
    return Page(
        page_number=number, width=width, height=height, words=words, boxes=boxes, lines=lines, reader="text_layer"
    )


PAGES = [page(1), page(2, width=612.5, height=791.25)]
SIZES = [(one.width, one.height) for one in PAGES]


@st.composite
def places(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(1, 2))
    width, height = SIZES[number - 1]
    floats = st.floats(0.01, 0.98)
    x, y = draw(floats) * width, draw(floats) * height
    box = [x, y, draw(st.floats(x + 0.5, width)), draw(st.floats(y + 0.5, height))]
    ids = draw(st.none() | st.lists(st.integers(0, 9), max_size=4, unique=True))
    return {"page": number, "box": [float(np.float32(edge)) for edge in box], "word_ids": ids}


NOWHERE = {"page": None, "box": None, "word_ids": None, "printed": None}


@st.composite
def fields(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    name = draw(st.sampled_from(names))
    kind = TAXONOMY.field(name).type
    text = draw(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12))
    value = canonical(text, kind)
    value = value if value is not None and canonical(value, kind) == value else draw(_canonical(kind))
    place = draw(places()) | {"printed": draw(st.none() | st.text(min_size=1, max_size=12))}
    place = draw(st.sampled_from([place, NOWHERE]))
    return {"field": name, "value": value, "confidence": 1.0, "source": "human", **place}


def _canonical(kind: str) -> st.SearchStrategy[str]:
    known = {"date": "2025-03-14", "amount": "1234.50", "quantity": "1.234", "integer": "7", "percent": "19"}
    known |= {"currency": "EUR", "unit": "PC", "vat_id": "DE123456789", "iban": "DE02120300000000202051"}
    return st.just(known.get(kind) or {"bic": "BYLADEM1", "country": "DE"}.get(kind, "a value = 3. of 4"))


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    items = []
    for number in draw(st.lists(st.integers(1, 9), max_size=3, unique=True)):
        inside = draw(st.lists(fields(LINE), max_size=4))
        place = draw(places())
        place = {"page": place["page"], "box": place["box"]}
        placed = [field for field in inside if field["box"] is not None]
        if inside and draw(st.booleans()):
            place = {"page": placed[0]["page"] if placed else None, "box": None}
        items.append({"line_number": number, "fields": inside, **place})
    cell = {"row": 0, "column": 0, "row_span": 1, "column_span": 2, "text": "Pos", "word_ids": [1]}
    tables = [
        {"page": place["page"], "box": place["box"], "rows": 2, "columns": 3, "cells": [cell]}
        for place in draw(st.lists(places(), max_size=2))
    ]
    kinds = st.sampled_from(list(config.BLOCK_LABELS.values()))
    blocks = [{**place, "kind": draw(kinds)} for place in draw(st.lists(places(), max_size=3))]
    kind, subtype = draw(st.sampled_from(CLASSES))
    return {
        "document_type": kind,
        "document_subtype": subtype,
        "type_confidence": 1.0,
        "fields": draw(st.lists(fields(HEADER), max_size=6)),
        "line_items": items,
        "tables": tables,
        "layout_blocks": blocks,
    }


def in_order(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its lists in one order, through Arrow, as a table would hold it."""

    def key(entry: dict[str, Any]) -> str:
        return json.dumps(entry, sort_keys=True)

    whole = {"document_id": "doc-1", "annotator": "a", "revision": 1, "source": "human", "created_at": None} | row
    stored = conform([whole], ANNOTATIONS).to_pylist()[0]
    for item in stored["line_items"]:
        item["fields"].sort(key=key)
    for name in ("fields", "line_items", "tables", "layout_blocks"):
        stored[name].sort(key=key)
    return dict(stored)


@settings(max_examples=150, deadline=None)
@given(rows(), st.sampled_from(["de", "en", None]))
def test_a_row_comes_back_from_results_as_it_was(row: dict[str, Any], language: str | None) -> None:
    results = json.loads(json.dumps(to_results(row, SIZES)))
    read = from_results(results, PAGES, language=language)
    assert read.pop("why") is None
    assert in_order(read) == in_order(row)


def test_every_label_stands_in_the_configuration_once() -> None:
    for is_arbitration in (False, True):
        xml = config.labelling_config(is_arbitration=is_arbitration)
        for spec in TAXONOMY.fields:
            assert xml.count(f'<Label value="{spec.name}"') == 1
        for entry in TAXONOMY.classes:
            assert xml.count(f'<Choice value="{entry.name}"') == 1
        assert (f'name="{config.WHY}"' in xml) == is_arbitration


def region(label: str = "total_amount", *, box: tuple[float, ...] = (10, 10, 20, 2), **more: Any) -> dict[str, Any]:
    x, y, width, height = box
    return {
        "id": more.pop("id", "r1"),
        "type": "rectanglelabels",
        "from_name": "field_common",
        "to_name": "page",
        "item_index": more.pop("page", 1) - 1,
        "value": {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]} | more,
    }


def text(value: str, *, of: str = "r1", tag: str = config.TRANSCRIPTION) -> dict[str, Any]:
    return {"id": of, "type": "textarea", "from_name": tag, "to_name": "page", "value": {"text": [value]}}


def choice(value: str, tag: str = config.DOCUMENT_TYPE) -> dict[str, Any]:
    return {"id": tag, "type": "choices", "from_name": tag, "to_name": "page", "value": {"choices": [value]}}


INVOICE = choice("SUPPLIER_INVOICE")


def around(index: int, *, number: int = 1) -> tuple[float, ...]:
    """Percent box a little wider than one word."""
    one = PAGES[number - 1]
    x0, y0, x1, y1 = one.boxes[index].tolist()
    return ((x0 - 2) / one.width * 100, (y0 - 2) / one.height * 100, (x1 - x0 + 4) / one.width * 100,
            (y1 - y0 + 4) / one.height * 100)  # fmt: skip


def test_a_box_that_a_person_drew_finds_its_words() -> None:
    read = from_results([INVOICE, region("document_number", box=around(3))], PAGES)
    (field,) = read["fields"]
    assert (field["word_ids"], field["printed"], field["value"]) == ([3], "word3", "word3")
    assert (field["page"], field["source"], field["confidence"]) == (1, "human", 1.0)


def test_a_transcription_wins_over_the_words_and_is_read_in_the_documents_language() -> None:
    read = from_results([INVOICE, region(), text("1.234 EUR")], PAGES, language="de")
    assert (read["fields"][0]["printed"], read["fields"][0]["value"]) == ("1.234 EUR", "1234.00")


def guess(name: str, *, value: str, printed: str) -> dict[str, Any]:
    """A pre-annotation of one field on the first word."""
    place = {"page": 1, "box": [50.0, 40.0, 130.0, 52.0], "word_ids": [0], "confidence": 0.3, "source": "model"}
    return {
        "document_type": "SUPPLIER_INVOICE",
        "document_subtype": None,
        "type_confidence": 0.4,
        "fields": [{"field": name, "value": value, "printed": printed, **place}],
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }


def test_a_corrected_text_replaces_the_value_and_keeps_the_place() -> None:
    results = to_results(guess("total_amount", value="11.90", printed="11,90"), SIZES)
    for result in results:
        if result["from_name"] == config.TRANSCRIPTION:
            result["value"]["text"] = ["119,00"]
    (field,) = from_results(results, PAGES, language="de")["fields"]
    assert (field["value"], field["printed"], field["word_ids"]) == ("119.00", "119,00", [0])


def test_a_moved_box_is_read_anew() -> None:
    results = to_results(guess("document_number", value="word0", printed="word0"), SIZES)
    x, y, width, height = around(5)
    for result in results:
        if result["type"] == "rectanglelabels":
            result["value"] |= {"x": x, "y": y, "width": width, "height": height}
    (field,) = from_results(results, PAGES)["fields"]
    assert field["word_ids"] == [5]


def test_line_fields_belong_to_the_row_around_them_or_to_the_one_that_a_relation_names() -> None:
    wide = region(config.ROW_LABEL, id="row", box=(5, 4, 90, 3))
    other = region(config.ROW_LABEL, id="other", box=(5, 30, 90, 3))
    inside = region("line_description", id="inside", box=around(0))
    tied = region("line_quantity", id="tied", box=around(1))
    relation = {"type": "relation", "from_id": "other", "to_id": "tied", "labels": []}
    read = from_results([INVOICE, wide, other, inside, tied, relation, text("7", of="other")], PAGES)
    found = {item["line_number"]: [field["field"] for field in item["fields"]] for item in read["line_items"]}
    assert found == {8: ["line_description"], 7: ["line_quantity"]}


def test_relations_are_drawn_only_where_boxes_do_not_tell() -> None:
    def row(number: int, box: list[float], *fields: dict[str, Any]) -> dict[str, Any]:
        return {"line_number": number, "page": 1, "box": box, "fields": list(fields)}

    def field(name: str, box: list[float]) -> dict[str, Any]:
        place = {"page": 1, "box": box, "word_ids": None, "confidence": 1.0, "source": "model"}
        return {"field": name, "value": "7", "printed": "7", **place}

    inside, astray = field("line_quantity", [60, 42, 80, 50]), field("line_unit_price", [60, 300, 80, 310])
    both = field("line_number", [60, 78, 80, 82])
    items = [row(1, [50, 40, 400, 80], inside, astray), row(2, [50, 75, 400, 120], both)]
    results = to_results(guess("total_amount", value="1.00", printed="1,00") | {"line_items": items}, SIZES)
    tied = {entry["from_id"]: entry["to_id"] for entry in results if entry["type"] == "relation"}
    assert tied == {"row0field1": "row0", "row1field0": "row1"}
    read = from_results(results, PAGES)["line_items"]
    assert [[entry["field"] for entry in item["fields"]] for item in read] == [
        ["line_quantity", "line_unit_price"],
        ["line_number"],
    ]


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([region()], "missing_class"),
        ([choice("LETTER")], "unknown_class"),
        ([choice("PURCHASE_ORDER"), choice("LUNAR", "subtype_PURCHASE_ORDER")], "unknown_subtype"),
        ([INVOICE, region("grand_total")], "unknown_field"),
        ([INVOICE, region(box=(95, 10, 30, 2))], "box_outside_page"),
        ([INVOICE, region(box=(-20, 10, 10, 2))], "box_outside_page"),
        ([INVOICE, region(box=(10, 10, 0, 2))], "empty_box"),
        ([INVOICE, region(page=3)], "no_place"),
        ([INVOICE, region(page=0)], "no_place"),
        ([INVOICE, region(rotation=30)], "turned_box"),
        ([INVOICE, region(box=(70, 70, 5, 2))], "no_text"),
        ([INVOICE, region("line_quantity", box=around(1))], "line_without_row"),
        ([INVOICE, region(config.ROW_LABEL), text("first")], "bad_line_number"),
        ([INVOICE, text("the total is 5", of="u", tag=config.UNPRINTED)], "garbled"),
        ([INVOICE, text("grand_total=5", of="u", tag=config.UNPRINTED)], "unknown_field"),
        ([INVOICE, {"type": "rectanglelabels", "value": {"x": "left"}}], "garbled"),
        ([INVOICE, {"type": "rectanglelabels", "value": {"x": float("nan")}}], "garbled"),
        ([INVOICE, region() | {"meta": {"box": ["a", 1, 2, 3]}}], "garbled"),
        ([INVOICE, region() | {"meta": {"word_ids": "all"}}], "garbled"),
        ({"result": "a dictionary"}, "garbled"),
        ("truncated [", "garbled"),
        (None, "garbled"),
        (["text"], "garbled"),
    ],
)
def test_what_cannot_be_is_said(results: Any, reason: str) -> None:
    with pytest.raises(UnreadableAnswerError) as raised:
        from_results(results, PAGES)
    assert raised.value.reason == reason
    assert str(raised.value)
