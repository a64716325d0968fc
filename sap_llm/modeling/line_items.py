"""From word probabilities to line items: rows, their cells, and the check that quantity times price is the amount.

Belongs here: grouping tagged words into rows and choosing each cell. Header fields are `decoding`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Candidate, Scroll, candidates
from sap_llm.modeling.decoding import to_field
from sap_llm.modeling.labels import LabelSet
from sap_llm.modeling.normalise import Manner, field_type
from sap_llm.modeling.protocol import PredictedField, PredictedLineItem
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
_LEAST = 0.1
_TAGGED = 0.4
_STARTS = 0.5
_PRODUCT_BONUS = 2.0
_PRODUCT = ("line_quantity", "line_unit_price", "line_net_amount")
_TOLERANCE = Decimal("0.02")
_ONCE = ("line_number", "line_quantity", "line_unit_price", "line_net_amount")
"""Columns of numbers that an item has once."""
_AMOUNT = "line_net_amount"
_PRICED = frozenset({"line_quantity", "line_unit_price"})
_REPEATED = 2  # columns that say again what was said: one alone may be misread
_NUMBERS = frozenset({"line_quantity", "line_unit_price", "line_net_amount"})


def decode_line_items(
    pages: Sequence[Page],
    probabilities: Array,
    row_starts: Array,
    labels: LabelSet,
    *,
    scroll: Scroll,
    manner: Manner,
) -> tuple[PredictedLineItem, ...]:
    """Line items in reading order, numbered from 1 unless the page says otherwise.

    Args:
        pages: The document's pages in order.
        probabilities: float [n, 1 + line fields] over the words of all pages.
        row_starts: float [n], probability of each word being the first of a line item.
        labels: The model's label lists.
        scroll: The pages' words concatenated.
        manner: How the document writes.
    """
    items: list[PredictedLineItem] = []
    for first_line, stop_line in _rows(scroll, probabilities, row_starts, labels):
        inside = (scroll.lines >= first_line) & (scroll.lines < stop_line)
        chosen = _cells(scroll, np.where(inside[:, None], probabilities, 0.0), labels, manner)
        if len(chosen) < 2 or not (_NUMBERS & chosen.keys()):
            continue
        fields = tuple(to_field(name, choice, pages, scroll) for name, choice in chosen.items())
        items.append(_item(fields, number=len(items) + 1))
    return tuple(items)


def _rows(
    scroll: Scroll, probabilities: Array, row_starts: Array, labels: LabelSet
) -> list[tuple[int, int]]:  # fmt: skip
    """Half-open ranges of visual lines, one for each line item; ranges end at the page's last tagged line."""
    tagged = probabilities[:, 1:].sum(axis=1) >= _TAGGED
    seen = {int(line) for line in scroll.lines[(row_starts >= _STARTS) & tagged]}
    if not seen:
        seen = set(_lines_of_numbers(scroll, probabilities)[:1])
    starts = _completed(seen, _numbers_by_line(scroll, probabilities, labels), scroll)
    ends = [*starts[1:], math.inf][: len(starts)]
    ranges = []
    for start, end in zip(starts, ends, strict=True):
        page = scroll.pages[np.flatnonzero(scroll.lines == start)[0]]
        own = scroll.lines[tagged & (scroll.pages == page) & (scroll.lines >= start) & (scroll.lines < end)]
        ranges.append((start, int(own.max()) + 1))
    return ranges


def _numbers_by_line(scroll: Scroll, probabilities: Array, labels: LabelSet) -> dict[int, set[str]]:
    """The columns of numbers that each visual line shows."""
    found: dict[int, set[str]] = {}
    for name in _ONCE:
        own = probabilities[:, labels.line_fields.index(name) + 1]
        for line in scroll.lines[own >= _TAGGED].tolist():
            found.setdefault(line, set()).add(name)
    return dict(sorted(found.items()))


def _completed(starts: set[int], numbers: Mapping[int, set[str]], scroll: Scroll) -> list[int]:
    """The first lines of items: those that the model saw, and those that say again what an item says once.

    A start is none where what follows it only completes the item before: an amount that stands lower than the rest.
    """
    pages = dict(zip(scroll.lines.tolist(), scroll.pages.tolist(), strict=True))
    found: list[int] = []
    said: set[str] = set()
    for line in sorted(starts | numbers.keys()):
        own = numbers.get(line, set())
        is_next_page = bool(found) and pages[line] != pages[found[-1]]
        is_rest = own == {_AMOUNT} and said >= _PRICED and _AMOUNT not in said and not is_next_page
        says_again = len(own & said) >= _REPEATED or (is_next_page and len(own) >= _REPEATED)
        if says_again or (line in starts and not is_rest):
            found.append(line)
            said = set(own)
        else:
            said |= own
    return found


def _lines_of_numbers(scroll: Scroll, probabilities: Array) -> list[int]:
    """Where no row start was seen: visual lines with two different columns of numbers."""
    tags = probabilities.argmax(axis=1)
    columns: dict[int, set[int]] = {}
    for line, tag in zip(scroll.lines.tolist(), tags.tolist(), strict=True):
        if tag:
            columns.setdefault(line, set()).add(tag)
    return sorted(line for line, found in columns.items() if len(found) >= 3)


def _cells(scroll: Scroll, probabilities: Array, labels: LabelSet, manner: Manner) -> dict[str, Candidate]:
    chosen: dict[str, Candidate] = {}
    rivals: dict[str, list[Candidate]] = {}
    # most line fields of the taxonomy are in no table: only those with a likely word are looked for
    for index in np.flatnonzero(probabilities[:, 1:].max(axis=0, initial=0.0) >= _LEAST).tolist():
        name, own = labels.line_fields[index], probabilities[:, index + 1]
        if name == "line_description":
            places = np.flatnonzero(probabilities.argmax(axis=1) == index + 1)
            if len(places):
                text = " ".join(scroll.words[place] for place in places)
                chosen[name] = Candidate(text, tuple(places.tolist()), float(own[places].mean()))
            continue
        options = candidates(scroll, own, field=name, kind=field_type(name), manner=manner, least=_LEAST)
        if name in _PRODUCT:
            rivals[name] = options[:3]
        if options and options[0].score >= _TAGGED:
            chosen[name] = options[0]
    return chosen | _product(rivals)


def _product(rivals: Mapping[str, Sequence[Candidate]]) -> dict[str, Candidate]:
    """Quantity, price and amount that fit each other, if they are likely enough together."""
    best: dict[str, Candidate] = {}
    plain = sum(math.log(max(options[0].score, 1e-6)) for options in rivals.values() if options)
    best_score = plain
    for combination in itertools.product(*(rivals.get(name, ()) for name in _PRODUCT)):
        score = sum(math.log(max(choice.score, 1e-6)) for choice in combination) + _PRODUCT_BONUS
        if score > best_score and _multiplies(combination):
            best, best_score = dict(zip(_PRODUCT, combination, strict=True)), score
    return best


def _multiplies(combination: Sequence[Candidate]) -> bool:
    try:
        quantity, price, amount = (Decimal(choice.value) for choice in combination)
    except InvalidOperation:
        return False
    return abs(quantity * price - amount) <= _TOLERANCE


def _item(fields: tuple[PredictedField, ...], *, number: int) -> PredictedLineItem:
    page = fields[0].page
    own = tuple(field for field in fields if field.page == page)
    boxes = np.array([field.box for field in own])
    x0, y0 = boxes[:, :2].min(axis=0).tolist()
    x1, y1 = boxes[:, 2:].max(axis=0).tolist()
    counted = item_number(own, otherwise=number)
    return PredictedLineItem(line_number=counted, page=page, box=(x0, y0, x1, y1), fields=own)


def item_number(fields: Sequence[PredictedField], *, otherwise: int) -> int:
    """The number that a line item says of itself, if it is one of at most six digits."""
    printed = next((field.value for field in fields if field.field == "line_number"), "")
    return int(printed) if printed.isdecimal() and len(printed) < 7 else otherwise
