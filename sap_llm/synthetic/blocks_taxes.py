"""Tax tables that stand beside the totals, and the table of instalments.

Tables about taxes and due dates belong here; the totals themselves do not (`blocks_totals`).
"""

from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import bold, call, points, styled, text
from sap_llm.synthetic.style import labels


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
