"""Papers about goods: transport, customs, origin, quality, safety, complaints, production and upkeep.

What these papers say belongs here; their looks do not. Goods are those that the chain delivers; weights and packages
of the whole are the sums of the lines.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from sap_llm.synthetic import pools
from sap_llm.synthetic.papers_chain import ZERO, Ground, Paper, Row, short, text
from sap_llm.synthetic.papers_money import total_of

_PORTS = (
    "Hamburg", "Rotterdam", "Antwerpen", "Le Havre", "Barcelona", "Valencia", "Felixstowe", "Genova", "New York",
    "Houston", "Shanghai", "Singapore", "Santos", "Bremerhaven", "Algeciras", "Marseille-Fos",
)  # fmt: skip
_INCOTERMS = ("EXW", "FCA", "CPT", "CIP", "DAP", "DDP", "FOB", "CIF", "CFR", "DPU")
_PACKING = ("pallet", "pallet", "carton", "case", "drum", "bag", "bundle")
_SHIPS = ("MV", "MS", "M/V")
_CHAMBERS = {
    "de": "Industrie- und Handelskammer {city}", "en": "{city} Chamber of Commerce",
    "fr": "Chambre de Commerce et d'Industrie de {city}", "es": "Cámara Oficial de Comercio de {city}",
}  # fmt: skip


def _goods(ground: Ground) -> list[Row]:
    """Lines of the delivered goods with packages, weights and tariff numbers."""
    rng = ground.rng
    rows = []
    for position, line in enumerate(ground.goods[:12], start=1):
        thing = ground.thing_of(line)
        net = _tenths(abs(Decimal(line["quantity"])) * (thing.weight if thing else 1))
        packages = min(rng.choice((1, 1, 2, 3, 4, 6, 8, 10, 12, 20, 24)), max(1, int(net // 4)))
        gross = _tenths(net * rng.randint(102, 118) / 100 + packages * Decimal(rng.randint(1, 30)) / 10)
        rows.append(
            {
                "number": position, "material": line["material"], "description": line["description"],
                "quantity": line["quantity"], "unit": line["unit"], "packages": str(packages),
                "packing": rng.choice(_PACKING), "gross": short(gross), "net": short(net),
                "volume": short(_tenths(gross / rng.randint(120, 450))),
                "marks": ground.filled(rng.choice(("@@-###/##", "########", "@@@ #-##", "SSCC ##########")),
                ground.delivered),
                "tariff": ground.filled(
                    (thing.tariff if thing else "#### ##") + rng.choice((" ##", "##")), ground.delivered
                ),
                "origin": ground.seller["country"], "amount": text(abs(Decimal(line["net_amount"]))),
                "batch": ground.filled(rng.choice(("######", "@######", "##-####", "{yy}###@")), ground.delivered),
                "made": (ground.delivered - timedelta(days=rng.randint(5, 300))).isoformat(),
                "expires": (ground.delivered + timedelta(days=rng.randint(200, 1500))).isoformat(),
            }
        )  # fmt: skip
    return rows


def _tenths(value: Decimal) -> Decimal:
    """Rounded to one place, but never to nothing."""
    return max(Decimal("0.1"), value.quantize(Decimal("0.1")))


def _cargo(ground: Ground, rows: Sequence[Row]) -> dict[str, str]:
    """Totals of the goods and the places that they go from and to."""
    rng, day = ground.rng, ground.delivered
    seller, buyer = ground.seller["address"], ground.buyer["address"]
    return {
        "package_count": str(sum(int(row["packages"]) for row in rows)),
        "gross_weight": short(total_of(rows, "gross")), "net_weight": short(total_of(rows, "net")), "weight_unit": "kg",
        "volume": short(total_of(rows, "volume")), "shipping_date": day.isoformat(),
        "shipment_number": ground.filled("00########", day), "delivery_note_number": ground.delivery_note,
        "order_reference": ground.order.payload["order_number"], "ship_from_city": seller["city"],
        "ship_to_city": buyer["city"], "ship_from_country": seller["country"],
        "country_of_destination": buyer["country"],
        "vehicle_id": ground.filled(rng.choice(("@@-@@ ###", "@-@@ ####", "#### @@@")), day),
        "incoterms": rng.choice(_INCOTERMS), "incoterms_place": buyer["city"], "currency": ground.currency,
    }  # fmt: skip


def _paper(
    ground: Ground, day: date, values: dict[str, str], rows: Sequence[Row], *, issuer: str, recipient: str,
    parties: dict[str, Row], headings: dict[str, str], total: Decimal = ZERO,
) -> Paper:  # fmt: skip
    key = (parties | {"seller": {"key": ground.seller["key"]}, "buyer": {"key": ground.buyer["key"]}})[issuer]["key"]
    number = ground.number(key, day)
    return Paper(
        day=day, number=number, issuer=issuer, recipient=recipient,
        values={"document_number": number, "document_date": day.isoformat()} | values, lines=rows, total=total,
        parties=parties, headings=headings,
    )  # fmt: skip


_TRANSPORT = {"seller": "shipper_heading", "buyer": "consignee_heading", "carrier": "carrier_heading"}


def _waybill(ground: Ground) -> Paper | None:
    rows = _goods(ground)
    values = _cargo(ground, rows) | {
        "tracking_number": ground.filled("1Z############", ground.delivered),
        "trailer": ground.filled("@@ ####", ground.delivered),
        "flight": ground.filled("@@ ####", ground.delivered),
    }
    parties = {"carrier": ground.third_party("carrier", ground.seller["country"])}
    return _paper(
        ground, ground.delivered, values, rows, issuer="carrier", recipient="buyer", parties=parties,
        headings=_TRANSPORT,
    )  # fmt: skip


def _bill_of_lading(ground: Ground) -> Paper | None:
    rng, rows = ground.rng, _goods(ground)
    loading, discharge = rng.sample(_PORTS, k=2)
    parties = {"carrier": ground.third_party("liner", rng.choice(("DE", "GB", "FR", "ES", "US")))}
    values = _cargo(ground, rows) | {
        "port_of_loading": loading, "port_of_discharge": discharge,
        "vehicle_id": f"{rng.choice(_SHIPS)} {pools.invented_word(rng)} {pools.invented_word(rng)}",
        "voyage": ground.filled("###@", ground.delivered),
        "container_number": ground.filled("@@@U#######", ground.delivered),
        "seal": ground.filled("@######", ground.delivered), "originals": rng.choice(("1", "2", "3")),
        "freight_amount": text(ground.amount(300, 6000)) if rng.random() < 0.4 else "",
    }  # fmt: skip
    return _paper(
        ground, ground.delivered, values, rows, issuer="carrier", recipient="buyer", parties=parties,
        headings=_TRANSPORT | {"carrier": "liner_heading"},
    )  # fmt: skip


def _freight_order(ground: Ground) -> Paper | None:
    rng, rows = ground.rng, _goods(ground)
    day = ground.delivered - timedelta(days=rng.randint(1, 5))
    values = _cargo(ground, rows) | {
        "delivery_date": (ground.delivered + timedelta(days=rng.randint(1, 4))).isoformat(),
        "time_window": f"{rng.randint(6, 10):02d}:00 - {rng.randint(12, 18)}:00",
        "unloading_point": f"{rng.randint(1, 40)}",
        "freight_amount": text(ground.amount(120, 4000)), "trailer": ground.filled("@@ ####", day),
    }  # fmt: skip
    parties = {"carrier": ground.third_party("carrier", ground.seller["country"]), "shipper": ground.seller,
               "consignee": ground.buyer}  # fmt: skip
    return _paper(
        ground, day, values, rows, issuer="shipper", recipient="carrier", parties=parties,
        headings={"shipper": "loading_heading", "consignee": "consignee_heading", "carrier": "carrier_heading"},
    )  # fmt: skip


def _customs(ground: Ground) -> Paper | None:
    rng, rows = ground.rng, _goods(ground)
    day = ground.delivered + timedelta(days=rng.randint(0, 3))
    value = total_of(rows, "amount")
    duty = ground.rounded(value * Decimal(rng.choice(("0", "1.7", "2.5", "3.7", "6.5"))) / 100)
    values = _cargo(ground, rows) | {
        "customs_reference": ground.filled("{yy}" + ground.seller["country"] + "############@#", day),
        "country_of_origin": ground.seller["country"], "procedure": ground.filled("#0 ##", day),
        "declaration_type": rng.choice(("EX A", "IM A", "IM 4", "EU A", "CO 1", "T1")), "item_total": str(len(rows)),
        "goods_value": text(value), "customs_amount": text(duty), "statistics": ground.filled("##", day),
        "eori": ground.seller["country"] + ground.filled("#########", day), "transport_mode": rng.choice("1345"),
        "office_code": ground.buyer["country"] + ground.filled("######", day),
    }  # fmt: skip
    parties = {"agent": ground.third_party("agent", ground.seller["country"])}
    return _paper(
        ground, day, values, rows, issuer="agent", recipient="buyer", parties=parties, total=value,
        headings={"seller": "exporter_heading", "buyer": "importer_heading", "agent": "declarant_heading"},
    )  # fmt: skip


def _origin(ground: Ground) -> Paper | None:
    rows = _goods(ground)
    country = ground.seller["country"]
    name = _CHAMBERS[pools.LANGUAGE_OF[country]].format(city=ground.seller["address"]["city"])
    chamber = ground.third_party("chamber", country, name=name, near=ground.seller)
    values = _cargo(ground, rows) | {"country_of_origin": country, "transport_means": "@by_road"}
    return _paper(
        ground, ground.delivered, values, rows, issuer="chamber", recipient="seller", parties={"chamber": chamber},
        headings={"seller": "consignor_heading", "buyer": "consignee_heading", "chamber": "chamber_heading"},
    )  # fmt: skip


_TESTS = (
    ("appearance", "", "", "", "@conforms"), ("ph", "-", "6.5", "7.5", "7.02"),
    ("density", "g/cm³", "0.98", "1.04", "1.01"),
    ("viscosity", "mPa·s", "120", "180", "148"), ("moisture", "%", "0.0", "0.5", "0.21"),
    ("tensile", "MPa", "450", "650", "562"),
    ("hardness", "HRC", "28", "36", "32"), ("elongation", "%", "12", "30", "19"),
    ("purity", "%", "99.0", "100.0", "99.6"),
    ("ash", "%", "0.0", "0.1", "0.04"), ("diameter", "mm", "9.95", "10.05", "10.01"),
    ("roughness", "µm", "0.4", "1.6", "0.8"),
)  # fmt: skip


_TESTED = {
    "liquid": ("appearance", "ph", "density", "viscosity", "moisture", "purity", "ash"),
    "metal": ("appearance", "tensile", "hardness", "elongation", "diameter", "roughness"),
    "other": ("appearance", "moisture", "tensile", "elongation", "density", "roughness"),
}
_KINDS = {
    **dict.fromkeys(("chemicals", "groceries", "beverages"), "liquid"),
    **dict.fromkeys(("fasteners", "fittings", "bearings", "bars", "sheets", "tools", "machines"), "metal"),
}


def _tests(ground: Ground) -> list[tuple[str, str, str, str, str]]:
    """Tests that such goods go through."""
    thing = ground.thing_of(ground.goods[0])
    fitting = _TESTED[_KINDS.get(thing.category if thing else "", "other")]
    known = [test for test in _TESTS if test[0] in fitting]
    return ground.rng.sample(known, k=ground.rng.randint(4, len(known)))


def _quality(ground: Ground) -> Paper | None:
    rng = ground.rng
    rows = _goods(ground)[: rng.choice((1, 1, 1, 2, 3))]
    tests = [
        {"test": test, "unit": unit, "low": low, "high": high, "result": result,
         "method": rng.choice(("DIN", "ISO", "EN", "ASTM")) + ground.filled(" ####", ground.delivered)}
        for test, unit, low, high, result in _tests(ground)
    ]  # fmt: skip
    cargo = _cargo(ground, rows)
    values = {name: cargo[name] for name in ("delivery_note_number", "order_reference", "shipping_date")} | {
        "inspection_lot": ground.filled("##########", ground.delivered), "document_version": f"{rng.randint(1, 9)}",
        "product": rows[0]["description"], "customer_number": ground.order.payload["customer_number"],
        "approver": pools.first_name(rng, ground.seller["language"]) + " " + pools.surname(rng,
        ground.seller["language"]),
    }  # fmt: skip
    paper = _paper(ground, ground.delivered, values, rows, issuer="seller", recipient="buyer", parties={}, headings={})
    return Paper(**{**vars(paper), "tables": {"tests": tests}})


_SUBSTANCES = ("chemicals", "building", "rolls", "sheets", "scrap", "electrical")
"""Categories of which some things have safety data sheets."""


def _safety(ground: Ground) -> Paper | None:
    rng = ground.rng
    sheeted = [line for line in ground.goods if (thing := ground.thing_of(line)) and thing.category in _SUBSTANCES]
    if not sheeted:
        return None
    line = rng.choice(sheeted)
    day = ground.order.document_date - timedelta(days=rng.randint(10, 900))
    values = {
        "product": line["description"], "product_code": line["material"],
        "document_version": f"{rng.randint(1, 12)}.{rng.randint(0, 9)}",
        "revised": (day - timedelta(days=rng.randint(100, 900))).isoformat(),
        "cas_number": ground.filled("#####-##-#", day),
        "emergency": ground.seller["phone"], "un_number": ground.filled("UN ####", day),
        "signal": rng.choice(("@danger", "@warning", "@none")),
        "flash_point": str(rng.randint(12, 160)), "density": f"{rng.randint(70, 190) / 100:.2f}",
        "boiling_point": str(rng.randint(60, 320)),
    }  # fmt: skip
    return _paper(ground, day, values, (), issuer="seller", recipient="", parties={}, headings={})


def _complaint(ground: Ground) -> Paper | None:
    rng = ground.rng
    day = ground.delivered + timedelta(days=rng.randint(1, 20))
    rows = []
    for position, line in enumerate(
        rng.sample(ground.goods, k=min(len(ground.goods), rng.choice((1, 1, 2, 3)))), start=1
    ):
        bad = max(Decimal(1), (Decimal(line["quantity"]) / rng.choice((1, 2, 4, 10))).to_integral_value())
        rows.append(
            {"number": position, "material": line["material"], "description": line["description"], "unit": line["unit"],
             "quantity": short(max(Decimal(line["quantity"]), bad)), "rejected": short(bad),
             "defect": rng.choice(("scratched", "broken", "wrong_item", "short", "dimensions", "packaging", "late"))}
        )  # fmt: skip
    number = ground.number(ground.buyer["key"], day)
    values = {
        "document_number": number, "complaint_number": number, "document_date": day.isoformat(),
        "delivery_note_number": ground.delivery_note, "order_reference": ground.order.payload["order_number"],
        "seller_number": ground.order.payload["supplier_number"], "inspection_lot": ground.filled("##########", day),
        "reason_code": ground.filled("@##", day),
        "reply_by": (day + timedelta(days=rng.choice((5, 7, 10)))).isoformat(),
        "buyer_contact": ground.buyer["contact"],
    }  # fmt: skip
    return Paper(
        day=day, number=number, issuer="buyer", recipient="seller", values=values, lines=rows,
        headings={"seller": "supplier_heading", "buyer": "complainant_heading"},
    )  # fmt: skip


_OPERATIONS = ("set_up", "cutting", "turning", "milling", "drilling", "welding", "grinding", "coating", "assembly",
               "inspection", "packaging_step")  # fmt: skip
_PARTS = ("fittings", "bearings", "electrical", "fasteners")
_UPKEEP = ("lubricate", "replace", "check", "clean", "adjust", "test_run", "measure", "tighten")


def _production(ground: Ground) -> Paper | None:
    rng, line = ground.rng, ground.rng.choice(ground.goods)
    start = ground.order.document_date + timedelta(days=rng.randint(0, 6))
    quantity = Decimal(line["quantity"])
    rows = [
        {"number": number * 10, "material": part["material"], "description": part["description"],
         "quantity": short(quantity * rng.choice((1, 1, 2, 4)) * Decimal(rng.choice(("1", "1", "0.5", "0.25")))),
         "unit": part["unit"], "storage": f"{rng.randint(1, 40):04d}"}
        for number in range(1, rng.choice((2, 3, 4, 6, 9)))
        if (part := ground.thing())
    ] or [{"number": 10, "material": line["material"], "description": line["description"], "quantity": line["quantity"],
           "unit": line["unit"], "storage": "0001"}]  # fmt: skip
    steps = [
        {"step": f"{number * 10:04d}", "work_center": ground.filled("@@@-##", start), "operation": operation,
         "setup": str(rng.choice((5, 10, 15, 20, 30))), "run": f"{rng.randint(1, 600) / 10:.1f}"}
        for number, operation in enumerate(rng.sample(_OPERATIONS, k=rng.randint(2, 7)), start=1)
    ]  # fmt: skip
    values = {
        "order_start_date": start.isoformat(),
        "order_finish_date": (start + timedelta(days=rng.randint(1, 25))).isoformat(),
        "product": line["description"], "product_code": line["material"], "order_quantity": line["quantity"],
        "plant": f"{rng.randint(1000, 3900)}", "scheduler": ground.filled("###", start),
        "sales_order_reference": ground.filled("00########", start),
        "priority": str(rng.randint(1, 4)), "routing": ground.filled("5#######", start),
        "storage_location": f"{rng.randint(1, 90):04d}",
    }  # fmt: skip
    paper = _paper(
        ground, start, values, rows, issuer="plant_owner", recipient="", parties={"plant_owner": ground.seller},
        headings={}
    )  # fmt: skip
    return Paper(**{**vars(paper), "tables": {"operations": steps}})


def _maintenance(ground: Ground) -> Paper | None:
    rng = ground.rng
    start = ground.order.document_date + timedelta(days=rng.randint(0, 40))
    rows = [
        {"number": number * 10, "task": task, "work_center": ground.filled("@@@@##", start),
        "planned": f"{rng.randint(1, 16) / 2:g}",
         "persons": str(rng.choice((1, 1, 1, 2)))}
        for number, task in enumerate(rng.sample(_UPKEEP, k=rng.randint(2, len(_UPKEEP))), start=1)
    ]  # fmt: skip
    parts = [
        {"part": part.description(ground.buyer["language"]), "part_number": part.number,
         "count": str(rng.randint(1, 8))}
        for part in [ground.made_up(_PARTS, index) for index in range(rng.choice((0, 1, 2, 3)))]
    ]  # fmt: skip
    values = {
        "equipment_number": ground.filled("1#######", start),
        "equipment_name": ground.made_up(("machines",), 0).description(ground.buyer["language"]),
        "functional_location": ground.filled("@@##-@@-###", start), "order_start_date": start.isoformat(),
        "order_finish_date": (start + timedelta(days=rng.randint(0, 9))).isoformat(),
        "plant": f"{rng.randint(1000, 3900)}",
        "priority": str(rng.randint(1, 4)), "order_type": rng.choice(("PM01", "PM02", "PM03", "ZM01")),
        "cost_center": ground.filled("######", start),
        "notification": ground.filled("1########", start), "responsible": ground.buyer["contact"],
    }  # fmt: skip
    paper = _paper(
        ground, start, values, rows, issuer="company", recipient="", parties={"company": ground.buyer}, headings={}
    )  # fmt: skip
    return Paper(**{**vars(paper), "tables": {"parts": parts} if parts else {}})


def _of_goods(
    make: Callable[[Ground], Paper | None], where: Callable[[Ground], bool] = lambda _ground: True
) -> Callable[[Ground], Paper | None]:
    """The maker for chains that move goods, and where it must be over a border."""
    return lambda ground: make(ground) if ground.goods and where(ground) else None


def _is_abroad(ground: Ground) -> bool:
    return ground.is_abroad


def _passes_customs(ground: Ground) -> bool:
    return ground.passes_customs


MAKERS: dict[str, Callable[[Ground], Paper | None]] = {
    "COMPLAINT": _of_goods(_complaint),
    "BILL_OF_LADING": _of_goods(_bill_of_lading, _is_abroad),
    "WAYBILL": _of_goods(_waybill),
    "FREIGHT_ORDER": _of_goods(_freight_order),
    "CUSTOMS_DECLARATION": _of_goods(_customs, _passes_customs),
    "CERTIFICATE_OF_ORIGIN": _of_goods(_origin, _is_abroad),
    "SAFETY_DATA_SHEET": _safety,
    "PRODUCTION_ORDER": _of_goods(_production),
    "MAINTENANCE_ORDER": _maintenance,
    "QUALITY_CERTIFICATE": _of_goods(_quality),
}
