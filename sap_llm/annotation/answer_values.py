"""What every desk's answers are checked and read with: classes, boxes on pages, words in boxes, values by type.

Belongs here: the rules that are the same whichever desk the answer came from. The forms that desks give answers in are
`region_answers` (Label Studio) and `file_answers` (annotation JSON).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from sap_llm.annotation.desk import UnreadableAnswerError
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import FieldSpec, load_taxonomy
from sap_llm.schema.values import canonical

_SLACK_POINTS = 3.0  # a hand-drawn box may end a hair outside the page; it is cut there
_UNPRINTED = re.compile(r"\s*(?:(\d{1,6})\.)?(\w+)\s*=\s*(.*\S)\s*", re.DOTALL)


def known_class(name: str | None) -> str:
    """The class, if the taxonomy has it; raises UnreadableAnswerError."""
    if name is None:
        raise UnreadableAnswerError("missing_class", "no document class was chosen", field="document_type")
    if name not in {entry.name for entry in load_taxonomy().classes}:
        raise UnreadableAnswerError("unknown_class", f"{name!r} is not in the taxonomy", field="document_type")
    return name


def known_subtype(document_type: str, name: str | None) -> str | None:
    """The subtype, if the class has it; raises UnreadableAnswerError."""
    if name is not None and name not in {
        entry.name for entry in load_taxonomy().document_class(document_type).subtypes
    }:
        raise UnreadableAnswerError(
            "unknown_subtype", f"{document_type} has no subtype {name!r}", field="document_subtype"
        )
    return name


def known_field(name: str, *, level: str) -> FieldSpec:
    """The field of that level, if the taxonomy has it; raises UnreadableAnswerError."""
    try:
        spec = load_taxonomy().field(name)
    except KeyError:
        raise UnreadableAnswerError("unknown_field", f"field {name!r} is not in the taxonomy", field=name) from None
    if spec.level != level:
        raise UnreadableAnswerError(
            "unknown_field", f"{name!r} is a {spec.level} field, not a {level} field", field=name
        )
    return spec


def on_page(box: Sequence[float], page: Page, *, field: str) -> list[float]:
    """The box in points, cut at the page's edges; raises UnreadableAnswerError when it is empty or lies outside."""
    x0, y0, x1, y1 = box
    slack = _SLACK_POINTS
    if x0 < -slack or y0 < -slack or x1 > page.width + slack or y1 > page.height + slack:
        raise UnreadableAnswerError(
            "box_outside_page",
            f"the box of {field} reaches {x0:.0f},{y0:.0f} to {x1:.0f},{y1:.0f} points, page {page.page_number} is "
            f"{page.width:.0f} x {page.height:.0f}",
            field=field,
        )
    cut = [max(0.0, x0), max(0.0, y0), min(page.width, x1), min(page.height, y1)]
    if not (cut[0] < cut[2] and cut[1] < cut[3]):
        raise UnreadableAnswerError("empty_box", f"the box of {field} has no area", field=field)
    return cut


def words_in(page: Page, box: Sequence[float]) -> list[int]:
    """Indices of the words whose centres lie in the box, in reading order."""
    if not page.words:
        return []
    middle = (page.boxes[:, :2] + page.boxes[:, 2:]) / 2
    x0, y0, x1, y1 = box
    inside = (middle[:, 0] >= x0) & (middle[:, 0] <= x1) & (middle[:, 1] >= y0) & (middle[:, 1] <= y1)
    found: list[int] = np.flatnonzero(inside).tolist()
    return found


def read_value(text: str, spec: FieldSpec, *, language: str | None, page: int | None) -> str:
    """Canonical value of a text; text that is no value of the type stays as it is, for a person said so.

    Raises:
        UnreadableAnswerError: There is no text at all.
    """
    if not text.strip():
        where = "" if page is None else f" on page {page}"
        raise UnreadableAnswerError(
            "no_text", f"{spec.name}{where} has no text, and no words lie in its box; write it", field=spec.name
        )
    return canonical(text, spec.type, language=language) or " ".join(text.split())


def unprinted_entries(texts: Iterable[str]) -> Iterator[tuple[int | None, str, str]]:
    """Line number (None: header), field and value of each `field=value`; raises UnreadableAnswerError."""
    for text in texts:
        match = _UNPRINTED.fullmatch(text)
        if match is None:
            raise UnreadableAnswerError("garbled", f"{text[:80]!r} is not of the form field=value")
        number = int(match[1]) if match[1] else None
        known_field(match[2], level="header" if number is None else "line")
        yield number, match[2], match[3]


def person_says(
    name: str,
    value: str | None,
    printed: str | None,
    page: int | None,
    box: Sequence[float] | None,
    word_ids: list[int] | None,
) -> dict[str, Any]:
    """A row of `tables.FIELD` as a person's word: certain, and theirs."""
    place = {"page": page, "box": None if box is None else list(box), "word_ids": word_ids}
    return {"field": name, "value": value, "printed": printed, **place, "confidence": 1.0, "source": "human"}
