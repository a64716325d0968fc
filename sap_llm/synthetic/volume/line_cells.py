"""Cells of line items in the volume tier: what each column prints of all lines.

Printing columns of values belongs here; the table that holds them does not (`line_table`). Choices have the names that
they have in `blocks_lines`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sap_llm.synthetic import formats
from sap_llm.synthetic.blocks_lines import fields_of, tax_and_gross
from sap_llm.synthetic.blocks_remarks import Writer
from sap_llm.synthetic.classes import column_place, field_of
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.printing import Pieces, Printer, apart

Line = dict[str, Any]
Names = tuple[str, ...]
"""Of the columns."""
ColumnMaker = Callable[[Printer, Sequence[Line]], list[Pieces]]
"""What a column prints of the lines: the first piece of each of its cells, then the second, if there is one."""


def _position(look: Look, _name: str, _names: Names) -> ColumnMaker:
    shape = look.style.pick("position_shape", ("{}", "{}", "{}", "{}", "{:>05}", "{}."))

    def make(_: Printer, lines: Sequence[Line]) -> list[Pieces]:
        numbers = [str(line["number"]) for line in lines]
        return [([*map(shape.format, numbers)] if shape != "{}" else numbers, "line_number", numbers)]

    return make


def _quantity(look: Look, _name: str, names: Names) -> ColumnMaker:
    places = look.style.pick("quantity_places", (0, 0, 0, 0, 2, 2, 1, 4))
    has_unit = "unit" not in names and look.style.chance("unit_in_quantity", 0.55)
    shape = look.number_shape if places else ("", look.number_shape[1])  # 1.000 pieces could as well be one
    units = _as_it_is("unit", "line_unit")(look, "", ())

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        values = [line["quantity"] for line in lines]
        pieces: list[Pieces] = [
            ([formats.decimal(value, shape, places=places) for value in values], "line_quantity", values)
        ]
        return apart(pieces + units(printer, lines)) if has_unit else pieces

    return make


def _unit_price(look: Look, _name: str, _names: Names) -> ColumnMaker:
    places = look.style.pick("price_places", (2, 2, 2, 2, 2, 2, 4))
    has_currency = look.style.chance("line_currency", 0.3) and places == 2

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        values = [line["unit_price"] for line in lines]
        if has_currency:
            return printer.amounts("line_unit_price", values)
        shown = places if printer.places == 2 else printer.places
        return [([printer.price(value, shown) for value in values], "line_unit_price", values)]

    return make


def _discount(look: Look, _name: str, _names: Names) -> ColumnMaker:
    is_blank = look.style.chance("blank_discount", 0.6)

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        percents = [line["discount_percent"] for line in lines]
        texts = ["" if is_blank and percent == "0" else printer.amount(percent, 0) + " %" for percent in percents]
        return [(texts, "line_discount_percent", percents)]

    return make


def rate(printer: Printer, value: str, sign: str) -> str:
    """A tax rate as the issuer prints it."""
    places = printer.look.style.pick("rate_places", (0, 0, 1, 2))
    return printer.amount(value, places) + sign


def _tax_rate(look: Look, _name: str, _names: Names) -> ColumnMaker:
    sign = look.style.pick("rate_sign", ("%", " %", ""))

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        values = [line["tax_rate"] for line in lines]
        printed = {value: rate(printer, value, sign) for value in set(values)}
        return [([printed[value] for value in values], "line_tax_rate", values)]

    return make


def _net_amount(look: Look, _name: str, _names: Names) -> ColumnMaker:
    is_bare = not look.style.chance("line_currency", 0.3)
    return lambda printer, lines: printer.amounts(
        "line_net_amount", [line["net_amount"] for line in lines], bare=is_bare
    )


def _price_unit(look: Look, _name: str, _names: Names) -> ColumnMaker:
    places = look.style.pick("price_unit_places", (0, 0, 0, 2))

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        return [([printer.amount("1", places)] * len(lines), "line_price_unit", ["1"] * len(lines))]

    return make


def _taxed(place: int, field: str) -> Callable[[Look, str, Names], ColumnMaker]:
    """The tax of lines (0), or their amounts with it (1)."""

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        values = [tax_and_gross(line, printer.currency)[place] for line in lines]
        return [([printer.price(value, printer.places) for value in values], field_of(field, printer.kind), values)]

    return lambda _look, _name, _names: make


def _description(look: Look, _name: str, names: Names) -> ColumnMaker:
    """Description; the material number may share the cell."""
    style = look.style
    bracket = style.pick("volume/material_bracket", ("[{}]", "{}", "({})"))
    is_first = style.chance("material_first", 0.6)
    has_number = "material" not in names
    has_number = has_number and style.chance("material_in_description", 0.35)

    def make(_: Printer, lines: Sequence[Line]) -> list[Pieces]:
        texts = [line["description"] for line in lines]
        shown: Pieces = (texts, "line_description", texts)
        if not has_number:
            return [shown]
        numbers = [line["material"] for line in lines]
        number: Pieces = ([*map(bracket.format, numbers)], "line_material_number", numbers)
        return apart([number, shown] if is_first else [shown, number])

    return make


def column_maker(look: Look, name: str, names: Names) -> ColumnMaker:
    """What prints a column; `names` are all columns of the table."""
    return _COLUMNS.get(name, _additional)(look, name, names)


def _as_it_is(key: str, field: str) -> Callable[[Look, str, Names], ColumnMaker]:
    def make(_: Printer, lines: Sequence[Line]) -> list[Pieces]:
        texts = [line.get(key) or "" for line in lines]
        return [(texts, field, texts)]

    return lambda _look, _name, _names: make


_COLUMNS: dict[str, Callable[[Look, str, Names], ColumnMaker]] = {
    "position": _position, "material": _as_it_is("material", "line_material_number"), "description": _description,
    "quantity": _quantity, "unit": _as_it_is("unit", "line_unit"), "unit_price": _unit_price, "discount": _discount,
    "tax_rate": _tax_rate, "net_amount": _net_amount, "price_unit": _price_unit,
    "tax_sum": _taxed(0, "line_tax_amount"), "gross_amount": _taxed(1, "line_total_with_tax"),
}  # fmt: skip


def _additional(look: Look, name: str, _names: Names) -> ColumnMaker:
    place = column_place(name, look.kind)
    assert place is not None
    key, kind, field = place.key, place.kind, place.field

    def make(printer: Printer, lines: Sequence[Line]) -> list[Pieces]:
        values = [str(line.get(key) or "") for line in lines]
        texts = values
        if kind == "date":
            texts = [value and printer.day(value) for value in values]
        elif kind == "quantity":
            texts = [value and printer.amount(value, 0) for value in values]
        return [(texts, field, values)]

    return make


def writer_of(printer: Printer, names: Names) -> Writer:
    """How a document prints remarks and heads of groups; `names` are all columns of the table."""

    def some_day(first: int, last: int) -> tuple[str, str]:
        day = printer.other_day(first, last)
        return printer.day(day), day

    return Writer(
        printer.look.style, printer.kind, fields_of(names, printer.kind), printer.rng, printer.noise_number, some_day,
        lambda value: printer.price(value, printer.places),
    )  # fmt: skip
