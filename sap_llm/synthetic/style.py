"""The style of one issuer: every choice of the layout grammar, drawn lazily from the style's seed.

Choices, label synonyms, number and date formats belong here; blocks and their order do not (`blocks_*`, `layouts`).
Each choice has a name and its own random stream, so adding one does not change the others. Reserved test styles may
also draw synonyms and structures that no training style ever uses.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from hashlib import blake2b
from typing import Any, TypeVar

from sap_llm.synthetic import formats
from sap_llm.synthetic.pools import LANGUAGE_OF, read_data

T = TypeVar("T")

TEST_STYLES: tuple[str, ...] = tuple(f"test-{number:03d}" for number in range(160))
"""Seeds of the layouts that are reserved for testing; training layouts have seeds of another form."""

FONTS: tuple[str, ...] = (
    "Libertinus Serif", "New Computer Modern", "DejaVu Sans", "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono",
    "STIXGeneral", "HK Grotesk", "HK Grotesk", "HK Grotesk",
)  # fmt: skip

_SLIPS, _CAPITALS = 0.008, 0.02  # shares of words; capitals are mostly the habit of a whole layout


@cache
def labels(language: str) -> dict[str, Any]:
    """The label synonyms of a language: those of trade documents, and what only papers beside them need."""
    found = dict(read_data(f"labels_{language}"))
    for concept, words in read_data(f"papers_{language}").items():
        if isinstance(words, dict):
            found[concept] = {**words, **found.get(concept, {})}
        else:
            found.setdefault(concept, words)
    return found


@dataclass
class Style:
    """All choices of one layout; equal seeds and languages give equal styles."""

    seed: str
    language: str
    country: str
    is_test: bool
    _choices: dict[str, Any] = field(default_factory=dict)

    def rng(self, name: str) -> random.Random:
        """The random stream of one choice that needs more than a number."""
        return random.Random(f"{self.seed}/{name}")

    def _draw(self, name: str) -> float:
        """The random number of one choice, from 0 to 1: a hash, for seeding a stream costs ten times as much."""
        digest = blake2b(f"{self.seed}/{name}".encode(), digest_size=6).digest()
        return int.from_bytes(digest, "big") / 2**48

    def pick(self, name: str, options: Sequence[T], *, test_only: Sequence[T] = ()) -> T:
        """The option that this style has for a choice."""
        if name not in self._choices:
            drawn = self._draw(name)
            if self.is_test and test_only:
                options = test_only if drawn < 0.5 else options
                drawn = 2 * drawn % 1
            self._choices[name] = options[int(drawn * len(options))]
        chosen: T = self._choices[name]
        return chosen

    def chance(self, name: str, probability: float) -> bool:
        """Whether this style has an optional trait."""
        if name not in self._choices:
            self._choices[name] = self._draw(name) < probability
        is_chosen: bool = self._choices[name]
        return is_chosen

    def number(self, name: str, low: float, high: float) -> float:
        """A length or factor of this style."""
        if name not in self._choices:
            self._choices[name] = low + (high - low) * self._draw(name)
        value: float = self._choices[name]
        return value

    def synonyms(self, concept: str, kind: str = "") -> list[str]:
        """Words for a concept (`number`, `SUPPLIER_INVOICE`) that are open to every style."""
        found = labels(self.language)[concept]
        return list(found[kind] if kind else found)

    def word(self, concept: str, kind: str = "") -> str:
        """The word that this style uses for a concept, now and then with a slip of the pen."""
        name = f"word/{concept}/{kind}"
        if name not in self._choices:
            reserved = labels(self.language)["test_only"].get(concept, ())
            reserved = reserved.get(kind, ()) if isinstance(reserved, dict) else reserved
            chosen = self.pick(f"raw/{name}", self.synonyms(concept, kind), test_only=reserved)
            slip = self._draw(f"slip/{name}")
            if slip < _SLIPS:
                chosen = formats.misspell(self.rng(f"misspelt/{name}"), chosen)
            elif slip < _SLIPS + _CAPITALS or self.chance("capitals", 0.06):
                chosen = chosen.upper()
            self._choices[name] = chosen
        word: str = self._choices[name]
        return word

    def amount(self, value: str, *, places: int = 2, by_language: bool = False) -> str:
        """A decimal string as this style prints it; `by_language` where another country's habit would be misread."""
        shape = self.pick("language_shape", formats.NUMBER_SHAPES[self.language]) if by_language else self.number_shape
        return formats.decimal(value, shape, places=places, keeps_sign_behind=self.chance("trailing_minus", 0.04))

    def ungrouped(self, value: str) -> str:
        """A quantity without thousands separators and superfluous decimals."""
        return formats.decimal(value, ("", self.number_shape[1]), places=0)

    @property
    def number_shape(self) -> tuple[str, str]:
        """Separators of thousands and decimals: habits of the country more than of the language."""
        if self.country == "CH" and self.chance("swiss", 0.7):
            return ("'", ".")
        habit = self.language if self.chance("shape_of_language", 0.2) else LANGUAGE_OF[self.country]
        return self.pick("number_shape", formats.NUMBER_SHAPES[habit])

    def date(self, value: date) -> str:
        """A date as this style prints it."""
        shapes = formats.DATE_SHAPES[self.language]
        if self.country == "US" and value.day > 12 and self.chance("month_first", 0.6):
            return f"{value:%m/%d/%Y}"
        return formats.date(value, self.pick("date_shape", shapes), self.language)
