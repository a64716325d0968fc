"""Cells of line items in the volume tier: what each column prints of a line.

Printing single values of lines belongs here; the table that holds them does not (`line_table`). Choices have the names
that they have in `blocks_lines`.
"""

from collections.abc import Callable
from typing import Any

from sap_llm.synthetic import formats
from sap_llm.synthetic.classes import column_place
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.printing import NOTHING, Printer, Value

Line = dict[str, Any]
Names = tuple[str, ...]
"""Of the columns."""
CellMaker = Callable[[Printer, Line], Value]


def _position(look: Look, _name: str, _names: Names) -> CellMaker:
    shape = look.style.pick("position_shape", ("{}", "{}", "{}", "{}", "{:>05}", "{}."))

    def make(_: Printer, line: Line) -> Value:
        number = str(line["number"])
        return ((shape.format(number), "line_number", number),)

    return make


def _quantity(look: Look, _name: str, names: Names) -> CellMaker:
    places = look.style.pick("quantity_places", (0, 0, 0, 0, 2, 2, 1, 4))
    has_unit = "unit" not in names and look.style.chance("unit_in_quantity", 0.55)
    shape = look.number_shape if places else ("", look.number_shape[1])  # 1.000 pieces could as well be one

    def make(_: Printer, line: Line) -> Value:
        value = line["quantity"]
        shown = (formats.decimal(value, shape, places=places), "line_quantity", value)
        return (shown, (line["unit"], "line_unit", line["unit"])) if has_unit else (shown,)

    return make


def _unit_price(look: Look, _name: str, _names: Names) -> CellMaker:
    places = look.style.pick("price_places", (2, 2, 2, 2, 2, 2, 4))
    if look.style.chance("line_currency", 0.3) and places == 2:
        return lambda printer, line: printer.money("line_unit_price", line["unit_price"])

    def make(printer: Printer, line: Line) -> Value:
        value = line["unit_price"]
        printed = printer.price(value, places if printer.places == 2 else printer.places)
        return ((printed, "line_unit_price", value),)

    return make


def _discount(look: Look, _name: str, _names: Names) -> CellMaker:
    is_blank = look.style.chance("blank_discount", 0.6)

    def make(printer: Printer, line: Line) -> Value:
        percent = line["discount_percent"]
        return NOTHING if percent == "0" and is_blank else ((printer.amount(percent, 0) + " %", "", ""),)

    return make


def rate(printer: Printer, value: str, sign: str) -> str:
    """A tax rate as the issuer prints it."""
    places = printer.look.style.pick("rate_places", (0, 0, 1, 2))
    return printer.amount(value, places) + sign


def _tax_rate(look: Look, _name: str, _names: Names) -> CellMaker:
    sign = look.style.pick("rate_sign", ("%", " %", ""))
    return lambda printer, line: ((rate(printer, line["tax_rate"], sign), "", ""),)


def _net_amount(look: Look, _name: str, _names: Names) -> CellMaker:
    is_bare = not look.style.chance("line_currency", 0.3)
    return lambda printer, line: printer.money("line_net_amount", line["net_amount"], bare=is_bare)


def _description(look: Look, _name: str, names: Names) -> CellMaker:
    """Description; the material number may share the cell."""
    style = look.style
    bracket = style.pick("volume/material_bracket", ("[{}]", "{}", "({})"))
    is_first = style.chance("material_first", 0.6)
    has_number = "material" not in names
    has_number = has_number and style.chance("material_in_description", 0.35)

    def make(_: Printer, line: Line) -> Value:
        text = line["description"]
        shown = (text, "line_description", text)
        if not has_number:
            return (shown,)
        number = (bracket.format(line["material"]), "line_material_number", line["material"])
        return (number, shown) if is_first else (shown, number)

    return make


def cell_maker(look: Look, name: str, names: Names) -> CellMaker:
    """What prints the cells of a column; `names` are all columns of the table."""
    return _CELLS.get(name, _additional)(look, name, names)


def _as_it_is(key: str, field: str) -> Callable[[Look, str, Names], CellMaker]:
    return lambda _look, _name, _names: (
        lambda _printer, line: ((line[key], field, line[key]),) if line.get(key) else NOTHING
    )


_CELLS: dict[str, Callable[[Look, str, Names], CellMaker]] = {
    "position": _position, "material": _as_it_is("material", "line_material_number"), "description": _description,
    "quantity": _quantity, "unit": _as_it_is("unit", "line_unit"), "unit_price": _unit_price, "discount": _discount,
    "tax_rate": _tax_rate, "net_amount": _net_amount,
}  # fmt: skip


def _additional(look: Look, name: str, _names: Names) -> CellMaker:
    place = column_place(name, look.kind)
    assert place is not None
    key, kind, field = place.key, place.kind, place.field

    def make(printer: Printer, line: Line) -> Value:
        value = line.get(key)
        if not value:
            return NOTHING
        printed = (
            printer.day(value) if kind == "date" else printer.amount(value, 0) if kind == "quantity" else str(value)
        )
        return ((printed, field, str(value)),)

    return make


def note(printer: Printer, kind: str, line: Line) -> str:
    """A note below the description, on half of the lines."""
    style, rng = printer.look.style, printer.rng
    if rng.random() > 0.5:
        return ""
    if kind == "order":
        return f"{style.word('order_reference')} {printer.noise_number()} / {line['number']}"
    if kind == "date":
        return f"{style.word('delivery_date')}: {printer.day(printer.other_day(-60, 90))}"
    if kind == "gtin":
        return f"GTIN {10**12 + int(rng.random() * 9 * 10**12)}"
    others = labels(style.language)["other_pairs"]["reference"]
    word = others[int(rng.random() * len(others))]
    return f"{word}: {printer.noise_number()}" if kind == "noise" else f"* {word} {'ABCDE'[int(rng.random() * 5)]}"
