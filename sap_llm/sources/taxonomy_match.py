"""Which fields of the taxonomy a property of an SAP service stands for.

Belongs here: the three rules, and the reader of `sap_names.yaml`. Properties come from `edmx`.

1. *technical*: the property's name, or its data element up to an underscore, is the field's name in the data dictionary
   (EBELN of EKKO-EBELN; EKORG of the data element EKORG_LL). Generated services name properties so.
2. *released*: `sap_names.yaml` says that SAP's released services name that dictionary field so (PurchaseOrder).
3. *words*: the words of the taxonomy's name are those of the property's name, label, heading or quickinfo
   (payment_terms, "Payment Terms"). `line_` is left out; a single word that is left over is no match.

A match names a candidate, not a truth: LFA1-ORT01 is the city of a seller, and so is any CityName here.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from sap_llm.schema.taxonomy import FieldSpec
from sap_llm.sources.edmx import Property

RULES = ("technical", "released", "words")
"""Strongest first."""

_LINE = "line_"
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class Match:
    """A field and the strongest rule by which a property stands for it."""

    field: str
    rule: str


class TaxonomyIndex:
    """The taxonomy turned round: from a property to its fields without looking at all fields."""

    def __init__(self, fields: Iterable[FieldSpec]) -> None:
        self.fields = tuple(fields)
        self._sap = {spec.name: spec.sap for spec in self.fields}
        self._technical: dict[str, list[str]] = defaultdict(list)
        self._released: dict[str, list[str]] = defaultdict(list)
        self._words: dict[str, list[str]] = defaultdict(list)
        for spec in self.fields:
            if spec.sap is not None:
                self._technical[column(spec.sap)].append(spec.name)
                for name in released_names(spec.sap):
                    self._released[name].append(spec.name)
            if phrase := _own_words(spec.name):
                self._words[phrase].append(spec.name)

    def of(self, item: Property) -> list[Match]:
        """Fields that the property stands for, in the taxonomy's order, each by its strongest rule."""
        found: dict[str, str] = {}
        for rule, names in zip(RULES, self._by_rule(item), strict=True):
            for name in names:
                found.setdefault(name, rule)
        return [Match(field=spec.name, rule=found[spec.name]) for spec in self.fields if spec.name in found]

    def sap_of(self, field: str) -> str | None:
        """The field's TABLE-FIELD."""
        return self._sap[field]

    def _by_rule(self, item: Property) -> tuple[list[str], list[str], list[str]]:
        technical = {item.name.upper(), item.data_element.upper(), item.data_element.upper().partition("_")[0]} - {""}
        phrases = {words(text) for text in (item.name, item.label, item.heading, item.quickinfo)} - {""}
        return (
            [name for key in technical for name in self._technical.get(key, ())],
            list(self._released.get(item.name, ())),
            [name for phrase in phrases for name in self._words.get(phrase, ())],
        )


def words(text: str) -> str:
    """`PurchaseOrderDate`, `purchase_order_date` and `Purchase Order Date` as the same lower-case words."""
    return " ".join(part.lower() for part in _WORD.findall(text))


def column(sap: str) -> str:
    """The field of TABLE-FIELD."""
    return sap.partition("-")[2]


def released_names(sap: str) -> tuple[str, ...]:
    """Property names of released services for TABLE-FIELD; none where nobody wrote them down."""
    names = _names()
    return names.get(sap) or names.get(column(sap)) or ()


@cache
def _names() -> Mapping[str, tuple[str, ...]]:
    return {key: tuple(names) for key, names in yaml.safe_load(names_text()).items()}


@cache
def names_text() -> str:
    """The list as it stands; its hash is part of what the stage's result depends on."""
    return files("sap_llm.sources").joinpath("sap_names.yaml").read_text(encoding="utf-8")


def _own_words(name: str) -> str:
    phrase = words(name.removeprefix(_LINE))
    return "" if name.startswith(_LINE) and " " not in phrase else phrase
