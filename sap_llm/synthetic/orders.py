"""What the subtypes of purchase orders add to an order's facts: limits, validity, accounts, components, schedules.

The setters that `data/subtypes.yaml` names and the lines of each subtype belong here; the chain of documents does not
(`procurement`).
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.amounts import canonical, rounded
from sap_llm.synthetic.goods import Item, categories, material_group_name
from sap_llm.synthetic.pools import read_data
from sap_llm.synthetic.records import Chain, Payload
from sap_llm.synthetic.subtypes import SubtypeSpec
from sap_llm.synthetic.worlds import Party, Plant, World

Lines = list[Payload]


def seller_of(world: World, spec: SubtypeSpec, vendor: Party, company: Party, plant: Plant) -> Party:
    """Who delivers: the vendor, another plant of the company, a company of the group, or a vendor abroad."""
    if spec.seller == "plant":
        return company.at(plant)
    if spec.seller == "affiliate":
        return world.affiliate
    if spec.seller == "abroad":
        return next((other for other in world.vendors if other.country != company.country), vendor)
    return vendor


def order_lines(chain: Chain, spec: SubtypeSpec) -> Lines:
    """Lines of the order, of the things that the subtype orders."""
    items = _items(chain, spec)
    lines = chain.choose(items, chain.seller)
    if spec.items == "text":
        return [_text_line(chain, line) for line in lines[:3]]
    if spec.items == "unnumbered":
        return [line | {"material": ""} for line in lines]
    if spec.items == "group":
        return [_group_line(chain, line) for line in lines]
    return lines


def _items(chain: Chain, spec: SubtypeSpec) -> list[Item]:
    """What the seller has of the wanted kind; made up where it has none."""
    wanted = spec.items in ("services", "rental", "text")
    items = chain.seller.items or chain.buyer.items
    if spec.items == "rental":
        fitting = [item for item in items if item.category == "monthly"]
    else:
        fitting = [item for item in items if item.is_service == wanted]
    names = ["monthly"] if spec.items == "rental" else categories(services=wanted)
    return fitting or made_up(chain, names)


def made_up(chain: Chain, names: list[str]) -> list[Item]:
    """A few items of the named categories that the seller does not list."""
    seller = chain.seller
    return [
        Item(
            seed=f"{chain.name}/made-up/{index}", category=chain.rng.choice(names), currency=chain.currency,
            country=seller.country, number_shape=seller.number_formats["MATERIAL"],
        )
        for index in range(6)
    ]  # fmt: skip


def _text_line(chain: Chain, line: Payload) -> Payload:
    units = chain.house.units
    amount = chain.euros(Decimal(chain.rng.randint(2, 60)) * 50)
    return chain.priced(
        line | {"material": "", "unit": units["lump"], "unit_price": canonical(amount), "discount_percent": "0"},
        Decimal(1),
    )


def _group_line(chain: Chain, line: Payload) -> Payload:
    item = chain.items[line["material"]]
    name = material_group_name(item.category, chain.house.language)
    return line | {"material": "", "description": name, "material_group": item.group}


def _limit(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    net = sum((Decimal(line["net_amount"]) for line in lines), Decimal(0))
    step = chain.euros(Decimal(500))
    return lines, {"limit_amount": canonical((net / step).to_integral_value() * step + step)}


def validity(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    """A period of one or two years."""
    first = chain.start.replace(day=1)
    last = first.replace(year=first.year + chain.rng.choice((1, 1, 1, 2))) - timedelta(days=1)
    return lines, {"valid_from": first.isoformat(), "valid_to": last.isoformat()}


def _components(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    """Each line names what we provide for it."""
    goods = [item for item in chain.buyer.items if not item.is_service] or list(chain.buyer.items)
    found = []
    for line in lines:
        item = chain.rng.choice(goods)
        quantity = Decimal(line["quantity"]).to_integral_value() * chain.rng.choice((1, 2, 4)) or Decimal(1)
        text = f"{item.number} {item.description(chain.house.language)} {quantity} {chain.house.units[item.unit]}"
        found.append(line | {"notes": [text]})
    return found, {}


def _characteristics(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    """Each line names the characteristics that were chosen for it."""
    place = ("de", "en", "fr", "es").index(chain.house.language)
    found = []
    for line in lines:
        category = chain.items[line["material"]].category
        options = [one for one in read_data("goods")["characteristics"] if category in one["of"] or not one["of"]]
        chosen = chain.rng.sample(options, min(2, len(options)))
        notes = [f"{one['name'][place]}: {chain.rng.choice(one['values'])}" for one in chosen]
        found.append(line | {"notes": notes})
    return found, {}


def schedule(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    """Every line falls into two or three dates; all parts keep its number."""
    found: Lines = []
    for line in lines[: max(1, chain.lines_max // 3)]:
        parts = chain.rng.choice((2, 2, 3))
        each = max(Decimal(1), (Decimal(line["quantity"]) / parts).to_integral_value())
        day = chain.later(chain.start, 10, 30)
        for _ in range(parts):
            found.append(chain.priced(line | {"delivery_date": day.isoformat()}, each))
            day = chain.later(day, 7, 30)
    return found, {}


def _negative(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    if chain.rng.random() < 0.5:  # the others say it in the title and the text
        return lines, {}
    return [chain.priced(line, -Decimal(line["quantity"])) for line in lines], {}


def _free(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    return [chain.at_price(line | {"discount_percent": "0"}, Decimal(0)) for line in lines], {}


def _customs(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    item = chain.items[lines[0]["material"]]
    place = chain.buyer.address["city"].split(",")[0]
    return lines, {
        "customs_tariff": item.tariff,
        "country_of_origin": chain.seller.country,
        "incoterms": f"{chain.rng.choice(('FOB', 'CIF', 'DAP', 'FCA'))} {place}",
    }


def _down_payment(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    net = sum((Decimal(line["net_amount"]) for line in lines), Decimal(0))
    share = Decimal(chain.rng.choice((20, 25, 30, 40)))
    return lines, {"down_payment_amount": canonical(rounded(net * share / 100, chain.currency))}


def _customer_address(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    customer = chain.rng.choice(chain.world.customers)
    return lines, {"ship_to": {"name": customer.name, "address": customer.address, "country": customer.country}}


def _supplying_plant(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
    organisation = chain.buyer.organisation
    code = organisation.plants[1].code if organisation else ""
    return lines, {"supplying_plant": code}


def _filled(key: str, *templates: str) -> Callable[[Chain, Lines], tuple[Lines, Payload]]:
    """A setter of a number in one of the templates."""

    def setter(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
        return lines, {key: identifiers.fill(chain.rng, chain.rng.choice(templates))}

    return setter


def _several(*setters: Callable[[Chain, Lines], tuple[Lines, Payload]]) -> Callable[..., tuple[Lines, Payload]]:
    def setter(chain: Chain, lines: Lines) -> tuple[Lines, Payload]:
        found: Payload = {}
        for one in setters:
            lines, more = one(chain, lines)
            found |= more
        return lines, found

    return setter


SETTERS: dict[str, Callable[[Chain, Lines], tuple[Lines, Payload]]] = {
    "limit": _limit,
    "validity": validity,
    "components": _components,
    "characteristics": _characteristics,
    "schedule": schedule,
    "negative": _negative,
    "free": _free,
    "customs": _customs,
    "down_payment": _down_payment,
    "customer_address": _customer_address,
    "supplying_plant": _supplying_plant,
    "agreement": _filled("contract", "46########", "4600######", "K-####/##"),
    "asset": _filled("asset_number", "########-0", "1000####", "##########", "A-#####"),
    "cost_center": _filled("cost_center", "####", "10####", "####00", "KST-####", "CC####"),
    "internal_order": _filled("internal_order", "######", "8#####", "4000###", "IO-#####"),
    "wbs_element": _filled("wbs_element", "P-####.#.##", "@-####-##-#", "PR.####.##"),
    "network": _filled("network", "9#####", "4######", "NW-#####"),
    "for_sales_order": _filled("sales_order", "00########", "1#######", "30######"),
    "equipment": _filled("equipment", "10######", "EQ-#####", "M-####"),
    "collective": _filled("collective_number", "SUB####", "#######", "A######"),
    "shop": _several(
        _filled("shopping_cart", "10########", "SC-#######", "WK######"),
        _filled("catalogue", "CAT-####", "PUNCHOUT-##", "K##-####"),
    ),
}
"""Facts by the names in `data/subtypes.yaml`."""
