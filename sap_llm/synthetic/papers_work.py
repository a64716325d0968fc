"""Papers about work and people, and those of no business kind: time sheets, expenses, forms, letters and the like.

What these papers say belongs here; their looks do not. `OTHER` and `FORM` are what a model must know to answer "none of
these": they have parties and dates, but hardly a field.
"""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from sap_llm.synthetic import pools
from sap_llm.synthetic.papers_chain import Ground, Paper, Row, short, text
from sap_llm.synthetic.papers_money import sums, total_of

OTHER_VARIANTS: dict[str, int] = {
    "letter": 26, "terms": 12, "minutes": 12, "brochure": 14, "resume": 10, "readme": 8, "article": 8, "blank": 3,
    "near_blank": 7,
}  # fmt: skip
"""Kinds of OTHER with their weights."""
_DEPARTMENTS = ("purchasing", "sales_team", "accounts", "stores", "engineering")
FORM_VARIANTS = ("visitor", "leave", "supplier", "accident", "training", "access", "survey", "registration")


def _person(ground: Ground, language: str) -> str:
    return f"{pools.first_name(ground.rng, language)} {pools.surname(ground.rng, language)}"


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _timesheet(ground: Ground) -> Paper | None:
    rng, language = ground.rng, ground.seller["language"]
    start = _monday(ground.delivered - timedelta(days=7))
    length = rng.choice((5, 5, 5, 7, 10, 14, 20))
    rows: list[Row] = []
    for offset in range(length + length // 5 * 2):
        day = start + timedelta(days=offset)
        if day.weekday() > 4 and rng.random() < 0.9:
            continue
        hours = Decimal(rng.choice((4, 6, 7, 7.5, 7.75, 8, 8, 8, 8.5, 9, 10)))
        begin = rng.choice((6, 7, 7, 8, 8, 9))
        pause = rng.choice((Decimal("0.5"), Decimal("0.75"), Decimal(1)))
        end = Decimal(begin) + hours + pause
        rows.append(
            {"number": len(rows) + 1, "day": day.isoformat(), "weekday": str(day.weekday()), "from": f"{begin:02d}:00",
             "to": f"{int(end):02d}:{int(end % 1 * 60):02d}", "pause": short(pause), "hours": short(hours),
             "activity": rng.choice(("assembly_work", "travel", "meeting", "commissioning", "documentation",
             "service_work"))}
        )  # fmt: skip
    total = total_of(rows, "hours")
    number = ground.number(ground.seller["key"], start)
    values = {
        "document_number": number, "document_date": rows[-1]["day"], "employee_name": _person(ground, language),
        "employee_number": ground.filled("00######", start), "period_start": rows[0]["day"],
        "period_end": rows[-1]["day"],
        "total_hours": short(total), "order_reference": ground.order.payload["order_number"],
        "cost_center": ground.filled("######", start), "week": str(start.isocalendar().week),
        "project_reference": ground.filled("P-####", start), "approver": ground.buyer["contact"],
    }  # fmt: skip
    day = date.fromisoformat(rows[-1]["day"])
    return Paper(day=day, number=number, issuer="seller", recipient="buyer", values=values, lines=rows)


def _service_entry(ground: Ground) -> Paper | None:
    if ground.order.document_subtype != "SERVICE":
        return None
    rng = ground.rng
    rows = [
        {"number": line["number"], "service_number": ground.filled("3######", ground.delivered),
        "description": line["description"],
         "quantity": line["quantity"], "unit": line["unit"], "price": line["unit_price"], "amount": line["net_amount"],
         "day": (ground.delivered - timedelta(days=rng.randint(0, 6))).isoformat()}
        for line in ground.lines
    ]  # fmt: skip
    day = ground.delivered + timedelta(days=rng.randint(0, 5))
    totals = sums(ground, rows)
    number = ground.number(ground.buyer["key"], day)
    values = {
        "document_number": number, "document_date": day.isoformat(),
        "order_reference": ground.order.payload["order_number"],
        "period_start": min(row["day"] for row in rows), "period_end": max(row["day"] for row in rows),
        "currency": ground.currency, "net_amount": totals["net_amount"],
        "seller_number": ground.order.payload["supplier_number"],
        "approver": ground.buyer["contact"], "cost_center": ground.filled("######", day),
        "responsible": ground.seller["contact"],
    }  # fmt: skip
    issuer, recipient = rng.choice((("seller", "buyer"), ("buyer", "seller")))
    return Paper(
        day=day, number=number, issuer=issuer, recipient=recipient, values=values, lines=rows,
        total=Decimal(totals["net_amount"]),
    )  # fmt: skip


_EXPENSES = (
    ("hotel", 90), ("train", 60), ("taxi", 25), ("flight", 240), ("meal", 30), ("parking", 12), ("fuel", 55),
    ("mileage", 70), ("allowance", 28), ("entertainment", 110), ("phone_costs", 15), ("office_goods", 35),
)  # fmt: skip


def _expense_report(ground: Ground) -> Paper | None:
    rng, language = ground.rng, ground.buyer["language"]
    start = ground.order.document_date - timedelta(days=rng.randint(3, 60))
    length = rng.randint(1, 6)
    rows = []
    for position in range(1, rng.choice((3, 4, 5, 7, 9, 13))):
        kind, about = rng.choice(_EXPENSES)
        rows.append(
            {"number": position, "expense": kind, "date": (start + timedelta(days=rng.randrange(length))).isoformat(),
             "receipt": str(position), "amount": text(ground.amount(about / 2, about * 3))}
        )  # fmt: skip
    rows.sort(key=lambda row: (row["date"], row["number"]))
    for position, row in enumerate(rows, start=1):
        row["number"] = position
        row["receipt"] = str(position)
    total = total_of(rows, "amount")
    advance = ground.rounded(min(total, Decimal(rng.choice((0, 0, 0, 50, 100, 200)))))
    day = start + timedelta(days=length + rng.randint(0, 20))
    number = ground.number(ground.buyer["key"], day)
    person = _person(ground, language)
    values = {
        "document_number": number, "document_date": day.isoformat(), "employee_name": person,
        "employee_number": ground.filled("00######", day), "trip_number": ground.filled("00########", day),
        "trip_start": start.isoformat(), "trip_end": (start + timedelta(days=length)).isoformat(),
        "destination": pools.address(rng, rng.choice(("DE", "FR", "ES", "GB", "IT", "US")))["city"],
        "purpose": "@" + rng.choice(("visit", "fair", "training_trip", "installation_trip", "audit_trip")),
        "cost_center": ground.filled("######", day), "currency": ground.currency, "total_amount": text(total),
        "advance": text(advance) if advance else "", "refund": text(total - advance) if advance else "",
        "approver": ground.buyer["contact"], "employee_iban": ground.buyer["iban"],
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="company", recipient="", values=values, lines=rows, total=total,
        parties={"company": ground.buyer},
    )  # fmt: skip


def _form(ground: Ground) -> Paper | None:
    rng = ground.rng
    host = ground.buyer if rng.random() < 0.5 else ground.seller
    day = ground.order.document_date + timedelta(days=rng.randint(0, 90))
    person, country, domain = _person(ground, host["language"]), host["country"], host["email"].split("@")[-1]
    values = {
        "document_date": day.isoformat(), "person": person,
        "born": (date(1955, 1, 1) + timedelta(days=rng.randrange(17000))).isoformat(),
        "street": pools.address(rng, country)["street"], "town": host["address"]["city"], "phone": host["phone"],
        "email": f"{person.split()[-1].lower()}@{domain}", "firm": ground.seller["name"],
        "department": "@" + rng.choice(_DEPARTMENTS),
        "from_day": (day + timedelta(days=rng.randint(1, 60))).isoformat(),
        "to_day": (day + timedelta(days=rng.randint(61, 90))).isoformat(),
        "badge": ground.filled("####", day), "plate": ground.filled("@@-@@ ###", day), "host_person": host["contact"],
        "days": str(rng.randint(1, 30)), "persons": str(rng.randint(1, 500)),
        "tax_id": ground.filled("##/###/#####", day),
        "time": f"{rng.randint(7, 18):02d}:{rng.choice(('00', '15', '30', '45'))}", "place": host["address"]["city"],
    }  # fmt: skip
    return Paper(
        day=day, number=ground.filled("F-##-###", day), issuer="host", recipient="", values=values,
        parties={"host": host}, variant=rng.choice(FORM_VARIANTS),
    )  # fmt: skip


def _other(ground: Ground) -> Paper | None:
    rng = ground.rng
    sender, addressee = (ground.seller, ground.buyer) if rng.random() < 0.6 else (ground.buyer, ground.seller)
    day = ground.order.document_date + timedelta(days=rng.randint(-90, 90))
    variant = rng.choices(list(OTHER_VARIANTS), weights=list(OTHER_VARIANTS.values()))[0]
    values = {"document_date": day.isoformat()} if variant in ("letter", "minutes", "terms") else {}
    values |= {"person": _person(ground, sender["language"])}
    return Paper(
        day=day, number=ground.filled("######", day), issuer="sender", recipient="addressee", values=values,
        parties={"sender": sender, "addressee": addressee}, variant=variant,
    )  # fmt: skip


MAKERS: dict[str, Callable[[Ground], Paper | None]] = {
    "EXPENSE_REPORT": _expense_report,
    "TIMESHEET": _timesheet,
    "SERVICE_ENTRY_SHEET": _service_entry,
    "FORM": _form,
    "OTHER": _other,
}
