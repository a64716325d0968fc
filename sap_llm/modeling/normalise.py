"""Reading printed values in the manner of the document that they stand in.

Belongs here: guessing a document's language, decimal mark and date order from all its words, and canonical values under
that guess. What one value means under a given language is `schema.values`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import CURRENCY_SYMBOLS, canonical

_WORDS = {
    "de": "und der die das rechnung bestellung lieferung datum menge betrag für mit von gesamt zahlbar kunde ust "
    "einzelpreis nr lieferschein auftrag netto brutto mwst bitte ihre",
    "en": "and the of invoice order delivery date quantity amount for with from total payable customer vat price "
    "number net gross please your due unit",
    "fr": "et le la les facture commande livraison date quantité montant pour avec du total client tva prix numéro "
    "désignation net votre échéance",
    "es": "y el la los factura pedido entrega fecha cantidad importe para con del total cliente iva precio número "
    "descripción neto su vencimiento",
}
_LANGUAGE_BY_WORD: dict[str, set[str]] = {}
for _language, _list in _WORDS.items():
    for _word in _list.split():
        _LANGUAGE_BY_WORD.setdefault(_word, set()).add(_language)

_DECIMAL = re.compile(r"(?<![\d.,])\d{1,3}(?:[.,'’ ]?\d{3})*([.,])\d{2}(?![\d.,])")
_OPEN_DATE = re.compile(r"(?<![\d/-])(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d{2})(?![\d/-])")  # either order
_EDGES = " \t.,;:|*#"
_CODES = frozenset("EUR USD GBP CHF JPY CAD AUD SEK NOK DKK PLN CZK HUF INR CNY MXN BRL MYR SGD ZAR TRY RON".split())


@dataclass(frozen=True)
class Manner:
    """How a document writes.

    Attributes:
        language: ISO 639-1 code that most words speak for; English when none do.
        decimal_mark: "," or ".".
        month_first: Separators ("/", "-") between which the month comes before the day.
    """

    language: str
    decimal_mark: str
    month_first: frozenset[str]

    def canonical(self, text: str, kind: str) -> str | None:
        """Canonical form of a printed value of a taxonomy type, or None when it is none."""
        if kind in ("amount", "quantity", "percent", "integer"):
            return canonical(text, kind, language="de" if self.decimal_mark == "," else "en")
        if kind == "date":
            is_month_first = any(mark in text for mark in self.month_first)
            return canonical(text, kind, language="en-us" if is_month_first else self.language)
        if kind == "string":
            return canonical(text.strip(_EDGES) or text, kind, language=self.language)
        return canonical(text, kind, language=self.language)


def manner_of(words: Iterable[str]) -> Manner:
    """Guess how a document writes from all its words."""
    votes: dict[str, float] = dict.fromkeys(_WORDS, 0.0)
    marks = {",": 0, ".": 0}
    dates: set[str] = set()
    dollars = others = 0
    for word in words:
        for language in (spoken := _LANGUAGE_BY_WORD.get(word.lower().strip(".:,;"), ())):
            votes[language] += 1.0 / len(spoken)
        if match := _DECIMAL.search(word):
            marks[match[1]] += 1
        if match := _OPEN_DATE.search(word):
            dates.add(match[0])
        dollars += "$" in word or word == "USD"
        others += any(sign in word for sign in ("€", "£", "EUR", "GBP"))
    language = max(votes, key=lambda name: votes[name]) if any(votes.values()) else "en"
    by_language = "." if language == "en" else ","
    mark = by_language if marks[","] == marks["."] else max(marks, key=lambda name: marks[name])
    month_first = frozenset(
        separator
        for separator in "/-"
        if language == "en"
        and _is_month_first({text for text in dates if separator in text}, otherwise=dollars > others)
    )
    return Manner(language=language, decimal_mark=mark, month_first=month_first)


def _is_month_first(dates: set[str], *, otherwise: bool) -> bool:
    """The order of day and month that all dates of a document allow, or else the one that brings them closer."""
    spreads = {}
    for language in ("en", "en-us"):
        read = [canonical(text, "date", language=language) for text in dates]
        swapped = [match for text in dates if (match := _OPEN_DATE.match(text)) and _contradicts(match, language)]
        if swapped or None in read:
            return language == "en"
        days = [date.fromisoformat(value).toordinal() for value in read if value]
        spreads[language] = max(days) - min(days) if days else 0
    if len(dates) < 2 or spreads["en"] == spreads["en-us"]:
        return otherwise
    return spreads["en-us"] < spreads["en"]


def _contradicts(match: re.Match[str], language: str) -> bool:
    """Whether a month would be greater than 12."""
    return int(match[3] if language == "en" else match[1]) > 12


def field_type(name: str) -> str:
    """Taxonomy type of a field."""
    return load_taxonomy().field(name).type


def currency_in(word: str) -> str | None:
    """ISO code of a currency sign or code that stands in a word, alone or beside an amount."""
    rest = re.sub(r"[\d.,'’()+-]", "", word).strip()
    if rest in _CODES:
        return rest
    return CURRENCY_SYMBOLS.get(rest) if rest and not rest.isalpha() else None
