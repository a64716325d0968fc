"""Closed worlds: a house with its companies and plants, and the vendors and customers that trade with it alone.

Parties and their attributes belong here; the documents that they exchange do not (`chains`), nor how documents look
(`style`). World `n` of a seed is the same whatever other worlds are made.
"""

import random
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sap_llm.synthetic import identifiers, pools
from sap_llm.synthetic.goods import Item, categories, unit_spellings

_LANGUAGES = ("de", "en", "fr", "es")
_PERSONS = {"company": 0.1, "customer": 0.15, "vendor": 0.0}  # sole traders and consumers
_SERVICE_VENDORS = 0.25
_PLACEHOLDER_PARTIES = 0.015  # of sample documents: SELLER_NAME, BUYER_ADDR_1
_MAILBOXES = {
    "all": ("info", "office", "contact"),
    "de": ("buchhaltung", "einkauf", "vertrieb", "rechnung"),
    "en": ("sales", "billing", "accounts", "purchasing"),
    "fr": ("achats", "comptabilite", "ventes", "facturation"),
    "es": ("compras", "ventas", "facturacion", "administracion"),
}
_NEIGHBOURS = ("DE", "AT", "CH", "FR", "LU", "BE", "ES", "GB", "US", "NL", "IT", "PL", "SE", "HU")
_PRINTED = (
    "key name salutation address vat_id tax_number registry iban bic bank phone email web contact gln language country"
).split()


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A place of a company where goods are kept or made; `name` is that of the company and the place."""

    code: str
    name: str
    address: dict[str, str]
    storage_locations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Organisation:
    """How a company of the house is divided, in the keys of SAP."""

    company_code: str
    purchasing_organization: str
    purchasing_groups: tuple[str, ...]
    sales_organization: str
    distribution_channel: str
    division: str
    cost_centers: tuple[str, ...]
    plants: tuple[Plant, ...]


@dataclass(frozen=True, kw_only=True)
class Party:
    """A company or a person: master data plus its habits of numbering documents."""

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
    units: dict[str, str]  # how it writes each unit
    assortment: str = ""  # seed of what it sells; empty where it sells nothing
    organisation: Organisation | None = None  # of companies of the house

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """What it sells: a range of a few categories; some sell work besides, or only work."""
        if not self.assortment:
            return ()
        rng = random.Random(self.assortment)
        goods, services = categories(services=False), categories(services=True)
        chosen = rng.sample(goods, rng.choice((1, 2, 2, 3)))
        if rng.random() < _SERVICE_VENDORS:
            chosen = [chosen[0], *rng.sample(services, 2)] if rng.random() < 0.5 else rng.sample(services, 2)
        return tuple(
            Item(
                seed=f"{self.assortment}/{index}", category=rng.choice(chosen), currency=self.currency,
                country=self.country, number_shape=self.number_formats["MATERIAL"],
            )
            for index in range(rng.randint(8, 24))
        )  # fmt: skip

    @cached_property
    def printed(self) -> dict[str, Any]:
        """What may stand on a document about this party."""
        return {name: getattr(self, name) for name in _PRINTED}

    def at(self, plant: Plant) -> "Party":
        """The company at one of its plants: own name and address, and a key of its own for its layouts."""
        return replace(self, key=f"{self.key}p{plant.code}", name=plant.name, address=plant.address)


@dataclass(frozen=True, kw_only=True)
class World:
    """The companies of one house, its vendors and its customers."""

    seed: int
    number: int
    companies: tuple[Party, ...]
    vendors: tuple[Party, ...]
    customers: tuple[Party, ...]

    @cached_property
    def affiliate(self) -> Party:
        """A company of the same group that sells to the house."""
        rng = random.Random(f"affiliate/{self.seed}/{self.number}")
        made = make_party(rng, "g0", _near(rng, self.companies[0].country, 0.5), kind="vendor")
        stem, form = self.companies[0].name.split()[0], rng.choice(pools.countries()[made.country]["legal_forms"])
        return replace(made, name=f"{stem} {made.address['city'].split(',')[0]} {form}".strip())

    @cached_property
    def things(self) -> dict[str, Item]:
        """All that its parties sell, by what it is called in any language."""
        sellers = (*self.companies, *self.vendors, self.affiliate)
        return {
            item.description(language): item for party in sellers for item in party.items for language in _LANGUAGES
        }

    @property
    def name(self) -> str:
        """Identifier of the world, which is also its split group."""
        return f"world-{self.number:05d}"


def home_language(seed: int, number: int) -> str:
    """Language of a world: each of four worlds in a row has another one, in an order that changes."""
    order = list(_LANGUAGES)
    random.Random(f"languages/{seed}/{number // len(order)}").shuffle(order)
    return order[number % len(order)]


def make_world(seed: int, number: int) -> World:
    """The world of that number."""
    rng = random.Random(f"world/{seed}/{number}")
    home = _country(rng, [code for code, spoken in pools.LANGUAGE_OF.items() if spoken == home_language(seed, number)])
    companies = tuple(make_party(rng, f"c{index}", home, kind="company") for index in range(rng.randint(1, 3)))
    vendors = tuple(
        make_party(rng, f"v{index}", _near(rng, home, 0.65), kind="vendor") for index in range(rng.randint(4, 8))
    )
    customers = tuple(
        make_party(rng, f"k{index}", _near(rng, home, 0.75), kind="customer") for index in range(rng.randint(2, 5))
    )
    return World(seed=seed, number=number, companies=companies, vendors=vendors, customers=customers)


def _country(rng: random.Random, options: Sequence[str]) -> str:
    return rng.choices(options, weights=[pools.countries()[code]["weight"] for code in options])[0]


def _near(rng: random.Random, home: str, share: float) -> str:
    return home if rng.random() < share else _country(rng, _NEIGHBOURS)


def make_party(rng: random.Random, key: str, country: str, *, kind: str, person_share: float | None = None) -> Party:
    """A party of the country: a `company` of a house, a `vendor` (with items), a `customer` or a `stranger`."""
    language, local = pools.LANGUAGE_OF[country], pools.countries()[country]
    if country in ("CH", "BE", "LU") and rng.random() < 0.3:
        language = "fr" if language == "de" else rng.choice(("en", "de"))
    is_person = rng.random() < (_PERSONS.get(kind, 0.0) if person_share is None else person_share)
    gender = rng.choice(("female", "male"))
    person = f"{pools.first_name(rng, language, gender)} {pools.surname(rng, language)}"
    name, contact = person if is_person else pools.company_name(rng, country), person
    bank = identifiers.bank_code(rng)
    place = pools.address(rng, country)
    if rng.random() < _PLACEHOLDER_PARTIES:
        role = rng.choice(pools.pools()["roles"])
        name, contact = f"{role}_NAME", f"{role}_CONTACT_NAME"
        place = pools.placeholder_address(rng, country, role)
    city = place["city"].split(",")[0]
    domain = domain_of(rng, name, country)
    party = Party(
        key=key,
        name=name,
        salutation=pools.salutation(rng, language, gender) if is_person else "",
        address=place,
        vat_id="" if is_person and rng.random() < 0.7 else identifiers.vat_id(rng, country),
        tax_number=identifiers.fill(rng, rng.choice(local["tax_numbers"])),
        registry=identifiers.fill(rng, rng.choice(local["registries"])).replace("{city}", city),
        iban=identifiers.iban(rng, country, bank) if identifiers.has_iban(country) else "",
        bic=identifiers.bic(rng, country, bank),
        bank=rng.choice(local["banks"]).replace("{city}", city),
        phone=identifiers.fill(rng, rng.choice(local["phones"])),
        email=f"{rng.choice(_MAILBOXES['all'] + _MAILBOXES[language])}@{domain}",
        web=rng.choice(("www.", "https://www.", "http://")) + domain,
        contact=contact,
        gln=identifiers.gln(rng),
        language=language,
        country=country,
        currency=local["currency"],
        number_formats=identifiers.number_formats(rng),
        units=unit_spellings(rng, language),
        assortment=f"{rng.random()}" if kind in ("vendor", "company") else "",
    )
    return replace(party, organisation=_organisation(rng, party)) if kind == "company" else party


def domain_of(rng: random.Random, name: str, country: str) -> str:
    """A domain of the net that belongs to the name."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss").replace(" ", "-"))
    kept = "".join(char for char in plain if char.isascii() and (char.isalnum() or char == "-"))
    domain = "-".join(part for part in kept.split("-") if part)
    return (domain[:24].strip("-") or "firm") + rng.choice((".com", f".{country.lower()}", ".net", ".eu"))


def _organisation(rng: random.Random, party: Party) -> Organisation:
    code = str(rng.randint(1, 99) * 100 + rng.choice((0, 0, 10)))
    plants = []
    for index in range(rng.randint(2, 4)):
        place = party.address if index == 0 else pools.address(rng, party.country)
        word = rng.choice(pools.pools()[party.language]["plants"]).replace("{city}", place["city"].split(",")[0])
        plants.append(
            Plant(
                code=f"{code[:-1]}{index + 1}" if len(code) == 4 else f"{int(code) + index + 1:04d}",
                name=f"{party.name} {word}",
                address=place,
                storage_locations=tuple(f"{rng.randint(1, 9) * (10 if rng.random() < 0.5 else 1):04d}" for _ in "ab"),
            )
        )
    return Organisation(
        company_code=f"{int(code):04d}",
        purchasing_organization=f"{int(code):04d}",
        purchasing_groups=tuple(identifiers.fill(rng, rng.choice(("###", "@##", "@@@", "0##"))) for _ in "abc"),
        sales_organization=f"{int(code):04d}",
        distribution_channel=rng.choice(("10", "12", "20", "01")),
        division=rng.choice(("00", "01", "10", "20")),
        cost_centers=tuple(
            identifiers.fill(rng, rng.choice(("####", "10####", "@###", "####00", "KST-####"))) for _ in "abc"
        ),
        plants=tuple(plants),
    )
