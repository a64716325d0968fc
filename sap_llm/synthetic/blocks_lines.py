"""The table of line items: columns, their order, how cells are combined, rules and fills.

The line table belongs here; sums below it do not (`blocks_totals`).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache, partial
from itertools import chain
from typing import Any

from sap_llm.synthetic import formats
from sap_llm.synthetic.amounts import canonical, rounded
from sap_llm.synthetic.blocks_carried import carried_rows
from sap_llm.synthetic.blocks_groups import rows_between
from sap_llm.synthetic.blocks_remarks import Writer, remark_kinds, remarks
from sap_llm.synthetic.classes import class_table, column_place, field_of
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import COUNTED, END, Mark, bold, call, join, lines, points, styled, text
from sap_llm.synthetic.style import Style

_MOST_COLUMNS, _MOST_ADDED = 10, 3
_ORDERS = (
    ("position", "material", "description", "quantity", "unit", "unit_price", "discount", "tax_rate", "net_amount"),
    ("position", "material", "description", "quantity", "unit", "unit_price", "discount", "tax_rate", "net_amount"),
    ("position", "description", "material", "quantity", "unit", "unit_price", "tax_rate", "discount", "net_amount"),
    ("position", "quantity", "unit", "material", "description", "unit_price", "discount", "tax_rate", "net_amount"),
    ("quantity", "unit", "description", "material", "tax_rate", "unit_price", "discount", "net_amount"),
    ("description", "material", "quantity", "unit", "unit_price", "discount", "tax_rate", "net_amount"),
    ("position", "material", "description", "unit_price", "quantity", "unit", "tax_rate", "discount", "net_amount"),
    ("material", "description", "quantity", "unit", "unit_price", "tax_rate", "net_amount"),
    ("position", "material", "quantity", "unit", "description", "unit_price", "net_amount"),
)
_TEST_ORDERS = (
    ("net_amount", "description", "material", "unit_price", "quantity", "unit", "tax_rate"),
    ("unit", "quantity", "net_amount", "unit_price", "material", "description", "position"),
    ("description", "unit_price", "quantity", "unit", "net_amount", "material"),
)
_NUMERIC = {
    "quantity", "unit_price", "discount", "tax_rate", "net_amount", "confirmed_quantity", "ordered_quantity",
    "open_quantity", "gross_weight", "price_unit", "tax_sum", "gross_amount",
}  # fmt: skip
_PRICE_UNIT, _GROSS = 0.07, 0.08  # shares of layouts


def columns(draft: Draft) -> list[str]:
    """The columns that the style shows for this document."""
    if draft.columns is None:
        draft.columns = _columns(draft)
    return draft.columns


def _columns(draft: Draft) -> list[str]:
    style, spec = draft.style, draft.spec
    order = style.pick("column_order", _ORDERS, test_only=_TEST_ORDERS)
    is_priced, is_list = draft.is_priced, spec.prices == "list"
    shown = {
        "position": style.chance("column_position", 0.8),
        "material": style.chance("column_material", 0.6) and draft.has_key("material"),
        "description": True,
        "quantity": not is_list,
        "unit": style.chance("column_unit", 0.4) or is_list,
        "unit_price": is_list or (is_priced and style.chance("column_price", 0.92)),
        "discount": is_priced and style.chance("column_discount", 0.18),
        "tax_rate": is_priced and style.chance("column_tax", 0.3) and spec.sums == "taxed",
        "net_amount": is_priced,
    }
    found = _with_neighbours(draft, [name for name in order if shown[name]])
    if is_list:
        found += [name for name in ("unit", "unit_price") if name not in found]
    added = _added(draft)[: max(0, _MOST_COLUMNS - len(found))]
    place = len(found) if style.chance("added_last", 0.4) else found.index("description") + 1
    return found[:place] + added + found[place:]


def _with_neighbours(draft: Draft, names: list[str]) -> list[str]:
    """With columns that stand beside the price and the amount and are easily taken for them."""
    style, found = draft.style, list(names)
    if "unit_price" in names and draft.is_priced and style.chance("column_price_unit", _PRICE_UNIT):
        found.insert(found.index("unit_price") + int(style.chance("price_unit_last", 0.6)), "price_unit")
    if "net_amount" in names and draft.spec.sums == "taxed" and style.chance("column_gross", _GROSS):
        place = found.index("net_amount") + 1
        found[place:place] = ["tax_sum", "gross_amount"] if style.chance("column_tax_sum", 0.6) else ["gross_amount"]
    return found


def _added(draft: Draft) -> list[str]:
    """Additional columns that this layout has, as far as lines have values for them."""
    style, spec, table = draft.style, draft.spec, class_table().columns
    wanted = list(draft.subtype_spec.columns) + (["order_number"] if draft.facts.get("orders") else [])
    if draft.family == "sidebar":  # its table is narrow
        return [name for name in wanted if draft.has_key(table[name].key)]
    by_chance = [name for name, probability in spec.columns.items() if style.chance(f"added/{name}", probability)]
    found = dict.fromkeys([*wanted, *by_chance[: max(0, _MOST_ADDED - len(wanted))]])
    return [name for name in found if draft.has_key(table[name].key)]


def line_table(draft: Draft, *, tail: Sequence[str] = ()) -> str:
    """The table with all line items and `tail` cells; the cells of items are marked with row and column."""
    names = columns(draft)
    style = draft.style
    header = [_heading(draft, name, index) for index, name in enumerate(names)]
    carried_in, carried_over = carried_rows(draft, names, inset=_inset(style))
    rows = [
        [_CELLS.get(name, partial(_from_facts, name))(draft, line, index, column) for column, name in enumerate(names)]
        for index, line in enumerate(draft.facts["lines"])
    ]
    if style.chance("no_header", 0.02):
        header = []
    if carried_over:
        header.append(",".join(carried_in))
        rows = [[join(COUNTED, cells[0]), *cells[1:]] for cells in rows]
        tail = [*tail, call("table.footer", *carried_over)]
    else:
        rows = _grouped(draft, names, rows)
    return ruled_table(
        draft, header, [*chain.from_iterable(rows), *tail], repeats_header=bool(carried_over),
        widths=["1fr" if name == "description" else "auto" for name in names],
        sides=[_side(draft, name) + _upright(draft, name) for name in names],
    )  # fmt: skip


def _grouped(draft: Draft, names: Sequence[str], rows: list[list[str]]) -> list[list[str]]:
    """The rows with those that head groups of lines and sum them up, in some layouts."""
    place = names.index("net_amount") if "net_amount" in names else 0
    between = rows_between(draft.style, draft.facts["lines"], _writer(draft), has_sums=place > 0)
    found: list[list[str]] = []
    for index in range(len(rows) + 1):
        for number, one in enumerate(between.get(index, ()), start=1):
            row, side = index + number / 4, draft.style.pick("group_sum_side", ("left", "right"))
            words = bold(draft.sheet.mark(Mark(row=row, column=0), text(one.words)), is_bold=not one.amount)
            if not one.amount:
                found.append([call("table.cell", words, colspan=str(len(names)), align="left")])
                continue
            amount = draft.sheet.mark(Mark(row=row, column=place), text(draft.amount(one.amount)))
            cells = [call("table.cell", words, colspan=str(place), align=side), call("table.cell", amount)]
            rest = len(names) - place - 1
            found.append([*cells, *([call("table.cell", "[]", colspan=str(rest))] if rest else [])])
        found += rows[index : index + 1]
    return found


def ruled_table(
    draft: Draft, header: Sequence[str], cells: Sequence[str], *, widths: Sequence[str], sides: Sequence[str],
    repeats_header: bool = False,
) -> str:  # fmt: skip
    """A table with the rules and fills of the style; `header` may be empty."""
    style = draft.style
    rules = style.pick(
        "rules",
        ("none", "0.4pt", "(x:none,y:0.4pt)", "(x:none,y:0.3pt+gray)", "(bottom:0.3pt+luma(180))", "(x:0.4pt,y:none)"),
    )
    fill = style.pick(
        "row_fill",
        (
            "none",
            "none",
            "none",
            "(_,y)=>if y==0{luma(225)}",
            "(_,y)=>if calc.even(y){luma(243)}",
            '(_,y)=>if y==0{rgb("#dbe9f6")}',
        ),
    )
    head = (
        [call("table.header", *header, END)]
        if header and (style.chance("repeats_header", 0.8) or repeats_header)
        else header
    )
    x, y = map(points, _inset(style))
    table = call(
        "table", *head, *cells, columns=f"({','.join(widths)},)", align=f"({','.join(sides)},)", stroke=rules,
        fill=fill, inset=f"(x:{x},y:{y})",
    )  # fmt: skip
    return styled(table, size=f"{style.number('table_size', 0.85, 1.02):.2f}em")


def _inset(style: Style) -> tuple[float, float]:
    return style.number("cell_x", 1.5, 5), style.number("cell_y", 1.5, 5.5)


def _side(draft: Draft, name: str) -> str:
    if name not in _NUMERIC:
        return draft.style.pick(f"side/{name}", ("left", "left", "left", "center")) if name != "description" else "left"
    return draft.style.pick(f"side/{name}", ("right", "right", "right", "right", "center", "left"))


def _upright(draft: Draft, name: str) -> str:
    """Where a cell stands in a row of several lines: at the top in most layouts."""
    place = draft.style.pick("cell_upright", ("",) * 14 + ("+horizon", "+horizon", "+bottom"))
    return "" if name == "description" else place


def _heading(draft: Draft, name: str, column: int) -> str:
    word = draft.style.word("columns", name)
    if name == "quantity" and draft.kind == "GOODS_RECEIPT" and draft.style.chance("received_quantity", 0.4):
        word = draft.style.word("received_quantity")
    if name in ("unit_price", "net_amount") and draft.style.chance(f"heading_currency/{name}", 0.15):
        shown = join(
            draft.sheet.mark(Mark(row=0, column=column), text(word)), text(" "), _heading_currency(draft, column)
        )
    else:
        shown = draft.sheet.mark(Mark(row=0, column=column), text(word))
    return bold(shown, is_bold=draft.style.chance("heading_bold", 0.65))


def _heading_currency(draft: Draft, column: int) -> str:
    shape = draft.style.pick("heading_currency_shape", ("{}", "({})", "[{}]", "in {}"))
    code = (
        draft.currency
        if draft.style.chance("heading_code", 0.6)
        else formats.SYMBOLS.get(draft.currency, draft.currency)
    )
    if shape.startswith("in "):
        return join(text("in "), draft.sheet.value("currency", draft.currency, code, row=0, column=column))
    return draft.sheet.value("currency", draft.currency, shape.format(code), row=0, column=column)


Line = dict[str, Any]


def _field(draft: Draft, name: str, index: int, column: int, value: str, printed: str) -> str:
    if not name:
        return draft.sheet.mark(Mark(row=index + 1, column=column), text(printed))
    return draft.sheet.value(name, value, printed, line=index, row=index + 1, column=column)


def _from_facts(name: str, draft: Draft, line: Line, index: int, column: int) -> str:
    """A cell of a column that `data/classes.yaml` describes."""
    place = column_place(name, draft.kind)
    value = str(line.get(place.key) or "") if place else ""
    if place is None or not value:
        return '""'
    printed = value
    if place.kind == "date":
        printed = draft.style.date(date.fromisoformat(value))
    elif place.kind == "quantity":
        printed = draft.style.ungrouped(value)
    return _field(draft, place.field, index, column, value, printed)


def _position(draft: Draft, line: Line, index: int, column: int) -> str:
    number = str(line["number"])
    printed = draft.style.pick("position_shape", ("{}", "{}", "{}", "{}", "{:>05}", "{}.")).format(number)
    return _field(draft, "line_number", index, column, number, printed)


def _material(draft: Draft, line: Line, index: int, column: int) -> str:
    if not line["material"]:
        return '""'
    return _field(draft, "line_material_number", index, column, line["material"], line["material"])


def _description(draft: Draft, line: Line, index: int, column: int) -> str:
    """Description; material number, notes and references may share the cell."""
    style = draft.style
    shown = _field(draft, "line_description", index, column, line["description"], line["description"])
    if line["material"] and "material" not in columns(draft) and style.chance("material_in_description", 0.35):
        shown = _with_material(draft, line, index, column, shown)
    own = [
        styled(draft.sheet.mark(Mark(row=index + 1, column=column), text(note)), size="0.9em")
        for note in line.get("notes", ())
    ]
    extra = _remarks(draft, line, index, column)
    return lines([shown, *own, *extra]) if extra or own else shown


def _with_material(draft: Draft, line: Line, index: int, column: int, description: str) -> str:
    """The material number before the description, or below it, perhaps under a label."""
    style = draft.style
    bracket = style.pick("material_bracket", ("[{}]", "{}", "({})", "label"))
    printed = line["material"] if bracket == "label" else bracket.format(line["material"])
    number = draft.sheet.value(
        "line_material_number", line["material"], printed, line=index, row=index + 1, column=column
    )
    if bracket == "label":
        word = text(style.word("columns", "material") + style.pick("material_colon", (": ", " ", ": ")))
        number = join(draft.sheet.mark(Mark(row=index + 1, column=column), word), number)
    return join(number, text(" "), description) if style.chance("material_first", 0.6) else lines([description, number])


def _remarks(draft: Draft, line: Line, index: int, column: int) -> list[str]:
    """What stands below the description, in some styles and on some lines."""
    if draft.spec.prices == "list" or not (kinds := remark_kinds(draft.style)):
        return []
    found = []
    for one in remarks(kinds, line, _writer(draft)):
        pieces = [_field(draft, name, index, column, value, printed) for printed, name, value in one]
        found.append(join(*[part for piece in pieces for part in (text(" "), piece)][1:]))
    return [styled(one, size="0.85em") for one in found] if draft.style.chance("small_notes", 0.6) else found


def _writer(draft: Draft) -> Writer:
    style, issued = draft.style, date.fromisoformat(draft.facts["document_date"])

    def some_day(first: int, last: int) -> tuple[str, str]:
        day = issued + timedelta(days=draft.rng.randint(first, last))
        return style.date(day), day.isoformat()

    return Writer(
        style, draft.kind, fields_of(tuple(columns(draft)), draft.kind), draft.rng, draft.noise_number, some_day,
        draft.amount,
    )  # fmt: skip


@cache
def fields_of(names: tuple[str, ...], kind: str) -> frozenset[str]:
    """Fields that columns of these names show, beside the usual ones."""
    places = (column_place(name, kind) for name in names)
    own = {"discount": "line_discount_percent"}
    return frozenset(place.field for place in places if place and place.field) | {
        own[name] for name in own if name in names
    }


def _quantity(draft: Draft, line: Line, index: int, column: int) -> str:
    places = draft.style.pick("quantity_places", (0, 0, 0, 0, 2, 2, 1, 4))
    printed = draft.style.amount(line["quantity"], places=places)
    if places == 0:  # 1.000 pieces could as well be one
        printed = draft.style.ungrouped(line["quantity"])
    shown = _field(draft, "line_quantity", index, column, line["quantity"], printed)
    if "unit" in columns(draft) or not draft.style.chance("unit_in_quantity", 0.55):
        return shown
    return join(shown, text("\u00a0"), _unit(draft, line, index, column))


def _unit(draft: Draft, line: Line, index: int, column: int) -> str:
    return _field(draft, "line_unit", index, column, line["unit"], line["unit"])


def _unit_price(draft: Draft, line: Line, index: int, column: int) -> str:
    places = draft.style.pick("price_places", (2, 2, 2, 2, 2, 2, 4))
    value = line["unit_price"]
    if draft.style.chance("line_currency", 0.3) and places == 2:
        return draft.money("line_unit_price", value, line=index, row=index + 1, column=column)
    printed = draft.style.amount(value, places=4) if places == 4 and draft.has_cents else draft.amount(value)
    return _field(draft, "line_unit_price", index, column, value, printed)


def _discount(draft: Draft, line: Line, index: int, column: int) -> str:
    percent = line["discount_percent"]
    printed = (
        ""
        if percent == "0" and draft.style.chance("blank_discount", 0.6)
        else draft.style.amount(percent, places=0) + " %"
    )
    return _field(draft, "line_discount_percent", index, column, percent, printed) if printed else '""'


def _tax_rate(draft: Draft, line: Line, index: int, column: int) -> str:
    printed = draft.style.amount(line["tax_rate"], places=draft.style.pick("rate_places", (0, 0, 1, 2)))
    sign = draft.style.pick("rate_sign", ("%", " %", ""))
    return _field(draft, "line_tax_rate", index, column, line["tax_rate"], printed + sign)


def _net_amount(draft: Draft, line: Line, index: int, column: int) -> str:
    bare = not draft.style.chance("line_currency", 0.3)
    return draft.money("line_net_amount", line["net_amount"], line=index, row=index + 1, column=column, bare=bare)


def _price_unit(draft: Draft, _line: Line, index: int, column: int) -> str:
    printed = draft.style.amount("1", places=draft.style.pick("price_unit_places", (0, 0, 0, 2)))
    return _field(draft, "line_price_unit", index, column, "1", printed)


def tax_and_gross(line: Line, currency: str) -> tuple[str, str]:
    """Tax of a line alone, and its amount with the tax."""
    net = Decimal(line["net_amount"])
    tax = rounded(net * Decimal(line["tax_rate"]) / 100, currency)
    return canonical(tax), canonical(net + tax)


def _tax_sum(draft: Draft, line: Line, index: int, column: int) -> str:
    tax, _ = tax_and_gross(line, draft.currency)
    return _field(draft, field_of("line_tax_amount", draft.kind), index, column, tax, draft.amount(tax))


def _gross_amount(draft: Draft, line: Line, index: int, column: int) -> str:
    _, gross = tax_and_gross(line, draft.currency)
    return _field(draft, field_of("line_total_with_tax", draft.kind), index, column, gross, draft.amount(gross))


_CELLS: dict[str, Callable[[Draft, Line, int, int], str]] = {
    "position": _position,
    "material": _material,
    "description": _description,
    "quantity": _quantity,
    "unit": _unit,
    "unit_price": _unit_price,
    "discount": _discount,
    "tax_rate": _tax_rate,
    "net_amount": _net_amount,
    "price_unit": _price_unit,
    "tax_sum": _tax_sum,
    "gross_amount": _gross_amount,
}
