"""Label Studio results as columns of `annotations`: what a person answered.

Belongs here: percent boxes to page points and words, texts to values, relations to rows, and the sentences about what
cannot be. How rows were shown is `regions`; rules that hold for every desk are `answer_values`.

What `meta` kept of the row that was shown counts only while label, box or text are as they were sent: what a person
changed is read from the page anew.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sap_llm.annotation import labelling_config as config
from sap_llm.annotation.answer_values import (
    known_class,
    known_subtype,
    on_page,
    person_says,
    read_value,
    unprinted_entries,
    words_in,
)
from sap_llm.annotation.desk import UnreadableAnswerError
from sap_llm.annotation.regions import Row, is_inside, percent
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy

_LINE_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
_UNTOUCHED_PERCENT = 0.01  # the editor keeps percents by way of pixels


class _Value(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    x: float | None = None
    y: float | None = None
    width: float | None = None
    height: float | None = None
    rotation: float = 0.0
    rectanglelabels: list[str] = []
    choices: list[str] = []
    text: list[str] | str = []


class _Cell(BaseModel):
    row: int
    column: int
    row_span: int
    column_span: int
    text: str | None = None
    word_ids: list[int] | None = None


class _Kept(BaseModel):
    """The `meta` of a region that we sent; empty on one that a person drew."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    label: str | None = None
    box: tuple[float, float, float, float] | None = None
    shown: str | None = None
    value: str | None = None
    printed: str | None = None
    word_ids: list[int] | None = None
    rows: int = 0
    columns: int = 0
    cells: list[_Cell] = []
    has_no_box: bool = False
    page: int | None = None


class _Result(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    id: str = ""
    from_name: str = ""
    item_index: int = 0
    value: _Value = Field(default_factory=_Value)
    meta: _Kept = Field(default_factory=_Kept)
    from_id: str = ""
    to_id: str = ""


class _Region(BaseModel):
    """One rectangle: its label, page, box in points and text, and what is kept of what was sent."""

    id: str
    label: str
    page: int
    box: list[float]
    text: str | None
    kept: _Kept
    is_untouched: bool


def from_results(results: Any, pages: Sequence[Page], *, language: str | None = None) -> Row:
    """What a person answered: the columns of `tables.ANNOTATIONS` from `document_type` on, and `why`.

    Args:
        results: The `result` of an annotation, as the server gave it.
        pages: Pages of the document, in order.
        language: ISO 639-1 code; decides how numbers and dates are read.

    Raises:
        UnreadableAnswerError: It is no list of results, or says something that cannot be: names field and page.
    """
    if not isinstance(results, list):
        raise UnreadableAnswerError("garbled", f"a list of results is wanted, this is a {type(results).__name__}")
    try:
        parsed = [_Result.model_validate(result) for result in results]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnreadableAnswerError("garbled", f"a result cannot be read: {where}: {first['msg']}") from error
    texts = _texts(parsed)
    kind = known_class(next(iter(_chosen(parsed, config.DOCUMENT_TYPE)), None))
    subtype = next(iter(_chosen(parsed, config.subtype_tag(kind))), None)
    regions = [_region(entry, texts, pages) for entry in parsed if entry.type == "rectanglelabels"]
    unprinted = list(unprinted_entries(texts.get(config.UNPRINTED, ())))
    reader = _Reader(pages, language)
    return {
        "document_type": kind,
        "document_subtype": known_subtype(kind, subtype),
        "type_confidence": 1.0,
        "fields": [
            *(reader.field(region) for region in regions if _level(region.label) == "header"),
            *(reader.unprinted(name, value) for number, name, value in unprinted if number is None),
        ],
        "line_items": _line_items(reader, regions, parsed, unprinted),
        "tables": [_table(region) for region in regions if region.label == config.TABLE_LABEL],
        "layout_blocks": [reader.block(region) for region in regions if region.label in config.BLOCK_LABELS],
        "why": " ".join(texts.get(config.WHY, ())) or None,
    }


class _Reader:
    def __init__(self, pages: Sequence[Page], language: str | None) -> None:
        self._pages, self._language = pages, language

    def field(self, region: _Region) -> Row:
        spec = load_taxonomy().field(region.label)
        word_ids = self._word_ids(region)
        if region.kept.label == region.label and region.text == region.kept.shown:
            value, printed = region.kept.value, region.kept.printed
        else:
            words = self._pages[region.page - 1].words
            printed = region.text or " ".join(words[index] for index in word_ids or ())
            value = read_value(printed, spec, language=self._language, page=region.page)
        return person_says(region.label, value, printed, region.page, region.box, word_ids)

    def unprinted(self, name: str, value: str) -> Row:
        spec = load_taxonomy().field(name)
        said = read_value(value, spec, language=None, page=None)  # as it was sent, it is canonical already
        return person_says(name, said, None, None, None, None)

    def block(self, region: _Region) -> Row:
        kind = config.BLOCK_LABELS[region.label]
        return {"page": region.page, "kind": kind, "box": region.box, "word_ids": self._word_ids(region)}

    def _word_ids(self, region: _Region) -> list[int] | None:
        page, kept = self._pages[region.page - 1], region.kept.word_ids
        if region.is_untouched and all(0 <= index < len(page.words) for index in kept or ()):
            return kept
        return words_in(page, region.box)


def _line_items(
    reader: _Reader,
    regions: Sequence[_Region],
    parsed: Sequence[_Result],
    unprinted: Sequence[tuple[int | None, str, str]],
) -> list[Row]:
    rows = [region for region in regions if region.label == config.ROW_LABEL]
    numbers = _numbers(rows)
    items: dict[str, Row] = {
        region.id: {
            "line_number": numbers[region.id],
            "page": region.kept.page if _is_boxless(region) else region.page,
            "box": None if _is_boxless(region) else region.box,
            "fields": [],
        }
        for region in rows
    }
    ties = _ties(parsed)
    for region in regions:
        if _level(region.label) == "line":
            items[_row_of(region, rows, ties)]["fields"].append(reader.field(region))
    by_number = {item["line_number"]: item for item in reversed(list(items.values()))}
    for number, name, value in unprinted:
        if number is None:
            continue
        if number not in by_number:
            by_number[number] = {"line_number": number, "page": None, "box": None, "fields": []}
            items[f"unprinted{number}"] = by_number[number]
        by_number[number]["fields"].append(reader.unprinted(name, value))
    return list(items.values())


def _numbers(rows: Sequence[_Region]) -> dict[str, int]:
    """Line number by region: as written, the others go on from the highest in reading order."""
    found: dict[str, int] = {}
    for region in rows:
        if region.text:
            if _LINE_NUMBER.fullmatch(region.text.strip()) is None:
                raise UnreadableAnswerError(
                    "bad_line_number", f"{region.text!r} on page {region.page} is no line number"
                )
            found[region.id] = int(region.text)
    following = max(found.values(), default=0) + 1
    for region in sorted(rows, key=lambda row: (row.page, row.box[1])):
        if region.id not in found:
            found[region.id] = following
            following += 1
    return found


def _ties(parsed: Sequence[_Result]) -> dict[str, set[str]]:
    """Regions that relations tie together, in whichever direction they were drawn."""
    ties: dict[str, set[str]] = {}
    for entry in parsed:
        if entry.type == "relation":
            ties.setdefault(entry.from_id, set()).add(entry.to_id)
            ties.setdefault(entry.to_id, set()).add(entry.from_id)
    return ties


def _row_of(region: _Region, rows: Sequence[_Region], ties: Mapping[str, set[str]]) -> str:
    """The row that a relation names, else the only one around the field's centre."""
    tied = [row.id for row in rows if row.id in ties.get(region.id, ())]
    if not tied:
        tied = [row.id for row in rows if row.page == region.page and is_inside(region.box, row.box)]
    if len(tied) != 1:
        raise UnreadableAnswerError(
            "line_without_row",
            f"{region.label} on page {region.page} belongs to {len(tied)} rows; draw a {config.ROW_LABEL} around it, "
            f"or a relation {config.ROW_OF!r} to one.",
            field=region.label,
        )
    return tied[0]


def _region(entry: _Result, texts: Mapping[str, Sequence[str]], pages: Sequence[Page]) -> _Region:
    labels = entry.value.rectanglelabels
    if len(labels) != 1 or labels[0] not in config.tag_of():
        raise UnreadableAnswerError("unknown_field", f"label {labels} is not in the taxonomy", field=" ".join(labels))
    label, number = labels[0], entry.item_index + 1
    place = (entry.value.x, entry.value.y, entry.value.width, entry.value.height)
    if None in place or not 1 <= number <= len(pages):
        raise UnreadableAnswerError("no_place", f"{label} has no box on pages 1 to {len(pages)}", field=label)
    if entry.value.rotation:
        raise UnreadableAnswerError("turned_box", f"{label} on page {number} is turned; draw it upright", field=label)
    page, kept = pages[number - 1], entry.meta
    is_untouched = kept.box is not None and _is_near(place, percent(kept.box, page.width, page.height))
    drawn = kept.box if kept.box is not None and is_untouched else _points(place, page)
    cut = on_page(drawn, page, field=label)
    text = " ".join(texts.get(entry.id, ())) if entry.id in texts else None
    box = list(drawn) if is_untouched else cut
    return _Region(id=entry.id, label=label, page=number, box=box, text=text, kept=kept, is_untouched=is_untouched)


def _texts(parsed: Sequence[_Result]) -> dict[str, Sequence[str]]:
    """Texts by region id, those of the whole document by the name of their tag."""
    found: dict[str, Sequence[str]] = {}
    for entry in parsed:
        if entry.type == "textarea":
            texts = [entry.value.text] if isinstance(entry.value.text, str) else entry.value.text
            found[entry.id if entry.from_name == config.TRANSCRIPTION else entry.from_name] = texts
    return found


def _chosen(parsed: Sequence[_Result], tag: str) -> Iterator[str]:
    for entry in parsed:
        if entry.type == "choices" and entry.from_name == tag:
            yield from entry.value.choices


def _table(region: _Region) -> Row:
    kept = region.kept
    cells = [cell.model_dump() for cell in kept.cells]
    return {"page": region.page, "box": region.box, "rows": kept.rows, "columns": kept.columns, "cells": cells}


def _is_boxless(region: _Region) -> bool:
    return region.is_untouched and region.kept.has_no_box


def _level(label: str) -> str | None:
    return None if config.tag_of()[label] == "structure" else load_taxonomy().field(label).level


def _points(place: Sequence[float | None], page: Page) -> list[float]:
    x, y, width, height = (edge or 0.0 for edge in place)
    right, bottom = x + width, y + height
    return [x * page.width / 100, y * page.height / 100, right * page.width / 100, bottom * page.height / 100]


def _is_near(place: Sequence[float | None], sent: Mapping[str, float]) -> bool:
    return all(
        abs((edge or 0.0) - wanted) <= _UNTOUCHED_PERCENT for edge, wanted in zip(place, sent.values(), strict=True)
    )
