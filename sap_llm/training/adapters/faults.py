"""Faults that are planted so that their answers are known: turned and misread pages, wrong and missing values.

Belongs here: making them, from a given generator. Damage to pictures and the engine's way of misreading are
`sap_llm.augmentation`; what is asked about the faults is `tasks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.page import Page

_FONT_SHIFT = 29  # code points by which the commonest broken font table is off: R is read as 5
_SPACE = 32
_MOST_DAYS_EARLY = 60
Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """Values of which some were changed or taken away, and which."""

    values: dict[str, str]
    wrong: tuple[str, ...]  # sorted, as are the missing
    missing: tuple[str, ...]


def turned(page: Page, quarters: int) -> Page:
    """The page turned clockwise by so many quarters, its words in the order in which they are met now."""
    width, height, boxes = page.width, page.height, page.boxes
    for _ in range(quarters % 4):
        x0, y0, x1, y1 = boxes.T
        boxes = np.stack([height - y1, x0, height - y0, x1], axis=1).astype(np.float32)
        width, height = height, width
    if not quarters % 4 or not page.words:
        return page
    order, lines = order_words(boxes)
    words = [page.words[index] for index in order.tolist()]
    return replace(page, width=width, height=height, words=words, boxes=boxes[order], lines=lines)


def shifted(page: Page) -> Page:
    """The page as a text layer gives it whose font has a shifted table; digits become codes that mean nothing."""
    words = ["".join(_shifted(letter) for letter in word) for word in page.words]
    return replace(page, words=words)


def _shifted(letter: str) -> str:
    code = ord(letter) - _FONT_SHIFT
    return chr(code) if code > _SPACE else "\ufffd"


def spoiled(values: Mapping[str, str], generator: Generator, *, most: int) -> Spoiled:
    """Change or take away one to `most` of the values; none, where there are no values."""
    names = sorted(values)
    count = min(len(names), int(generator.integers(1, most + 1)))
    chosen = [names[place] for place in generator.permutation(len(names))[:count].tolist()]
    changed, wrong, missing = dict(values), [], []
    for name in chosen:
        if generator.random() < 0.25:
            del changed[name]
            missing.append(name)
        else:
            changed[name] = wrong_value(name, values, generator)
            wrong.append(name)
    return Spoiled(values=changed, wrong=tuple(sorted(wrong)), missing=tuple(sorted(missing)))


def wrong_value(name: str, values: Mapping[str, str], generator: Generator) -> str:
    """Another value than the field has: that of a neighbour, one digit off, or two letters exchanged."""
    value = values[name]
    others = sorted({other for key, other in values.items() if key != name} - {value})
    if others and generator.random() < 0.3:
        return others[int(generator.integers(len(others)))]
    return _digit_off(value, generator) or _letters_exchanged(value, generator) or f"{value}1"


def broken(values: Mapping[str, str], generator: Generator) -> dict[str, str]:
    """Header values with one fault that a business rule may find: an amount, a date, an account or a currency."""
    name = sorted(values)[int(generator.integers(len(values)))]
    return {**values, name: _broken(name, values, generator)}


def _broken(name: str, values: Mapping[str, str], generator: Generator) -> str:
    if name == "currency":
        return values[name].lower()
    if name == "due_date" and "document_date" in values:
        return _before(values["document_date"], generator) or values[name]
    return _digit_off(values[name], generator) or values[name]


def _before(value: str, generator: Generator) -> str | None:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return None
    return (day - timedelta(days=int(generator.integers(1, _MOST_DAYS_EARLY)))).isoformat()


def _digit_off(value: str, generator: Generator) -> str | None:
    """One digit replaced by another; None where there is no digit."""
    places = [place for place, letter in enumerate(value) if letter in "0123456789"]
    if not places:
        return None
    place = places[int(generator.integers(len(places)))]
    digit = (int(value[place]) + int(generator.integers(1, 10))) % 10
    return f"{value[:place]}{digit}{value[place + 1 :]}"


def _letters_exchanged(value: str, generator: Generator) -> str | None:
    """Two neighbouring letters exchanged; None where all are the same."""
    places = [place for place in range(len(value) - 1) if value[place] != value[place + 1]]
    if not places:
        return None
    place = places[int(generator.integers(len(places)))]
    return value[:place] + value[place + 1] + value[place] + value[place + 2 :]
