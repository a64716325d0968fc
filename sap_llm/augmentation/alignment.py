"""Which words of a misread page stand for which words of the true one, and what that means for its labels.

Belongs here: carrying word ids, boxes and quads of an annotation over to other words. What happens to the words is
decided in `ocr_noise` and `stream`.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sap_llm.augmentation.geometry import enclosing_quad
from sap_llm.schema.page import Page

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Words of the new page by those of the old one.

    Attributes:
        origins: For each new word the old word ids that it comes from, in order, at least one.
        old_count: How many words the old page had.
    """

    origins: tuple[tuple[int, ...], ...]
    old_count: int

    @cached_property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For each old word the new word ids that have letters of it; none where it was lost."""
        found: list[list[int]] = [[] for _ in range(self.old_count)]
        for new, origin in enumerate(self.origins):
            for old in origin:
                found[old].append(new)
        return tuple(map(tuple, found))

    def follow(self, word_ids: list[int]) -> list[int] | None:
        """New ids of old ones, rising; None when a word of them was lost."""
        parts = [self.successors[old] for old in word_ids]
        return sorted({new for part in parts for new in part}) if all(parts) else None

    def is_whole(self, word_ids: list[int]) -> bool:
        """Whether the words went over one by one, so that places stay as they are."""
        return all(len(new) == 1 and len(self.origins[new[0]]) == 1 for new in (self.successors[i] for i in word_ids))


def places(annotation: Mapping[str, Any]) -> Iterator[Row]:
    """Every field, line item, field of one, table and layout block that has a box on a page."""
    items = annotation["line_items"]
    groups = (annotation["fields"], items, *(item["fields"] for item in items))
    for group in (*groups, annotation["tables"], annotation["layout_blocks"]):
        yield from (entry for entry in group if entry["page"] is not None and entry["box"] is not None)


def realign(
    annotation: Mapping[str, Any], alignments: Mapping[int, Alignment], pages: Mapping[int, Page]
) -> tuple[Row, list[Row]]:
    """Carry an annotation over to the new pages.

    A field keeps value and printed text, which are the truth, and points to the words that have its letters; its box
    grows with a word that ran into it. A field that lost a word is no label any more: nobody can read its value.

    Args:
        annotation: Mapping with the columns of `tables.ANNOTATIONS`; left as it is.
        alignments: By page number; pages that are not named did not change.
        pages: The new pages by number.

    Returns:
        The new annotation, and the fields that were taken out.
    """
    new: Row = deepcopy(dict(annotation))
    lost: list[Row] = []
    new["fields"] = _kept(new["fields"], alignments, pages, lost)
    for item in new["line_items"]:
        item["fields"] = _kept(item["fields"], alignments, pages, lost)
    for table in new["tables"]:
        for cell in table["cells"]:
            _move_cell(cell, alignments.get(table["page"]))
    for block in new["layout_blocks"]:
        alignment = alignments.get(block["page"])
        if alignment is not None and block["word_ids"]:
            block["word_ids"] = _survivors(block["word_ids"], alignment)
    return new, lost


def _kept(
    fields: list[Row], alignments: Mapping[int, Alignment], pages: Mapping[int, Page], lost: list[Row]
) -> list[Row]:
    kept = []
    for field in fields:
        alignment = alignments.get(field["page"])
        if alignment is None or not field["word_ids"]:
            kept.append(field)
            continue
        word_ids = alignment.follow(field["word_ids"])
        if word_ids is None:
            lost.append(field)
            continue
        if not alignment.is_whole(field["word_ids"]):
            _place_around(field, word_ids, pages[field["page"]])
        field["word_ids"] = word_ids
        kept.append(field)
    return kept


def _place_around(entry: Row, word_ids: list[int], page: Page) -> None:
    entry["box"] = page.union(word_ids)
    if page.quads is not None:
        entry["quad"] = enclosing_quad(page.quads[word_ids]).tolist()


def _move_cell(cell: Row, alignment: Alignment | None) -> None:
    """A cell keeps its text while all its words are there."""
    if alignment is None or not cell["word_ids"]:
        return
    if alignment.follow(cell["word_ids"]) is None:
        cell["text"] = None
    cell["word_ids"] = _survivors(cell["word_ids"], alignment)


def _survivors(word_ids: list[int], alignment: Alignment) -> list[int]:
    return sorted({new for old in word_ids for new in alignment.successors[old]})
