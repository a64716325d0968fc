"""A sale from inquiry to payment: what a house and its customer send each other.

Documents of selling and their order in time belong here; buying does not (`procurement`).
"""

import random
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.amounts import sum_up
from sap_llm.synthetic.billing import REASONS
from sap_llm.synthetic.orders import validity
from sap_llm.synthetic.records import Chain, Fact, Payload, parted, payment_of, shipment
from sap_llm.synthetic.worlds import Party, World

Lines = list[Payload]


class Sales(Chain):
    """One sale while it is being made."""

    def __init__(
        self, rng: random.Random, *, seed: int, world: World, name: str, company: Party, customer: Party, lines_max: int
    ) -> None:
        super().__init__(
            rng, seed=seed, world=world, name=name, seller=company, buyer=customer, house=company, lines_max=lines_max
        )
        assert company.organisation is not None
        self.lines = self.choose(company.items, company)
        self.inside: Payload = {
            "sales_organization": company.organisation.sales_organization,
            "distribution_channel": company.organisation.distribution_channel,
            "division": company.organisation.division,
            "plant": company.organisation.plants[0].code,
            "storage_location": company.organisation.plants[0].storage_locations[0],
            "ship_to_number": self.number(company, "CUSTOMER", self.start),
        }
        self.place = company.organisation.plants[0]

    def facts(self) -> Iterator[Fact]:
        """All documents in order of time."""
        day = self.start
        for fact in self._offers(day):
            day = fact.document_date
            yield fact
        day = self.later(day, 1, 6)
        for fact in self._orders(day):
            day = fact.document_date
            yield fact
        deliveries = parted(self, self.lines)
        for lines in deliveries:
            day = self.later(day, 2, 20)
            yield from self._delivery(day, lines)

    def _offers(self, day: date) -> Iterator[Fact]:
        rng, lines = self.rng, self.lines
        wanted = {"delivery_date": self.later(day, 20, 60).isoformat()}
        if rng.random() < 0.35:
            deadline = {"quotation_deadline": self.later(day, 7, 21).isoformat()}
            inquiry = self.issue("INQUIRY", day, lines, self.buyer, wanted | deadline)
            self.common["inquiry"] = inquiry.payload["document_number"]
            yield inquiry
        if rng.random() < 0.5:
            day = self.later(day, 1, 6)
            period = {"valid_from": day.isoformat(), "valid_to": self.later(day, 30, 90).isoformat()}
            quotation = self.issue("QUOTATION", day, lines, self.seller, self.inside | wanted | period)
            self.common |= {"quotation": quotation.payload["document_number"], "quotation_date": day.isoformat()}
            yield quotation
        if rng.random() < 0.2:
            day = self.later(day, 1, 10)
            _, period = validity(self, lines)
            sums = sum_up(lines, self.currency)
            extra = self.inside | period | {"contract_value": sums["net_amount"]}
            contract = self.issue("SALES_CONTRACT", day, lines, self.seller, extra, sums=sums)
            self.common["contract"] = contract.payload["document_number"]
            yield contract

    def _orders(self, day: date) -> Iterator[Fact]:
        """The customer's order, and ours."""
        rng = self.rng
        number = self.number(self.buyer, "PURCHASE_ORDER", day)
        self.common |= {"order_number": number, "order_date": day.isoformat()}
        wanted: Payload = {"delivery_date": self.later(day, 5, 45).isoformat()}
        sums = self.sums(self.lines, freight=self.freight)
        if rng.random() < 0.35 and not self.buyer.salutation:
            extra = wanted | {"contract": "", "quotation": self.common.get("quotation", "")}
            yield self.fact("PURCHASE_ORDER", "STANDARD", day, number, self.lines, self.buyer, extra, sums)
        day = self.later(day, 0, 3)
        ours = self.number(self.seller, "ORDER_OF_SALES" if rng.random() < 0.6 else "SALES_ORDER", day)
        yield self.issue("SALES_ORDER", day, self.lines, self.seller, self.inside | wanted, sums=sums, number=ours)
        self.common["sales_order"] = ours

    def _delivery(self, day: date, lines: Lines) -> Iterator[Fact]:
        """Delivery note, packing list, goods issue, invoice, and what comes back."""
        rng = self.rng
        number = self.number(self.seller, "OUTBOUND" if rng.random() < 0.6 else "DELIVERY_NOTE", day)
        extra: Payload = self.inside | {
            "delivery_note_number": number, "delivery_note_date": day.isoformat(), "delivery_date": day.isoformat(),
            "shipping_date": day.isoformat(),
        }  # fmt: skip
        if carried := shipment(self, lines):
            yield from self._papers(day, self.carried(lines), extra | carried)
        day = self.later(day, 0, 5)
        invoice = self._invoice(day, lines, extra)
        yield invoice
        if rng.random() < 0.16:
            yield from self._return(day, lines, extra, invoice)

    def _papers(self, day: date, lines: Lines, extra: Payload) -> Iterator[Fact]:
        rng = self.rng
        if rng.random() < 0.8:
            number = extra["delivery_note_number"]
            yield self.issue("DELIVERY_NOTE", day, lines, self.seller, extra, number=number)
        if rng.random() < 0.45:
            codes = [identifiers.sscc(rng) for _ in range(rng.randint(1, 3))]
            packed = [
                line | {"package_id": codes[index * len(codes) // len(lines)]} for index, line in enumerate(lines)
            ]
            yield self.issue("PACKING_LIST", day, packed, self.seller, extra)
        if rng.random() < 0.3:
            source = self.seller.at(self.place)
            posted = extra | {
                "seller": source.printed, "movement_type": "601", "posting_date": day.isoformat(),
                "goods_recipient": self.buyer.name,
            }  # fmt: skip
            yield self.issue("GOODS_ISSUE", day, lines, source, posted)

    def _invoice(self, day: date, lines: Lines, extra: Payload) -> Fact:
        number = self.number(self.seller, "BILLING" if self.rng.random() < 0.6 else "SUPPLIER_INVOICE", day)
        sums = self.sums(lines, freight=self.freight)
        paid = {"payment": payment_of(self, day, sums, number)}
        return self.issue("CUSTOMER_INVOICE", day, lines, self.seller, extra | paid, sums=sums, number=number)

    def _return(self, day: date, lines: Lines, extra: Payload, invoice: Fact) -> Iterator[Fact]:
        """Goods come back or were wrong: returns, request for credit, credit note."""
        rng = self.rng
        day = self.later(day, 5, 30)
        some = [line for line in lines if Decimal(line["quantity"]) > 0][: rng.randint(1, len(lines))]
        about = extra | {
            "original_invoice": invoice.payload["document_number"],
            "original_invoice_date": invoice.payload["document_date"],
            "reason": rng.choice(REASONS),
        }
        if rng.random() < 0.7:
            yield self.issue("RETURNS_ORDER", day, some, self.seller, about)
        day = self.later(day, 1, 6)
        if rng.random() < 0.7:
            yield self.issue("CREDIT_MEMO_REQUEST", day, some, self.seller, about)
        yield self.issue("CREDIT_NOTE", self.later(day, 1, 5), some, self.seller, about)
