"""What stands below the description of a line item and is no part of it: batches, origins, numbers, prices, packing.

Texts of such remarks, for both tiers, belong here; printing them does not (`blocks_lines`, `volume.line_table`). On
real papers they are where readers find a wrong number, or a description that is too long.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.classes import field_of
from sap_llm.synthetic.identifiers import gtin_of
from sap_llm.synthetic.style import Style

Line = dict[str, Any]
Remark = tuple[tuple[str, str, str], ...]
"""Pieces one space apart: text, taxonomy field ("" for none), canonical value. Nothing where the facts have nothing."""
_LAYOUTS = 0.35  # share of layouts that print remarks
_LINES = 0.5  # share of their lines that have any
_COUNTRIES = ("DE", "FR", "CN", "IT", "US", "ES", "GB", "PL", "JP", "TW")


@dataclass(frozen=True)
class Writer:
    """How the document that a remark stands on prints what it is made of."""

    style: Style
    kind: str
    """Class of the document."""
    shown: Collection[str]
    """Fields that the table shows in columns: remarks do not repeat them."""
    rng: random.Random
    number: Callable[[], str]
    """Digits that mean nothing."""
    day: Callable[[int, int], tuple[str, str]]
    """A date between so many days before and after the document's: printed, and ISO 8601."""
    amount: Callable[[str], str]


def remark_kinds(style: Style) -> tuple[str, ...]:
    """The remarks that a layout prints, from above to below; none in most layouts."""
    if not style.chance("line_notes", _LAYOUTS):
        return ()
    count = style.pick("line_note_count", (1, 1, 1, 2, 2, 3))
    return tuple(style.rng("line_note_kinds").sample(list(_MAKERS), count))


def remark(kind: str, line: Line, writer: Writer) -> Remark:
    """One remark."""
    return _MAKERS[kind](line, writer)


def remarks(kinds: tuple[str, ...], line: Line, writer: Writer) -> list[Remark]:
    """The remarks on one line, on half of the lines."""
    if not kinds or writer.rng.random() > _LINES:
        return []
    found = [remark(kind, line, writer) for kind in kinds]
    return [one for one in found if one and not any(name in writer.shown for _, name, _ in one if name)]


def _one_of(writer: Writer, options: list[str] | tuple[str, ...]) -> str:
    return options[int(writer.rng.random() * len(options))]


def _value(writer: Writer, name: str, printed: str, value: str = "") -> tuple[str, str, str]:
    return printed, field_of(name, writer.kind), value or printed


def _labelled(writer: Writer, concept: str, value: tuple[str, str, str], kind: str = "") -> Remark:
    return (f"{writer.style.word(concept, kind)}:", "", ""), value


def _words(text: str) -> Remark:
    return ((text, "", ""),)


def _reference(writer: Writer) -> str:
    return _one_of(writer, writer.style.synonyms("other_pairs", "reference"))


def _discount(line: Line, writer: Writer) -> Remark:
    """Rate and amount of the line's discount, where it has one."""
    percent = Decimal(line["discount_percent"])
    if not percent:
        return ()
    taken = Decimal(line["net_amount"]) - Decimal(line["quantity"]) * Decimal(line["unit_price"])
    shown = f"{percent.normalize():f}"
    rate = _value(writer, "line_discount_percent", f"{shown} %", shown)
    return (writer.style.word("discount"), "", ""), rate, (writer.amount(canonical(taken)), "", "")


def _list_price(line: Line, writer: Writer) -> Remark:
    """The price again; left out where it has more decimals than amounts."""
    if Decimal(line["unit_price"]) % Decimal("0.01"):
        return ()
    price = _value(writer, "line_gross_price", writer.amount(line["unit_price"]), line["unit_price"])
    return _labelled(writer, "list_price", price)


def _order(line: Line, writer: Writer) -> Remark:
    number = _value(writer, "line_order_reference", writer.number())
    return (writer.style.word("order_reference"), "", ""), number, (f"/ {line['number']}", "", "")


def _delivery(_: Line, writer: Writer) -> Remark:
    number = _value(writer, "line_delivery_reference", writer.number())
    day, _iso = writer.day(-40, 0)
    return (writer.style.word("delivery_note_number"), "", ""), number, (f"{writer.style.word('of')} {day}", "", "")


def _gtin(line: Line, writer: Writer) -> Remark:
    number = line.get("gtin") or gtin_of(line["material"] + line["description"])
    return ("GTIN", "", ""), _value(writer, "line_gtin", number)


def _customs(line: Line, writer: Writer) -> Remark:
    code = line.get("commodity_code") or writer.number()
    return _labelled(writer, "columns", _value(writer, "line_commodity_code", code), "commodity_code")


def _origin(line: Line, writer: Writer) -> Remark:
    country = line.get("country_of_origin") or _one_of(writer, _COUNTRIES)
    return _labelled(writer, "columns", _value(writer, "line_country_of_origin", country), "country_of_origin")


def _numbered(concept: str, name: str, kind: str = "") -> Callable[[Line, Writer], Remark]:
    """A label with a number that nothing else on the document shows."""
    return lambda line, writer: _labelled(
        writer, concept, _value(writer, name, str(line.get(kind) or writer.number())), kind
    )


_MAKERS: dict[str, Callable[[Line, Writer], Remark]] = {
    "order": _order,
    "noise": lambda _, writer: _words(f"{_reference(writer)}: {writer.number()}"),
    "date": lambda _, writer: _labelled(
        writer, "delivery_date", _value(writer, "line_delivery_date", *writer.day(-60, 60))
    ),
    "gtin": _gtin,
    "type": lambda _, writer: _words(f"* {_reference(writer)} {_one_of(writer, 'A B C D E'.split())}"),
    "batch": _numbered("columns", "line_batch", "batch"),
    "serial": _numbered("serial_number", "line_serial_number"),
    "origin": _origin,
    "customs": _customs,
    "delivery": _delivery,
    "own_number": _numbered("your_material", "line_buyer_material_number"),
    "words": lambda _, writer: _words(_one_of(writer, writer.style.synonyms("remarks"))),
    "list_price": _list_price,
    "discount": _discount,
}
