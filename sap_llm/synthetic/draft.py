"""A document while it is composed: facts, style and marks, with helpers that print single values.

Printing one value (amount, date, id, name) belongs here; arranging values in blocks does not (`blocks_*`).
"""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sap_llm.synthetic import formats
from sap_llm.synthetic.markup import Sheet, join, text
from sap_llm.synthetic.pools import company_name, pools
from sap_llm.synthetic.style import Style

VENDOR_ISSUED = ("SUPPLIER_INVOICE", "SALES_ORDER")


@dataclass
class Draft:
    """One document: what it says (`facts`), how (`style`), and the marks so far (`sheet`)."""

    kind: str
    subtype: str | None
    facts: dict[str, Any]
    currency: str
    style: Style
    rng: random.Random
    sheet: Sheet = field(default_factory=Sheet)
    is_titled: bool = True
    scale: float = 1.0
    """Below 1 where the page would else be overprinted."""

    @property
    def is_by_vendor(self) -> bool:
        """Whether the vendor wrote the document (else the buyer did)."""
        return self.kind in VENDOR_ISSUED

    @property
    def issuer(self) -> dict[str, Any]:
        """The party that wrote the document."""
        party: dict[str, Any] = self.facts["seller" if self.is_by_vendor else "buyer"]
        return party

    def role(self, party: str) -> str:
        """`seller` or `buyer` for `issuer` and `recipient`."""
        return "seller" if self.is_by_vendor == (party == "issuer") else "buyer"

    def heading(self, role: str) -> str:
        """The word above a party."""
        return self.style.word(f"{role}_heading")

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

    def money(
        self, name: str, value: str, *, line: int = -1, row: int = -1, column: int = -1, bare: bool = False
    ) -> str:
        """A marked amount with its currency as the style places it."""
        printed = self.style.amount(value)
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

    def country(self, party: dict[str, Any]) -> str:
        """The country's name in the language of the document."""
        names: dict[str, str] = pools()["country_names"][party["country"]]
        return names[self.style.language]

    def noise_number(self) -> str:
        """Digits that mean nothing to us."""
        return "".join(self.rng.choices("0123456789", k=self.rng.randint(4, 12)))

    def sentence(self, template: str) -> str:
        """A sentence whose `{placeholders}` become marked values.

        Known: order_reference, order_date, due_date, discount_date, other_date, total, amount, days, discount_days,
        percent, iban, buyer_iban, bic, bank, city, person, company, noise_number.
        """
        parts: list[str] = []
        for piece in template.replace("}", "{").split("{"):
            parts.append(self._placeholder(piece) if len(parts) % 2 else text(piece) if piece else '""')
        return join(*parts)

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
            "other_date": lambda: self.date(
                "", f"{self.rng.randint(2012, 2026)}-{self.rng.randint(1, 12):02d}-{self.rng.randint(1, 28):02d}"
            ),
            "discount_date": lambda: self.date("", self._discount_date()),
            "days": lambda: text(str(terms["days"])),
            "discount_days": lambda: text(str(terms["discount_days"] or 10)),
            "percent": lambda: text(terms["discount_percent"] if terms["discount_percent"] != "0" else "2"),
            "bank": lambda: text(facts["seller"]["bank"]),
            "city": lambda: text(self.issuer["address"]["city"]),
            "amount": lambda: self.money("", f"{self.rng.randint(100, 900000) / 100:.2f}"),
            "buyer_iban": lambda: text(formats.grouped(facts["buyer"]["iban"], 4) or self.noise_number()),
            "person": lambda: text(self.issuer["contact"]),
            "company": lambda: text(company_name(self.style.rng("agent"), self.issuer["country"])),
            "noise_number": lambda: text(self.noise_number()),
        }
        return plain[name]()

    def _discount_date(self) -> str:
        """The last day of the cash discount: some days after the document's, before it is due."""
        first, last = (date.fromisoformat(self.facts[name]) for name in ("document_date", "due_date"))
        days = min(self.facts["terms"]["discount_days"] or 10, (last - first).days)
        return (first + timedelta(days=days)).isoformat()

    def order_reference(self) -> str:
        """The number of the order: the document's own number on an order, a reference elsewhere."""
        name = "document_number" if self.kind == "PURCHASE_ORDER" else "order_reference"
        return self.plain(name, self.facts["order_number"])
