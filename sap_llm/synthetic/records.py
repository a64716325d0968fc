"""Documents as facts: the record itself, which must balance, and what all documents of a chain have in common.

Lines, numbers, dates and the making of a `Fact` belong here; which documents a chain has does not (`procurement`,
`sales`).
"""

import random
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.amounts import FOR_A_EURO, canonical, check_balance, line_amount, rounded, sum_up
from sap_llm.synthetic.classes import class_spec, trade_classes
from sap_llm.synthetic.goods import Item, usual_quantity
from sap_llm.synthetic.pools import countries
from sap_llm.synthetic.worlds import Party, World

Payload = dict[str, Any]

_NAMESPACE = uuid.UUID("6f1d6c1e-6a53-5f0e-9a39-5f3a0d1c7b10")
_FIRST_DAY = date(2016, 1, 4)
_DAYS = 3900
_EUROPEAN_UNION = ("DE", "AT", "FR", "LU", "BE", "ES", "NL", "IT", "HU", "PL", "SE")
_TENTH, _PACKED = Decimal("0.1"), Decimal("1.08")  # packing adds about a twelfth to the weight
_CARRIERS = ("DHL Freight", "DB Schenker", "Kuehne+Nagel", "DSV", "Dachser", "UPS", "FedEx", "Geodis", "SEUR", "GLS")
_WITH_NOTES = ("PURCHASE_ORDER", "ORDER_CHANGE", "ORDER_RESPONSE")
_COUNTS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 18, 26)
_NUMBERS = {  # class -> kind of number in `identifiers.NUMBER_FORMATS`; others have one of their own name
    "PURCHASE_REQUISITION": "REQUISITION", "REQUEST_FOR_QUOTATION": "INQUIRY", "SUPPLIER_QUOTATION": "QUOTATION",
    "PURCHASE_CONTRACT": "CONTRACT", "SALES_CONTRACT": "CONTRACT", "DELIVERY_SCHEDULE": "SCHEDULING_AGREEMENT",
    "PRICE_CATALOGUE": "CATALOGUE", "DESPATCH_ADVICE": "DELIVERY_NOTE", "GOODS_ISSUE": "MATERIAL_DOCUMENT",
    "RETURN_DELIVERY": "MATERIAL_DOCUMENT", "STOCK_TRANSFER": "MATERIAL_DOCUMENT", "PACKING_LIST": "DELIVERY_NOTE",
    "SELF_BILLING_INVOICE": "CREDIT_NOTE", "ORDER_RESPONSE": "SALES_ORDER", "RETURNS_ORDER": "RETURNS",
    "CREDIT_MEMO_REQUEST": "RETURNS", "CUSTOMER_INVOICE": "BILLING",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One document as facts.

    Raises:
        UnbalancedError: The document is of a trade class and its amounts do not balance.
    """

    document_id: str
    chain: str
    world: str
    vendor: str
    issuer: str
    document_type: str
    document_subtype: str | None
    language: str
    currency: str
    document_date: date
    payload: Payload

    def __post_init__(self) -> None:
        if self.document_type in trade_classes():
            check_balance(self.payload, self.currency)


class Chain:
    """One chain while it is being made: two parties, their terms, and the lines that documents take over."""

    def __init__(
        self, rng: random.Random, *, seed: int, world: World, name: str, seller: Party, buyer: Party, house: Party,
        lines_max: int,
    ) -> None:  # fmt: skip
        self.rng, self.seed, self.world, self.name = rng, seed, world, name
        self.seller, self.buyer, self.house, self.lines_max = seller, buyer, house, lines_max
        self.start = _FIRST_DAY + timedelta(days=rng.randrange(_DAYS))
        self.currency = seller.currency
        self.items: dict[str, Item] = {}  # by number; texts and groups have none
        self.batches: dict[str, str] = {}
        self._summed: tuple[list[Payload], Payload] | None = None
        self.terms = _terms(rng)
        self.exemption = self._exemption()
        self.discount_percent = Decimal(rng.choice((2, 3, 5, 10))) if rng.random() < 0.12 else Decimal(0)
        self.common: Payload = {
            "order_number": "", "order_date": "", "delivery_note_number": "", "delivery_note_date": "",
            "sales_order": "", "contract": "", "customer_number": self.number(seller, "CUSTOMER", self.start),
            "supplier_number": self.number(buyer, "CUSTOMER", self.start), "terms": self.terms,
            "seller": seller.printed, "buyer": buyer.printed, "tax_exemption": self.exemption,
            "incoterms": rng.choice(("", "EXW", "FCA", "CPT", "CIP", "DAP", "DAP", "DDP", "FOB", "CIF")),
        }  # fmt: skip
        if self.common["incoterms"]:
            self.common["incoterms"] += f" {rng.choice((seller, buyer)).address['city'].split(',')[0]}"

    def _exemption(self) -> str:
        """Why no tax is charged; empty where it is."""
        seller, buyer = self.seller, self.buyer
        if seller.country == buyer.country or self.rng.random() < 0.25:
            return ""
        is_union = {seller.country, buyer.country} <= set(_EUROPEAN_UNION)
        if is_union and not buyer.vat_id:
            return ""
        return "intra_community" if is_union else "export"

    @property
    def freight(self) -> Decimal:
        """A charge for carriage, in one document of eight."""
        if self.rng.random() > 0.12:
            return Decimal(0)
        return self.euros(Decimal(self.rng.randint(300, 9000)) / 100)

    def euros(self, amount: Decimal) -> Decimal:
        """About that many euros, in the chain's currency."""
        return rounded(amount * FOR_A_EURO[self.currency], self.currency)

    def number(self, party: Party, kind: str, day: date) -> str:
        """A number of that kind as the party counts its documents."""
        shape = party.number_formats[kind].format(
            y=day.year, yy=f"{day.year % 100:02d}", m=f"{day.month:02d}", d=f"{day.day:02d}"
        )
        return identifiers.fill(self.rng, shape)

    def later(self, day: date, low: int, high: int) -> date:
        """Some days later, but no Sunday."""
        found = day + timedelta(days=self.rng.randint(low, high))
        return found + timedelta(days=1) if found.weekday() == 6 else found

    def choose(self, items: Iterable[Item], seller: Party) -> list[Payload]:
        """Lines over some of the items, each at most once."""
        options = list(items)
        step = self.rng.choice((1, 1, 10, 10, 10, 100))
        count = min(self.lines_max, self.rng.choice(_COUNTS), len(options))
        chosen = self.rng.sample(options, count)
        return [self.line(item, (index + 1) * step, seller) for index, item in enumerate(chosen)]

    def line(self, item: Item, number: int, seller: Party) -> Payload:
        """A line at the seller's price for that quantity."""
        rng = self.rng
        quantity = usual_quantity(rng, item)
        percent = Decimal(rng.choice((2, 3, 5, 10, 15, 20))) if rng.random() < 0.1 else Decimal(0)
        rank = -1 if self.exemption else int(item.is_reduced_tax)
        self.items[item.number] = item
        return self.priced(
            {
                "number": number, "material": item.number, "description": item.description(self.house.language),
                "unit": self.house.units[item.unit], "unit_price": canonical(item.price_for(quantity)),
                "discount_percent": str(percent),
                "tax_rate": "0" if rank < 0 else countries()[seller.country]["rates"][rank],
                "tax_code": self._tax_code(rank),
            },
            quantity,
        )  # fmt: skip

    def _tax_code(self, rank: int) -> str:
        """SAP's tax code of the house: input or output tax, of the standard rate, the reduced one (1), or none (-1)."""
        procedure = "IO" if self.house.country == "US" else "VA"
        return f"{procedure[self.house is self.seller]}{rank + 1 if rank >= 0 else 0}"

    def priced(self, line: Payload, quantity: Decimal) -> Payload:
        """The line with another quantity."""
        net = line_amount(quantity, Decimal(line["unit_price"]), Decimal(line["discount_percent"]), self.currency)
        return line | {"quantity": f"{quantity.normalize():f}", "net_amount": canonical(net)}

    def at_price(self, line: Payload, unit_price: Decimal) -> Payload:
        """The line at another price."""
        return self.priced(line | {"unit_price": canonical(unit_price)}, Decimal(line["quantity"]))

    def sums(self, lines: list[Payload], *, freight: Decimal = Decimal(0), prepaid: Decimal = Decimal(0)) -> Payload:
        """Sums under the chain's discount; papers of one delivery share them."""
        if freight or prepaid:
            return sum_up(
                lines, self.currency, discount_percent=self.discount_percent, freight=freight, prepaid=prepaid
            )
        if self._summed is None or self._summed[0] is not lines:
            self._summed = lines, sum_up(lines, self.currency, discount_percent=self.discount_percent)
        return self._summed[1]

    def fact(
        self, kind: str, subtype: str | None, day: date, number: str, lines: list[Payload], issuer: Party,
        extra: Mapping[str, Any], sums: Payload | None = None,
    ) -> Fact:  # fmt: skip
        """One document; its lines get the cells that its class may show."""
        payload: Payload = self.common | {
            "document_number": number,
            "document_date": day.isoformat(),
            "due_date": (day + timedelta(days=self.terms["days"])).isoformat(),
            "delivery_date": day.isoformat(),
            "lines": [self._cells(kind, line, issuer, extra) for line in lines],
        }
        payload |= sums or self.sums(lines)
        payload |= extra
        return Fact(
            document_id=f"doc-{uuid.uuid5(_NAMESPACE, f'{self.seed}/{self.name}/{kind}/{number}/{day}')}",
            chain=self.name,
            world=self.world.name,
            vendor=f"{self.world.name}-{self.seller.key}",
            issuer=issuer.key,
            document_type=kind,
            document_subtype=subtype,
            language=issuer.language,
            currency=self.currency,
            document_date=day,
            payload=payload,
        )

    def issue(
        self, kind: str, day: date, lines: list[Payload], issuer: Party, extra: Mapping[str, Any], *,
        sums: Payload | None = None, number: str = "",
    ) -> Fact:  # fmt: skip
        """A document of a class without subtypes, under a new number of its issuer if none is given."""
        number = number or self.number(issuer, _NUMBERS.get(kind, kind), day)
        return self.fact(kind, None, day, number, lines, issuer, extra, sums)

    def item(self, line: Payload) -> Item | None:
        """What a line is about; None for texts, groups and things without a number."""
        return self.items.get(line["material"])

    def carried(self, lines: list[Payload]) -> list[Payload]:
        """The lines that a carrier takes along: what is no work."""
        return [line for line in lines if not ((item := self.item(line)) and item.is_service)]

    def _cells(self, kind: str, line: Payload, issuer: Party, extra: Mapping[str, Any]) -> Payload:
        """The line in the issuer's language, with the additional columns that its class may show."""
        item = self.item(line)
        if item is None:
            return line
        found = dict(line)
        if kind not in _WITH_NOTES:
            found.pop("notes", None)
        if issuer.language != self.house.language:
            found["description"] = item.description(issuer.language)
            found["unit"] = issuer.units[item.unit]
        for name in class_spec(kind).columns:
            if name not in found and (value := item.cells.get(name) or self._cell(name, line, item) or extra.get(name)):
                found[name] = value
        return found

    def _cell(self, name: str, line: Payload, item: Item) -> str:
        """Value of a column that depends on the line; empty where there is none."""
        if name == "order_item":
            return str(line["number"])
        if item.is_service:
            return ""
        if name == "batch":
            shape = self.rng.choice(("########", "@####", "L#####", "CH-####"))
            return self.batches.setdefault(item.number, identifiers.fill(self.rng, shape))
        if name == "gross_weight":
            return f"{((Decimal(line['quantity']) * item.weight).quantize(_TENTH) or _TENTH).normalize():f}"
        return ""


def _terms(rng: random.Random) -> Payload:
    terms: Payload = {
        "days": rng.choice((7, 10, 14, 14, 20, 30, 30, 30, 45, 60, 90)), "discount_days": 0, "discount_percent": "0",
    }  # fmt: skip
    if terms["days"] >= 14 and rng.random() < 0.35:
        terms |= {
            "discount_days": rng.choice((7, 8, 10, 14) if terms["days"] > 14 else (7, 8, 10)),
            "discount_percent": rng.choice(("2", "3", "1.5", "2.5")),
        }
    return terms


def parted(chain: Chain, lines: list[Payload]) -> list[list[Payload]]:
    """Lines of each delivery: all at once, or split over two; what is counted stays whole."""
    if chain.rng.random() < 0.8:
        return [lines]
    first, second = [], []
    for line in lines:
        quantity = Decimal(line["quantity"])
        part = (quantity * chain.rng.choice((1, 2, 3)) / 4).quantize(Decimal(1)) if abs(quantity) > 1 else quantity
        if part:
            first.append(chain.priced(line, part))
        if quantity - part:
            second.append(chain.priced(line, quantity - part))
    return [part for part in (first, second) if part]


def payment_of(chain: Chain, day: date, sums: Payload, number: str) -> Payload | None:
    """How an invoice was paid: with or without discount, early or late; None while it is open."""
    if chain.rng.random() < 0.15:
        return None
    total = Decimal(sums["total_amount"]) - Decimal(sums["prepaid_amount"])
    terms, discount = chain.terms, Decimal(0)
    days = terms["days"] + chain.rng.choice((-2, 0, 0, 0, 1, 3, 9, 25))
    if terms["discount_days"] and chain.rng.random() < 0.6:
        days = terms["discount_days"]
        discount = rounded(total * Decimal(terms["discount_percent"]) / 100, chain.currency)
    return {
        "date": (day + timedelta(days=max(1, days))).isoformat(),
        "amount": canonical(total - discount),
        "discount": canonical(discount),
        "reference": number,
    }


def shipment(chain: Chain, lines: list[Payload]) -> Payload:
    """Packages, weights and carrier of a delivery; nothing where there is nothing to carry."""
    weight = Decimal(0)
    for line in lines:
        if item := chain.item(line):
            weight += abs(Decimal(line["quantity"])) * item.weight
    if not weight:
        return {}
    net = weight.quantize(_TENTH) or _TENTH
    tracking = chain.rng.choice(("############", "1Z######@#######", "JJD##########"))
    return {
        "net_weight": f"{net.normalize():f}",
        "gross_weight": f"{((net * _PACKED).quantize(_TENTH) + _TENTH).normalize():f}",
        "package_count": str(max(1, min(60, int(weight / 25)))),
        "carrier": chain.rng.choice(_CARRIERS),
        "tracking_number": identifiers.fill(chain.rng, tracking),
    }


def weighted(rng: random.Random, weights: Mapping[str, float]) -> str:
    """One key of `weights`, drawn by weight."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]
