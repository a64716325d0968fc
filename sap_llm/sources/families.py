"""Groups of real documents that are near-duplicates of one another, and families of one template.

Belongs here: `split_group` (no group may be split between training and test) and `layout` of documents whose source
does not name them. Near-duplicates among training data of any source are `preparation`.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sap_llm.schema.page import Page

_LEGAL = re.compile(
    r"\b(?:gmbh|ag|kg|co|mbh|ohg|ug|e ?k|inc|ltd|llc|plc|corp|sarl|sas|sa|sl|bv|b v|nv|sdn|bhd|sdn bhd|spa|srl|a ?g)\b"
)
_SAME_TEXT = 0.5  # share of shingles in common, of the smaller document
_SAME_TEMPLATE = 0.6
_COMMON = 80  # what more documents share says nothing about two of them, and pairs grow with the square
_GRID = 12  # cells a page side, for the places of labels


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where a document belongs.

    Attributes:
        group: Vendor and near-duplicates together; never split.
        template: Documents with the same labels in the same places.
    """

    group: str
    template: str


def families(documents: Sequence[tuple[str, str | None, Page]], *, prefix: str) -> list[Family]:
    """Group documents given as (id, vendor, first page).

    Two documents are in one group when their vendors' names agree (case, punctuation and legal form aside) or half of
    the word triples of the smaller one are in the other; groups are closed under both.
    """
    count = len(documents)
    groups, templates = _Union(count), _Union(count)
    vendors: dict[str, int] = {}
    for index, (_, vendor, _) in enumerate(documents):
        name = vendor_key(vendor)
        if name:
            groups.join(index, vendors.setdefault(name, index))
    for left, right in _similar([_shingles(page) for _, _, page in documents], _SAME_TEXT):
        groups.join(left, right)
    for left, right in _similar([_skeleton(page) for _, _, page in documents], _SAME_TEMPLATE):
        templates.join(left, right)
    return [
        Family(
            group=f"{prefix}:{_name(documents[groups.find(index)])}",
            template=f"{prefix}-template:{documents[templates.find(index)][0]}",
        )
        for index in range(count)
    ]


def vendor_key(name: str | None) -> str:
    """A vendor's name without case, punctuation and legal form."""
    words = re.sub(r"[\W_]+", " ", (name or "").casefold())
    return " ".join(_LEGAL.sub(" ", words).split())


def _name(document: tuple[str, str | None, Page]) -> str:
    identifier, vendor, _ = document
    return vendor_key(vendor).replace(" ", "-") or identifier


def _shingles(page: Page) -> set[int]:
    words = [re.sub(r"\d", "0", word.casefold()) for word in page.words]
    return {hash_text(" ".join(words[start : start + 3])) for start in range(max(1, len(words) - 2))}


def _skeleton(page: Page) -> set[int]:
    """Words without digits and their cells: labels stand still while values change."""
    cells = (page.boxes[:, :2] / np.array([max(page.width, 1), max(page.height, 1)]) * _GRID).astype(int).tolist()
    return {
        hash_text(f"{word.casefold()} {column} {row}")
        for word, (column, row) in zip(page.words, cells, strict=True)
        if len(word) > 2 and not any(char.isdigit() for char in word)
    }


def hash_text(text: str) -> int:
    """64-bit FNV-1a: the same in every process, unlike `hash`."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def _similar(sets: list[set[int]], threshold: float) -> list[tuple[int, int]]:
    """Pairs whose overlap is at least `threshold` of the smaller set; found through an inverted index."""
    holders: dict[int, list[int]] = defaultdict(list)
    for index, items in enumerate(sets):
        for item in items:
            holders[item].append(index)
    common: dict[tuple[int, int], int] = defaultdict(int)
    for owners in holders.values():
        if len(owners) > _COMMON:
            continue
        for position, left in enumerate(owners):
            for right in owners[position + 1 :]:
                common[left, right] += 1
    return [
        pair
        for pair, shared in sorted(common.items())
        if shared >= threshold * max(1, min(len(sets[pair[0]]), len(sets[pair[1]])))
    ]


class _Union:
    """Disjoint sets; the smallest index represents its set."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def join(self, left: int, right: int) -> None:
        first, second = sorted((self.find(left), self.find(right)))
        self._parents[second] = first
