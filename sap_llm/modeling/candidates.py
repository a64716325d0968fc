"""Candidate values of a field: runs of words that a head finds likely, read as a value of the field's type.

Belongs here: from word probabilities to scored spans, joining names that wrap, trimming what is not part of a value,
and syntax checks. Choosing among candidates is `decoding`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.confidence import span_confidence
from sap_llm.modeling.normalise import Manner
from sap_llm.schema.page import Page
from sap_llm.schema.values import DEDUCTIONS, LEGAL_FORM

Array = npt.NDArray[Any]
WRAPPING = frozenset({"seller_name", "buyer_name", "payment_terms"})
_NAMES = frozenset({"seller_name", "buyer_name"})
IDENTIFIERS = frozenset({"document_number", "order_reference", "delivery_note_number", "customer_number"})
SINGLE_WORD_TYPES = frozenset({"amount", "percent", "quantity", "integer", "currency", "unit"})
_VAT_ID = re.compile(r"^(?:[A-Z]{2}[A-Z0-9]{2,13}|[A-Z]{3}\d{9}(?:MWST|TVA|IVA)?)$")
_WRAP_GAP = 1.2  # of the line height, between the lines of a name
_TRIMMED_WORDS = 3
_ALIKE = 0.2  # share of the likeliest word's likelihood that its neighbours need to be of the same value
_ALIKE_LINES = 0.5  # the same for a line below
_BEGINS = 0.5
_POSSIBLE = 0.03  # likelihood of a word that may complete a name
_COLUMN_GAP = 2.0  # of the line height
_DOUBT = 0.6  # factor for an IBAN whose check digits do not hold: wrong, or from a sample document
_ENDS_A_NAME = re.compile(rf"(?<!\w){LEGAL_FORM}$")
_HAS_LEGAL_FORM = re.compile(rf"(?<![\w.]){LEGAL_FORM}(?!\w)")
_GOES_ON = ("&", "und ", "and ", "et ", "y ")  # GmbH / & Co. KG
_FIRST_GROUP = re.compile(r"^[^\d\s]{0,4}\d{1,3}$")
_LAST_GROUP = re.compile(r"^\d{3}$")
_NEXT_GROUP = re.compile(r"^\d{3}(?:[.,]\d{1,4})?(?!\d)\D{0,4}$")


@dataclass(frozen=True)
class Candidate:
    """A possible value.

    Attributes:
        value: Canonical.
        words: Indices in the document's words (pages concatenated), all on one page.
        score: 0..1, geometric mean of the words' probabilities.
    """

    value: str
    words: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Scroll:
    """All words of a document, pages concatenated.

    Attributes:
        words: n texts.
        boxes: float [n, 4], points on the own page.
        lines: int [n], visual line, running on over pages.
        pages: int [n], index in the list of pages.
        starts: Index of each page's first word.
        begins: float [n], probability of being the first word of a value; None where no model says.
    """

    words: list[str]
    boxes: Array
    lines: Array
    pages: Array
    starts: list[int]
    begins: Array | None = None

    def is_beginning(self, word: int) -> bool:
        """Whether the model takes a word for the first of a value."""
        return self.begins is not None and bool(self.begins[word] >= _BEGINS)

    @classmethod
    def of(cls, pages: Sequence[Page]) -> "Scroll":
        """Concatenate the words of pages in order."""
        words = [word for page in pages for word in page.words]
        starts, lines, first_line, count = [], [], 0, 0
        for page in pages:
            starts.append(count)
            count += len(page.words)
            lines.append(page.lines + first_line)
            first_line += int(page.lines.max()) + 1 if len(page.lines) else 0
        return cls(
            words=words,
            boxes=np.concatenate([page.boxes for page in pages] or [np.zeros((0, 4), dtype=np.float32)]),
            lines=np.concatenate(lines or [np.zeros(0, dtype=np.int32)]),
            pages=np.repeat(np.arange(len(pages)), [len(page.words) for page in pages]),
            starts=starts,
        )


def candidates(
    scroll: Scroll, probabilities: Array, *, field: str, kind: str, manner: Manner, least: float
) -> list[Candidate]:
    """Candidates of one field, best first; equal values are one candidate with the greatest score.

    Args:
        scroll: The document.
        probabilities: float [n], of each word belonging to the field.
        field: Taxonomy name.
        kind: Its type.
        manner: How the document writes.
        least: Words below this probability are left out.
    """
    if kind in SINGLE_WORD_TYPES:
        spans = _numbers(scroll, probabilities, least)
    else:
        spans = _runs(scroll, probabilities, least)
        if field in _NAMES:
            spans = _distinct(_completed(scroll, probabilities, span) for span in spans)
        if field in WRAPPING:
            spans = _joined(scroll, spans, probabilities, is_name=field in _NAMES)
        elif kind == "date":
            spans += _joined(scroll, spans, probabilities, is_name=False)
    best: dict[str, Candidate] = {}
    for span in spans:
        found = _read(scroll, probabilities, span, field=field, kind=kind, manner=manner)
        if found is not None and (found.value not in best or best[found.value].score < found.score):
            best[found.value] = found
    return sorted(best.values(), key=lambda candidate: -candidate.score)


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN hold (ISO 13616)."""
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", text):
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _numbers(scroll: Scroll, probabilities: Array, least: float) -> list[list[int]]:
    """Likely words one by one, but `15 698,82` as one: groups of three digits a space apart."""
    spans: list[list[int]] = []
    for place in np.flatnonzero(probabilities >= least).tolist():
        if spans and spans[-1][-1] == place - 1 and _is_grouped(scroll, spans[-1], place):
            spans[-1].append(place)
        else:
            spans.append([place])
    return spans


def _is_grouped(scroll: Scroll, span: list[int], place: int) -> bool:
    last = span[-1]
    height = float(scroll.boxes[place][3] - scroll.boxes[place][1])
    reach = 0.6 if scroll.begins is None or scroll.is_beginning(place) else _COLUMN_GAP
    is_near = 0 <= float(scroll.boxes[place][0] - scroll.boxes[last][2]) < reach * height
    if not is_near or scroll.lines[place] != scroll.lines[last]:
        return False
    head = _LAST_GROUP if len(span) > 1 else _FIRST_GROUP
    return bool(head.match(scroll.words[last]) and _NEXT_GROUP.match(scroll.words[place]))


def _runs(scroll: Scroll, probabilities: Array, least: float) -> list[list[int]]:
    """Neighbouring likely words on one visual line; a run ends where the likelihood breaks down.

    A mark between two likely words, such as `&`, belongs to the run.
    """
    spans: list[list[int]] = []
    for place in np.flatnonzero(probabilities >= least).tolist():
        previous = spans[-1][-1] if spans else -2
        between = scroll.words[previous + 1 : place] if previous >= 0 else []
        is_next = len(between) <= 1 and not any(char.isalnum() for word in between for char in word)
        is_next &= previous >= 0 and _is_beside(scroll, previous, place) and not scroll.is_beginning(place)
        if is_next and _is_alike(probabilities[place], probabilities[previous]):
            spans[-1].extend(range(previous + 1, place + 1))  # with the "&" between
        else:
            spans.append([place])
    return spans


def _is_beside(scroll: Scroll, left: int, right: int) -> bool:
    """Whether two words stand on one line without a gap as between columns."""
    if scroll.lines[left] != scroll.lines[right]:
        return False
    height = float(scroll.boxes[right][3] - scroll.boxes[right][1])
    return float(scroll.boxes[right][0] - scroll.boxes[left][2]) < _COLUMN_GAP * height


def _completed(scroll: Scroll, probabilities: Array, span: list[int]) -> list[int]:
    """A name with the words beside it that could belong to it: what is rare in names ends many a run too early."""

    def belongs(place: int, beside: int) -> bool:
        if not 0 <= place < len(scroll.words) or probabilities[place] < _POSSIBLE:
            return False
        word = scroll.words[place]
        is_word = any(char.isalnum() for char in word) and not word.endswith(":") and word[0] not in "([{"
        return is_word and _is_beside(scroll, min(place, beside), max(place, beside))

    words = list(span)
    while belongs(words[0] - 1, words[0]):
        words.insert(0, words[0] - 1)
    while not _ENDS_A_NAME.search(scroll.words[words[-1]].casefold()) and belongs(words[-1] + 1, words[-1]):
        words.append(words[-1] + 1)
    return words


def _distinct(spans: Iterable[list[int]]) -> list[list[int]]:
    """Without spans that repeat a word of the one before them."""
    kept: list[list[int]] = []
    for span in spans:
        if not kept or span[0] > kept[-1][-1]:
            kept.append(span)
    return kept


def _joined(scroll: Scroll, spans: list[list[int]], probabilities: Array, *, is_name: bool) -> list[list[int]]:
    """Join a span with the one right below it that is about as likely, unless that says the same again."""
    joined: list[list[int]] = []
    for span in spans:
        above = next(
            (
                other
                for other in reversed(joined)
                if _is_alike(probabilities[other].max(), probabilities[span].max(), share=_ALIKE_LINES)
                and _continues(scroll, other, span, is_name=is_name)
            ),
            None,
        )
        if above is None:
            joined.append(list(span))
        else:
            above.extend(span)
    return joined


def _is_alike(one: float, other: float, *, share: float = _ALIKE) -> bool:
    """Whether two likelihoods are close enough for one value."""
    return min(one, other) >= share * max(one, other)


def _continues(scroll: Scroll, above: list[int], below: list[int], *, is_name: bool) -> bool:
    first, second = above[-1], below[0]
    if scroll.pages[first] != scroll.pages[second] or scroll.lines[second] <= scroll.lines[first]:
        return False
    if scroll.is_beginning(second):
        return False
    texts = [" ".join(scroll.words[place] for place in span).casefold() for span in (above, below)]
    if texts[1] in texts[0] or texts[0] in texts[1]:
        return False
    if is_name and _HAS_LEGAL_FORM.search(texts[0]) and not texts[1].startswith(_GOES_ON):
        return False
    upper, lower = scroll.boxes[above], scroll.boxes[below]
    last = upper[upper[:, 3] >= upper[:, 3].max() - 1.0]
    height = float(last[:, 3].max() - last[:, 1].min())
    gap = float(lower[:, 1].min() - last[:, 3].max())
    starts_alike = abs(float(lower[:, 0].min() - upper[:, 0].min())) < 2.0 * height
    starts_alike |= second == first + 1  # a sentence that wraps
    return starts_alike and -0.5 * height < gap < _WRAP_GAP * height


def _read(
    scroll: Scroll, probabilities: Array, span: list[int], *, field: str, kind: str, manner: Manner
) -> Candidate | None:
    """Read a span as a value; when the whole is none, leave out up to three words at its ends.

    Of a date the shortest part that is one is taken: reading dates forgives words around them.
    """
    lengths = range(len(span), max(0, len(span) - 1 - _TRIMMED_WORDS), -1)
    for length in reversed(lengths) if kind == "date" else lengths:
        for start in range(len(span) - length + 1):
            part = span[start : start + length]
            value = _value(" ".join(scroll.words[place] for place in part), field=field, kind=kind, manner=manner)
            if value is not None:
                score = span_confidence(_lifted(scroll, probabilities, part))
                if kind == "iban" and not is_iban(value):
                    score *= _DOUBT
                return Candidate(value=value, words=tuple(part), score=score)
    return None


def _lifted(scroll: Scroll, probabilities: Array, part: list[int]) -> Array:
    """Probabilities of the words; a mark between words and what completes a name are as likely as the likeliest."""
    own = probabilities[part].copy()
    marks = np.array([not any(char.isalnum() for char in scroll.words[place]) for place in part])
    own[marks | (own < _ALIKE * own.max())] = own.max()
    return own


def _value(text: str, *, field: str, kind: str, manner: Manner) -> str | None:
    if field in IDENTIFIERS:
        _, colon, rest = text.rpartition(":")  # a label glued to its value
        text = rest if colon and any(char.isdigit() for char in rest) else text
        text = text.strip(" .,;:#*()[]") or text
    value = manner.canonical(text, kind)
    if field in DEDUCTIONS and value is not None:
        return value.removeprefix("-")
    if kind == "string":
        return value if value and _is_plausible_text(field, value) else None
    if value is not None and _is_valid(kind, value):
        return value
    _, colon, rest = text.rpartition(":")
    if not colon or not rest.strip():
        return None
    value = manner.canonical(rest, kind)
    return value if value is not None and _is_valid(kind, value) else None


def _is_valid(kind: str, value: str) -> bool:
    if kind == "vat_id":
        return bool(_VAT_ID.match(value)) and sum(char.isdigit() for char in value) >= 2
    return True


def _is_plausible_text(field: str, value: str) -> bool:
    if field in WRAPPING:
        return any(char.isalpha() for char in value)
    return any(char.isalnum() for char in value)
