"""Papers about money: accounts, payments, reminders, receipts, freight bills.

What these papers say belongs here; their looks do not. Sums are derived from the entries alone (`Account`, `sums`), so
a paper whose figures do not add up cannot be made.
"""

import calendar
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from sap_llm.synthetic import pools
from sap_llm.synthetic.papers_chain import ZERO, Claim, Ground, Paper, Row, text

_DUNNING_FEES = ("0.00", "5.00", "5.00", "7.50", "10.00", "15.00", "40.00")


@dataclass(frozen=True)
class Entry:
    """A movement of an account; the amount is below zero for what leaves it."""

    day: date
    amount: Decimal
    text: str  # concept of the word for it
    reference: str = ""
    who: str = ""
    is_claim: bool = False


@dataclass(frozen=True)
class Account:
    """Movements after an opening balance; every balance is derived."""

    opening: Decimal
    entries: tuple[Entry, ...]

    @property
    def balances(self) -> list[Decimal]:
        """The balance after each entry."""
        found = []
        balance = self.opening
        for entry in self.entries:
            balance += entry.amount
            found.append(balance)
        return found

    @property
    def closing(self) -> Decimal:
        """The balance after all entries."""
        return self.opening + sum((entry.amount for entry in self.entries), ZERO)

    @property
    def incoming(self) -> Decimal:
        """Sum of all that came in."""
        return sum((entry.amount for entry in self.entries if entry.amount > 0), ZERO)

    @property
    def outgoing(self) -> Decimal:
        """Sum of all that went out, without a sign."""
        return -sum((entry.amount for entry in self.entries if entry.amount < 0), ZERO)

    def rows(self) -> list[Row]:
        """Lines of a paper: amounts in one column with sign, and in two without."""
        return [
            {
                "number": number,
                "day": entry.day.isoformat(),
                "value_day": entry.day.isoformat(),
                "text": entry.text,
                "who": entry.who,
                "reference": "" if entry.is_claim else entry.reference,
                "invoice": entry.reference if entry.is_claim else "",
                "amount": text(entry.amount),
                "debit": text(-entry.amount) if entry.amount < 0 else "",
                "credit": text(entry.amount) if entry.amount > 0 else "",
                "balance": text(balance),
            }
            for number, (entry, balance) in enumerate(zip(self.entries, self.balances, strict=True), start=1)
        ]


def claim_rows(claims: Sequence[Claim], *, discount: Mapping[str, Decimal] | None = None) -> list[Row]:
    """Lines that name invoices; `paid` is the open amount less the cash discount of that invoice."""
    discounts = discount or {}
    return [
        {
            "number": number,
            "invoice": claim.number,
            "invoice_date": claim.day.isoformat(),
            "due": claim.due.isoformat(),
            "order": claim.order,
            "text": "invoice" if claim.amount > 0 else "credit",
            "open": text(claim.amount),
            "discount": text(discounts.get(claim.number, ZERO)),
            "paid": text(claim.amount - discounts.get(claim.number, ZERO)),
        }
        for number, claim in enumerate(claims, start=1)
    ]


def total_of(rows: Sequence[Row], name: str) -> Decimal:
    """The sum of a column."""
    return sum((Decimal(row[name]) for row in rows), ZERO)


def sums(ground: Ground, rows: Sequence[Row], *, is_gross: bool = False) -> dict[str, str]:
    """Net, tax and total of the lines' `amount` at the chain's rate; with `is_gross` the lines hold the tax already."""
    rate = ground.tax_rate
    lines = total_of(rows, "amount")
    if is_gross:
        total = lines
        net = ground.rounded(total * 100 / (100 + Decimal(rate)))
    else:
        net = lines
        total = net + ground.rounded(net * Decimal(rate) / 100)
    return {
        "net_amount": text(net), "tax_rate": rate, "tax_amount": text(total - net), "total_amount": text(total),
    }  # fmt: skip


def _positive(ground: Ground, extra: int) -> list[Claim]:
    """Claims that come to more than nothing; credits are left out where they would outweigh the rest."""
    claims = ground.claims(extra=extra)
    if sum((claim.amount for claim in claims), ZERO) > 0:
        return claims
    return [claim for claim in claims if claim.amount > 0]


def _account_values(ground: Ground) -> dict[str, str]:
    seller, first = ground.seller, ground.order.payload
    return {
        "customer_number": first["customer_number"], "currency": ground.currency, "iban": seller["iban"],
        "bic": seller["bic"] if seller["iban"] else "", "bank_name": seller["bank"] if seller["iban"] else "",
    }  # fmt: skip


def _statement(ground: Ground) -> Paper | None:
    rng = ground.rng
    claims = _positive(ground, extra=rng.choice((0, 1, 2, 4, 6, 9, 14)))
    if not claims:
        return None
    day = max(claim.day for claim in claims) + timedelta(days=rng.randint(2, 40))
    values = _account_values(ground) | {"statement_number": str(rng.randint(1, 60)), "document_date": day.isoformat()}
    if rng.random() < 0.5:
        rows, variant = claim_rows(claims), "open items"
        closing = total_of(rows, "open")
    else:
        entries = [
            Entry(claim.day, claim.amount, "invoice" if claim.amount > 0 else "credit", claim.number, is_claim=True)
            for claim in claims
        ]
        paid = rng.sample(claims[:-1], k=len(claims[:-1]) // 2)
        entries += [
            Entry(min(claim.due, day), -claim.amount, "payment", claim.number, is_claim=True)
            for claim in paid
            if claim.amount > 0
        ]
        account = Account(
            rng.choice((ZERO, ground.amount(100, 5000))), tuple(sorted(entries, key=lambda entry: entry.day))
        )
        rows, variant, closing = account.rows(), "account", account.closing
        values |= {
            "opening_balance": text(account.opening), "period_start": account.entries[0].day.isoformat(),
            "sum_debit": text(account.incoming), "sum_credit": text(account.outgoing), "period_end": day.isoformat(),
        }  # fmt: skip
    values |= {"closing_balance": text(closing), "payable_amount": text(closing)}
    number = ground.number(ground.seller["key"], day)
    return Paper(
        day=day, number=number, issuer="seller", recipient="buyer", values=values | {"document_number": number},
        lines=rows, total=closing, variant=variant,
    )  # fmt: skip


def _remittance(ground: Ground) -> Paper | None:
    rng, terms = ground.rng, ground.order.payload["terms"]
    claims = _positive(ground, extra=rng.choice((0, 1, 2, 3, 5, 8, 12)))
    if not claims:
        return None
    rate = Decimal(terms["discount_percent"])
    discounts = {claim.number: ground.rounded(max(claim.amount, ZERO) * rate / 100) for claim in claims}
    rows = claim_rows(claims, discount=discounts)
    paid = total_of(rows, "paid")
    day = max(claim.day for claim in claims) + timedelta(days=rng.randint(1, 30))
    number = ground.number(ground.buyer["key"], day)
    values = _account_values(ground) | {
        "document_number": number, "document_date": day.isoformat(),
        "seller_number": ground.order.payload["supplier_number"],
        "payment_date": (day + timedelta(days=rng.randint(0, 4))).isoformat(), "paid_amount": text(paid),
        "discount_amount": text(total_of(rows, "discount")) if rate else "", "sum_open": text(total_of(rows, "open")),
        "payment_method": "@transfer", "clearing_document_number": ground.filled("15########", day),
        "debtor_iban": ground.buyer["iban"],
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="buyer", recipient="seller", values=values, lines=rows, total=paid,
        variant="discount" if rate else "plain",
        headings={"seller": "payee_heading", "buyer": "payer_heading"},
    )  # fmt: skip


def _payment_order(ground: Ground) -> Paper | None:
    rng, seller, buyer = ground.rng, ground.seller, ground.buyer
    claims = [claim for claim in ground.claims(extra=rng.choice((0, 0, 0, 1, 2, 4))) if claim.amount > 0]
    if not claims or not seller["iban"]:
        return None
    rows = claim_rows(claims)
    paid = total_of(rows, "open")
    day = max(claim.day for claim in claims) + timedelta(days=rng.randint(1, 30))
    number = ground.number(buyer["key"], day)
    bank = ground.third_party("bank", buyer["country"], name=buyer["bank"], near=buyer)
    values = {
        "document_number": number, "document_date": day.isoformat(), "payment_date": day.isoformat(),
        "payee_name": seller["name"], "iban": seller["iban"], "bic": seller["bic"], "bank_name": seller["bank"],
        "debtor_iban": buyer["iban"], "account_holder": buyer["name"], "currency": ground.currency,
        "paid_amount": text(paid), "payment_method": "@transfer",
        "payment_reference": " ".join(claim.number for claim in claims[:2]),
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="holder", recipient="bank", values=values, lines=rows, total=paid,
        parties={"bank": bank, "holder": buyer},
        headings={"holder": "ordering_party", "bank": "bank_heading"},
    )  # fmt: skip


_BOOKINGS = (
    ("salary", -4200), ("rent", -2600), ("fee", -12), ("card", -180), ("cash", -300), ("tax", -1900),
    ("standing_order", -650), ("direct_debit", -240), ("incoming", 5200), ("incoming", 1500), ("incoming", 320),
    ("transfer", -900),
)  # fmt: skip


def _bank_statement(ground: Ground) -> Paper | None:
    rng, buyer = ground.rng, ground.buyer
    claims = [claim for claim in ground.claims() if claim.amount > 0]
    if not claims or not buyer["iban"]:
        return None
    last = max(claim.due for claim in claims)
    start = last.replace(day=1)
    end = start.replace(day=calendar.monthrange(start.year, start.month)[1])
    entries = [
        Entry(claim.due, -claim.amount, "transfer", claim.number, ground.seller["name"], is_claim=True)
        for claim in claims
        if start <= claim.due <= end
    ]
    for _ in range(rng.choice((2, 3, 5, 8, 12, 18, 26))):
        word, about = rng.choice(_BOOKINGS)
        amount = ground.amount(abs(about) / 4, abs(about) * 4) * (1 if about > 0 else -1)
        day = start + timedelta(days=rng.randrange((end - start).days + 1))
        who = "" if word in ("fee", "cash") else pools.company_name(rng, buyer["country"])
        entries.append(Entry(day, amount, word, ground.filled("########", day), who))
    account = Account(
        ground.rounded(Decimal(rng.randint(-300_000, 6_000_000)) / 100),
        tuple(sorted(entries, key=lambda entry: entry.day)),
    )
    bank = ground.third_party("bank", buyer["country"], name=buyer["bank"], near=buyer)
    number = str(rng.randint(1, 99))
    values = {
        "statement_number": f"{number}/{end.year}" if rng.random() < 0.4 else number,
        "document_date": end.isoformat(), "period_start": start.isoformat(), "period_end": end.isoformat(),
        "account_iban": buyer["iban"], "account_bic": buyer["bic"], "account_holder": buyer["name"],
        "account_number": buyer["iban"][-10:], "currency": ground.currency, "opening_balance": text(account.opening),
        "sum_credit": text(account.incoming), "sum_debit": text(account.outgoing),
        "closing_balance": text(account.closing),
    }  # fmt: skip
    return Paper(
        day=end, number=values["statement_number"], issuer="bank", recipient="holder", values=values,
        lines=account.rows(), total=account.closing, parties={"bank": bank, "holder": buyer},
        headings={"holder": "holder_heading", "bank": "bank_heading"},
    )  # fmt: skip


def _dunning(ground: Ground) -> Paper | None:
    rng = ground.rng
    claims = [claim for claim in ground.claims(extra=rng.choice((0, 0, 1, 2, 3, 5))) if claim.amount > 0]
    if not claims:
        return None
    day = max(claim.due for claim in claims) + timedelta(days=rng.randint(4, 30))
    level = rng.choice((1, 1, 1, 2, 2, 3))
    late = [(day - claim.due).days for claim in claims]
    rows = [
        row | {"days_late": str(days), "level": str(level)} for row, days in zip(claim_rows(claims), late, strict=True)
    ]
    open_amount = total_of(rows, "open")
    fee = Decimal(rng.choice(_DUNNING_FEES)) if level > 1 else ZERO
    interest = ZERO
    if level == 3 or rng.random() < 0.15:
        interest = ground.rounded(
            sum((claim.amount * days for claim, days in zip(claims, late, strict=True)), ZERO) * 9 / 36500
        )
    payable = open_amount + fee + interest
    number = ground.number(ground.seller["key"], day)
    values = _account_values(ground) | {
        "document_number": number, "document_date": day.isoformat(), "dunning_level": str(level),
        "due_date": (day + timedelta(days=rng.choice((7, 8, 10, 14)))).isoformat(), "sum_open": text(open_amount),
        "dunning_fee": text(fee) if fee else "", "interest_amount": text(interest) if interest else "",
        "payable_amount": text(payable),
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="seller", recipient="buyer", values=values, lines=rows, total=payable,
        variant=f"level {level}",
    )  # fmt: skip


def _receipt(ground: Ground) -> Paper | None:
    """A small cash purchase at the seller: some goods of the chain, in small quantities, prices with tax."""
    rng, seller = ground.rng, ground.seller
    count = rng.choice((1, 1, 2, 2, 3, 4, 5, 7, 9))
    priced = [line for line in ground.goods if 0 < Decimal(line["unit_price"]) < 300] or ground.goods
    if not priced:
        return None
    rows = []
    for position, line in enumerate(rng.choices(priced, k=count), start=1):
        quantity = rng.choice((1, 1, 1, 1, 2, 2, 3, 5))
        price = ground.rounded(Decimal(line["unit_price"]))
        rows.append(
            {"number": position, "material": line["material"], "description": line["description"],
            "quantity": str(quantity),
             "price": text(price), "amount": text(price * quantity)}
        )  # fmt: skip
    values = sums(ground, rows, is_gross=True)
    total = Decimal(values["total_amount"])
    method = rng.choice(("@in_cash", "@in_cash", "@card", "@card", "@contactless"))
    paid = total
    if method == "@in_cash" and rng.random() < 0.7:
        paid = (total / 10).to_integral_value(rounding="ROUND_CEILING") * 10
    day = ground.order.document_date + timedelta(days=rng.randint(0, 60))
    number = ground.number(seller["key"], day)
    values |= {
        "document_number": number, "document_date": day.isoformat(), "currency": ground.currency,
        "payment_method": method, "given_amount": text(paid) if method == "@in_cash" else "",
        "change_amount": text(paid - total) if paid != total else "", "paid_amount": text(total),
        "time": f"{rng.randint(7, 20):02d}:{rng.randint(0, 59):02d}", "till": f"{rng.randint(1, 12)}",
        "cashier": rng.choice((str(rng.randint(1, 99)), pools.first_name(rng, seller["language"]))),
        "item_count": str(sum(int(row["quantity"]) for row in rows)),
        "card_number": ground.filled("************####", day) if method != "@in_cash" else "",
        "terminal": ground.filled("########", day) if method != "@in_cash" else "",
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="seller", recipient="", values=values, lines=rows, total=total,
    )  # fmt: skip


_SERVICES = (
    "haulage",
    "fuel_surcharge",
    "toll",
    "handling",
    "customs_clearance",
    "waiting_time",
    "insurance",
    "packing",
)


def _freight_invoice(ground: Ground) -> Paper | None:
    rng, shipper = ground.rng, ground.seller
    carrier = ground.third_party("carrier", shipper["country"])
    day = ground.delivered + timedelta(days=rng.randint(1, 14))
    services = ["haulage", *rng.sample(_SERVICES[1:], k=rng.randint(0, 5))]
    rows = []
    for position, service in enumerate(services, start=1):
        price = ground.amount(120, 2500) if service == "haulage" else ground.amount(8, 260)
        quantity = rng.choice((1, 1, 1, 2, 3)) if service in ("haulage", "handling") else 1
        rows.append(
            {"number": position, "service": service, "quantity": str(quantity), "price": text(price),
             "amount": text(price * quantity), "day": ground.delivered.isoformat()}
        )  # fmt: skip
    values = sums(ground, rows)
    number = ground.number("carrier", day)
    buyer = ground.buyer
    values |= {
        "document_number": number, "document_date": day.isoformat(), "currency": ground.currency,
        "due_date": (day + timedelta(days=rng.choice((10, 14, 30)))).isoformat(),
        "shipment_number": ground.filled("00########", day),
        "delivery_note_number": ground.delivery_note, "shipping_date": ground.delivered.isoformat(),
        "ship_from_city": shipper["address"]["city"], "ship_to_city": buyer["address"]["city"],
        "gross_weight": str(rng.randint(20, 24000)), "weight_unit": "kg", "package_count": str(rng.randint(1, 33)),
        "vehicle_id": ground.filled("@@-@@ ####", day), "iban": carrier["iban"],
        "bic": carrier["bic"] if carrier["iban"] else "", "customer_number": ground.filled("#####", day),
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="seller", recipient="buyer", values=values, lines=rows,
        total=Decimal(values["total_amount"]), parties={"seller": carrier, "buyer": shipper},
    )  # fmt: skip


MAKERS: dict[str, Callable[[Ground], Paper | None]] = {
    "FREIGHT_INVOICE": _freight_invoice,
    "STATEMENT_OF_ACCOUNT": _statement,
    "REMITTANCE_ADVICE": _remittance,
    "PAYMENT_ORDER": _payment_order,
    "BANK_STATEMENT": _bank_statement,
    "RECEIPT": _receipt,
    "DUNNING_LETTER": _dunning,
}
