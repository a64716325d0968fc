"""A purchase from requisition to payment: what a house and its vendor send each other.

Documents of buying and their order in time belong here; selling does not (`sales`), nor what subtypes of orders and
invoices add (`orders`, `billing`).
"""

import random
from collections.abc import Generator, Iterator, Mapping
from datetime import date
from decimal import Decimal

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.amounts import sum_up
from sap_llm.synthetic.billing import REASONS, Billing
from sap_llm.synthetic.orders import SETTERS, order_lines, schedule, seller_of, validity
from sap_llm.synthetic.records import Chain, Fact, Payload, parted, shipment, weighted
from sap_llm.synthetic.subtypes import subtype_spec, subtype_weights
from sap_llm.synthetic.worlds import Organisation, Party, World

Lines = list[Payload]
_ANSWERED = ("delivery_date", "unpriced", "ship_to")  # what an answer repeats of the order


class Procurement(Chain):
    """One purchase while it is being made."""

    def __init__(
        self, rng: random.Random, *, seed: int, world: World, name: str, company: Party, vendor: Party, lines_max: int,
        order_subtypes: Mapping[str, float], invoice_subtypes: Mapping[str, float],
    ) -> None:  # fmt: skip
        assert company.organisation is not None
        self.organisation: Organisation = company.organisation
        self.plant = self.organisation.plants[0]
        self.subtype = weighted(rng, order_subtypes or subtype_weights("PURCHASE_ORDER"))
        self.spec = subtype_spec("PURCHASE_ORDER", self.subtype)
        seller = seller_of(world, self.spec, vendor, company, self.organisation.plants[1])
        super().__init__(
            rng, seed=seed, world=world, name=name, seller=seller, buyer=company, house=company, lines_max=lines_max
        )
        self.billing = Billing(self, invoice_subtypes or subtype_weights("SUPPLIER_INVOICE"), self.subtype)
        self.lines = order_lines(self, self.spec)
        self.inside: Payload = {  # what papers of the house tell about itself
            "company_code": self.organisation.company_code,
            "purchasing_organization": self.organisation.purchasing_organization,
            "purchasing_group": rng.choice(self.organisation.purchasing_groups),
            "plant": self.plant.code,
            "storage_location": rng.choice(self.plant.storage_locations),
            "cost_center": rng.choice(self.organisation.cost_centers),
            "requisitioner": company.contact,
        }
        self.added: Payload = {}  # what the subtype adds to the order
        if rng.random() < 0.3:
            self.common["contract"] = self.number(company, "CONTRACT", self.start)

    def facts(self) -> Iterator[Fact]:
        """All documents in order of time."""
        day = self.start
        for fact in self._sourcing(day):
            day = fact.document_date
            yield fact
        day = self.later(day, 0, 5)
        yield self._order(day)
        if self.subtype == "RETURN":
            yield from self._sent_back(day)
            return
        for fact in self._answers(day):
            day = fact.document_date
            yield fact
        if not self.spec.sets and self.rng.random() < 0.1:
            yield from self._together(day)
            return
        deliveries = parted(self, self.lines)
        for index, lines in enumerate(deliveries):
            day = self.later(day, *(self.spec.days if index == 0 else (3, 15)))
            received, extra = yield from self._delivery(day, lines)
            yield from self.billing.facts(received, lines, extra, index=index, count=len(deliveries))
        yield from self._inside_the_house(day)

    def _sourcing(self, day: date) -> Iterator[Fact]:
        """Price list, requisition, request, quotation, agreement."""
        rng, lines, house = self.rng, self.lines, self.buyer
        wanted = self.inside | {"delivery_date": self.later(day, 20, 60).isoformat()}
        if self.seller.items and rng.random() < 0.08:
            yield self._catalogue(day)
        if rng.random() < 0.4:
            requisition = self.issue("PURCHASE_REQUISITION", day, lines, house, wanted, sums=self._undiscounted(lines))
            self.common["requisition"] = requisition.payload["document_number"]
            yield requisition
        if self.spec.seller == "plant":  # nobody asks his own plant for an offer
            return
        if rng.random() < 0.3:
            day = self.later(day, 1, 6)
            collective = identifiers.fill(rng, rng.choice(("", "AS####", "######")))
            asked = wanted | {
                "quotation_deadline": self.later(day, 7, 21).isoformat(),
                "collective_number": collective,
            }
            request = self.issue("REQUEST_FOR_QUOTATION", day, lines, house, asked, sums=self._undiscounted(lines))
            yield request
            day = self.later(day, 2, 7)
            offer = {
                "delivery_date": wanted["delivery_date"],
                "inquiry": request.payload["document_number"],
                "valid_to": self.later(day, 30, 90).isoformat(),
            }
            quotation = self.issue("SUPPLIER_QUOTATION", day, lines, self.seller, offer)
            self.common |= {"quotation": quotation.payload["document_number"], "quotation_date": day.isoformat()}
            yield quotation
        yield from self._agreement(day)

    def _catalogue(self, day: date) -> Fact:
        """The vendor's price list: every item once."""
        kept, self.items = self.items, {}
        items = self.seller.items[: self.lines_max]
        lines = [self.priced(self.line(item, index + 1, self.seller), Decimal(1)) for index, item in enumerate(items)]
        first = day.replace(day=1)
        period = {"valid_from": first.isoformat(), "valid_to": self.later(first, 180, 365).isoformat(), "contract": ""}
        found = self.issue("PRICE_CATALOGUE", day, lines, self.seller, period, sums=self._undiscounted(lines))
        self.items = kept
        return found

    def _agreement(self, day: date) -> Iterator[Fact]:
        """A contract, or a scheduling agreement with a release."""
        drawn = self.rng.random()
        if drawn > 0.26 and "agreement" not in self.spec.sets:
            return
        kind, counted = "PURCHASE_CONTRACT", "CONTRACT"
        if drawn < 0.13 and all(map(self._is_stocked, self.lines)):  # only goods are scheduled
            kind = counted = "SCHEDULING_AGREEMENT"
        number = self.number(self.buyer, counted, day)
        lines, period = validity(self, self.lines)
        sums = self._undiscounted(lines)
        extra = self.inside | period | {"contract": "", "contract_value": sums["net_amount"]}
        self.common["contract"] = number
        yield self.issue(kind, day, lines, self.buyer, extra, sums=sums, number=number)
        if kind == "SCHEDULING_AGREEMENT":
            released, _ = schedule(self, lines)
            release = self.inside | {"version": str(self.rng.randint(1, 40))}
            day = self.later(day, 1, 5)
            sums = self._undiscounted(released)
            yield self.issue("DELIVERY_SCHEDULE", day, released, self.buyer, release, sums=sums)

    def _order(self, day: date) -> Fact:
        number = self.number(self.buyer, "PURCHASE_ORDER", day)
        self.common |= {"order_number": number, "order_date": day.isoformat()}
        place = {"name": self.plant.name, "address": self.plant.address, "country": self.buyer.country}
        self.added = self.inside | {"ship_to": place, "delivery_date": self.later(day, *self.spec.days).isoformat()}
        if self.spec.prices == "none":
            self.added["unpriced"] = True
        for name in self.spec.sets:
            self.lines, more = SETTERS[name](self, self.lines)
            if name == "agreement" and self.common["contract"]:
                continue
            self.added |= more
        if dates := [line["delivery_date"] for line in self.lines if "delivery_date" in line]:
            self.added["delivery_date"] = dates[0]
        sums = self.sums(self.lines, freight=self.freight if self.spec.prices == "lines" else Decimal(0))
        return self.fact("PURCHASE_ORDER", self.subtype, day, number, self.lines, self.buyer, self.added, sums)

    def _answers(self, day: date) -> Iterator[Fact]:
        """A change of the order, and the vendor's answer."""
        rng = self.rng
        if self.spec.seller == "plant":
            return
        if rng.random() < 0.15 and not self.spec.sets and self.spec.items != "text":
            day = self.later(day, 0, 2)
            self.lines = [self._changed(line) if rng.random() < 0.5 else line for line in self.lines]
            extra = self.added | {"version": str(rng.choice((1, 1, 2, 3)))}
            yield self.issue("ORDER_CHANGE", day, self.lines, self.buyer, extra, number=self.common["order_number"])
        if rng.random() < 0.75:
            day = self.later(day, 0, 2)
            number = self.number(self.seller, "SALES_ORDER", day)
            if rng.random() < 0.1:  # the order's number with something behind it
                number = self.common["order_number"] + identifiers.fill(rng, rng.choice(("-R0#", "/#", "-C0#", "-@B")))
            shown = [self._confirmed(line) for line in self.lines]
            kept: Payload = {
                key: self.added[key] for key in ("delivery_date", "unpriced", "ship_to") if key in self.added
            }
            yield self.issue("ORDER_RESPONSE", day, shown, self.seller, kept, number=number)
            self.common |= {"order_confirmation": number, "sales_order": number}

    def _changed(self, line: Payload) -> Payload:
        new = (Decimal(line["quantity"]) * self.rng.choice((2, 3, 5, 6)) / 4).to_integral_value()
        return self.priced(line, max(Decimal(1), new)) | {"ordered_quantity": line["quantity"]}

    def _confirmed(self, line: Payload) -> Payload:
        quantity = Decimal(line["quantity"])
        confirmed = quantity if self.rng.random() < 0.85 else (quantity / 2).to_integral_value()
        return (
            {"delivery_date": self.added["delivery_date"]}
            | line
            | {
                "confirmed_quantity": f"{confirmed.normalize():f}",
                "open_quantity": f"{(quantity - confirmed).normalize():f}",
            }
        )

    def _together(self, day: date) -> Iterator[Fact]:
        """A second order, and one invoice over both."""
        first, order = self.lines, dict(self.common)
        rest = [item for item in self.seller.items if item.number not in self.items] or list(self.seller.items)
        self.lines = self.choose(rest, self.seller) if rest else first
        day = self.later(day, 0, 6)
        yield self._order(day)
        orders = [(first, order), (self.lines, dict(self.common))]
        day = self.later(day, *self.spec.days)
        billed: Lines = []
        for lines, common in orders:
            self.common |= {name: common[name] for name in ("order_number", "order_date")}
            received, extra = yield from self._delivery(day, lines)
            day = received
            billed += [
                line | {"order_number": common["order_number"], "order_item": str(line["number"])} for line in lines
            ]
        billed = [line | {"number": index + 1} for index, line in enumerate(billed)]
        extra |= {
            "orders": [{"number": common["order_number"], "date": common["order_date"]} for _, common in orders],
            "order_number": "", "order_date": "", "delivery_note_number": "", "delivery_note_date": "",
        }  # fmt: skip
        extra.pop("returned", None)
        yield from self.billing.facts(day, billed, extra, index=0, count=1)

    def _delivery(self, day: date, lines: Lines) -> Generator[Fact, None, tuple[date, Payload]]:
        """Despatch advice, note, receipt, what goes back; returns the day of receipt and what is known then."""
        rng = self.rng
        extra: Payload = {
            "delivery_note_number": self.number(self.seller, "DELIVERY_NOTE", day),
            "delivery_note_date": day.isoformat(), "delivery_date": day.isoformat(),
        }  # fmt: skip
        if carried := shipment(self, lines):
            papers, goods = extra | carried | {"shipping_date": day.isoformat()}, self.carried(lines)
            if rng.random() < 0.35:
                code = identifiers.sscc(rng)
                packed = [line | {"package_id": code} for line in goods]
                yield self.issue("DESPATCH_ADVICE", day, packed, self.seller, papers)
            if rng.random() < 0.5:
                number = extra["delivery_note_number"]
                yield self.issue("DELIVERY_NOTE", day, goods, self.seller, papers, number=number)
        received = self.later(day, 0, 2)
        arrived = self._arrived(lines)
        if differences := _differences(lines, arrived):
            extra["differences"] = differences
        goods = self.carried(arrived)  # work is accepted by a service entry sheet
        if rng.random() < 0.9 and goods:
            posted = self.inside | extra | {
                "delivery_date": received.isoformat(), "posting_date": received.isoformat(), "movement_type": "101",
                "goods_recipient": self.buyer.contact,
            }  # fmt: skip
            receipt = self.issue("GOODS_RECEIPT", received, goods, self.buyer, posted)
            extra["goods_receipt"] = receipt.payload["document_number"]
            yield receipt
        if carried and rng.random() < 0.12:
            yield self._return(received, goods, extra)
        return received, extra

    def _arrived(self, lines: Lines) -> Lines:
        """What the house counts: now and then less than was sent."""
        return [
            self.priced(line, Decimal(line["quantity"]) - 1) | {"ordered_quantity": line["quantity"]}
            if Decimal(line["quantity"]) > 2 and self.rng.random() < 0.03
            else line
            for line in lines
        ]

    def _sent_back(self, day: date) -> Iterator[Fact]:
        """What follows a return order: the goods and the credit."""
        extra: Payload = {}
        sent = self._return(day, self.lines, extra, count=len(self.lines))
        yield sent
        yield from self.billing.facts(sent.document_date, self.lines, extra, index=0, count=1)

    def _return(self, day: date, lines: Lines, extra: Payload, *, count: int = 0) -> Fact:
        """Some of the goods go back; `extra` learns which and why."""
        day = self.later(day, 1, 10)
        reason = self.rng.choice(REASONS)
        some = lines[: count or self.rng.randint(1, len(lines))]
        back = [self.priced(line, abs(Decimal(line["quantity"]))) for line in some]
        posted = self.inside | extra | {"reason": reason, "movement_type": "122", "posting_date": day.isoformat()}
        extra["returned"] = {"reason": reason, "lines": [line["number"] for line in some]}
        return self.issue("RETURN_DELIVERY", day, back, self.buyer, posted)

    def _inside_the_house(self, day: date) -> Iterator[Fact]:
        """Goods go on to another plant, or are used."""
        goods = [line for line in self.lines if Decimal(line["quantity"]) > 0 and self._is_stocked(line)]
        if not goods:
            return
        here, there = self.buyer.at(self.plant), self.buyer.at(self.organisation.plants[1])
        if self.rng.random() < 0.22:
            movement = self.rng.choice(("301", "303", "311"))
            yield self._moved("STOCK_TRANSFER", self.later(day, 3, 30), goods, here, there, movement)
        if self.rng.random() < 0.22:
            movement = self.rng.choice(("201", "261", "201"))
            yield self._moved("GOODS_ISSUE", self.later(day, 3, 40), goods[:4], here, here, movement)

    def _is_stocked(self, line: Payload) -> bool:
        item = self.item(line)
        return item is not None and not item.is_service

    def _moved(self, kind: str, day: date, lines: Lines, source: Party, target: Party, movement: str) -> Fact:
        """A material document between two places of the house: both are the same company."""
        is_transfer = kind == "STOCK_TRANSFER"
        extra = self.inside | {
            "seller": source.printed, "buyer": target.printed, "movement_type": movement,
            "posting_date": day.isoformat(), "goods_recipient": self.buyer.contact,
            "order_number": "", "order_date": "", "sales_order": "", "contract": "",
            "supplying_plant": self.plant.code if is_transfer else "",
            "plant": self.organisation.plants[1].code if is_transfer else self.plant.code,
            "internal_order": identifiers.fill(self.rng, "8#####") if movement == "261" else "",
        }  # fmt: skip
        return self.issue(kind, day, lines, source, extra, sums=self._undiscounted(lines))

    def _undiscounted(self, lines: Lines) -> Payload:
        return sum_up(lines, self.currency)


def _differences(sent: Lines, arrived: Lines) -> list[Payload]:
    """Lines of which less came than was sent."""
    return [
        {"line": line["number"], "kind": "quantity", "expected": line["quantity"], "found": other["quantity"]}
        for line, other in zip(sent, arrived, strict=True)
        if line["quantity"] != other["quantity"]
    ]
