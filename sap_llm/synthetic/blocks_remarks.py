"""What stands below the description of a line item and is no part of it: batches, origins, numbers, prices, packing.

Texts of such remarks, for both tiers, belong here; printing them does not (`blocks_lines`, `volume.line_table`).
None of them is a field: on real papers they are where readers find a wrong number or a description that is too long.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.identifiers import gtin_of
from sap_llm.synthetic.style import Style

Line = dict[str, Any]
_LAYOUTS = 0.35  # share of layouts that print remarks
_LINES = 0.5  # share of their lines that have any
_COUNTRIES = ("DE", "FR", "CN", "IT", "US", "ES", "GB", "PL", "JP", "TW")


@dataclass(frozen=True)
class Writer:
    """How the document that a remark stands on prints what it is made of."""

    style: Style
    rng: random.Random
    number: Callable[[], str]
    """Digits that mean nothing."""
    day: Callable[[int, int], str]
    """A date between so many days before and after the document's."""
    amount: Callable[[str], str]


def remark_kinds(style: Style) -> tuple[str, ...]:
    """The remarks that a layout prints, from above to below; none in most layouts."""
    if not style.chance("line_notes", _LAYOUTS):
        return ()
    count = style.pick("line_note_count", (1, 1, 1, 2, 2, 3))
    return tuple(style.rng("line_note_kinds").sample(list(_MAKERS), count))


def remark(kind: str, line: Line, writer: Writer) -> str:
    """One remark; empty where the facts do not have it."""
    return _MAKERS[kind](line, writer)


def remarks(kinds: tuple[str, ...], line: Line, writer: Writer) -> list[str]:
    """The remarks on one line, on half of the lines; what the facts do not have is left out."""
    if not kinds or writer.rng.random() > _LINES:
        return []
    return [said for kind in kinds if (said := remark(kind, line, writer))]


def _one_of(writer: Writer, options: list[str] | tuple[str, ...]) -> str:
    return options[int(writer.rng.random() * len(options))]


def _reference(writer: Writer) -> str:
    return _one_of(writer, writer.style.synonyms("other_pairs", "reference"))


def _labelled(writer: Writer, concept: str, value: str, kind: str = "") -> str:
    return f"{writer.style.word(concept, kind)}: {value}"


def _discount(line: Line, writer: Writer) -> str:
    """Rate and amount of the line's discount, where it has one."""
    percent = Decimal(line["discount_percent"])
    if not percent:
        return ""
    taken = Decimal(line["net_amount"]) - Decimal(line["quantity"]) * Decimal(line["unit_price"])
    return f"{writer.style.word('discount')} {percent.normalize():f} %: {writer.amount(canonical(taken))}"


def _list_price(line: Line, writer: Writer) -> str:
    if Decimal(line["unit_price"]) % Decimal("0.01"):
        return ""
    return _labelled(writer, "list_price", writer.amount(line["unit_price"]))


_MAKERS: dict[str, Callable[[Line, Writer], str]] = {
    "order": lambda line, writer: f"{writer.style.word('order_reference')} {writer.number()} / {line['number']}",
    "noise": lambda _, writer: f"{_reference(writer)}: {writer.number()}",
    "date": lambda _, writer: _labelled(writer, "delivery_date", writer.day(-60, 60)),
    "gtin": lambda line, _: f"GTIN {line.get('gtin') or gtin_of(line['material'] + line['description'])}",
    "type": lambda _, writer: f"* {_reference(writer)} {_one_of(writer, 'A B C D E'.split())}",
    "batch": lambda line, writer: _labelled(writer, "columns", line.get("batch") or writer.number(), "batch"),
    "serial": lambda _, writer: _labelled(writer, "serial_number", writer.number()),
    "origin": lambda _, writer: _labelled(writer, "columns", _one_of(writer, _COUNTRIES), "country_of_origin"),
    "customs": lambda line, writer: _labelled(
        writer, "columns", line.get("commodity_code") or writer.number(), "commodity_code"
    ),
    "delivery": lambda _, writer: (
        f"{writer.style.word('delivery_note_number')} {writer.number()} {writer.style.word('of')} {writer.day(-40, 0)}"
    ),
    "own_number": lambda _, writer: _labelled(writer, "your_material", writer.number()),
    "words": lambda _, writer: _one_of(writer, writer.style.synonyms("remarks")),
    "list_price": _list_price,
    "discount": _discount,
}
