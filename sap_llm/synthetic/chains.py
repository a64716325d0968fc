"""Chains of linked documents: order, confirmation, goods receipts, invoices, with arithmetic that holds.

What the documents of a chain say belongs here (payloads of plain strings and lists); how they look does not
(`layouts`). Money is computed in cents and written as decimals with two places.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.worlds import TAX_RATES, Item, Party, World

Payload = dict[str, Any]

PURCHASE_ORDER_SUBTYPES = {
    "STANDARD": 40, "SERVICE": 12, "FRAMEWORK": 10, "STOCK_TRANSPORT": 8, "SUBCONTRACTING": 9, "CONSIGNMENT": 9,
    "RUSH": 12,
}  # fmt: skip
INVOICE_SUBTYPES = {"STANDARD": 76, "DOWN_PAYMENT": 8, "PRO_FORMA": 6, "CREDIT_MEMO": 10}
_CENT = Decimal("0.01")
_NAMESPACE = uuid.UUID("6f1d6c1e-6a53-5f0e-9a39-5f3a0d1c7b10")
_FIRST_DAY = date(2016, 1, 4)
_DAYS = 3900


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One document as facts."""

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


def money(value: Decimal) -> Decimal:
    """Round to cents, half up, as commerce does."""
    return value.quantize(_CENT, rounding=ROUND_HALF_UP)


def decimal_text(value: Decimal) -> str:
    """A price with at least two decimals."""
    return f"{value:.2f}" if value == money(value) else f"{value.normalize():f}"


def make_chains(world: World, *, seed: int, count: int, lines_max: int) -> Iterator[Fact]:
    """All documents of `count` chains of the world."""
    rng = random.Random(f"chains/{seed}/{world.number}")
    for index in range(count):
        buyer = rng.choice(world.buyers)
        vendor = world.vendors[index % len(world.vendors)]
        yield from _Chain(
            rng, seed=seed, world=world, index=index, buyer=buyer, vendor=vendor, lines_max=lines_max
        ).facts()


class _Chain:
    """One chain while it is being made."""

    def __init__(
        self, rng: random.Random, *, seed: int, world: World, index: int, buyer: Party, vendor: Party, lines_max: int
    ) -> None:
        self.rng, self.world, self.buyer, self.vendor = rng, world, buyer, vendor
        self.chain = f"{world.name}-c{index:04d}"
        self.seed = seed
        self.subtype = weighted(rng, PURCHASE_ORDER_SUBTYPES)
        self.ordered = _FIRST_DAY + timedelta(days=rng.randrange(_DAYS))
        self.currency = vendor.currency if rng.random() < 0.9 else rng.choice(("EUR", "USD", "GBP", "CHF"))
        self.rates = TAX_RATES[vendor.country]
        self.is_tax_free = vendor.country != buyer.country and rng.random() < 0.4
        self.order_number = self._number(buyer, "PURCHASE_ORDER", self.ordered)
        self.customer_number = self._number(vendor, "CUSTOMER", self.ordered)
        self.supplier_number = self._number(buyer, "CUSTOMER", self.ordered)
        self.contract = self._number(buyer, "CONTRACT", self.ordered)
        self.terms: dict[str, Any] = {
            "days": rng.choice((7, 10, 14, 14, 20, 30, 30, 30, 45, 60, 90)),
            "discount_days": 0,
            "discount_percent": "0",
        }
        if rng.random() < 0.35:
            self.terms |= {
                "discount_days": rng.choice((7, 8, 10, 14)),
                "discount_percent": rng.choice(("2", "3", "1.5", "2.5")),
            }
        self.lines = self._lines(lines_max)

    def facts(self) -> Iterator[Fact]:
        """Order, confirmation, receipts and invoices in order of time."""
        rng, day = self.rng, self.ordered
        yield self._fact("PURCHASE_ORDER", self.subtype, self.ordered, self.order_number, self.lines, self.buyer)
        day += timedelta(days=rng.randint(0, 4))
        confirmation = self._number(self.vendor, "SALES_ORDER", day)
        if rng.random() < 0.1:  # the order's number with something behind it
            confirmation = self.order_number + identifiers.fill(rng, rng.choice(("-R0#", "/#", "-C0#", ".#", "-@B")))
        if rng.random() < 0.9:
            yield self._fact("SALES_ORDER", None, day, confirmation, self.lines, self.vendor)
        deliveries = self._deliveries()
        for index, lines in enumerate(deliveries):
            day += timedelta(days=rng.randint(1, 12))
            note = self._number(self.vendor, "DELIVERY_NOTE", day)
            extra = {
                "delivery_note_number": note,
                "delivery_note_date": day.isoformat(),
                "delivery_date": day.isoformat(),
            }
            extra |= {"sales_order": confirmation}
            received = day + timedelta(days=rng.randint(0, 2))
            number = self._number(self.buyer, "GOODS_RECEIPT", received)
            if rng.random() < 0.9:
                yield self._fact("GOODS_RECEIPT", None, received, number, lines, self.buyer, extra)
            yield from self._invoices(
                lines, day, extra, is_partial=len(deliveries) > 1, is_last=index == len(deliveries) - 1
            )

    def _invoices(
        self, lines: list[Payload], day: date, extra: Payload, *, is_partial: bool, is_last: bool
    ) -> Iterator[Fact]:
        invoiced = day + timedelta(days=self.rng.randint(0, 6))
        subtype = weighted(self.rng, INVOICE_SUBTYPES)
        if is_partial:
            subtype = "FINAL" if is_last else "PARTIAL"
        if subtype == "CREDIT_MEMO":
            sign = -1 if self.rng.random() < 0.5 else 1  # some print what they take back as negative amounts
            lines = [
                self._amounts(line, sign * Decimal(line["quantity"]))
                for line in lines[: self.rng.randint(1, len(lines))]
            ]
        number = self._number(self.vendor, "SUPPLIER_INVOICE", invoiced)
        yield self._fact("SUPPLIER_INVOICE", subtype, invoiced, number, lines, self.vendor, extra)

    def _fact(
        self, kind: str, subtype: str | None, day: date, number: str, lines: list[Payload], issuer: Party,
        extra: Mapping[str, Any] | None = None,
    ) -> Fact:  # fmt: skip
        payload: Payload = {
            "document_number": number,
            "document_date": day.isoformat(),
            "order_number": self.order_number,
            "order_date": self.ordered.isoformat(),
            "customer_number": self.customer_number,
            "supplier_number": self.supplier_number,
            "contract": self.contract,
            "delivery_date": (self.ordered + timedelta(days=self.rng.randint(5, 60))).isoformat(),
            "due_date": (day + timedelta(days=self.terms["days"])).isoformat(),
            "terms": self.terms,
            "seller": self.vendor.printed(),
            "buyer": self.buyer.printed(),
            "lines": lines,
        }
        payload |= dict(extra or {}) | self._sums(lines, kind)
        return Fact(
            document_id=f"doc-{uuid.uuid5(_NAMESPACE, f'{self.seed}/{self.chain}/{kind}/{number}/{day}')}",
            chain=self.chain,
            world=self.world.name,
            vendor=f"{self.world.name}-{self.vendor.key}",
            issuer=issuer.key,
            document_type=kind,
            document_subtype=subtype,
            language=issuer.language,
            currency=self.currency,
            document_date=day,
            payload=payload,
        )

    def _sums(self, lines: list[Payload], kind: str) -> Payload:
        """Sum of lines, discount, taxes by rate and totals; net + tax = total always."""
        gross_lines = sum((Decimal(line["net_amount"]) for line in lines), Decimal(0))
        discount_percent = Decimal(self.rng.choice((2, 3, 5, 10))) if self.rng.random() < 0.12 else Decimal(0)
        discount = money(gross_lines * discount_percent / 100)
        freight = (
            money(Decimal(self.rng.randint(300, 9000)) / 100)
            if self.rng.random() < 0.12 and gross_lines > 0
            else Decimal(0)
        )
        bases: dict[str, Decimal] = {}
        for line in lines:
            bases[line["tax_rate"]] = bases.get(line["tax_rate"], Decimal(0)) + Decimal(line["net_amount"])
        main = max(bases, key=lambda rate: bases[rate])
        bases[main] += freight - discount
        taxes = [
            {"rate": rate, "base": str(money(base)), "amount": str(money(base * Decimal(rate) / 100))}
            for rate, base in sorted(bases.items(), key=lambda pair: -Decimal(pair[0]))
        ]
        net = money(sum(bases.values(), Decimal(0)))
        tax = money(sum((Decimal(entry["amount"]) for entry in taxes), Decimal(0)))
        total = net + tax
        prepaid = (
            money(total * Decimal(self.rng.choice((10, 20, 30))) / 100)
            if self.rng.random() < 0.1 and total > 0
            else Decimal(0)
        )
        return {
            "lines_amount": str(money(gross_lines)),
            "discount_percent": str(discount_percent),
            "discount_amount": str(discount),
            "freight_amount": str(freight),
            "taxes": taxes,
            "net_amount": str(net),
            "tax_amount": str(tax),
            "total_amount": str(total),
            "prepaid_amount": str(prepaid if kind == "SUPPLIER_INVOICE" else Decimal(0)),
        }

    def _lines(self, lines_max: int) -> list[Payload]:
        count = min(lines_max, self.rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 18, 26)))
        step = self.rng.choice((1, 1, 10, 10, 10, 100))
        items = self._choose(count)
        return [self._line(item, (index + 1) * step) for index, item in enumerate(items)]

    def _choose(self, count: int) -> list[Item]:
        items = [item for item in self.vendor.items if item.is_service == (self.subtype == "SERVICE")]
        return self.rng.choices(items or list(self.vendor.items), k=count)

    def _line(self, item: Item, number: int) -> Payload:
        rng = self.rng
        quantity = Decimal(rng.choice((1, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 40, 50, 100, 120, 200, 500, 1000)))
        if item.price_cents > 50_000:
            quantity = Decimal(rng.randint(1, 6))
        if item.unit in ("kg", "m", "m²", "l", "h", "Std.", "hrs", "heure", "horas", "t", "m2") and rng.random() < 0.4:
            quantity += Decimal(rng.randint(1, 99)) / (100 if rng.random() < 0.5 else 10)
        price = Decimal(item.price_cents) / 100
        if rng.random() < 0.08:
            price += Decimal(rng.randint(1, 99)) / 10_000
        percent = Decimal(rng.choice((2, 3, 5, 10, 15, 20))) if rng.random() < 0.1 else Decimal(0)
        rate = "0" if self.is_tax_free else self.rates[1 if item.is_reduced_tax else 0]
        return self._amounts(
            {
                "number": number, "material": item.number, "description": item.description, "unit": item.unit,
                "unit_price": decimal_text(price), "discount_percent": str(percent), "tax_rate": rate,
            },
            quantity,
        )  # fmt: skip

    @staticmethod
    def _amounts(line: Payload, quantity: Decimal) -> Payload:
        net = money(quantity * Decimal(line["unit_price"]) * (100 - Decimal(line["discount_percent"])) / 100)
        return line | {"quantity": f"{quantity.normalize():f}", "net_amount": str(net)}

    def _deliveries(self) -> list[list[Payload]]:
        """Lines of each delivery: all at once, or split over two."""
        if self.rng.random() < 0.8:
            return [self.lines]
        first, second = [], []
        for line in self.lines:
            quantity = Decimal(line["quantity"])
            part = (quantity * self.rng.choice((1, 2, 3)) / 4).quantize(Decimal(1)) if quantity > 1 else quantity
            if part > 0:
                first.append(self._amounts(line, part))
            if quantity - part > 0:
                second.append(self._amounts(line, quantity - part))
        return [lines for lines in (first, second) if lines]

    def _number(self, party: Party, kind: str, day: date) -> str:
        shape = party.number_formats[kind].format(
            y=day.year, yy=f"{day.year % 100:02d}", m=f"{day.month:02d}", d=f"{day.day:02d}"
        )
        return identifiers.fill(self.rng, shape)


def weighted(rng: random.Random, weights: Mapping[str, float]) -> str:
    """One key of `weights`, drawn by weight."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]
