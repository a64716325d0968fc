"""Tables of taxes in the volume tier: beside the totals, or for them.

Tables about taxes belong here; rows of totals do not (`sums`). Choices have the names that they have in `blocks_taxes`.
"""

from collections.abc import Sequence
from decimal import Decimal

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.blocks_taxes import by_rate_heads, by_rate_sum
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Canvas
from sap_llm.synthetic.volume.flowing import no_room, width_of, write_value
from sap_llm.synthetic.volume.line_cells import rate
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import NOTHING, Printer, Value

Row = tuple[Value, ...]


def tax_table(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """Rates, bases and tax amounts; returns the height."""
    look, facts = printer.look, printer.facts
    style = look.style
    heads = look.once("tax_heads", lambda: style.rng("tax_table_heads").choice(labels(style.language)["tax_table"]))
    is_single = len(facts["taxes"]) == 1
    rows = [_words(heads)] + [
        (
            _rate(printer, tax["rate"], is_field=is_single),
            printer.money("net_amount" if is_single else "", tax["base"], bare=True),
            printer.money("tax_amount" if is_single else "", tax["amount"], bare=True),
        )
        for tax in facts["taxes"]
    ]
    if not is_single and style.chance("tax_table_sum", 0.5):
        rows.append((
            ((style.word("lines_amount"), "", ""),), printer.money("net_amount", facts["net_amount"], bare=True),
            printer.money("tax_amount", facts["tax_amount"], bare=True),
        ))  # fmt: skip
    return _drawn(printer, canvas, x, y, width, rows, size=look.size * 0.9, left_columns=1, is_right=False)


def by_rate_table(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """Net, tax and total by rate, with sums in a last row that mostly has no label; returns the height."""
    look, facts = printer.look, printer.facts
    style = look.style
    heads = look.once(
        "by_rate_heads",
        lambda: by_rate_heads(
            style, printer.sum_word("net_amount"), style.word(printer.probe.tax_concept),
            printer.sum_word("total_amount"),
        ),
    )  # fmt: skip
    is_single, names = len(facts["taxes"]) == 1, ("net_amount", "tax_amount", "total_amount")

    def row(net: str, tax: str, total: str, shown_rate: Value, *, is_field: bool) -> Row:
        amounts = [
            printer.money(name if is_field else "", amount, bare=True)
            for name, amount in zip(names, (net, tax, total), strict=True)
        ]
        cells = {"net": amounts[0], "tax": amounts[1], "total": amounts[2], "rate": shown_rate}
        return tuple(cells[name] for name in heads)

    rows = [_words([*heads.values()])] + [
        row(
            tax["base"], tax["amount"], canonical(Decimal(tax["base"]) + Decimal(tax["amount"])),
            _rate(printer, tax["rate"], is_field=is_single), is_field=is_single,
        )
        for tax in facts["taxes"]
    ]  # fmt: skip
    if not is_single or style.chance("by_rate_sum_of_one", 0.5):
        word = by_rate_sum(style, printer.currency)
        net, tax_sum, total = (facts[name] for name in names)
        rows.append(row(net, tax_sum, total, ((word, "", ""),) if word else NOTHING, is_field=True))
    is_right = style.pick("by_rate_side", ("right", "left")) == "right"
    return _drawn(printer, canvas, x, y, width, rows, size=look.size, left_columns=0, is_right=is_right)


def _words(heads: Sequence[str]) -> Row:
    return tuple(((head, "", ""),) for head in heads)


def _rate(printer: Printer, value: str, *, is_field: bool) -> Value:
    sign = printer.look.style.pick("rate_sign", ("%", " %", ""))
    return ((rate(printer, value, sign), "tax_rate" if is_field else "", value),)


def _drawn(
    printer: Printer, canvas: Canvas, x: float, y: float, width: float, rows: Sequence[Row], *, size: float,
    left_columns: int, is_right: bool,
) -> float:  # fmt: skip
    """Draw rows under a bold heading, the first `left_columns` to the left and the others to the right."""
    look, style = printer.look, printer.look.style
    ink, bold = look.ink(size), look.ink(size, is_bold=True)
    inset = style.number("tax_inset", 1.5, 4)
    rules = style.pick("tax_rules", ("none", "0.3pt", "(bottom:0.3pt)"))
    widths = [max(width_of(row[index], bold) for row in rows) + 2 * inset + 6 for index in range(len(rows[0]))]
    if sum(widths) > width:
        raise no_room("a sum", printer)
    x += width - sum(widths) if is_right else 0.0
    height = CAP_HEIGHT * size + 2 * inset
    for number, row in enumerate(rows):
        row_ink = ink if number else bold
        at = x
        for index, value in enumerate(row):
            is_left = index < left_columns
            start = at + inset if is_left else at + widths[index] - inset - width_of(value, row_ink)
            write_value(canvas, start, y + height - inset, value, row_ink)
            if rules == "0.3pt":
                canvas.frame(at, y, widths[index], height, line=0.3)
            at += widths[index]
        y += height
        if rules == "(bottom:0.3pt)":
            canvas.rule(x, y, at, y, width=0.3)
    return height * len(rows)
