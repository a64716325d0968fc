"""Label-value pairs: which ones a document shows, and the ways to arrange them.

Info blocks and the arrangements that other blocks share belong here; parties, lines and totals do not (their own
`blocks_*` modules).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import bold, call, grid, join, lines, points, stack, styled, text
from sap_llm.synthetic.style import labels


@dataclass(frozen=True)
class Pair:
    """A label (plain text, may be empty) and the expression of its value."""

    label: str
    value: str


def info_pairs(draft: Draft, *, has_number: bool = True) -> list[Pair]:
    """The pairs of the document's info block, in the style's order."""
    style, facts, kind = draft.style, draft.facts, draft.kind
    found: list[Pair] = []
    if has_number:
        found.append(Pair(style.word("number", kind), draft.plain("document_number", facts["document_number"])))
    is_in_title = not has_number and style.pick("title", ("",)) == "number date" and style.chance("date_once", 0.3)
    is_in_letter = style.pick("family", ("",)) == "letter" and style.chance("place_date", 0.15)
    if not (is_in_title or is_in_letter):
        found.append(
            Pair(
                style.word("date", kind),
                draft.date("document_date", facts["document_date"], with_time=style.chance("time", 0.06)),
            )
        )
    optional = [
        name
        for name, (probability, kinds) in _OPTIONAL.items()
        if kind in kinds and style.chance(f"info/{name}", probability)
    ]
    if style.chance("info_shuffled", 0.5):
        style.rng("info_order").shuffle(optional)
    for name in optional:
        found.extend(_MAKERS[name](draft))
    found.extend(noise_pairs(draft))
    if style.chance("info_number_late", 0.2):
        found = found[1:] + found[:1]
    if style.chance("label_missing", 0.04) and len(found) > 2:
        place = style.rng("missing_label").randrange(len(found))
        found[place] = Pair("", found[place].value)
    return found


def _one(label: str, value: str) -> list[Pair]:
    return [Pair(label, value)] if value else []


_INVOICE, _CONFIRMATION, _ORDER, _RECEIPT = "SUPPLIER_INVOICE", "SALES_ORDER", "PURCHASE_ORDER", "GOODS_RECEIPT"
_ANY = (_INVOICE, _CONFIRMATION, _ORDER, _RECEIPT)

# Name -> probability that a style has it, and the kinds of document that may show it.
_OPTIONAL: dict[str, tuple[float, tuple[str, ...]]] = {
    "order_reference": (0.8, (_INVOICE, _CONFIRMATION, _RECEIPT)),
    "order_date": (0.35, (_INVOICE, _CONFIRMATION, _RECEIPT)),
    "due_date": (0.5, (_INVOICE,)),
    "delivery_date": (0.5, _ANY),
    "delivery_note_number": (0.5, (_INVOICE, _RECEIPT)),
    "delivery_note_date": (0.2, (_INVOICE, _RECEIPT)),
    "customer_number": (0.55, (_INVOICE, _CONFIRMATION)),
    "supplier_number": (0.4, (_ORDER, _RECEIPT, _INVOICE)),
    "sales_order": (0.25, (_INVOICE, _ORDER)),
    "contract": (0.15, _ANY),
    "buyer_vat_id": (0.3, (_INVOICE, _CONFIRMATION)),
    "seller_vat_id": (0.15, _ANY),
    "currency": (0.3, (_INVOICE, _CONFIRMATION, _ORDER)),
    "payment_terms": (0.3, (_INVOICE, _CONFIRMATION, _ORDER)),
    "page": (0.15, _ANY),
    "total_amount": (0.12, (_INVOICE, _ORDER)),
    "order_again": (0.12, (_ORDER,)),
    "iban": (0.06, (_INVOICE,)),
}


def _order_reference(draft: Draft) -> list[Pair]:
    return _one(draft.style.word("order_reference"), draft.order_reference())


def _delivery_note(draft: Draft) -> list[Pair]:
    number = draft.facts.get("delivery_note_number", "")
    return _one(draft.style.word("delivery_note_number"), draft.plain("delivery_note_number", number)) if number else []


def _delivery_note_date(draft: Draft) -> list[Pair]:
    day = draft.facts.get("delivery_note_date", "")
    return _one(draft.style.word("delivery_note_date"), draft.date("", day)) if day else []


def _delivery_date(draft: Draft) -> list[Pair]:
    with_time = draft.style.chance("delivery_time", 0.08)
    return _one(
        draft.style.word("delivery_date"),
        draft.date("delivery_date", draft.facts["delivery_date"], with_time=with_time),
    )


def _page(draft: Draft) -> list[Pair]:
    return [Pair(draft.style.word("page"), text("1" if draft.style.chance("page_bare", 0.5) else "1 / 1"))]


def _sales_order(draft: Draft) -> list[Pair]:
    return _one(draft.style.word("sales_order"), text(draft.facts.get("sales_order", draft.noise_number())))


def _total(draft: Draft) -> list[Pair]:
    if draft.style.chance("net_only", 0.4) and draft.kind == _ORDER:
        return _one(draft.style.word("net_amount"), draft.money("net_amount", draft.facts["net_amount"]))
    return _one(draft.style.word("total_amount"), draft.money("total_amount", draft.facts["total_amount"]))


_MAKERS: dict[str, Callable[[Draft], list[Pair]]] = {
    "order_reference": _order_reference,
    "order_date": lambda draft: _one(draft.style.word("order_date"), draft.date("", draft.facts["order_date"])),
    "due_date": lambda draft: _one(draft.style.word("due_date"), draft.date("due_date", draft.facts["due_date"])),
    "delivery_date": _delivery_date,
    "delivery_note_number": _delivery_note,
    "delivery_note_date": _delivery_note_date,
    "customer_number": lambda draft: _one(
        draft.style.word("customer_number"), draft.plain("customer_number", draft.facts["customer_number"])
    ),
    "supplier_number": lambda draft: _one(draft.style.word("supplier_number"), text(draft.facts["supplier_number"])),
    "sales_order": _sales_order,
    "contract": lambda draft: _one(draft.style.word("contract"), text(draft.facts["contract"])),
    "buyer_vat_id": lambda draft: _one(draft.style.word("buyer_vat_id"), draft.vat("buyer")),
    "seller_vat_id": lambda draft: _one(
        draft.style.word("vat_id"), draft.vat("seller" if draft.is_by_vendor else "buyer")
    ),
    "currency": lambda draft: _one(draft.style.word("currency"), draft.currency_word()),
    "payment_terms": lambda draft: _one(draft.style.word("payment_terms"), terms(draft)),
    "page": _page,
    "total_amount": _total,
    "order_again": lambda draft: _one(draft.style.word("number", _ORDER), draft.order_reference()),
    "iban": lambda draft: _one(draft.style.word("iban"), draft.iban()),
}


def terms(draft: Draft) -> str:
    """The marked terms of payment in words."""
    rng = draft.style.rng("terms")
    has_discount = draft.facts["terms"]["discount_days"] > 0
    fitting = [entry for entry in labels(draft.style.language)["terms"] if ("discount_days" in entry) == has_discount]
    sentence = rng.choice(fitting)
    values = draft.facts["terms"]
    words = sentence.format(
        days=values["days"], discount_days=values["discount_days"], percent=values["discount_percent"]
    )
    return draft.plain("payment_terms", words)


def _order_day(draft: Draft) -> str:
    return draft.style.date(date.fromisoformat(draft.facts["order_date"]))


def noise_pairs(draft: Draft) -> list[Pair]:
    """Pairs that are no fields: references, dates, codes, contacts."""
    style = draft.style
    count = style.pick("noise_pairs", (0, 0, 0, 1, 1, 2, 3, 5))
    rng = style.rng("noise_names")
    found = []
    names = style.synonyms("other_pairs")
    if style.chance("empty_pair", 0.1):
        found.append(
            Pair(
                style.word(style.pick("empty_concept", ("buyer_vat_id", "due_date", "order_reference", "contract"))),
                text(style.pick("empty", ("-", "", "n/a", "---"))),
            )
        )
    if draft.subtype == "CREDIT_MEMO" and style.chance("original_invoice", 0.6):
        found.append(
            Pair(
                style.word("original_invoice"),
                text(f"{draft.noise_number()} {style.word('of')} {_order_day(draft)}"),
            )
        )
    found += _other_dates(draft) + _codes(draft)
    for name in rng.sample(names, min(count, len(names))):
        day = f"{draft.rng.randint(2014, 2026)}-{draft.rng.randint(1, 12):02d}-{draft.rng.randint(1, 28):02d}"
        value = (
            draft.noise_number(),
            draft.issuer["contact"],
            f"{name[:2].upper()}-{draft.noise_number()}",
            f"{day[:4]}-{draft.facts['document_number']}",  # alike, but not the number
            "",
        )[rng.randrange(5)]
        found.append(Pair(name, text(value) if value else draft.date("", day)))
    for concept, probability in (("contact", 0.3), ("phone", 0.2), ("email", 0.15), ("project", 0.1)):
        if style.chance(f"info/{concept}", probability):
            value = draft.issuer.get(concept) or draft.noise_number()
            found.append(Pair(style.word(concept), text(value)))
    return found


def _other_dates(draft: Draft) -> list[Pair]:
    """Dates that are neither the document's nor due: periods, validity, printing."""
    style = draft.style
    count = style.pick("other_dates", (0, 0, 0, 0, 0, 1, 1, 2, 3))
    found = []
    for index, name in enumerate(style.rng("other_date_names").sample(style.synonyms("other_dates"), count)):
        day = date.fromisoformat(draft.facts["document_date"]) + timedelta(days=draft.rng.randint(-60, 90))
        value = text(style.date(day))
        if style.chance(f"other_date_range/{index}", 0.15):
            value = text(f"{style.date(day)} - {style.date(day + timedelta(days=30))}")
        found.append(Pair(name, value))
    return found


def _codes(draft: Draft) -> list[Pair]:
    """Codes of processes and states, as forms show them."""
    style = draft.style
    if not style.chance("codes", 0.15):
        return []
    options = labels(style.language)["other_codes"]
    rng = style.rng("codes")
    names = rng.sample(list(options), min(len(options), rng.choice((1, 2, 3, 5))))
    return [Pair(name, text(str(rng.choice(options[name])))) for name in names]


def label(draft: Draft, word: str, *, name: str) -> str:
    """A label with the style's punctuation."""
    if not word:
        return '""'
    ending = draft.style.pick(f"colon/{name}", (":", ":", ":", "", "", " :", "."))
    ending = "" if word.endswith((".", ":")) and ending == "." else ending
    shown = text(word + ending)
    if draft.style.chance(f"label_bold/{name}", 0.25):
        return bold(shown)
    if draft.style.chance(f"label_gray/{name}", 0.2):
        return styled(shown, fill="luma(90)")
    return shown


ARRANGEMENTS = (
    "columns",
    "columns",
    "columns",
    "colon",
    "colon",
    "above",
    "boxed",
    "boxed_above",
    "wide",
    "inline",
    "zebra",
)


def arrange(
    draft: Draft, pairs: list[Pair], *, name: str, options: tuple[str, ...] = ARRANGEMENTS,
    test_only: tuple[str, ...] = ("below", "stacked_labels", "table_row"),
) -> str:  # fmt: skip
    """Print pairs in the arrangement that the style has for the block `name`."""
    chosen = draft.style.pick(f"arrangement/{name}", options, test_only=test_only)
    gap = draft.style.number(f"gap/{name}", 2.0, 7.0)
    return _ARRANGERS[chosen](draft, pairs, name, gap)


def _columns(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    where = draft.style.pick(f"value_side/{name}", ("left", "left", "right"))
    cells = [cell for pair in pairs for cell in (label(draft, pair.label, name=name), pair.value)]
    width = draft.style.pick(f"label_width/{name}", ("(auto,auto)", "(auto,auto)", "(auto,1fr)", "(1fr,1fr)"))
    return grid(width, cells, gutter=points(gap), column_gutter=points(gap * 2.2), align=f"(left,{where})")


def _colon(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    rows = [join(label(draft, pair.label, name=name), text(" "), pair.value) for pair in pairs]
    return stack(rows, spacing=gap)


def _above(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    rows = [stack([label(draft, pair.label, name=name), pair.value], spacing=2.5) for pair in pairs]
    count = draft.style.pick(f"across/{name}", (1, 2, 2, 3, 4))
    return grid(f"({'auto,' * count})", rows, gutter=points(gap + 3), column_gutter=points(14))


def _boxed(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    cells = [cell for pair in pairs for cell in (label(draft, pair.label, name=name), pair.value)]
    return call("table", *cells, columns="(auto,auto)", inset=points(2 + gap / 3), stroke="0.4pt", align="left")


def _boxed_above(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    count = draft.style.pick(f"across_box/{name}", (2, 3, 3, 4))
    cells = [stack([label(draft, pair.label, name=name), pair.value], spacing=3) for pair in pairs]
    return call("table", *cells, columns=f"({'1fr,' * count})", inset=points(2 + gap / 2), stroke="0.4pt", align="left")


def _wide(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    cells = [cell for pair in pairs for cell in (label(draft, pair.label, name=name), pair.value)]
    return grid("(auto,1fr,auto,1fr)", cells, gutter=points(gap), column_gutter=points(8))


def _inline(draft: Draft, pairs: list[Pair], name: str, _gap: float) -> str:
    between = draft.style.pick(f"between/{name}", (" - ", " | ", "   ", ", ", " / ", " · "))
    parts: list[str] = []
    for pair in pairs:
        parts += [text(between)] if parts else []
        parts += [label(draft, pair.label, name=name), text(" "), pair.value]
    return call("block", join(*parts))


def _zebra(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    cells = [cell for pair in pairs for cell in (label(draft, pair.label, name=name), pair.value)]
    share = draft.style.pick(f"zebra_share/{name}", ("30%", "40%", "25%"))
    return call(
        "table", *cells, columns=f"({share},1fr)", inset=points(2 + gap / 3), stroke="none",
        fill="(_,y)=>if calc.odd(y){luma(240)}",
    )  # fmt: skip


def _below(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    rows = [stack([pair.value, styled(label(draft, pair.label, name=name), size="0.8em")], spacing=2) for pair in pairs]
    return grid("(auto,auto)", rows, gutter=points(gap + 3), column_gutter=points(16))


def _stacked_labels(draft: Draft, pairs: list[Pair], name: str, _gap: float) -> str:
    names = lines([label(draft, pair.label, name=name) for pair in pairs])
    return grid("(auto,auto)", [names, lines([pair.value for pair in pairs])], column_gutter=points(22))


def _table_row(draft: Draft, pairs: list[Pair], name: str, gap: float) -> str:
    shown = pairs[:4]
    cells = [label(draft, pair.label, name=name) for pair in shown] + [pair.value for pair in shown]
    table = call("table", *cells, columns=f"({'auto,' * len(shown)})", inset=points(3), stroke="(bottom:0.5pt)")
    return stack([table, _columns(draft, pairs[4:], name, gap) if pairs[4:] else ""], spacing=gap)


_ARRANGERS: dict[str, Callable[[Draft, list[Pair], str, float], str]] = {
    "columns": _columns,
    "colon": _colon,
    "above": _above,
    "boxed": _boxed,
    "boxed_above": _boxed_above,
    "wide": _wide,
    "inline": _inline,
    "zebra": _zebra,
    "below": _below,
    "stacked_labels": _stacked_labels,
    "table_row": _table_row,
}
