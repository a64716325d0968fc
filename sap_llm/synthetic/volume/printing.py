"""One document's values as the issuer prints them: pieces of text with what they mean.

Printing single values from a fact's payload belongs here; arranging them does not (`pairs`, `line_table`, `sums`). The
habits are those of `draft.Draft`; expressions are left out, for they cost more than the whole document may.
"""

import random
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sap_llm.schema.values import currency_decimals
from sap_llm.synthetic import formats
from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.classes import Role, class_spec, field_of
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.pools import company_name
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.look import Look, spaced

Piece = tuple[str, str, str]
"""Text without no-break spaces, taxonomy field ("" for none), canonical value."""
Value = tuple[Piece, ...]
"""Pieces that stand one space apart."""
NOTHING: Value = ()
Pieces = tuple[list[str], str, list[str]]
"""The pieces at one place in all cells of a column: texts ("" for none), taxonomy field, canonical values."""
_DATES = 4096


class Printer:
    """The values of one document.

    Args:
        fact: A row of `facts.FACTS`.
        payload: Its payload, parsed.
        look: Of its issuer.
        rng: The document's own random stream.
        is_titled: Whether the title tells the class.
        kept: What was worked out for the document in other sizes and does not depend on them.
    """

    def __init__(
        self, fact: Mapping[str, Any], payload: dict[str, Any], look: Look, rng: random.Random, *, is_titled: bool,
        kept: dict[Any, Any],
    ) -> None:  # fmt: skip
        self.kind, self.subtype, self.currency = fact["document_type"], fact["document_subtype"], fact["currency"]
        self.facts, self.look, self.rng, self.is_titled, self.kept = payload, look, rng, is_titled, kept
        self.issuer: Role = "seller" if payload["seller"]["key"] == fact["issuer"] else "buyer"
        self.recipient: Role = "buyer" if self.issuer == "seller" else "seller"
        self.spec = class_spec(self.kind)
        self.places = currency_decimals(self.currency)
        self.money_shape = look.number_shape if self.places == 2 else look.once("language_shape", self._language_shape)
        self.probe = look.draft(payload, self.currency, self.issuer, subtype=self.subtype)
        """For the choices that both tiers make by a draft."""
        self.world = fact["world"]
        self.currency_habit: tuple[str, str, bool] = look.once(f"currency/{self.currency}", self._currency_habit)
        """Where amounts have their currency, its symbol, and whether that is glued before the amount."""

    def draft(self, name: str) -> Draft:
        """A draft for the blocks that are the same on all documents between the two parties."""
        return self.look.draft(self.facts, self.currency, self.issuer, name=name)

    def word(self, concept: str) -> str:
        """The word for a concept; only bills use words that speak of invoices."""
        return self.look.once(("word", concept), lambda: self.probe.word(concept))

    def sum_word(self, concept: str) -> str:
        """The word for `net_amount` or `total_amount` on documents of this class."""
        return self.look.once(("sum", concept), lambda: self.probe.sum_word(concept))

    def can_say(self, template: str) -> bool:
        """Whether the facts have what a sentence speaks of."""
        return self.probe.can_say(template)

    def _language_shape(self) -> tuple[str, str]:
        shape = self.look.style.pick("language_shape", formats.NUMBER_SHAPES[self.look.language])
        return spaced(shape[0]), shape[1]

    def key(self, role: str) -> tuple[str, str]:
        """Names a party for a fragment's key."""
        return (self.world, self.facts[role]["key"])

    def both(self) -> tuple[str, str, str]:
        """Names both parties."""
        return (self.world, self.facts["seller"]["key"], self.facts["buyer"]["key"])

    def plain(self, name: str, value: str) -> Value:
        """A value that is printed as it is; nothing where there is none."""
        return ((value, name, value),) if value else NOTHING

    def amount(self, value: str, places: int = 2) -> str:
        """A decimal in the issuer's habit."""
        look = self.look
        return formats.decimal(value, look.number_shape, places=places, keeps_sign_behind=look.is_sign_behind)

    def price(self, value: str, places: int) -> str:
        """An amount without its currency."""
        sign = self.look.is_sign_behind
        return formats.decimal(value, self.money_shape, places=places, keeps_sign_behind=sign)

    def day(self, iso: str) -> str:
        """A date in the issuer's habit."""
        dates: dict[str, str] = self.look.once("dates", dict)
        found = dates.get(iso)
        if found is None:
            if len(dates) >= _DATES:
                dates.clear()
            found = dates[iso] = spaced(self.look.style.date(date.fromisoformat(iso)))
        return found

    def date(self, name: str, iso: str) -> Value:
        """A date; `name` is empty where it is no field."""
        return ((self.day(iso), name, iso),) if iso else NOTHING

    def further(self, name: str, value: str, *, is_deducted: bool = False) -> Value:
        """An amount beside the usual sums (`draft.Draft.further`)."""
        printed = canonical(-Decimal(value)) if is_deducted and Decimal(value) else value
        return self.money(field_of(name, self.kind), value, printed=printed)

    def money(self, name: str, value: str, *, bare: bool = False, printed: str = "") -> Value:
        """An amount with its currency where the issuer puts it; `printed` where it is not shown as it is."""
        printed = self.price(printed or value, self.places)
        where, symbol, is_before = self.currency_habit
        if bare or where == "none":
            return ((printed, name, value),)
        if where == "glued":
            return ((f"{symbol}{printed}" if is_before else f"{printed}{symbol}", name, value),)
        unit = (symbol if "symbol" in where else self.currency, "currency", self.currency)
        return (unit, (printed, name, value)) if "before" in where else ((printed, name, value), unit)

    def amounts(self, name: str, values: list[str], *, bare: bool = False) -> list[Pieces]:
        """`money` of a column."""
        texts = [self.price(value, self.places) for value in values]
        where, symbol, is_before = self.currency_habit
        if bare or where == "none":
            return [(texts, name, values)]
        if where == "glued":
            return [([symbol + text if is_before else text + symbol for text in texts], name, values)]
        count = len(values)
        unit: Pieces = (
            [symbol if "symbol" in where else self.currency] * count, "currency", [self.currency] * count
        )  # fmt: skip
        return apart([unit, (texts, name, values)] if "before" in where else [(texts, name, values), unit])

    def _currency_habit(self) -> tuple[str, str, bool]:
        where = self.probe.currency_place
        return where, formats.SYMBOLS.get(self.currency, self.currency), self.look.style.chance("glued_before", 0.75)

    @property
    def must_name_currency(self) -> bool:
        """Whether amounts alone do not show the currency as a word."""
        return self.currency_habit[0] in ("none", "glued")

    def currency_word(self) -> Value:
        """The currency's code, sometimes as symbol or in brackets."""
        style = self.look.style
        printed = style.pick("currency_shape", ("{}", "{}", "{}", "({})", "[{}]")).format(self.currency)
        if style.chance("currency_symbol", 0.12):
            printed = self.currency_habit[1]
        return ((printed, "currency", self.currency),)

    def vat(self, role: str) -> Value:
        """The VAT id of a party, or nothing."""
        value = self.facts[role]["vat_id"]
        shape = self.look.style.pick(f"vat/{role}", ("plain", "plain", "plain", "space", "groups"))
        return ((formats.vat(value, shape), f"{role}_vat_id", value),) if value else NOTHING

    def iban(self) -> Value:
        """The seller's IBAN, or nothing."""
        value = self.facts["seller"]["iban"]
        size = self.look.style.pick("iban_groups", (4, 4, 4, 0, 0))
        return ((formats.grouped(value, size) if size else value, "iban", value),) if value else NOTHING

    def order_reference(self) -> Value:
        """The order's number: on an order its own."""
        number = self.facts["order_number"]
        return self.plain("document_number" if number == self.facts["document_number"] else "order_reference", number)

    def terms(self) -> Value:
        """The terms of payment in words."""
        values = self.facts["terms"]
        has_discount = values["discount_days"] > 0
        template = self.look.once(f"terms/{has_discount}", lambda: self._terms(has_discount))
        words = template.format(
            days=values["days"], discount_days=values["discount_days"], percent=values["discount_percent"]
        )
        return ((words, "payment_terms", words),)

    def _terms(self, has_discount: bool) -> str:
        style = self.look.style
        fitting = [entry for entry in labels(style.language)["terms"] if ("discount_days" in entry) == has_discount]
        chosen: str = style.rng("terms").choice(fitting)
        return chosen

    def noise_number(self) -> str:
        """Digits that mean nothing."""
        rng = self.rng
        count = 4 + int(rng.random() * 9)
        return str(int((1 + rng.random()) * 10**count))[-count:]

    def other_day(self, first: int = -500, last: int = 200) -> str:
        """A date that means nothing, some days from the document's."""
        days = first + int(self.rng.random() * (last - first))
        return (date.fromisoformat(self.facts["document_date"]) + timedelta(days=days)).isoformat()

    def placeholder(self, name: str) -> Value:
        """What stands in a sentence for a placeholder (those of `draft.Draft.sentence`)."""
        found: Value = _PLACEHOLDERS[name](self)
        return found

    def discount_day(self) -> str:
        """The last day of the cash discount: some days after the document's, before it is due."""
        first, last = (date.fromisoformat(self.facts[name]) for name in ("document_date", "due_date"))
        days = min(self.facts["terms"]["discount_days"] or 10, (last - first).days)
        return (first + timedelta(days=days)).isoformat()


def apart(pieces: list[Pieces]) -> list[Pieces]:
    """Pieces of two that stand in one cell, a space apart."""
    (texts, name, values), second = pieces
    return [
        ([f"{text} " if other else text for text, other in zip(texts, second[0], strict=True)], name, values),
        second,
    ]


def _text(content: str) -> Value:
    return ((content, "", ""),)


def _percent(printer: Printer) -> Value:
    percent = printer.facts["terms"]["discount_percent"]
    return _text(percent if percent != "0" else "2")


_PLACEHOLDERS: dict[str, Any] = {
    "order_reference": Printer.order_reference,
    "due_date": lambda printer: printer.date("due_date", printer.facts["due_date"]),
    "total": lambda printer: printer.money("total_amount", printer.facts["total_amount"]),
    "iban": Printer.iban,
    "bic": lambda printer: printer.plain("bic", printer.facts["seller"]["bic"]),
    "order_date": lambda printer: printer.date("", printer.facts["order_date"]),
    "other_date": lambda printer: printer.date("", printer.other_day()),
    "discount_date": lambda printer: printer.date("", printer.discount_day()),
    "days": lambda printer: _text(str(printer.facts["terms"]["days"])),
    "discount_days": lambda printer: _text(str(printer.facts["terms"]["discount_days"] or 10)),
    "percent": _percent,
    "bank": lambda printer: _text(printer.facts["seller"]["bank"]),
    "city": lambda printer: _text(printer.facts[printer.issuer]["address"]["city"]),
    "amount": lambda printer: printer.money("", f"{100 + int(printer.rng.random() * 899900)}.00"),
    "buyer_iban": lambda printer: _text(formats.grouped(printer.facts["buyer"]["iban"], 4) or printer.noise_number()),
    "person": lambda printer: _text(printer.facts[printer.issuer]["contact"]),
    "company": lambda printer: _text(
        company_name(printer.look.style.rng("agent"), printer.facts[printer.issuer]["country"])
    ),
    "noise_number": lambda printer: _text(printer.noise_number()),
}
