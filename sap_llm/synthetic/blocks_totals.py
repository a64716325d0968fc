"""Sums, tax tables and payment: everything that follows the line items.

Totals in all their arrangements, payment sentences and lists belong here; the line table does not (`blocks_lines`).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from sap_llm.synthetic.amounts import FOR_A_EURO, canonical, rounded
from sap_llm.synthetic.blocks_noise import Pair
from sap_llm.synthetic.blocks_pairs import arrange, label, terms
from sap_llm.synthetic.blocks_taxes import by_rate_table, due_table, tax_table
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import aligned, bold, call, grid, join, points, stack, styled, text
from sap_llm.synthetic.style import Style, labels

_NOTHING = "0.00"
_BY_RATE, _CONTAINED, _ALWAYS_PAID = 0.06, 0.07, 0.08  # shares of layouts


def has_totals(draft: Draft) -> bool:
    """Whether this document shows sums at all."""
    if not draft.is_priced:
        return False
    if draft.kind == "GOODS_RECEIPT":
        return True
    return not draft.style.chance("no_totals/" + draft.kind, 0.02 if draft.spec.sums == "taxed" else 0.1)


def total_rows(draft: Draft) -> list[Pair]:
    """Rows of the totals block, from the sum of lines to what is to be paid."""
    style, facts = draft.style, draft.facts
    rows: list[Pair] = []
    if style.chance("currency_row", 0.1):
        rows.append(Pair(draft.word("currency"), draft.currency_word()))
    has_extras = facts["discount_amount"] != _NOTHING or facts["freight_amount"] != _NOTHING
    if has_extras or style.chance("lines_amount", 0.15):
        rows.append(Pair(style.word("lines_amount"), draft.further("sum_of_line_amounts", facts["lines_amount"])))
    if facts["discount_amount"] != _NOTHING:
        percent = f" {facts['discount_percent']} %" if style.chance("discount_percent", 0.5) else ""
        taken = draft.further("allowance_amount", facts["discount_amount"], is_deducted=True)
        rows.append(Pair(style.word("discount") + percent, taken))
    if facts["freight_amount"] != _NOTHING:
        rows.append(Pair(style.word("freight"), draft.further("freight_amount", facts["freight_amount"])))
    by_choice = draft.spec.sums == "order" and not draft.is_by_seller and style.chance("net_only", 0.4)
    if by_choice or draft.spec.sums == "net":
        return [*rows, Pair(draft.sum_word("net_amount"), draft.money("net_amount", facts["net_amount"]))]
    if has_extras or style.chance("net_row", 0.9):
        rows.append(Pair(draft.sum_word("net_amount"), draft.money("net_amount", facts["net_amount"])))
    total = Pair(draft.sum_word("total_amount"), draft.money("total_amount", facts["total_amount"]))
    taxes = _tax_rows(draft)
    rows += [total, *map(_as_contained(style), taxes)] if is_contained(style, taxes) else [*taxes, total]
    rows += _paid_rows(draft)
    if style.chance("second_currency", 0.07):
        rows += _second_currency(draft)
    if style.chance("totals_reversed", 0.03):
        rows.reverse()
    return rows


def is_contained(style: Style, tax_rows: Sequence[object]) -> bool:
    """Whether the tax stands below the total, as a part of it."""
    return len(tax_rows) == 1 and style.chance("tax_contained", _CONTAINED)


def _as_contained(style: Style) -> Callable[[Pair], Pair]:
    word = style.word("contained")
    return lambda row: Pair(
        "=" + join(text(word + " "), row.label[1:] if row.label.startswith("=") else text(row.label)), row.value
    )


def says_paid(draft: Draft) -> bool:
    """Whether the layout has rows for what was paid even where nothing was."""
    return draft.spec.sums == "taxed" and draft.style.chance("prepaid_always", _ALWAYS_PAID)


def is_deducted(style: Style) -> bool:
    """Whether the layout prints what was paid with a minus."""
    return style.chance("prepaid_minus", 0.6)


def _paid_rows(draft: Draft) -> list[Pair]:
    """What was paid before and what is left to pay; some layouts say so where nothing was paid."""
    style, facts = draft.style, draft.facts
    prepaid = Decimal(facts["prepaid_amount"])
    if not prepaid and not says_paid(draft):
        return []
    rest = canonical(Decimal(facts["total_amount"]) - prepaid)
    paid = style.word("prepaid")
    if prepaid and style.chance("prepaid_dated", 0.35):
        paid += f" {style.date(date.fromisoformat(facts['document_date']) - timedelta(draft.rng.randint(1, 40)))}"
    return [
        Pair(paid, draft.further("prepaid_amount", facts["prepaid_amount"], is_deducted=is_deducted(style))),
        Pair(style.word("payable"), draft.further("payable_amount", rest)),
    ]


def _second_currency(draft: Draft) -> list[Pair]:
    """The total once more in another currency, and the rate; neither is a field."""
    style = draft.style
    other = style.pick(
        f"other_currency/{draft.currency}",
        [code for code in ("EUR", "USD", "GBP", "CHF", "PLN", "SEK") if code != draft.currency],
    )
    drift = Decimal(draft.rng.randint(9000, 11000)) / 10000
    rate = (FOR_A_EURO[other] / FOR_A_EURO[draft.currency] * drift).quantize(Decimal("0.0001")) or Decimal("0.0001")
    rate_word, _, amount_word = labels(style.language)["second_currency"]
    converted = rounded(Decimal(draft.facts["total_amount"]) * rate, other)
    rows = [Pair(f"{amount_word} {other}", text(style.amount(str(converted))))]
    if style.chance("exchange_rate", 0.6):
        rows.insert(0, Pair(rate_word, text(style.amount(str(rate), places=4))))
    return rows


def _tax_rows(draft: Draft) -> list[Pair]:
    style, facts = draft.style, draft.facts
    taxes, word = facts["taxes"], style.word(draft.tax_concept)
    if facts["tax_amount"] == _NOTHING and style.chance("hide_zero_tax", 0.4):
        return []
    if len(taxes) == 1:
        return [Pair(_rate_label(draft, word, taxes[0], is_field=True), draft.money("tax_amount", facts["tax_amount"]))]
    rows = []
    if style.chance("taxes_itemised", 0.6):
        rows = [Pair(_rate_label(draft, word, tax, is_field=False), draft.money("", tax["amount"])) for tax in taxes]
    if not rows or style.chance("tax_sum", 0.6):
        rows.append(
            Pair(
                word if not rows else style.pick("tax_sum_word", style.synonyms(draft.tax_concept)),
                draft.money("tax_amount", facts["tax_amount"]),
            )
        )
    return rows


def _rate_label(draft: Draft, word: str, tax: dict[str, str], *, is_field: bool) -> str:
    """The tax label with its rate; a marked expression is smuggled through as `=expression`."""
    shape = draft.style.pick("tax_label", ("word", "rate word", "word rate", "word (rate)", "word rate base"))
    rate = draft.style.amount(tax["rate"], places=draft.style.pick("rate_places", (0, 0, 1, 2)))
    sign = draft.style.pick("rate_sign_sum", ("%", "\u00a0%", "%"))
    shown = (
        draft.sheet.value("tax_rate", tax["rate"], rate + sign) if is_field and shape != "word" else text(rate + sign)
    )
    if shape == "word":
        return word
    if shape == "rate word":
        return "=" + join(shown, text(" " + word))
    if shape == "word (rate)":
        marked = draft.sheet.value("tax_rate", tax["rate"], f"({rate}{sign})") if is_field else text(f"({rate}{sign})")
        return "=" + join(text(word + " "), marked)
    if shape == "word rate base":
        return "=" + join(
            text(word + " "),
            shown,
            text(f" {draft.style.word('tax_on')} "),
            draft.money("", tax["base"], bare=True),
        )
    return "=" + join(text(word + " "), shown)


def _label(draft: Draft, word: str) -> str:
    if word.startswith("="):
        return join(word[1:], text(draft.style.pick("colon/totals_tax", (":", "", ""))))
    return label(draft, word, name="totals")


def totals_shape(draft: Draft) -> str:
    """The arrangement of the totals: `tail` means rows of the line table, `by_rate` a table with a row for each rate.

    The latter has no row for what was paid before.
    """
    is_plain = draft.spec.sums == "taxed" and draft.facts["prepaid_amount"] == _NOTHING
    if is_plain and draft.style.chance("totals_by_rate", _BY_RATE):
        return "by_rate"
    shapes = ("right", "right", "right", "right", "right", "boxed", "left", "across", "form", "form", "center", "tail")
    shape = draft.style.pick("totals", shapes, test_only=("grid2",))
    digits = len(draft.facts["total_amount"])
    too_much = len(draft.facts["taxes"]) > 1 or digits > 8 or draft.facts["prepaid_amount"] != _NOTHING
    return "right" if shape == "across" and too_much else shape  # cells beside each other would touch


def headed(draft: Draft, section: str, block: str) -> str:
    """The block under the heading of its section, in styles that have section headings."""
    if not draft.style.chance("section_headings", 0.22) or not block:
        return block
    words = labels(draft.style.language)["sections"][section]
    heading = bold(styled(text(draft.style.pick(f"section/{section}", words)), size="1.15em"))
    return stack([heading, block], spacing=6)


def tail_cells(draft: Draft, width: int) -> list[str]:
    """Totals as last rows of a line table of `width` columns."""
    cells = []
    for row in total_rows(draft):
        cells.append(
            call(
                "table.cell",
                _label(draft, row.label),
                colspan=str(width - 1),
                align=draft.style.pick("tail_side", ("right", "right", "left")),
            )
        )
        cells.append(call("table.cell", row.value, align="right"))
    return cells


def totals(draft: Draft) -> str:
    """The totals block in the style's arrangement, with a tax table beside or above it."""
    style = draft.style
    shape = totals_shape(draft)
    rows = [] if shape in ("tail", "by_rate") else total_rows(draft)
    block = _ARRANGERS[shape](draft, rows)
    block = headed(draft, "totals", block)
    if style.chance("currency_line", 0.35) or (draft.must_name_currency and style.chance("currency_needed", 0.75)):
        note = join(label(draft, draft.word("currency"), name="currency_note"), text(" "), draft.currency_word())
        side = style.pick("currency_side", ("left", "right"))
        block = (
            stack([aligned(side, note), block], spacing=5)
            if style.chance("currency_above", 0.5)
            else stack([block, aligned(side, note)], spacing=5)
        )
    has_taxes = draft.spec.sums != "net" and shape != "by_rate" and style.chance("tax_table", 0.3)
    if not has_taxes or draft.kind == "GOODS_RECEIPT":
        return block
    table = headed(draft, "taxes", tax_table(draft))
    where = style.pick("tax_table_place", ("beside", "above", "below"))
    if where == "beside" and not style.chance("tax_table_long", 0.2):
        return grid("(1fr,1fr)", [table, block], column_gutter="16pt")
    return stack([block, table] if where == "below" else [table, block], spacing=10)


def _emphasised(draft: Draft, rows: list[Pair]) -> list[str]:
    cells = []
    for index, row in enumerate(rows):
        is_bold = index == len(rows) - 1 and draft.style.chance("total_bold", 0.6)
        cells += [bold(_label(draft, row.label), is_bold=is_bold), bold(row.value, is_bold=is_bold)]
    return cells


def _right(draft: Draft, rows: list[Pair]) -> str:
    gap = points(draft.style.number("totals_gap", 2.5, 7))
    side = draft.style.pick("totals_label_side", ("left", "left", "right"))
    return aligned(
        "right",
        grid(
            "(auto,auto)",
            _emphasised(draft, rows),
            gutter=gap,
            column_gutter=points(draft.style.number("totals_width", 8, 60)),
            align=f"({side},right)",
        ),
    )


def _left(draft: Draft, rows: list[Pair]) -> str:
    return grid(
        "(auto,auto)",
        _emphasised(draft, rows),
        gutter=points(draft.style.number("totals_gap", 2.5, 7)),
        column_gutter="20pt",
    )


def _boxed(draft: Draft, rows: list[Pair]) -> str:
    return aligned(
        "right",
        call(
            "table",
            *_emphasised(draft, rows),
            columns="(auto,auto)",
            stroke="0.4pt",
            align="(left,right)",
            inset="3.5pt",
        ),
    )


def _across(draft: Draft, rows: list[Pair]) -> str:
    cells = [_label(draft, row.label) for row in rows] + [row.value for row in rows]
    return call(
        "table",
        *cells,
        columns=f"({'1fr,' * len(rows)})",
        stroke=draft.style.pick("across_rules", ("none", "0.4pt", "(bottom:0.4pt)")),
        inset="3pt",
        align="right",
    )


def _form(draft: Draft, rows: list[Pair]) -> str:
    return call(
        "table",
        *_emphasised(draft, rows),
        columns="(1fr,1fr,)" if draft.style.chance("form_half", 0.5) else "(55%,1fr)",
        align="(left,right)",
        stroke="(bottom:0.3pt+gray)",
        inset="4pt",
    )


def _center(draft: Draft, rows: list[Pair]) -> str:
    return aligned(
        "center",
        grid("(auto,auto)", _emphasised(draft, rows), gutter="4pt", column_gutter="30pt", align="(right,right)"),
    )


def _grid2(draft: Draft, rows: list[Pair]) -> str:
    cells = [cell for row in rows for cell in (_label(draft, row.label), row.value)]
    return call(
        "table", *cells, columns="(auto,1fr,auto,1fr)", stroke="0.3pt", align="(left,right,left,right)", inset="3pt"
    )


_ARRANGERS: dict[str, Callable[[Draft, list[Pair]], str]] = {
    "right": _right,
    "left": _left,
    "boxed": _boxed,
    "across": _across,
    "form": _form,
    "center": _center,
    "grid2": _grid2,
    "tail": lambda _draft, _rows: "",
    "by_rate": lambda draft, _rows: by_rate_table(draft),
}


def plain_totals(draft: Draft, rows: list[Pair]) -> str:
    """Rows of sums in the style's arrangement, always below the table."""
    shapes = ("right", "right", "right", "right", "boxed", "left", "across", "form", "center")
    return _ARRANGERS[draft.style.pick("plain_totals", shapes, test_only=("grid2",))](draft, rows)


def payment(draft: Draft) -> str:
    """Terms, due date and bank, as sentences or pairs; orders show terms only."""
    style = draft.style
    vocabulary = labels(style.language)
    is_claim = draft.spec.payment == "bank" and draft.is_by_seller and draft.subtype != "PRO_FORMA"
    rows: list[str] = []
    if is_claim and style.chance("due_table", 0.1):
        rows.append(due_table(draft))
    elif is_claim and style.chance("due_sentence", 0.45):
        sayable = [one for one in vocabulary["due_sentence"] if draft.can_say(one)]
        rows.append(draft.sentence(style.rng("due_sentence").choice(sayable)))
    elif style.chance("terms_line", 0.45) and draft.spec.payment != "none" and not draft.facts.get("unpriced"):
        rows.append(join(label(draft, style.word("payment_terms"), name="terms"), text(" "), terms(draft)))
    if is_claim:
        rows.append(_bank(draft))
    if style.chance("total_sentence", 0.06) and is_claim:
        rows.append(draft.sentence(style.rng("total_sentence").choice(vocabulary["total_sentence"])))
    rows.append(_exemption(draft))
    return headed(draft, "payment", stack(rows, spacing=style.number("payment_gap", 4, 9))) if any(rows) else ""


def _exemption(draft: Draft) -> str:
    """Why no tax is charged, in nine of ten layouts."""
    reason = draft.facts.get("tax_exemption")
    if not reason or draft.spec.sums != "taxed" or not draft.style.chance("exemption", 0.9):
        return ""
    return text(draft.style.rng(f"exemption/{reason}").choice(labels(draft.style.language)["exemptions"][reason]))


def _bank(draft: Draft) -> str:
    style = draft.style
    if not draft.facts["seller"]["iban"]:
        return ""
    shape = style.pick("bank", ("sentence", "pairs", "pairs", "line", "none", "none"))
    if shape == "none":
        return ""
    if shape == "sentence":
        return draft.sentence(style.rng("payment_sentence").choice(labels(style.language)["payment_sentence"]))
    pairs = [Pair(style.word("iban"), draft.iban())]
    if style.chance("bank_name", 0.6):
        pairs.insert(0, Pair(style.word("bank"), text(draft.facts["seller"]["bank"])))
    if style.chance("bank_bic", 0.7):
        pairs.append(Pair(style.word("bic"), draft.bic()))
    return arrange(
        draft,
        pairs,
        name="bank",
        options=("inline", "inline") if shape == "line" else ("columns", "colon", "colon", "boxed", "above"),
    )
