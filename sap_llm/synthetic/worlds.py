"""Closed worlds: the companies that trade with each other, and what they sell.

Parties and their attributes belong here; the documents that they exchange do not (`chains`), nor how documents look
(`style`). World `n` of a seed is the same whatever other worlds are made.
"""

import random
import unicodedata
from dataclasses import dataclass
from typing import Any

from sap_llm.synthetic import identifiers, pools

_CURRENCY_OF = {"GB": "GBP", "US": "USD", "CH": "CHF"}
_HOME_COUNTRIES = (
    "DE",
    "DE",
    "DE",
    "AT",
    "CH",
    "FR",
    "FR",
    "FR",
    "ES",
    "ES",
    "ES",
    "GB",
    "GB",
    "US",
    "US",
    "NL",
    "BE",
    "LU",
    "IT",
)
_PRIVATE_BUYERS = 0.1  # buyers that are persons
_PLACEHOLDER_PARTIES = 0.03  # of sample documents: SELLER_NAME, BUYER_ADDR_1
TAX_RATES: dict[str, tuple[str, str]] = {
    "DE": ("19", "7"), "AT": ("20", "10"), "CH": ("8.1", "2.6"), "FR": ("20", "5.5"), "LU": ("17", "8"),
    "BE": ("21", "6"), "ES": ("21", "10"), "GB": ("20", "5"), "US": ("8.25", "0"), "NL": ("21", "9"),
    "IT": ("22", "10"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that a vendor sells; the price is in cents of its currency."""

    number: str
    description: str
    unit: str
    price_cents: int
    is_service: bool
    is_reduced_tax: bool


@dataclass(frozen=True, kw_only=True)
class Party:
    """A company: master data plus its habits of numbering documents."""

    key: str
    name: str
    salutation: str  # of a person; empty for a company
    address: dict[str, str]
    vat_id: str
    tax_number: str
    registry: str
    iban: str
    bic: str
    bank: str
    phone: str
    email: str
    web: str
    contact: str
    gln: str
    language: str
    country: str
    currency: str
    number_formats: dict[str, str]
    items: tuple[Item, ...] = ()

    def printed(self) -> dict[str, Any]:
        """What may stand on a document about this party."""
        return {
            name: getattr(self, name)
            for name in (
                "key name salutation address vat_id tax_number registry iban bic bank phone email web contact gln "
                "language country"
            ).split()
        }


@dataclass(frozen=True, kw_only=True)
class World:
    """Buyers and vendors that trade only with each other."""

    number: int
    buyers: tuple[Party, ...]
    vendors: tuple[Party, ...]

    @property
    def name(self) -> str:
        """Identifier of the world, which is also its split group."""
        return f"world-{self.number:05d}"


def make_world(seed: int, number: int) -> World:
    """The world of that number."""
    rng = random.Random(f"world/{seed}/{number}")
    home = rng.choice(_HOME_COUNTRIES)
    buyers = tuple(
        make_party(rng, f"b{index}", home, person_share=_PRIVATE_BUYERS) for index in range(rng.randint(1, 3))
    )
    vendors = tuple(
        make_party(rng, f"v{index}", home if rng.random() < 0.65 else rng.choice(_HOME_COUNTRIES), with_items=True)
        for index in range(rng.randint(4, 8))
    )
    return World(number=number, buyers=buyers, vendors=vendors)


def make_party(
    rng: random.Random, key: str, country: str, *, with_items: bool = False, person_share: float = 0.0
) -> Party:
    """A company, or with that probability a person, of the country."""
    language = pools.LANGUAGE_OF[country]
    if country in ("CH", "BE", "LU") and rng.random() < 0.3:
        language = "fr" if language == "de" else rng.choice(("en", "de"))
    is_person = rng.random() < person_share
    person = f"{pools.first_name(rng, language)} {pools.surname(rng, language)}"
    name, contact = person if is_person else pools.company_name(rng, country), person
    bank = identifiers.bank_code(rng)
    place = pools.address(rng, country)
    if rng.random() < _PLACEHOLDER_PARTIES:
        role = rng.choice(pools.pools()["roles"])
        name, contact = f"{role}_NAME", f"{role}_CONTACT_NAME"
        place = pools.placeholder_address(rng, country, role)
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss").replace(" ", "-"))
    domain = "".join(char for char in plain if char.isascii() and (char.isalnum() or char == "-"))
    domain = domain.strip("-")[:24].strip("-") + rng.choice((".com", f".{country.lower()}", ".net", ".eu"))
    return Party(
        key=key,
        name=name,
        salutation=pools.salutation(rng, language) if is_person else "",
        address=place,
        vat_id="" if is_person and rng.random() < 0.7 else identifiers.vat_id(rng, country),
        tax_number=identifiers.fill(
            rng, rng.choice(("###/###/#####", "##/###/#####", "##-#######", "### ### ### #####"))
        ),
        registry=identifiers.fill(
            rng, rng.choice(("HRB #####", "HR B ####", "RCS ### ### ###", "FN ######a", "No. ########"))
        ),
        iban="" if country == "US" else identifiers.iban(rng, country, bank),
        bic=identifiers.bic(rng, country, bank),
        bank=rng.choice(pools.pools()["banks"]).replace("{city}", place["city"]),
        phone=identifiers.fill(
            rng,
            rng.choice(
                ("+## ### #######", "0#### / ######", "(0###) ###-####", "0# ## ## ## ##", "+##(0)### ### ##-#")
            ),
        ),
        email=f"{rng.choice(('info', 'sales', 'office', 'contact', 'billing', 'buchhaltung', 'compras'))}@{domain}",
        web=rng.choice(("www.", "https://www.", "http://")) + domain,
        contact=contact,
        gln=identifiers.fill(rng, "40############"[:13]),
        language=language,
        country=country,
        currency=_CURRENCY_OF.get(country, "EUR"),
        number_formats={kind: identifiers.number_format(rng, kind) for kind in identifiers.NUMBER_FORMATS},
        items=_items(rng, language) if with_items else (),
    )


def _items(rng: random.Random, language: str) -> tuple[Item, ...]:
    shape = identifiers.number_format(rng, "MATERIAL")
    sells_services = rng.random() < 0.25
    units = pools.pools()[language]["units"]
    found = []
    for _ in range(rng.randint(8, 24)):
        is_service = sells_services and rng.random() < 0.7
        found.append(
            Item(
                number=identifiers.fill(rng, shape),
                description=(pools.service if is_service else pools.material)(rng, language),
                unit=rng.choice(units),
                price_cents=max(5, round(10 ** rng.uniform(1.2, 5.6))),
                is_service=is_service,
                is_reduced_tax=rng.random() < 0.15,
            )
        )
    return tuple(found)
