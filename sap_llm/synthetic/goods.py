"""What the worlds trade in: goods and services with plausible units, prices, scales and customs data.

The reader of `data/goods.yaml` belongs here, and what a thing costs; who sells it does not (`worlds`), nor lines of
documents (`records`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from typing import Any

from sap_llm.schema.values import currency_decimals
from sap_llm.synthetic import identifiers
from sap_llm.synthetic.amounts import FOR_A_EURO, rounded
from sap_llm.synthetic.pools import invented_word, read_data

_LANGUAGES = ("de", "en", "fr", "es")
_ORIGINS = ("CN", "DE", "IT", "PL", "TR", "US", "CZ")
_QUARTERS = (Decimal("0.25"), Decimal("0.5"), Decimal("0.75"))

Words = tuple[str, str, str, str]
"""A word or more, by language."""


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What is drawn for an item when it is first looked at."""

    number: str
    words: tuple[Words, ...]
    price: Decimal
    scales: tuple[tuple[int, Decimal], ...]
    origin: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that a company sells, priced in its currency."""

    seed: str
    category: str
    currency: str
    country: str  # of the company
    number_shape: str

    @cached_property
    def _drawn(self) -> _Drawn:
        rng, spec = random.Random(self.seed), _goods()[self.category]
        number, words = identifiers.fill(rng, self.number_shape), tuple(_words(rng, self.category))
        low, high = _own(words).get("price", spec["price"])
        price = _price(rng, low * (high / low) ** rng.random(), self.currency)
        return _Drawn(
            number=number,
            words=words,
            price=price,
            scales=_scales(spec, price, self.currency) if rng.random() < 0.25 and not self.is_service else (),
            origin=self.country if rng.random() < 0.6 else rng.choice(_ORIGINS),
        )

    @property
    def number(self) -> str:
        """The company's number for it."""
        return self._drawn.number

    @property
    def unit(self) -> str:
        """Key of `units`."""
        unit: str = _goods()[self.category]["unit"]
        return unit

    @property
    def is_reduced_tax(self) -> bool:
        """Whether the reduced rate applies."""
        return bool(_goods()[self.category].get("reduced"))

    @cached_property
    def is_service(self) -> bool:
        """Whether it is work, not goods."""
        return bool(_goods()[self.category].get("service"))

    @cached_property
    def weight(self) -> Decimal:
        """Kilograms a unit; zero for services."""
        return Decimal(str(_goods()[self.category].get("weight", 0)))

    @property
    def tariff(self) -> str:
        """Heading of the customs tariff; empty for services."""
        heading: str = _goods()[self.category].get("tariff", "")
        return heading

    @cached_property
    def cells(self) -> dict[str, str]:
        """What a line may tell about it besides, by names of `columns` in `data/classes.yaml`."""
        group = {"material_group": self.group}
        if self.is_service:
            return group
        return group | {
            "gtin": identifiers.gtin_of(self.number + self.description("en")),
            "commodity_code": self.tariff,
            "country_of_origin": self._drawn.origin,
        }

    @property
    def group(self) -> str:
        """The material group."""
        group: str = _goods()[self.category]["group"]
        return group

    def description(self, language: str) -> str:
        """What it is, in that language."""
        place = _LANGUAGES.index(language)
        return " ".join(part[place] for part in self._drawn.words)

    def price_for(self, quantity: Decimal) -> Decimal:
        """The price of a unit when that much is bought at once."""
        fitting = [price for least, price in self._drawn.scales if quantity >= least]
        return fitting[-1] if fitting else self._drawn.price


@cache
def _goods() -> dict[str, Any]:
    found: dict[str, Any] = read_data("goods")["goods"]
    return found


def _own(words: Sequence[Words]) -> dict[str, Any]:
    """What a thing has unlike its category, by its English name."""
    found: dict[str, Any] = read_data("goods")["own"].get(words[0][_LANGUAGES.index("en")], {})
    return found


@cache
def _qualities(category: str) -> list[list[str]]:
    kinds = read_data("goods")["qualities"].values()
    return [word for kind in kinds if category in kind["of"] for word in kind["words"]]


def categories(*, services: bool) -> list[str]:
    """Names of all categories of goods, or of services."""
    return [name for name, spec in _goods().items() if bool(spec.get("service")) == services]


def charge(name: str, language: str) -> str:
    """The words for a charge: `down_payment`, `freight`, `customs`, `insurance`, `price_difference`."""
    word: str = read_data("goods")["charges"][name][_LANGUAGES.index(language)]
    return word


def material_group_name(category: str, language: str) -> str:
    """A word for the whole category: that of its first thing."""
    name: str = read_data("goods")["names"][category][0][_LANGUAGES.index(language)]
    return name


def unit_spellings(rng: random.Random, language: str) -> dict[str, str]:
    """How a company writes each unit."""
    units = read_data("goods")["units"]
    drawn = rng.randbytes(len(units))
    return {
        name: spec[language][byte % len(spec[language])]
        for (name, spec), byte in zip(units.items(), drawn, strict=True)
    }


def is_whole(unit: str) -> bool:
    """Whether only whole numbers of a unit are traded."""
    return bool(read_data("goods")["units"][unit].get("whole"))


def usual_quantity(rng: random.Random, item: Item) -> Decimal:
    """A quantity that such things are ordered in: whole pieces, fractions of what is weighed or measured."""
    quantity = Decimal(rng.choice(_goods()[item.category]["quantities"]))
    if is_whole(item.unit):
        return quantity
    if item.unit in ("hour", "day"):
        return quantity + (rng.choice(_QUARTERS) if rng.random() < 0.3 else 0)
    if rng.random() < 0.25:
        quantity += Decimal(rng.randint(1, 99)) / (100 if rng.random() < 0.5 else 10)
    return quantity


def _scales(spec: dict[str, Any], price: Decimal, currency: str) -> tuple[tuple[int, Decimal], ...]:
    """From a quantity on, a lower price."""
    usual = sorted(set(spec["quantities"]))
    steps = [least for least in usual[len(usual) // 2 :: 2][:2] if least > 1]
    return tuple(
        (least, _fitting(price * (96 - 4 * index) / 100, price, currency)) for index, least in enumerate(steps)
    )


def _price(rng: random.Random, euros: float, currency: str) -> Decimal:
    """A price as price lists have them: round figures where it is large, tenths of a cent where it is tiny."""
    value = Decimal(str(euros)) * FOR_A_EURO[currency]
    if currency_decimals(currency) == 0:
        step = Decimal(100 if value > 20000 else 10 if value > 500 else 1)
    elif value > 1000:
        step = Decimal(rng.choice((1, 5, 10)))
    elif value > 20:
        step = Decimal(rng.choice(("0.01", "0.05", "0.1", "0.5", "1")))
    else:
        step = Decimal("0.01")
    if value < Decimal("0.5") and currency_decimals(currency) == 2:
        step = Decimal("0.001" if rng.random() < 0.4 else "0.01")
    return _fitting((value / step).to_integral_value() * step, step, currency)


def _fitting(value: Decimal, least: Decimal, currency: str) -> Decimal:
    """Rounded to the currency's unit, but never to nothing."""
    if value == 0:
        return least
    exact = value.as_tuple().exponent
    if isinstance(exact, int) and -exact > currency_decimals(currency) and value < 1:
        return value.quantize(Decimal("0.0001")).normalize()
    return rounded(value, currency) or least


def _words(rng: random.Random, category: str) -> list[Words]:
    data = read_data("goods")
    parts = [_by_language(rng.choice(data["names"][category]))]
    if _qualities(category) and rng.random() < 0.4:
        parts.append(_by_language(rng.choice(_qualities(category))))
    shapes = _own(parts).get("shapes", data["shapes"][category])
    if shapes and rng.random() < 0.6:
        word = rng.choice(shapes).format(
            a=rng.choice((10, 12, 16, 20, 25, 32, 40, 50, 63, 80)),
            b=rng.choice((100, 120, 125, 200, 205, 250, 320, 400, 500, 600, 912, 933)),
            m=rng.choice((3, 4, 5, 6, 8, 10, 12, 16)),
        )
        parts.append((word, word, word, word))
    if rng.random() < 0.2:
        word = invented_word(rng)
        parts.append((word, word, word, word))
    return parts


def _by_language(words: list[str]) -> Words:
    german, english, french, spanish = words
    return german, english, french, spanish
