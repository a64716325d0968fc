"""From the text that a model wrote to a `Prediction`: values, the words that show them, and how sure the model was.

Belongs here: parsing, finding words on the page, and confidence by value. What an answer should look like is
`answer_schema`; making the model write one is `predictor`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.generative.answer_schema import line_fields
from sap_llm.modeling.generative.frame import Frame, Points
from sap_llm.modeling.line_items import item_number
from sap_llm.modeling.normalise import Manner, field_type, manner_of
from sap_llm.modeling.protocol import PredictedField, PredictedLineItem, Prediction
from sap_llm.schema.page import Page

Path = tuple[str | int, ...]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_MOST_WORDS = 40  # that one value is looked for in
UNKNOWN_CLASS = "OTHER"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote.

    Attributes:
        text: As written, without the token that ends it.
        tokens: How many it wrote.
        is_compliant: It is JSON of its schema.
        was_cut: It was closed because no more tokens were allowed.
        confidence: Geometric mean of its tokens' probabilities.
        confidences: The same by value, where each was found: path of keys and indices.
    """

    text: str
    tokens: int
    is_compliant: bool
    was_cut: bool
    confidence: float
    confidences: Mapping[Path, float] = field(default_factory=dict, repr=False)

    @property
    def value(self) -> dict[str, Any] | None:
        """The JSON object, or None when it is none."""
        return parsed(self.text)


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, or None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def value_confidences(pieces: Sequence[bytes], log_chances: npt.NDArray[np.float32]) -> dict[Path, float]:
    """Geometric mean of the probabilities of the tokens that wrote each value of a JSON text.

    Args:
        pieces: What each token wrote.
        log_chances: float [tokens], natural logarithms.

    Returns:
        By path of keys and indices; empty where the text is no JSON.
    """
    text = b"".join(pieces)
    ends = np.cumsum([len(piece) for piece in pieces])
    found: dict[Path, float] = {}
    if parsed(text.decode(errors="replace")) is None:
        return found
    for path, start, stop in _values(text):
        first, last = np.searchsorted(ends, [start, stop - 1], side="right")
        found[path] = math.exp(float(log_chances[first : last + 1].mean()))
    return found


def to_prediction(
    answer: Answer, pages: Sequence[Page], frames: Sequence[Frame], *, vector: npt.NDArray[np.float32] | None = None
) -> Prediction:
    """An answer to the instruction `extract` in terms of the pages; an unreadable one is an empty finding.

    Args:
        answer: What the model wrote.
        pages: All pages of the document, in order; the first ones were shown.
        frames: Of the pages shown.
        vector: Of the document, unit length.
    """
    value = answer.value if answer.is_compliant else None
    value = value or {"document_type": UNKNOWN_CLASS, "document_subtype": None, "fields": {}, "line_items": []}
    reader = _Reader(pages, frames, answer, manner_of(word for page in pages for word in page.words))
    kind = value["document_type"]
    sure = answer.confidences.get(("document_type",), answer.confidence) if answer.is_compliant else 0.0
    items = (reader.item(index, item) for index, item in enumerate(value["line_items"]))
    return Prediction(
        document_type=kind,
        document_subtype=value["document_subtype"],
        type_confidence=sure,
        fields=tuple(reader.field(name, found) for name, found in value["fields"].items()),
        line_items=tuple(item for item in items if item.fields),
        class_probabilities={kind: sure},
        vector=np.zeros(0, dtype=np.float32) if vector is None else vector,
    )


@dataclass(frozen=True)
class _Reader:
    pages: Sequence[Page]
    frames: Sequence[Frame]
    answer: Answer
    manner: Manner

    def field(self, name: str, found: Mapping[str, Any]) -> PredictedField:
        """A header field."""
        page = found["page"]
        box = self.frames[page - 1].to_points(found["box"])
        return self._field(name, found["value"], page, box, path=("fields", name, "value"))

    def item(self, index: int, found: Mapping[str, Any]) -> PredictedLineItem:
        """A line item with its cells."""
        page = found["page"]
        box = self.frames[page - 1].to_points(found["box"])
        fields = tuple(
            self._field(name, found[name], page, box, path=("line_items", index, name))
            for name in line_fields()
            if name in found
        )
        counted = item_number(fields, otherwise=index + 1)
        return PredictedLineItem(line_number=counted, page=page, box=box, fields=fields)

    def _field(self, name: str, value: str, number: int, box: Points, *, path: Path) -> PredictedField:
        page = self.pages[number - 1]
        ids = words_of(page, value, kind=field_type(name), box=box, manner=self.manner)
        return PredictedField(
            field=name,
            value=value,
            printed=" ".join(page.words[place] for place in ids) or value,
            page=number,
            box=page.box_of(list(ids)) if ids else box,
            word_ids=ids,
            confidence=self.answer.confidences.get(path, self.answer.confidence),
        )


def words_of(page: Page, value: str, *, kind: str, box: Sequence[float], manner: Manner) -> tuple[int, ...]:
    """Indices of the words that show a value: the run that reads as it and is nearest the box, else those in the box.

    Args:
        page: Where it stands.
        value: Canonical.
        kind: Taxonomy type.
        box: Where the model says that it stands, points.
        manner: How the document writes.
    """
    runs = list(_runs(page, value, kind, manner))
    if runs:
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        return min(runs, key=lambda run: (_distance(page.union(list(run)), middle), run))
    centres = (page.boxes[:, :2] + page.boxes[:, 2:]) / 2
    inside = (centres >= np.array(box[:2])).all(axis=1) & (centres <= np.array(box[2:])).all(axis=1)
    return tuple(int(place) for place in np.flatnonzero(inside)[:_MOST_WORDS])


def _runs(page: Page, value: str, kind: str, manner: Manner) -> Iterator[tuple[int, ...]]:
    """Runs of consecutive words that read as the value."""
    if kind == "string":
        wanted = value.split()
        for start in range(len(page.words) - len(wanted) + 1 if wanted else 0):
            if page.words[start : start + len(wanted)] == wanted:
                yield tuple(range(start, start + len(wanted)))
        return
    for start, word in enumerate(page.words):
        if not set(word.casefold()) & set(value.casefold()) and kind != "date":
            continue
        for length in range(1, 4 if kind in ("date", "amount") else 2 if kind != "iban" else 10):
            text = " ".join(page.words[start : start + length])
            if start + length <= len(page.words) and manner.canonical(text, kind) == value:
                yield tuple(range(start, start + length))
                break


def _distance(box: Sequence[float], middle: npt.NDArray[np.floating[Any]]) -> float:
    return float(np.abs(np.array([box[0] + box[2], box[1] + box[3]]) / 2 - middle).sum())


def _values(text: bytes) -> Iterator[tuple[Path, int, int]]:
    """Path and byte range of every string, number and null that is a value in a JSON text."""
    path: list[str | int] = []
    is_key = False
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == b"{":
            path.append("")
            is_key = True
        elif token == b"[":
            path.append(0)
            is_key = False
        elif token in (b"}", b"]"):
            path.pop()
            is_key = False
        elif token == b",":
            last = path[-1]
            is_key = isinstance(last, str)
            path[-1] = last if isinstance(last, str) else last + 1
        elif token == b":":
            is_key = False
        elif is_key:
            path[-1] = json.loads(token)
        else:
            yield tuple(path), match.start(), match.end()
