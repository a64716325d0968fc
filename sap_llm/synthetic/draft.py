"""A document while it is composed: facts, style and marks, with helpers that print single values.

Printing one value (amount, date, id, name) belongs here; arranging values in blocks does not (`blocks_*`).
"""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, cast

from sap_llm.schema.values import currency_decimals
from sap_llm.synthetic import formats
from sap_llm.synthetic.amounts import canonical, rounded
from sap_llm.synthetic.classes import ClassSpec, Place, Role, class_spec, field_of
from sap_llm.synthetic.markup import Sheet, join, text
from sap_llm.synthetic.pools import company_name, countries
from sap_llm.synthetic.style import Style, labels
from sap_llm.synthetic.subtypes import SubtypeSpec, subtype_spec

_TEST_FAMILIES = ("sidebar", "sums_first", "two_up")
_FAMILIES = (
    "letter", "letter", "letter", "modern", "modern", "form", "form", "boxed", "boxed", "plain", "compact", "compact",
)  # fmt: skip

SAYABLE = frozenset(
    "order_reference order_date due_date discount_date other_date total amount days discount_days percent iban bic "
    "buyer_iban bank city person company noise_number".split()
)
"""Placeholders of sentences that every draft can fill in."""


@dataclass
class Draft:
    """One document: what it says (`facts`), how (`style`), and the marks so far (`sheet`)."""

    kind: str
    subtype: str | None
    facts: dict[str, Any]
    currency: str
    style: Style
    rng: random.Random
    issuer_role: Role
    sheet: Sheet = field(default_factory=Sheet)
    is_titled: bool = True
    columns: list[str] | None = None
    """Of the line table, once they are chosen (`blocks_lines.columns`)."""
    scale: float = 1.0
    """Below 1 where the page would else be overprinted."""

    @property
    def spec(self) -> ClassSpec:
        """What documents of this class consist of."""
        return class_spec(self.kind)

    @property
    def subtype_spec(self) -> SubtypeSpec:
        """What the subtype adds."""
        return subtype_spec(self.kind, self.subtype)

    @property
    def family(self) -> str:
        """The family of layouts; papers that stay in the house are no letters."""
        if self.spec.is_internal:
            inside = [name for name in _FAMILIES if name != "letter"]
            return self.style.pick("family/inside", inside, test_only=_TEST_FAMILIES)
        return self.style.pick("family", _FAMILIES, test_only=_TEST_FAMILIES)

    @property
    def is_by_seller(self) -> bool:
        """Whether the seller wrote the document (else the buyer did)."""
        return self.issuer_role == "seller"

    @property
    def is_priced(self) -> bool:
        """Whether lines have prices and amounts; some goods receipts have them."""
        if self.facts.get("unpriced"):
            return False
        return self.spec.prices == "lines" or (
            self.kind == "GOODS_RECEIPT" and self.style.chance("receipt_priced", 0.12)
        )

    @property
    def has_cents(self) -> bool:
        """Whether amounts of the currency have two decimals."""
        return currency_decimals(self.currency) == 2

    def has_key(self, key: str) -> bool:
        """Whether any line has a value under a key."""
        return any(line.get(key) for line in self.facts["lines"])

    @property
    def issuer(self) -> dict[str, Any]:
        """The party that wrote the document."""
        party: dict[str, Any] = self.facts[self.issuer_role]
        return party

    def role(self, party: str) -> str:
        """`seller` or `buyer` for `issuer` and `recipient`."""
        return "seller" if self.is_by_seller == (party == "issuer") else "buyer"

    def heading(self, role: str) -> str:
        """The word over a party's box."""
        return self.style.word(self.spec.headings.get(cast("Role", role), f"{role}_heading"))

    def word(self, concept: str) -> str:
        """The word for a concept; only bills use words that speak of invoices."""
        word = self.style.word(concept)
        bills = labels(self.style.language)["bill_words"]
        if self.spec.sums == "taxed" or not any(bill in word for bill in bills):
            return word
        return next(one for one in self.style.synonyms(concept) if not any(bill in one for bill in bills))

    def sum_word(self, concept: str) -> str:
        """The word for `net_amount` or `total_amount`; only bills speak of what is due or invoiced."""
        if self.spec.sums == "taxed":
            return self.style.word(concept)
        return self.style.word({"net_amount": "order_net", "total_amount": "order_total"}[concept])

    @property
    def tax_concept(self) -> str:
        """The concept that names the tax: value added tax, or sales tax where the seller's country has that."""
        return "sales_tax" if self.facts["seller"]["country"] == "US" else "tax_amount"

    def name(self, role: str, *, is_upper: bool = False) -> str:
        """The marked name of the seller or buyer."""
        name = self.facts[role]["name"]
        return self.sheet.value(f"{role}_name", name, name.upper() if is_upper else name)

    def vat(self, role: str) -> str:
        """The marked VAT id, or nothing where the party has none."""
        value = self.facts[role]["vat_id"]
        shape = self.style.pick(f"vat/{role}", ("plain", "plain", "plain", "space", "groups"))
        return self.sheet.value(f"{role}_vat_id", value, formats.vat(value, shape)) if value else ""

    def date(self, name: str, iso: str, *, with_time: bool = False) -> str:
        """A marked date; `name` empty for a date that is no field."""
        day = date.fromisoformat(iso)
        printed = self.style.date(day)
        shown = self.sheet.value(name, iso, printed) if name else text(printed)
        if with_time:
            clock = f" {self.rng.randint(6, 19):02d}:{self.rng.randint(0, 59):02d}"
            shown = join(
                shown, text(clock + (f":{self.rng.randint(0, 59):02d}" if self.style.chance("seconds", 0.3) else ""))
            )
        return shown

    def amount(self, value: str) -> str:
        """An amount with the decimals of its currency, without the currency."""
        places = currency_decimals(self.currency)
        return self.style.amount(value, places=places, by_language=not self.has_cents)

    def money(
        self, name: str, value: str, *, line: int = -1, row: int = -1, column: int = -1, bare: bool = False,
        printed: str = "",
    ) -> str:  # fmt: skip
        """A marked amount with its currency as the style places it; `printed` where it is not shown as it is."""
        printed = self.amount(printed or value)
        where = "none" if bare else self.currency_place
        symbol = formats.SYMBOLS.get(self.currency, self.currency)
        if where == "glued":
            printed = f"{symbol}{printed}" if self.style.chance("glued_before", 0.75) else f"{printed}{symbol}"
        shown = text(printed)
        if name or row >= 0:
            shown = self.sheet.value(name, value, printed, line=line, row=row, column=column)
        if where in ("none", "glued"):
            return shown
        unit = symbol if "symbol" in where else self.currency
        unit = self.sheet.value("currency", self.currency, unit, row=row, column=column)
        return join(unit, text("\u00a0"), shown) if "before" in where else join(shown, text("\u00a0"), unit)

    def further(self, name: str, value: str, *, is_deducted: bool = False) -> str:
        """An amount beside the usual sums, marked where the class has that field.

        What is deducted is stated without a sign (EN 16931) and printed with a minus.
        """
        found = field_of(name, self.kind)
        if not is_deducted or not Decimal(value):
            return self.money(found, value)
        return self.money(found, value, printed=canonical(-Decimal(value)))

    @property
    def currency_place(self) -> str:
        """Where amounts have their currency."""
        options = ["none", "none", "none", "symbol after", "symbol after", "code after", "code before"]
        if self.currency in ("USD", "GBP"):
            options = ["none", "none", "glued", "glued", "symbol before", "code after", "code before"]
        return self.style.pick(f"currency_place/{self.currency in ('USD', 'GBP')}", options)

    @property
    def must_name_currency(self) -> bool:
        """Whether amounts alone do not show the currency as a word."""
        return self.currency_place in ("none", "glued")

    def currency_word(self) -> str:
        """The marked currency code, sometimes as symbol or in brackets."""
        shapes = ("{}", "{}", "{}", "({})", "[{}]")
        printed = self.style.pick("currency_shape", shapes).format(self.currency)
        if self.style.chance("currency_symbol", 0.12):
            printed = formats.SYMBOLS.get(self.currency, self.currency)
        return self.sheet.value("currency", self.currency, printed)

    def shown(self, place: Place, value: str) -> str:
        """A value of the facts as its kind is printed, marked if it is a field."""
        if place.kind == "date":
            return self.date(place.field, value)
        if place.kind == "amount":
            return self.money(place.field, value)
        printed = self.style.amount(value, places=0) if place.kind == "quantity" else value
        return self.sheet.value(place.field, value, printed) if place.field else text(printed)

    def plain(self, name: str, value: str) -> str:
        """A marked value that is printed as it is."""
        return self.sheet.value(name, value, value)

    def iban(self) -> str:
        """The seller's marked IBAN, or nothing."""
        value = self.facts["seller"]["iban"]
        size = self.style.pick("iban_groups", (4, 4, 4, 0, 0))
        return self.sheet.value("iban", value, formats.grouped(value, size) if size else value) if value else ""

    def bic(self) -> str:
        """The seller's marked BIC."""
        return self.plain("bic", self.facts["seller"]["bic"])

    def country(self, code: str) -> str:
        """The country's name in the language of the document."""
        names: dict[str, str] = countries()[code]["names"]
        return names[self.style.language]

    def noise_number(self) -> str:
        """Digits that mean nothing to us."""
        return "".join(self.rng.choices("0123456789", k=self.rng.randint(4, 12)))

    def sentence(self, template: str) -> str:
        """A sentence whose `{placeholders}` become marked values.

        Known: `SAYABLE`, and what `_placeholder` of the kind of draft adds.
        """
        parts: list[str] = []
        for piece in template.replace("}", "{").split("{"):
            parts.append(self._placeholder(piece) if len(parts) % 2 else text(piece) if piece else '""')
        return join(*parts)

    def can_say(self, template: str) -> bool:
        """Whether the facts have what a sentence speaks of."""
        speaks_of_order = "{order_reference}" in template or "{order_date}" in template
        speaks_of_discount = "{discount_" in template or "{percent}" in template
        return (bool(self.facts["order_number"]) or not speaks_of_order) and (
            self.facts["terms"]["discount_days"] > 0 or not speaks_of_discount
        )

    def _placeholder(self, name: str) -> str:
        facts = self.facts
        terms = facts["terms"]
        if name in ("order_reference", "due_date"):
            return self.order_reference() if name == "order_reference" else self.date("due_date", facts["due_date"])
        if name == "total":
            return self.money("total_amount", facts["total_amount"])
        if name in ("iban", "bic"):
            return self.iban() if name == "iban" else self.bic()
        plain = {
            "order_date": lambda: self.date("", facts["order_date"]),
            "other_date": lambda: self.date("", self._other_date()),
            "discount_date": lambda: self.date("", self._discount_date()),
            "days": lambda: text(str(terms["days"])),
            "discount_days": lambda: text(str(terms["discount_days"] or 10)),
            "percent": lambda: text(terms["discount_percent"] if terms["discount_percent"] != "0" else "2"),
            "bank": lambda: text(facts["seller"]["bank"]),
            "city": lambda: text(self.issuer["address"]["city"]),
            "amount": lambda: self.money("", canonical(rounded(Decimal(self.rng.randint(100, 900000)), self.currency))),
            "buyer_iban": lambda: text(formats.grouped(facts["buyer"]["iban"], 4) or self.noise_number()),
            "person": lambda: text(self.issuer["contact"]),
            "company": lambda: text(company_name(self.style.rng("agent"), self.issuer["country"])),
            "noise_number": lambda: text(self.noise_number()),
        }
        return plain[name]()

    def _other_date(self) -> str:
        """A day of the two years around the document's."""
        day = date.fromisoformat(self.facts["document_date"])
        return (day + timedelta(days=self.rng.randint(-500, 200))).isoformat()

    def _discount_date(self) -> str:
        """The last day of the cash discount: some days after the document's, before it is due."""
        first, last = (date.fromisoformat(self.facts[name]) for name in ("document_date", "due_date"))
        days = min(self.facts["terms"]["discount_days"] or 10, (last - first).days)
        return (first + timedelta(days=days)).isoformat()

    def order_reference(self) -> str:
        """The number of the order: the document's own number on an order, a reference elsewhere; may be nothing."""
        number = self.facts["order_number"]
        name = "document_number" if number == self.facts["document_number"] else "order_reference"
        return self.plain(name, number) if number else ""
