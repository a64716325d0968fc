"""Sums and payment in the volume tier: what follows the line items.

Rows of totals and their arrangements belong here; tables of taxes do not (`taxes`), nor the line table (`line_table`).
Choices have the names that they have in `blocks_totals`.
"""

from collections.abc import Callable
from decimal import Decimal

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.blocks_totals import has_totals, is_contained, is_deducted, says_paid, totals_shape
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Canvas, Fitted, Ink
from sap_llm.synthetic.volume.flowing import (
    fitted,
    no_room,
    put_fitted,
    sentence,
    set_value,
    set_words,
    width_of,
    write_value,
)
from sap_llm.synthetic.volume.line_cells import rate
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.pairs import Pair, arrange
from sap_llm.synthetic.volume.printing import NOTHING, Printer, Value
from sap_llm.synthetic.volume.taxes import by_rate_table, tax_table

Row = tuple[Value, Value]
"""Label, which may hold a field, and amount."""
_MOST_ACROSS = 5
Set = tuple[Ink, Fitted, Fitted]
"""A row ready to be drawn."""


def shows_totals(printer: Printer) -> bool:
    """Whether documents of this look show sums."""
    return has_totals(printer.probe)


def shape_of(printer: Printer) -> str:
    """The arrangement of the totals."""
    return totals_shape(printer.probe)


def total_rows(printer: Printer) -> list[Row]:
    """From the sum of lines to what is to be paid."""
    style, facts, look = printer.look.style, printer.facts, printer.look
    rows: list[Row] = []
    has_extras = facts["discount_amount"] not in ("0.00", "0") or facts["freight_amount"] not in ("0", "0.00")
    if style.chance("currency_row", 0.1):
        rows.append((_label(look, printer.word("currency")), printer.currency_word()))
    if has_extras or style.chance("lines_amount", 0.15):
        amount = printer.further("sum_of_line_amounts", facts["lines_amount"])
        rows.append((_label(look, style.word("lines_amount")), amount))
    if facts["discount_amount"] not in ("0.00", "0"):
        percent = f" {facts['discount_percent']} %" if style.chance("discount_percent", 0.5) else ""
        amount = printer.further("allowance_amount", facts["discount_amount"], is_deducted=True)
        rows.append((_label(look, style.word("discount") + percent), amount))
    if facts["freight_amount"] not in ("0", "0.00"):
        rows.append((_label(look, style.word("freight")), printer.further("freight_amount", facts["freight_amount"])))
    sums = printer.spec.sums
    net = (_label(look, printer.sum_word("net_amount")), printer.money("net_amount", facts["net_amount"]))
    if sums == "net" or (sums == "order" and printer.issuer == "buyer" and style.chance("net_only", 0.4)):
        return [*rows, net]
    if has_extras or style.chance("net_row", 0.9):
        rows.append(net)
    total = (_label(look, printer.sum_word("total_amount")), printer.money("total_amount", facts["total_amount"]))
    taxes = _tax_rows(printer)
    if is_contained(style, taxes):
        ((label, amount),) = taxes
        rows += [total, (((style.word("contained"), "", ""), *label), amount)]
    else:
        rows += [*taxes, total]
    rows += _paid_rows(printer)
    if style.chance("totals_reversed", 0.03):
        rows.reverse()
    return rows


def _paid_rows(printer: Printer) -> list[Row]:
    """What was paid before and what is left to pay; some layouts say so where nothing was paid."""
    style, facts, look = printer.look.style, printer.facts, printer.look
    prepaid = Decimal(facts["prepaid_amount"])
    if not prepaid and not says_paid(printer.probe):
        return []
    rest = canonical(Decimal(facts["total_amount"]) - prepaid)
    paid = style.word("prepaid")
    if prepaid and style.chance("prepaid_dated", 0.35):
        paid += f" {printer.day(printer.other_day(-40, -1))}"
    return [
        (
            _label(look, paid),
            printer.further("prepaid_amount", facts["prepaid_amount"], is_deducted=is_deducted(style)),
        ),
        (_label(look, style.word("payable")), printer.further("payable_amount", rest)),
    ]


def _label(look: Look, word: str) -> Value:
    return ((look.label(word, "totals")[0], "", ""),)


def _tax_rows(printer: Printer) -> list[Row]:
    style, facts, look = printer.look.style, printer.facts, printer.look
    concept = printer.probe.tax_concept
    taxes, word = facts["taxes"], style.word(concept)
    if facts["tax_amount"] == "0.00" and style.chance("hide_zero_tax", 0.4):
        return []
    if len(taxes) == 1:
        label = _rate_label(printer, word, taxes[0], is_field=True)
        return [(label, printer.money("tax_amount", facts["tax_amount"]))]
    rows: list[Row] = []
    if style.chance("taxes_itemised", 0.6):
        rows = [(_rate_label(printer, word, tax, is_field=False), printer.money("", tax["amount"])) for tax in taxes]
    if not rows or style.chance("tax_sum", 0.6):
        word = word if not rows else style.pick("tax_sum_word", style.synonyms(concept))
        rows.append((_label(look, word), printer.money("tax_amount", facts["tax_amount"])))
    return rows


def _rate_label(printer: Printer, word: str, tax: dict[str, str], *, is_field: bool) -> Value:
    style = printer.look.style
    shape = style.pick("tax_label", ("word", "rate word", "word rate", "word (rate)", "word rate base"))
    if shape == "word":
        return _label(printer.look, word)
    printed = rate(printer, tax["rate"], style.pick("volume/rate_sign_sum", ("%", " %", "%")))
    if shape == "word (rate)":
        printed = f"({printed})"
    shown = (printed, "tax_rate" if is_field else "", tax["rate"])
    if shape == "rate word":
        return (shown, (word, "", ""))
    if shape == "word rate base":
        return ((word, "", ""), shown, (style.word("tax_on"), "", ""), *printer.money("", tax["base"], bare=True))
    return ((word, "", ""), shown)


def totals(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """The totals with a note of the currency and a tax table; returns the height."""
    look = printer.look
    style = look.style
    top = y
    needs_currency = style.chance("currency_line", 0.35) or (
        printer.must_name_currency and style.chance("currency_needed", 0.75)
    )
    is_above = style.chance("currency_above", 0.5)
    shape = shape_of(printer)
    has_taxes = shape != "by_rate" and style.chance("tax_table", 0.3) and printer.spec.sums in ("taxed", "order")
    where = style.pick("tax_table_place", ("beside", "above", "below"))
    if needs_currency and is_above:
        y += currency_note(printer, canvas, x, y, width) + 5
    if has_taxes and where == "above":
        y += tax_table(printer, canvas, x, y, width) + 10
    rows = [] if shape in ("tail", "by_rate") else total_rows(printer)
    if shape == "by_rate":
        y += by_rate_table(printer, canvas, x, y, width)
    elif has_taxes and where == "beside":
        half = (width - 16) / 2
        left = tax_table(printer, canvas, x, y, half)
        y += max(left, _arranged(printer, canvas, rows, x + half + 16, y, half))
    else:
        y += _arranged(printer, canvas, rows, x, y, width)
    if has_taxes and where == "below":
        y += 10 + tax_table(printer, canvas, x, y + 10, width)
    if needs_currency and not is_above:
        y += 5 + currency_note(printer, canvas, x, y + 5, width)
    return y - top


def currency_note(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """The line that names the currency; returns the height."""
    look = printer.look
    word, _ = look.label(printer.word("currency"), "currency_note")
    value: Value = ((word, "", ""), *printer.currency_word())
    side = look.style.pick("currency_side", ("left", "right"))
    return set_value(canvas, x, y, width, value, look.text, look, side=side)


def _arranged(printer: Printer, canvas: Canvas, rows: list[Row], x: float, y: float, width: float) -> float:
    if not rows:
        return 0.0
    shape = shape_of(printer)
    if shape == "across":
        if len(rows) <= _MOST_ACROSS:
            return _across(printer, canvas, rows, x, y, width)
        shape = "right"
    return _SHAPES[shape](printer, canvas, _set(printer, rows), x, y, width)


def _set(printer: Printer, rows: list[Row]) -> list[Set]:
    look = printer.look
    is_bold = look.style.chance("total_bold", 0.6)
    inks = [look.text] * (len(rows) - 1) + [look.bold if is_bold else look.text]
    return [(ink, fitted(label, ink), fitted(value, ink)) for ink, (label, value) in zip(inks, rows, strict=True)]


def _columns(
    printer: Printer, canvas: Canvas, rows: list[Set], y: float, *, left: float, right: float, gap: float,
    labels_right: float = 0.0, rule: str = "", inset: float = 0.0,
) -> float:  # fmt: skip
    """Labels from `left` on (or up to `labels_right`, if given), amounts up to `right`; returns the height."""
    top = y
    height = CAP_HEIGHT * printer.look.size
    for ink, label, value in rows:
        baseline = y + inset + height
        start = right - inset - value[0]
        x = labels_right - label[0] if labels_right else left + inset
        if start < x + label[0] + 2:
            raise no_room("a sum", printer)
        put_fitted(canvas, x, baseline, label, ink)
        put_fitted(canvas, start, baseline, value, ink)
        if rule == "frame":
            canvas.frame(left, y, right - left, height + 2 * inset)
        elif rule == "line":
            canvas.rule(left, y + height + 2 * inset, right, y + height + 2 * inset, width=0.3, gray=0.5)
        y += height + 2 * inset + gap
    return y - gap - top


def _natural(rows: list[Set]) -> tuple[float, float]:
    return max(label[0] for _, label, _ in rows), max(value[0] for _, _, value in rows)


def _right(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    style = printer.look.style
    gap, between = style.number("totals_gap", 2.5, 7), style.number("totals_width", 8, 60)
    labels_width, values_width = _natural(rows)
    left = max(x, x + width - labels_width - values_width - between)
    is_right = style.pick("totals_label_side", ("left", "left", "right")) == "right"
    edge = left + labels_width if is_right else 0.0
    return _columns(printer, canvas, rows, y, left=left, right=x + width, gap=gap, labels_right=edge)


def _left(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    labels_width, values_width = _natural(rows)
    right = min(x + width, x + labels_width + values_width + 20)
    return _columns(printer, canvas, rows, y, left=x, right=right, gap=printer.look.style.number("totals_gap", 2.5, 7))


def _boxed(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    labels_width, values_width = _natural(rows)
    left = max(x, x + width - labels_width - values_width - 18)
    return _columns(printer, canvas, rows, y, left=left, right=x + width, gap=0.0, rule="frame", inset=3.5)


def _form(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    return _columns(printer, canvas, rows, y, left=x, right=x + width, gap=0.0, rule="line", inset=4.0)


def _center(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    labels_width, values_width = _natural(rows)
    left = max(x, x + (width - labels_width - values_width - 30) / 2)
    right = min(x + width, left + labels_width + values_width + 30)
    return _columns(printer, canvas, rows, y, left=left, right=right, gap=4.0, labels_right=left + labels_width)


def _across(printer: Printer, canvas: Canvas, rows: list[Row], x: float, y: float, width: float) -> float:
    look = printer.look
    column, height = width / len(rows), CAP_HEIGHT * look.size
    rules = look.style.pick("volume/across_rules", ("none", "frame", "bottom"))
    deepest = max(
        set_words(canvas, x + index * column + 3, y + 3, column - 6, label, look.text, look)
        for index, (label, _) in enumerate(rows)
    )
    lower = y + 3 + deepest + 5 + height
    for index, (_, value) in enumerate(rows):
        start = x + (index + 1) * column - 3 - width_of(value, look.text)
        if start < x + index * column:
            raise no_room("a sum", printer)
        write_value(canvas, start, lower, value, look.text)
        if rules == "frame":
            canvas.frame(x + index * column, y, column, lower + 3 - y)
    if rules == "bottom":
        canvas.rule(x, lower + 3, x + width, lower + 3)
    return lower + 3 - y


def _grid2(printer: Printer, canvas: Canvas, rows: list[Set], x: float, y: float, width: float) -> float:
    half = (width - 12) / 2
    heights = [0.0]
    for side in (0, 1):
        left = x + side * (half + 12)
        if part := rows[side::2]:
            height = _columns(
                printer, canvas, part, y, left=left, right=left + half, gap=0.0, rule="frame", inset=3.0
            )  # fmt: skip
            heights.append(height)
    return max(heights)


_SHAPES: dict[str, Callable[[Printer, Canvas, list[Set], float, float, float], float]] = {
    "right": _right, "left": _left, "boxed": _boxed, "form": _form, "center": _center, "grid2": _grid2,
}  # fmt: skip


def tail(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """Totals as if they were the last rows of the line table; returns the height."""
    rows = _set(printer, total_rows(printer))
    labels_width, values_width = _natural(rows)
    is_right = printer.look.style.pick("tail_side", ("right", "right", "left")) == "right"
    left = max(x, x + width - labels_width - values_width - 12) if is_right else x
    edge = left + labels_width if is_right else 0.0
    return _columns(printer, canvas, rows, y, left=left, right=x + width, gap=4.0, labels_right=edge, inset=1.0)


def payment(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """Terms, due date and bank, as sentences or pairs; returns the height."""
    look, top = printer.look, y
    style = look.style
    how = printer.spec.payment
    if how == "none":
        return 0.0
    gap = style.number("payment_gap", 4, 9)
    value: Value = NOTHING
    if how == "bank" and style.chance("due_sentence", 0.45):
        value = _said(printer, "due_sentence")
    elif style.chance("terms_line", 0.45):
        value = ((look.label(style.word("payment_terms"), "terms")[0], "", ""), *printer.terms())
    if value:
        y += set_words(canvas, x, y, width, value, look.text, look) + gap
    if how == "bank":
        height = _bank(printer, canvas, x, y, width)
        y += height + (gap if height else 0.0)
        if style.chance("total_sentence", 0.06):
            y += set_words(canvas, x, y, width, _said(printer, "total_sentence"), look.text, look) + gap
    return max(0.0, y - gap - top)


def _said(printer: Printer, concept: str) -> Value:
    """The look's sentence of those that the document's facts allow; nothing where they allow none."""
    allowed = printer.can_say("{order_reference}"), printer.can_say("{percent}")
    template = printer.look.once((concept, allowed), lambda: _sentence_of(printer, concept))
    return sentence(printer, template) if template else NOTHING


def _sentence_of(printer: Printer, concept: str) -> str:
    style = printer.look.style
    choices = [one for one in labels(style.language)[concept] if printer.can_say(one)]
    chosen: str = style.rng(concept).choice(choices) if choices else ""
    return chosen


def _bank(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    look = printer.look
    style = look.style
    shape = style.pick("bank", ("sentence", "pairs", "pairs", "line", "none", "none"))
    if shape == "none" or not printer.facts["seller"]["iban"]:
        return 0.0
    if shape == "sentence":
        return set_words(canvas, x, y, width, _said(printer, "payment_sentence"), look.text, look)
    pairs: list[Pair] = [(style.word("iban"), printer.iban())]
    if style.chance("bank_name", 0.6):
        pairs.insert(0, (style.word("bank"), ((printer.facts["seller"]["bank"], "", ""),)))
    if style.chance("bank_bic", 0.7):
        pairs.append((style.word("bic"), printer.plain("bic", printer.facts["seller"]["bic"])))
    options = ("inline", "inline") if shape == "line" else ("columns", "colon", "colon", "boxed", "above")
    return arrange(canvas, printer, pairs, x, y, width, name="bank", options=options)
