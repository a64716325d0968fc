"""Groups of real documents that are near-duplicates of one another, and families of one template.

Belongs here: `split_group` (no group may be split between training and test) and `layout` of documents whose source
does not name them. Near-duplicates among training data of any source are `preparation`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sap_llm.reading.near_duplicates import Signatures, Union, near_pairs, triples
from sap_llm.schema.page import Page

_LEGAL = re.compile(
    r"\b(?:gmbh|ag|kg|co|mbh|ohg|ug|e ?k|inc|ltd|llc|plc|corp|sarl|sas|sa|sl|bv|b v|nv|sdn|bhd|sdn bhd|spa|srl|a ?g)\b"
)
_SAME_TEXT = 0.5  # share of word triples in common, of the smaller document
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


@dataclass(frozen=True, kw_only=True)
class Member:
    """What is known of a document to be grouped.

    Attributes:
        name: Names the group and the template if it is their first.
        vendor: Who issued it.
        page: Its first page; None where it has none.
    """

    name: str
    vendor: str | None = None
    page: Page | None = None


def families(members: Sequence[Member], matrix: Signatures, *, prefix: str) -> list[Family]:
    """Group documents.

    Two documents are in one group when their vendors' names agree (case, punctuation and legal form aside) or when
    their texts are near-duplicates: half of the word triples of the smaller one are in the other (exact, but blind to
    triples that very many share), or their signatures agree. Groups are closed under all of these.

    Args:
        members: The documents.
        matrix: `near_duplicates.signatures` of their first pages.
        prefix: Of the groups' names.
    """
    groups, templates = Union(len(members)), Union(len(members))
    vendors: dict[str, int] = {}
    for index, member in enumerate(members):
        name = vendor_key(member.vendor)
        if name:
            groups.join(index, vendors.setdefault(name, index))
    for left, right in (*_similar([_triples(member.page) for member in members], _SAME_TEXT), *near_pairs(matrix)):
        groups.join(left, right)
    for left, right in _similar([_skeleton(member.page) for member in members], _SAME_TEMPLATE):
        templates.join(left, right)
    return [
        Family(
            group=f"{prefix}:{_name(members[groups.find(index)])}",
            template=f"{prefix}-template:{members[templates.find(index)].name}",
        )
        for index in range(len(members))
    ]


def near_duplicate_groups(matrix: Signatures) -> list[int]:
    """Sizes of the groups of two and more that texts alone make, the largest first."""
    groups = Union(len(matrix))
    for left, right in near_pairs(matrix):
        groups.join(left, right)
    sizes = Counter(groups.find(index) for index in range(len(matrix)))
    return sorted((size for size in sizes.values() if size > 1), reverse=True)


def vendor_key(name: str | None) -> str:
    """A vendor's name without case, punctuation and legal form."""
    words = re.sub(r"[\W_]+", " ", (name or "").casefold())
    return " ".join(_LEGAL.sub(" ", words).split())


def _name(member: Member) -> str:
    return vendor_key(member.vendor).replace(" ", "-") or member.name


def _triples(page: Page | None) -> set[int]:
    return {hash_text(triple) for triple in triples(page.words)} if page else set()


def _skeleton(page: Page | None) -> set[int]:
    """Words without digits and their cells: labels stand still while values change."""
    if page is None:
        return set()
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
