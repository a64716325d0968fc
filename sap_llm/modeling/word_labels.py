"""Labels of words: what an annotation says about each word of its document.

Belongs here: joining an annotation to the words of its pages, and which of its parts it speaks about. Encoding words
and writing labels as shards is `shards`; the lists that labels point into are `labels`.

Fields are tagged inside or outside, and a second label says where a value begins; so do cells and rows of tables and
layout blocks. Two neighbours of one kind are told apart by the beginning of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.labels import (
    BLOCK_KINDS,
    BLOCK_START,
    CELL_START,
    HEADER_FIELDS,
    IGNORED,
    LINE_FIELDS,
    OUTSIDE,
    TABLE_ROW_START,
    VALUE_START,
)

Array = npt.NDArray[Any]
Offsets = Mapping[int, tuple[int, int]]  # page number -> first word, words
_UNAMBIGUOUS_LENGTH = 4


@dataclass(frozen=True)
class WordLabels:
    """Labels of the n words of a document.

    Attributes:
        header: int16 [n], tag of a header field.
        line: int8 [n], tag of a line field.
        row_start: int8 [n], 1 on the first word of a line item.
        table: int8 [n], 1 inside a table.
        block: int8 [n], tag of a block's kind.
        starts: uint8 [n], bit set by `VALUE_START` and the other places.
    """

    header: npt.NDArray[np.int16]
    line: npt.NDArray[np.int8]
    row_start: npt.NDArray[np.int8]
    table: npt.NDArray[np.int8]
    block: npt.NDArray[np.int8]
    starts: npt.NDArray[np.uint8]


def word_labels(
    pages: Sequence[Mapping[str, Any]], annotation: Mapping[str, Any] | None, *, has_lines: bool = True
) -> WordLabels:
    """Labels of all words of a document, pages concatenated.

    Tables and blocks that a truth of the generator does not name are not there; of other truths only the pages on which
    they name some say anything.

    Args:
        pages: Mappings with page_number and words, in page order.
        annotation: A row of `tables.ANNOTATIONS`, or None when nothing is known.
        has_lines: Whether the annotation speaks about line items.
    """
    words = [word for page in pages for word in page["words"]]
    starts = np.zeros(len(words), dtype=np.uint8)
    unknown = np.full(len(words), IGNORED, dtype=np.int8)
    if annotation is None:
        return WordLabels(unknown.astype(np.int16), unknown, unknown, unknown, unknown, starts)
    offsets, total = {}, 0
    for page in pages:
        offsets[page["page_number"]] = (total, len(page["words"]))
        total += len(page["words"])
    header = _header_labels(words, annotation, offsets, starts)
    line, row_start = _line_labels(annotation, offsets, starts, unknown if not has_lines else np.zeros_like(unknown))
    return WordLabels(
        header=header,
        line=line,
        row_start=row_start,
        table=_table_labels(annotation, offsets, starts, unknown.copy()),
        block=_block_labels(annotation, offsets, starts, unknown.copy()),
        starts=starts,
    )


def _header_labels(
    words: Sequence[str], annotation: Mapping[str, Any], offsets: Offsets, starts: Array
) -> npt.NDArray[np.int16]:
    header = np.zeros(len(words), dtype=np.int16)
    repeated: set[str] = set()
    for field in annotation["fields"]:
        if field["field"] not in HEADER_FIELDS:
            continue
        label = HEADER_FIELDS.index(field["field"]) + 1
        places = _places(field, offsets)
        for place in places:
            if header[place] == OUTSIDE or header[place] > label:
                header[place] = label
        _begin(starts, VALUE_START, places)
        if len(places) == 1 and len(words[places[0]]) >= _UNAMBIGUOUS_LENGTH:
            repeated.add(words[places[0]])
    for place, word in enumerate(words):
        if word in repeated and header[place] == OUTSIDE:
            header[place] = IGNORED  # the value again: right or wrong to tag it, nobody said
    return header


def _line_labels(
    annotation: Mapping[str, Any], offsets: Offsets, starts: Array, empty: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    line, row_start = empty.copy(), empty.copy()
    for item in annotation["line_items"]:
        spans = [(LINE_FIELDS.index(field["field"]), _places(field, offsets)) for field in item["fields"]
                 if field["field"] in LINE_FIELDS]  # fmt: skip
        for index, places in spans:
            line[places] = index + 1
            _begin(starts, VALUE_START, places)
        every = [place for _, places in spans for place in places]
        if every:
            row_start[min(every)] = 1
    return line, row_start


def _table_labels(
    annotation: Mapping[str, Any], offsets: Offsets, starts: Array, labels: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    tables = annotation["tables"]
    wordless = {table["page"] for table in tables if any(cell["word_ids"] is None for cell in table["cells"])}
    _open(labels, annotation, [table["page"] for table in tables if table["page"] not in wordless], offsets)
    for table in tables:
        rows: dict[int, int] = {}
        for cell in table["cells"]:
            places = _places({"page": table["page"], "word_ids": cell["word_ids"]}, offsets)
            if not places:
                continue
            labels[places] = 1
            first = min(places)
            rows[cell["row"]] = min(first, rows.get(cell["row"], first))
            _begin(starts, CELL_START, places)
        _begin_each(starts, TABLE_ROW_START, rows.values())
    return labels


def _block_labels(
    annotation: Mapping[str, Any], offsets: Offsets, starts: Array, labels: npt.NDArray[np.int8]
) -> npt.NDArray[np.int8]:
    blocks = annotation["layout_blocks"]
    _open(labels, annotation, [block["page"] for block in blocks if block["word_ids"] is not None], offsets)
    for block in blocks:
        if block["kind"] not in BLOCK_KINDS:
            continue
        places = _places(block, offsets)
        labels[places] = BLOCK_KINDS.index(block["kind"]) + 1
        _begin(starts, BLOCK_START, places)
    return labels


def _open(labels: Array, annotation: Mapping[str, Any], named: Iterable[int], offsets: Offsets) -> None:
    """Say "outside" on the pages that the truth speaks about: those named, of the generator's all."""
    for page in offsets if annotation["source"] == "synthetic" else named:
        if page in offsets:
            start, count = offsets[page]
            labels[start : start + count] = OUTSIDE


def _begin(starts: Array, which: int, places: Sequence[int]) -> None:
    if places:
        _begin_each(starts, which, [min(places)])


def _begin_each(starts: Array, which: int, places: Iterable[int]) -> None:
    for place in places:
        starts[place] |= 1 << which


def _places(part: Mapping[str, Any], offsets: Offsets) -> list[int]:
    """Indices in the concatenated words; word ids outside the page are dropped."""
    if part["page"] is None or part["word_ids"] is None or part["page"] not in offsets:
        return []
    start, count = offsets[part["page"]]
    return [start + word for word in part["word_ids"] if 0 <= word < count]
