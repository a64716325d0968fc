"""Tax tables that stand beside the totals or for them, and the table of instalments.

Tables about taxes and due dates belong here; the totals themselves do not (`blocks_totals`).
"""

from decimal import Decimal

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import aligned, bold, call, points, styled, text
from sap_llm.synthetic.style import Style, labels


def tax_table(draft: Draft) -> str:
    """Rates, bases and tax amounts; a sum row repeats net and tax."""
    if draft.style.chance("tax_table_long", 0.2):
        return _long_table(draft)
    style, facts = draft.style, draft.facts
    heads = style.rng("tax_table_heads").choice(labels(style.language)["tax_table"])
    cells = [bold(text(head)) for head in heads]
    is_single = len(facts["taxes"]) == 1
    for tax in facts["taxes"]:
        cells += [_rate(draft, tax["rate"], is_field=is_single), *_amounts(draft, tax, is_field=is_single)]
    if not is_single and style.chance("tax_table_sum", 0.5):
        cells += [text(style.word("lines_amount")), draft.money("net_amount", facts["net_amount"], bare=True)]
        cells.append(draft.money("tax_amount", facts["tax_amount"], bare=True))
    rules = style.pick("tax_rules", ("none", "0.3pt", "(bottom:0.3pt)"))
    inset = points(style.number("tax_inset", 1.5, 4))
    columns, align = "(auto,auto,auto)", "(left,right,right)"
    return styled(call("table", *cells, columns=columns, align=align, inset=inset, stroke=rules), size="0.9em")


def _long_table(draft: Draft) -> str:
    """Kind of tax, goods value, charges, base, rate and amount."""
    style, facts = draft.style, draft.facts
    cells = [bold(text(head)) for head in labels(style.language)["long_tax_table"]]
    is_single = len(facts["taxes"]) == 1
    kind = f"{style.word('tax_amount')} {style.pick('tax_category', ('(S)', '(VAT)', 'S', ''))}".strip()
    for tax in facts["taxes"]:
        base, amount = _amounts(draft, tax, is_field=is_single)
        goods = draft.money("", tax["base"], bare=True)
        cells += [
            text(kind),
            goods,
            text(draft.amount("0")),
            base,
            _rate(draft, tax["rate"], is_field=is_single),
            amount,
        ]
    columns = "(1fr,auto,auto,auto,auto,auto)"
    return styled(
        call(
            "table", *cells, columns=columns, align="(left,right,right,right,right,right)", inset="3pt", stroke="none"
        ),
        size="0.9em",
    )


def by_rate_heads(style: Style, net: str, tax: str, total: str) -> dict[str, str]:
    """Headings of the table of sums by rate, in the style's order of columns."""
    order = style.pick("by_rate_order", ("net rate tax total", "net tax rate total", "rate net tax total"))
    words = {"net": net, "rate": style.word("columns", "tax_rate"), "tax": tax, "total": total}
    return {name: words[name] for name in order.split()}


def by_rate_sum(style: Style, currency: str) -> str:
    """What stands in the column of rates of the last row: rarely a word."""
    return style.pick("by_rate_sum", ("", "", currency, style.word("lines_amount")))


def by_rate_table(draft: Draft) -> str:
    """Net, tax and total by rate; the last row sums them up and mostly has no label. It stands for the totals."""
    style, facts = draft.style, draft.facts
    heads = by_rate_heads(
        style, draft.sum_word("net_amount"), style.word(draft.tax_concept), draft.sum_word("total_amount")
    )
    is_single, names = len(facts["taxes"]) == 1, ("net_amount", "tax_amount", "total_amount")
    has_sum = not is_single or style.chance("by_rate_sum_of_one", 0.5)
    cells = [bold(text(head)) for head in heads.values()]
    for tax in facts["taxes"]:
        base, amount = _amounts(draft, tax, is_field=is_single)
        total = canonical(Decimal(tax["base"]) + Decimal(tax["amount"]))
        shown = draft.money(names[2] if is_single else "", total, bare=True)
        row = {"net": base, "rate": _rate(draft, tax["rate"], is_field=is_single), "tax": amount, "total": shown}
        cells += [row[name] for name in heads]
    if has_sum:
        sums = [draft.money(name, facts[name], bare=True) for name in names]
        row = dict(zip(("net", "tax", "total"), sums, strict=True)) | {"rate": text(by_rate_sum(style, draft.currency))}
        is_bold = style.chance("total_bold", 0.6)
        cells += [bold(row[name], is_bold=is_bold) for name in heads]
    widths = "(1fr,1fr,1fr,1fr)" if style.chance("by_rate_wide", 0.5) else "(auto,auto,auto,auto)"
    table = call(
        "table", *cells, columns=widths, align="right", inset=points(style.number("tax_inset", 1.5, 4)),
        stroke=style.pick("tax_rules", ("none", "0.3pt", "(bottom:0.3pt)")),
    )  # fmt: skip
    return aligned(style.pick("by_rate_side", ("right", "left")), table)


def _rate(draft: Draft, rate: str, *, is_field: bool) -> str:
    style = draft.style
    printed = style.amount(rate, places=style.pick("rate_places", (0, 0, 1, 2))) + style.pick(
        "rate_sign", ("%", " %", "")
    )
    return draft.sheet.value("tax_rate", rate, printed) if is_field else text(printed)


def _amounts(draft: Draft, tax: dict[str, str], *, is_field: bool) -> tuple[str, str]:
    base = draft.money("net_amount" if is_field else "", tax["base"], bare=True)
    return base, draft.money("tax_amount" if is_field else "", tax["amount"], bare=True)


def due_table(draft: Draft) -> str:
    """A table of terms and due date, as XML viewers print it."""
    style = draft.style
    heads = [text(head) for head in labels(style.language)["due_table"]]
    sayable = [one for one in labels(style.language)["due_sentence"] if draft.can_say(one)]
    sentence = draft.sentence(style.rng("due_sentence").choice(sayable))
    due = draft.date("due_date", draft.facts["due_date"]) if style.chance("due_in_table", 0.4) else '""'
    fill = "(_,y)=>if y==0{luma(225)}"
    return call("table", *heads, sentence, due, '""', columns="(1fr,auto,auto)", stroke="none", inset="3pt", fill=fill)
