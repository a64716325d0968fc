"""Where values may stand on the pages of a document: an index from meaning to word spans.

Belongs here: finding every place that shows a value, by type. Which of several places is the field is `alignment`.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np

from sap_llm.schema.page import Page
from sap_llm.schema.values import canonical

_LONGEST = {"amount": 4, "percent": 3, "quantity": 3, "integer": 1, "date": 6, "currency": 1, "unit": 1}
_KEYED = ("string", "vat_id", "iban", "bic")
_COUNTRY_LANGUAGES = ("de", "en", "es", "fr", "it", "nl")  # in which a page may name a country
_NUMBERS = ("amount", "quantity", "percent")
_MIN_DIGITS, _MIN_PART = 2, 4  # what is shorter stands on any page
_GAP = 1.5  # heights of a line between words of one value
_NEXT_LINE = 2.5  # heights between lines of one wrapped value
_INDENT_POINTS = 12.0
_LABEL_END = re.compile(r"^.*[:#(]")
_CURRENCY_PART = re.compile(r"[^\W\d_]{3}|[€$£¥₹]")


@dataclass(frozen=True)
class Span:
    """Words of one page that show one value.

    Attributes:
        page: Index of the page, from 0.
        line: Visual line of the first word, counted over the whole document.
        words: Word indices in reading order.
    """

    page: int
    line: int
    words: tuple[int, ...]


class PrintedIndex:
    """All words of a document, ready to be searched by meaning."""

    def __init__(self, pages: Sequence[Page], *, language: str | None) -> None:
        self.pages, self.language = list(pages), language
        self._by_type: dict[str, dict[str, list[Span]]] = {}
        self.lines: list[tuple[int, list[int]]] = []  # page index and word indices, over the whole document
        self._line_of: list[list[int]] = []
        for index, page in enumerate(self.pages):
            of_page: list[int] = []
            previous = None
            for word, line in enumerate(page.lines.tolist()):
                if line != previous:
                    self.lines.append((index, []))
                    previous = line
                self.lines[-1][1].append(word)
                of_page.append(len(self.lines) - 1)
            self._line_of.append(of_page)
        self._keys = [[_key(word) for word in page.words] for page in self.pages]
        self._tail_keys = [
            [_key(_LABEL_END.sub("", word)) if _LABEL_END.match(word) else "" for word in page.words]
            for page in self.pages
        ]

    def find(self, value: str, kind: str) -> list[Span]:
        """Every place that shows the canonical `value` of type `kind`, in reading order."""
        if kind == "bic" and len(value) == 8:  # canonical form leaves out the main office
            return self._find_key(_key(value)) + self._find_key(_key(value + "XXX"))
        if kind == "country":
            return [span for name in _country_names(value) for span in self._find_key(_key(name))]
        if kind in _KEYED:
            return self._find_key(_key(value))
        if kind not in self._by_type:
            self._by_type[kind] = self._read(kind)
        return self._by_type[kind].get(value, [])

    def resembles(self, value: str, kind: str) -> bool:
        """Whether a good part of a value stands somewhere, so that the page may show it in another form.

        Of numbers the digits without leading and trailing zeros, of texts half of the longer words; dates are written
        in too many ways to tell.
        """
        if kind in _NUMBERS:
            digits = _digits(value)
            return len(digits) >= _MIN_DIGITS and any(
                _digits(word) == digits for page in self.pages for word in page.words
            )
        parts = {key for part in value.split() if len(key := _key(part)) >= _MIN_PART}
        shown = parts & {key for keys in (*self._keys, *self._tail_keys) for key in keys}
        return kind == "string" and len(shown) * 2 >= len(parts) > 0

    def text(self, span: Span) -> str:
        """Words of the span joined by spaces, as printed."""
        words = self.pages[span.page].words
        return " ".join(words[index] for index in span.words)

    def box(self, span: Span) -> list[float]:
        """Box around the span."""
        return self.pages[span.page].union(list(span.words))

    @cached_property
    def heights(self) -> list[float]:
        """Median height of the words of each page, in points."""
        return [
            float(np.median(page.boxes[:, 3] - page.boxes[:, 1])) if len(page.words) else 10.0 for page in self.pages
        ]

    def _read(self, kind: str) -> dict[str, list[Span]]:
        found: dict[str, list[Span]] = defaultdict(list)
        for line, (page_index, words) in enumerate(self.lines):
            taken: dict[str, set[int]] = defaultdict(set)
            for run in self._runs(page_index, words, _LONGEST[kind]):
                text = " ".join(self.pages[page_index].words[index] for index in run)
                for value in self._readings(text, kind):
                    if not taken[value].intersection(run):  # the shortest words that say it
                        taken[value].update(run)
                        found[value].append(Span(page_index, line, run))
        return found

    def _runs(self, page_index: int, words: list[int], longest: int) -> Iterator[tuple[int, ...]]:
        """Runs of neighbouring words of one line, short ones first."""
        boxes = self.pages[page_index].boxes
        limit = _GAP * self.heights[page_index]
        near = [float(boxes[after, 0] - boxes[before, 2]) < limit for before, after in pairwise(words)]
        for length in range(1, longest + 1):
            for start in range(len(words) - length + 1):
                if all(near[start : start + length - 1]):
                    yield tuple(words[start : start + length])

    def _readings(self, text: str, kind: str) -> set[str]:
        if kind == "currency":
            parts = {text, *_CURRENCY_PART.findall(text)}
            return {value for part in parts if (value := canonical(part, kind)) is not None}
        if kind != "unit" and not any(char.isdigit() for char in text):
            return set()
        tail = _LABEL_END.sub("", text)
        readings = {canonical(part, kind, language=self.language) for part in (text, tail) if part}
        readings |= {canonical(text, kind)} if kind in ("amount", "quantity") else set()
        return {value for value in readings if value is not None}

    def _find_key(self, wanted: str) -> list[Span]:
        found: list[Span] = []
        if not wanted:
            return found
        for page_index, keys in enumerate(self._keys):
            for word, key in enumerate(keys):
                for first in (key, self._tail_keys[page_index][word]):
                    if first and wanted.startswith(first):
                        words = self._follow(page_index, word, wanted[len(first) :])
                        if words:
                            found.append(Span(page_index, self._line_of[page_index][word], words))
                            break
        return found

    def _follow(self, page_index: int, word: int, rest: str) -> tuple[int, ...] | None:
        """The words from `word` on that spell `rest`: along the line, then at the start of the same column below."""
        keys, chosen, current = self._keys[page_index], [word], word
        while rest:
            following = next(
                (
                    index
                    for index in self._successors(page_index, current, word)
                    if keys[index] and rest.startswith(keys[index])
                ),
                None,
            )
            if following is None:
                return None
            chosen.append(following)
            rest = rest[len(keys[following]) :]
            current = following
        return tuple(chosen)

    def _successors(self, page_index: int, current: int, first: int) -> Iterator[int]:
        line = self._line_of[page_index][current]
        words = self.lines[line][1]
        position = words.index(current)
        yield from words[position + 1 : position + 3]  # one word may be a bullet or a dash without key
        boxes = self.pages[page_index].boxes
        limit = _NEXT_LINE * max(self.heights[page_index], float(boxes[current, 3] - boxes[current, 1]))
        for page, candidates in self.lines[line + 1 : line + 4]:
            if page != page_index or boxes[candidates[0], 1] - boxes[current, 3] > limit:
                return
            for position, index in enumerate(candidates):
                if abs(float(boxes[index, 0] - boxes[first, 0])) < _INDENT_POINTS:
                    yield from candidates[position : position + 1 + (not self._keys[page_index][index])]  # past a dash
                    break


def _key(text: str) -> str:
    """Letters and digits only, without case and accents: `Lieferanten-Straße` and `LIEFERANTENSTRASSE` agree."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if char.isalnum())


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text).strip("0")


@cache
def _country_names(code: str) -> tuple[str, ...]:
    """A country's code and its names, the code last: two letters stand in many places."""
    from babel import Locale

    names = (Locale(language).territories.get(code.upper(), code) for language in _COUNTRY_LANGUAGES)
    return tuple(dict.fromkeys([*names, code]))
