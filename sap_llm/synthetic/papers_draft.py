"""A paper while it is composed: a draft whose parties may have other roles and whose values have names.

Printing one value of a paper belongs here; arranging values does not (`papers_blocks`, `papers_looks`).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from sap_llm.synthetic import formats
from sap_llm.synthetic.classes import ClassSpec
from sap_llm.synthetic.draft import SAYABLE, Draft
from sap_llm.synthetic.markup import join, text
from sap_llm.synthetic.papers_values import description, field_of, type_of

_NAMES = {
    "seller": "seller_name", "buyer": "buyer_name", "bank": "bank_name", "carrier": "carrier_name",
    "holder": "account_holder", "consignee": "ship_to_name", "shipper": "ship_from_name",
}  # fmt: skip
"""Field that the name of a party is, by its role."""


@dataclass
class PaperDraft(Draft):
    """One paper: see `papers.papers_of` for what its facts hold."""

    @property
    def description(self) -> Any:
        """The sections of its class."""
        return description(self.kind)

    @property
    def spec(self) -> ClassSpec:
        """No trade document: nothing that blocks of those would add."""
        return ClassSpec(
            issuers=("seller", "buyer"), prices="none", sums="none", payment="none", pairs={}, columns={}
        )  # fmt: skip

    @property
    def family(self) -> str:
        """The look of the paper, or a family of layouts that trade documents have too."""
        looks: str = self.style.pick(
            "family", self.description["looks"], test_only=self.description.get("test_looks", ())
        )
        return looks

    @property
    def is_by_seller(self) -> bool:
        """Whether the seller wrote the paper."""
        return self.role("issuer") == "seller"

    @property
    def issuer(self) -> dict[str, Any]:
        """The party that wrote the paper."""
        party: dict[str, Any] = self.facts[self.role("issuer")]
        return party

    def role(self, party: str) -> str:
        """The role of the `issuer` or the `recipient`; empty where the paper has no recipient."""
        role: str = self.facts[f"{party}_role"]
        return role

    @property
    def parties(self) -> list[str]:
        """Roles of the parties that have boxes."""
        return [role for role in (self.role("issuer"), self.role("recipient")) if role]

    @property
    def is_by_trader(self) -> bool:
        """Whether seller or buyer wrote it, so that sentences about goods fit: a bank sells none."""
        return self.role("issuer") in ("seller", "buyer")

    def heading(self, role: str) -> str:
        """The word above a party."""
        return self.style.word(self.facts["headings"].get(role, f"{role}_heading"))

    def name(self, role: str, *, is_upper: bool = False) -> str:
        """The marked name of a party."""
        name = self.facts[role]["name"]
        field = field_of(_NAMES.get(role, ""), self.kind)
        return self.sheet.value(field, name, name.upper() if is_upper else name)

    def vat(self, role: str) -> str:
        """The VAT id of a party, marked if it is the seller's or the buyer's."""
        if role in ("seller", "buyer"):
            return super().vat(role)
        value: str = self.facts[role]["vat_id"]
        return text(value) if value else ""

    def typed(
        self, name: str, kind: str, value: str, *, line: int = -1, row: int = -1, column: int = -1, bare: bool = True
    ) -> str:
        """A marked value printed by its type in the taxonomy; `name` empty for a value that is no field."""
        if value.startswith("@"):  # a word, not a value: it has one form in each language
            value = self.style.word("words", value[1:])
        if kind == "amount":
            return self.money(name, value, line=line, row=row, column=column, bare=bare)
        printed = {
            "date": lambda: self.style.date(date.fromisoformat(value)),
            "quantity": lambda: self.style.ungrouped(value),
            "percent": lambda: self.style.amount(value, places=0) + "\u00a0%",
            "iban": lambda: formats.grouped(value, self.style.pick("iban_groups", (4, 4, 4, 0, 0)) or len(value)),
        }.get(kind, lambda: value)()
        return self.sheet.value(name, value, printed, line=line, row=row, column=column)

    def header(self, name: str) -> str:
        """A header value by its name, marked where it is a field."""
        value = self.facts["values"][name]
        if name == "currency":
            return self.currency_word()
        shown = self.typed(field_of(name, self.kind), type_of(name), value, bare=False)
        if name in ("gross_weight", "net_weight"):
            unit = self.facts["values"]["weight_unit"]
            return join(shown, text("\u00a0"), self.typed("weight_unit", "unit", unit))
        return shown

    def can_say(self, template: str) -> bool:
        """Whether the paper has every value that a sentence names: a payer in the United States has no IBAN."""
        named = set(template.replace("}", "{").split("{")[1::2])
        return super().can_say(template) and named <= self.facts["values"].keys() | SAYABLE

    def _placeholder(self, name: str) -> str:
        return self.header(name) if name in self.facts["values"] else super()._placeholder(name)
