"""What a purchase is billed with: invoices of all subtypes, credit and debit notes, self-billing, and their payment.

Documents that claim or give back money belong here; those about goods do not (`procurement`).
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

from sap_llm.synthetic.amounts import canonical, rounded
from sap_llm.synthetic.goods import charge
from sap_llm.synthetic.orders import made_up
from sap_llm.synthetic.records import Chain, Fact, Payload, payment_of, weighted
from sap_llm.synthetic.subtypes import subtype_spec

REASONS = ("0001", "0002", "0003", "QUALITY", "DAMAGED", "WRONG")
"""Codes of why goods or money go back."""

Lines = list[Payload]


class Billing:
    """All that is billed for one purchase."""

    def __init__(self, chain: Chain, weights: Mapping[str, float], order_subtype: str) -> None:
        self.chain, self.weights, self.order_subtype = chain, weights, order_subtype
        self.follows = subtype_spec("PURCHASE_ORDER", order_subtype).invoice

    def facts(self, day: date, lines: Lines, extra: Payload, *, index: int, count: int) -> Iterator[Fact]:
        """Documents about one delivery, the `index`th of `count`."""
        chain = self.chain
        day = chain.later(day, 0, 6)
        if self.order_subtype == "EVALUATED_RECEIPT":
            yield self._self_billing(day, lines, extra)
        elif self.order_subtype == "RETURN":
            yield self._credit(day, [_positive(chain, line) for line in lines], extra, invoice=None)
        elif self.follows != "none":
            subtype = self._subtype(index, count)
            invoices = list(self._maker(subtype)(subtype, day, self._as_billed(lines, extra), extra))
            yield from invoices
            if subtype != "PRO_FORMA":
                yield from self._afterwards(invoices[-1], extra)

    def _maker(self, subtype: str) -> Callable[[str, date, Lines, Payload], Iterator[Fact]]:
        return {
            "DOWN_PAYMENT": self._down_payment,
            "WITHOUT_ORDER": self._without_order,
            "SUBSEQUENT_DEBIT": self._subsequent,
            "DELIVERY_COST": self._delivery_cost,
            "CORRECTION": self._correction,
            "REVERSE_CHARGE": self._reverse_charge,
            "CONSIGNMENT": self._periodic,
            "RECURRING": self._periodic,
            "SERVICE": self._service,
        }.get(subtype, self._plain)

    def _subtype(self, index: int, count: int) -> str:
        if count > 1 and "FINAL" in self.weights:
            return "FINAL" if index == count - 1 else "PARTIAL"
        if self.follows in self.weights and self.chain.rng.random() < 0.85:
            return self.follows
        return weighted(self.chain.rng, self.weights)

    def _as_billed(self, lines: Lines, extra: Payload) -> Lines:
        """The lines as the vendor bills them: now and then at another price than was ordered."""
        chain = self.chain
        if chain.rng.random() > 0.05 or extra.get("orders"):
            return lines
        line = chain.rng.choice(lines)
        price = Decimal(line["unit_price"])
        dearer = rounded(price * Decimal(chain.rng.choice((101, 102, 105, 110))) / 100, chain.currency) or price
        if dearer == price:
            return lines
        extra["differences"] = [
            *extra.get("differences", []),
            {"line": line["number"], "kind": "price", "expected": line["unit_price"], "found": canonical(dearer)},
        ]
        return [chain.at_price(other, dearer) if other is line else other for other in lines]

    def _invoice(self, subtype: str, day: date, lines: Lines, extra: Payload, *, prepaid: Decimal = Decimal(0)) -> Fact:
        chain = self.chain
        number = chain.number(chain.seller, "SUPPLIER_INVOICE", day)
        plain = subtype in ("DOWN_PAYMENT", "DELIVERY_COST", "SUBSEQUENT_DEBIT")
        sums = chain.sums(lines, freight=Decimal(0) if plain else chain.freight, prepaid=prepaid)
        paid = None if subtype == "PRO_FORMA" else payment_of(chain, day, sums, number)
        return chain.fact(
            "SUPPLIER_INVOICE", subtype, day, number, lines, chain.seller, extra | {"payment": paid}, sums
        )

    def _plain(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        prepaid = Decimal(0)
        if self.chain.rng.random() < 0.12 and subtype == "STANDARD":
            total = Decimal(self.chain.sums(lines)["total_amount"])
            prepaid = rounded(total * self.chain.rng.choice((10, 20, 30)) / 100, self.chain.currency)
        yield self._invoice(subtype, day, lines, extra, prepaid=max(prepaid, Decimal(0)))

    def _down_payment(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        """A share of the order at once, and the rest as a final invoice."""
        chain = self.chain
        net = Decimal(chain.sums(lines)["net_amount"])
        share = chain.rng.choice((20, 25, 30, 40, 50))
        words = f"{charge('down_payment', chain.seller.language)} {share} %"
        text = self._charge(1, words, rounded(net * share / 100, chain.currency), lines)
        first = self._invoice(subtype, day, [text], extra)
        yield first
        if "FINAL" in self.weights:
            later = chain.later(day, 14, 45)
            yield self._invoice("FINAL", later, lines, extra, prepaid=Decimal(first.payload["total_amount"]))

    def _charge(self, number: int, words: str, amount: Decimal, lines: Lines) -> Payload:
        """A line without material: one lump sum under the tax of the first line."""
        chain = self.chain
        return chain.priced(
            {
                "number": number, "material": "", "description": words, "unit": chain.seller.units["lump"],
                "unit_price": canonical(max(amount, rounded(Decimal(1), chain.currency))), "discount_percent": "0",
                "tax_rate": lines[0]["tax_rate"], "tax_code": lines[0]["tax_code"],
            },
            Decimal(1),
        )  # fmt: skip

    def _without_order(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        nothing = {"order_number": "", "order_date": "", "contract": "", "goods_receipt": "", "requisition": ""}
        yield self._invoice(subtype, day, lines, extra | nothing)

    def _subsequent(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        """The invoice, and later a charge on some of its lines."""
        chain = self.chain
        first = self._invoice("STANDARD", day, lines, extra)
        yield first
        charged = []
        for line in lines[: chain.rng.randint(1, 2)]:
            words = f"{charge('price_difference', chain.seller.language)}: {line['description']}"
            amount = rounded(Decimal(line["net_amount"]) * chain.rng.choice((2, 3, 5)) / 100, chain.currency)
            charged.append(self._charge(line["number"], words, amount, lines))
        yield self._invoice(subtype, chain.later(day, 10, 40), charged, extra | _about(first))

    def _delivery_cost(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        """Freight, customs and insurance of the delivery, billed beside the goods."""
        chain = self.chain
        yield self._invoice("STANDARD", day, lines, extra)
        names = chain.rng.sample(("freight", "customs", "insurance"), chain.rng.randint(1, 3))
        charges = [
            self._charge(
                (index + 1) * 10,
                charge(name, chain.seller.language),
                chain.euros(Decimal(chain.rng.randint(1500, 48000)) / 100),
                lines,
            )
            for index, name in enumerate(names)
        ]
        yield self._invoice(subtype, chain.later(day, 0, 10), charges, extra)

    def _correction(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        """An invoice with a wrong quantity, and the one that replaces it."""
        chain = self.chain
        wrong = [*lines[:-1], chain.priced(lines[-1], Decimal(lines[-1]["quantity"]) + 1)]
        first = self._invoice("STANDARD", day, wrong, extra)
        yield first
        yield self._invoice(subtype, chain.later(day, 3, 20), lines, extra | _about(first))

    def _reverse_charge(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        untaxed = [line | {"tax_rate": "0", "tax_code": line["tax_code"][0] + "0"} for line in lines]
        yield self._invoice(subtype, day, untaxed, extra | {"tax_exemption": "reverse_charge"})

    def _periodic(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        chain = self.chain
        if subtype == "RECURRING" and chain.carried(lines):  # goods do not recur; rents and licences do
            lines = [chain.line(made_up(chain, ["monthly"])[0], 10, chain.seller)]
        last = day.replace(day=1) - timedelta(days=1)
        period = {"period_start": last.replace(day=1).isoformat(), "period_end": last.isoformat()}
        yield self._invoice(subtype, day, lines, extra | period)

    def _service(self, subtype: str, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        number = self.chain.number(self.chain.buyer, "SERVICE_ENTRY", day)
        yield self._invoice(subtype, day, lines, extra | {"service_entry": number})

    def _self_billing(self, day: date, lines: Lines, extra: Payload) -> Fact:
        chain = self.chain
        number = chain.number(chain.buyer, "CREDIT_NOTE", day)
        sums = chain.sums(lines)
        last = day.replace(day=1) - timedelta(days=1)
        more = {
            "period_start": last.replace(day=1).isoformat(), "period_end": last.isoformat(),
            "payment": payment_of(chain, day, sums, number),
        }  # fmt: skip
        return chain.issue("SELF_BILLING_INVOICE", day, lines, chain.buyer, extra | more, sums=sums, number=number)

    def _afterwards(self, invoice: Fact, extra: Payload) -> Iterator[Fact]:
        """Money given back for goods that went back or were wrong, or claimed on top."""
        chain, lines = self.chain, invoice.payload["lines"]
        lines = [line for line in lines if Decimal(line["net_amount"]) > 0]
        returned = extra.get("returned")
        day = chain.later(invoice.document_date, 2, 25)
        if lines and (returned or chain.rng.random() < 0.1):
            wanted = returned["lines"] if returned else [chain.rng.choice(lines)["number"]]
            some = [line for line in lines if line["number"] in wanted] or lines[:1]
            yield self._credit(day, some, extra, invoice=invoice)
        elif lines and chain.rng.random() < 0.08:
            issuer = chain.rng.choice((chain.buyer, chain.seller))
            more = extra | _about(invoice) | {"reason": chain.rng.choice(REASONS)}
            yield chain.issue("DEBIT_NOTE", day, lines[:2], issuer, more, sums=chain.sums(lines[:2]))

    def _credit(self, day: date, lines: Lines, extra: Payload, *, invoice: Fact | None) -> Fact:
        """A credit note of the vendor; some print what they take back as negative amounts."""
        chain = self.chain
        sign = -1 if chain.rng.random() < 0.4 else 1
        shown = [chain.priced(line, sign * Decimal(line["quantity"])) for line in lines]
        reason = (extra.get("returned") or {}).get("reason") or chain.rng.choice(REASONS)
        more = extra | (_about(invoice) if invoice else {}) | {"reason": reason}
        return chain.issue("CREDIT_NOTE", day, shown, chain.seller, more, sums=chain.sums(shown))


def _positive(chain: Chain, line: Payload) -> Payload:
    return chain.priced(line, abs(Decimal(line["quantity"])))


def _about(invoice: Fact) -> Payload:
    """What a later document says of an invoice."""
    return {
        "original_invoice": invoice.payload["document_number"],
        "original_invoice_date": invoice.payload["document_date"],
    }
