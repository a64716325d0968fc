"""What a chain gives to its papers: parties, lines and claims, and the form in which makers hand back a paper.

Looking facts up in a chain, third parties of a world and numbers of papers belong here; what each class says does not
(`papers_money`, `papers_goods`, `papers_work`).
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from typing import Any

from sap_llm.synthetic import identifiers
from sap_llm.synthetic.goods import Item
from sap_llm.synthetic.records import Fact
from sap_llm.synthetic.worlds import Party, World, domain_of, make_party

Row = dict[str, Any]
ZERO = Decimal("0.00")
_CLAIMS = ("SUPPLIER_INVOICE", "CUSTOMER_INVOICE", "CREDIT_NOTE")
_CUSTOMS_UNION = ("DE", "AT", "FR", "LU", "BE", "ES", "NL", "IT", "PL", "SE", "HU")
_ORDERS = ("PURCHASE_ORDER", "SALES_ORDER")
_NUMBERS = (
    "{y}-#### 10######## {yy}##### ######## @@-##### {y}/##### ###-###-### @@@{yy}#### #####.{yy} {y}{m}#### "
    "0000###### @######## ####/{y}/@ {d}{m}{yy}-### ##-#### {yy}/####-@@"
).split()


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One paper as its maker hands it back: amounts as decimals in text, dates in ISO form."""

    day: date
    number: str
    issuer: str
    """Role of the party that wrote it: a key of `parties`, or `seller` or `buyer` of the chain."""
    recipient: str
    values: Mapping[str, str]
    """Header values by their name in the taxonomy, or in `data/papers.yaml`."""
    lines: Sequence[Row] = ()
    """Rows of the paper's line table; `number` in each."""
    tables: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Further tables, whose cells are no fields."""
    parties: Mapping[str, Row] = field(default_factory=dict)
    headings: Mapping[str, str] = field(default_factory=dict)
    """Concept of the word above a party, by role."""
    total: Decimal = ZERO
    variant: str = ""
    """Which of several quite different papers of the class it is."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An invoice or credit that one party has against the other."""

    number: str
    day: date
    due: date
    amount: Decimal
    """Below zero for a credit."""
    order: str


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A chain of linked documents as the ground that papers stand on."""

    rng: random.Random
    seed: int
    kind: str
    world: World
    documents: Sequence[Fact]
    """Of the chain."""
    others: Sequence[Fact]
    """All documents of the world."""

    @property
    def order(self) -> Fact:
        """The order, or what the chain begins with where it has none."""
        orders = [fact for fact in self.documents if fact.document_type in _ORDERS]
        return (orders or self.documents)[0]

    @property
    def currency(self) -> str:
        """ISO code of all amounts."""
        return self.order.currency

    @property
    def seller(self) -> Row:
        """Who sells in the chain."""
        party: Row = self.order.payload["seller"]
        return party

    @property
    def buyer(self) -> Row:
        """Who buys in the chain."""
        party: Row = self.order.payload["buyer"]
        return party

    @property
    def tax_rate(self) -> str:
        """The highest rate of the order's lines, in percent."""
        return str(max((line["tax_rate"] for line in self.lines), key=Decimal))

    @property
    def lines(self) -> list[Row]:
        """What was ordered."""
        found: list[Row] = self.order.payload["lines"]
        return found

    @property
    def goods(self) -> list[Row]:
        """What was ordered and is no work."""
        return self._goods_of(self.lines)

    @property
    def is_abroad(self) -> bool:
        """Whether seller and buyer are in different countries."""
        return bool(self.seller["country"] != self.buyer["country"])

    @property
    def passes_customs(self) -> bool:
        """Whether goods leave or enter the customs union."""
        inside = [party["country"] in _CUSTOMS_UNION for party in (self.seller, self.buyer)]
        return self.is_abroad and not all(inside)

    def thing_of(self, line: Row) -> Item | None:
        """What a line is about; None for charges and the like."""
        return self.world.things.get(line["description"])

    @property
    def delivered(self) -> date:
        """The last day of delivery, about a week after the order where nothing was delivered."""
        days = [day for fact in self.documents if (day := fact.payload.get("delivery_note_date"))]
        return date.fromisoformat(max(days)) if days else self.order.document_date + timedelta(days=7)

    @property
    def delivery_note(self) -> str:
        """Number of the last delivery, empty where nothing was delivered."""
        notes = [note for fact in self.documents if (note := fact.payload.get("delivery_note_number"))]
        return notes[-1] if notes else ""

    def third_party(self, role: str, country: str, *, name: str = "", near: Row | None = None) -> Row:
        """A party beside seller and buyer that the world always has: its bank, its carrier."""
        party = _third_party(self.seed, self.world.number, role, country)
        if name:
            domain = domain_of(random.Random(f"{name}/{role}"), name, country)
            party = replace(party, name=name, email=f"info@{domain}", web=f"www.{domain}")
        if near is not None:
            place = {part: near["address"][part] for part in ("city", "postcode")}
            party = replace(party, address=party.address | place)
        return party.printed

    def number(self, issuer_key: str, day: date, *, kind: str = "") -> str:
        """A number of the paper, in the form that its issuer has for the class."""
        habit = random.Random(f"number/{self.seed}/{self.world.number}/{issuer_key}/{kind or self.kind}")
        return self.filled(habit.choice(_NUMBERS), day)

    def filled(self, shape: str, day: date) -> str:
        """A number by its shape: see `identifiers.NUMBER_FORMATS`."""
        dated = shape.format(y=day.year, yy=f"{day.year % 100:02d}", m=f"{day.month:02d}", d=f"{day.day:02d}")
        return identifiers.fill(self.rng, dated)

    def amount(self, low: float, high: float) -> Decimal:
        """A random amount, small ones oftener."""
        return self.rounded(Decimal(str(low * (high / low) ** self.rng.random())))

    def rounded(self, value: Decimal) -> Decimal:
        """Rounded half up to the places that the currency has."""
        return value.quantize(_smallest(self.currency), rounding=ROUND_HALF_UP)

    def thing(self) -> Row:
        """A line of any document of the world: something that its companies deal in, no work if there is other."""
        lines: list[Row] = self.rng.choice([fact for fact in self.others if fact.payload["lines"]]).payload["lines"]
        return self.rng.choice(self._goods_of(lines) or lines)

    def _goods_of(self, lines: list[Row]) -> list[Row]:
        return [line for line in lines if (thing := self.thing_of(line)) and not thing.is_service]

    def made_up(self, categories: Sequence[str], index: int) -> Item:
        """A thing of one of the categories that none of the documents tells of."""
        seed = f"{self.seed}/{self.order.chain}/{self.kind}/{categories[0]}/{index}"
        return Item(
            seed=seed, category=self.rng.choice(categories), currency=self.currency,
            country=self.buyer["country"], number_shape="######-##",
        )  # fmt: skip

    def claims(self, *, extra: int = 0) -> list[Claim]:
        """Claims of the chain's invoices and of others of the same parties in the year before, in order of time.

        Args:
            extra: So many more of chains that the world does not tell.
        """
        own = [fact for fact in self.documents if _is_claim(fact)]
        if not own:
            return []
        last = max(fact.document_date for fact in own)
        keys = [self.seller["key"], self.buyer["key"]]
        found = {
            fact.document_id: _claim(fact)
            for fact in self.others
            if _is_claim(fact)
            and fact.currency == self.currency
            and [fact.payload[role]["key"] for role in ("seller", "buyer")] == keys
            and timedelta() <= last - fact.document_date <= timedelta(days=365)
        }
        shape = re.sub(r"\d", "#", own[0].payload["document_number"])
        told = [*found.values(), *(self._untold(last, shape) for _ in range(extra))]
        return sorted(told, key=lambda claim: (claim.day, claim.number))

    def _untold(self, last: date, shape: str) -> Claim:
        day = last - timedelta(days=self.rng.randint(3, 200))
        due = day + timedelta(days=self.order.payload["terms"]["days"])
        number = identifiers.fill(self.rng, shape)
        return Claim(number=number, day=day, due=due, amount=self.amount(40, 9000), order="")


@cache
def _smallest(currency: str) -> Decimal:
    from babel.numbers import get_currency_precision

    return Decimal(1).scaleb(-get_currency_precision(currency))


def _is_claim(fact: Fact) -> bool:
    return fact.document_type in _CLAIMS and fact.document_subtype != "PRO_FORMA"


def _claim(fact: Fact) -> Claim:
    amount = Decimal(fact.payload["total_amount"])
    is_credit = fact.document_type == "CREDIT_NOTE" or fact.document_subtype == "CREDIT_MEMO"
    return Claim(
        number=fact.payload["document_number"],
        day=fact.document_date,
        due=date.fromisoformat(fact.payload["due_date"]),
        amount=-abs(amount) if is_credit else amount,
        order=fact.payload["order_number"],
    )


@lru_cache(maxsize=256)
def _third_party(seed: int, world: int, role: str, country: str) -> Party:
    return make_party(random.Random(f"third/{seed}/{world}/{role}"), role, country, kind="stranger", person_share=0.0)


def text(value: Decimal) -> str:
    """An amount as text with at least two places; it is rounded before."""
    return f"{value:f}" if -int(value.as_tuple().exponent) > 2 else f"{value:.2f}"


def short(value: Decimal) -> str:
    """A quantity without superfluous zeros."""
    return f"{value.normalize():f}"
