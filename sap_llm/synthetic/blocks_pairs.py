"""Label-value pairs: which ones a document shows, and the ways to arrange them.

Info blocks and the arrangements that other blocks share belong here; parties, lines and totals do not (their own
`blocks_*` modules).
"""

import re
from collections.abc import Callable

from sap_llm.synthetic.blocks_noise import Pair, noise_pairs
from sap_llm.synthetic.classes import pair_place
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import (
    PAGE_COUNT,
    PAGE_NUMBER,
    bold,
    call,
    counted,
    grid,
    join,
    lines,
    points,
    stack,
    styled,
    text,
)
from sap_llm.synthetic.style import labels

_TYPE_CODES = 0.07  # share of layouts that print the code of their class, as those made from e-invoices do
_TEXT = re.compile(r'(?:^|,)"((?:[^"\\]|\\.)*)"')  # what an expression prints


def info_pairs(draft: Draft, *, has_number: bool = True) -> list[Pair]:
    """The pairs of the document's info block, in the style's order."""
    style, facts, kind = draft.style, draft.facts, draft.kind
    found: list[Pair] = []
    if has_number:
        found.append(Pair(style.word("number", kind), draft.plain("document_number", facts["document_number"])))
    is_in_title = not has_number and style.pick("title", ("",)) == "number date" and style.chance("date_once", 0.3)
    is_in_letter = draft.family == "letter" and style.chance("place_date", 0.15)
    if not (is_in_title or is_in_letter):
        found.append(
            Pair(
                style.word("date", kind),
                draft.date("document_date", facts["document_date"], with_time=style.chance("time", 0.06)),
            )
        )
    optional = shown_pairs(draft)
    if style.chance("info_shuffled", 0.5):
        style.rng("info_order").shuffle(optional)
    for name in optional:
        found.extend(_MAKERS[name](draft) if name in _MAKERS else _from_facts(draft, name))
    found.extend(noise_pairs(draft))
    if style.chance("info_number_late", 0.2):
        found = found[1:] + found[:1]
    if style.chance("label_missing", 0.04) and len(found) > 2:
        place = style.rng("missing_label").randrange(len(found))
        found[place] = Pair("", found[place].value)
    return found


def shown_pairs(draft: Draft) -> list[str]:
    """Names of the pairs that this layout has: by chance, as marks of the class, and for the subtype."""
    style, spec = draft.style, draft.spec
    found = [name for name, probability in spec.pairs.items() if style.chance(f"info/{name}", probability)]
    if spec.marks and style.chance("marks", 0.9):
        found += style.rng("mark_names").sample(spec.marks, 2)
    if draft.facts.get("document_type_code") and style.chance("type_code", _TYPE_CODES):
        found.append("invoice_type_code" if spec.sums == "taxed" else "document_type_code")
    if draft.subtype == "PRO_FORMA" and "due_date" in found:
        found.remove("due_date")
    return list(dict.fromkeys([*found, *draft.subtype_spec.shows]))


def _from_facts(draft: Draft, name: str) -> list[Pair]:
    """A pair that `data/classes.yaml` describes; none where the facts have no value."""
    place = pair_place(name, draft.kind)
    value = str(draft.facts.get(place.key) or "") if place else ""
    if place is None or not value:
        return []
    return [Pair(draft.style.word(name), draft.shown(place, value))]


def _one(label: str, value: str) -> list[Pair]:
    return [Pair(label, value)] if value else []


def _order_reference(draft: Draft) -> list[Pair]:
    return _one(draft.style.word("order_reference"), draft.order_reference())


def _delivery_date(draft: Draft) -> list[Pair]:
    with_time = draft.style.chance("delivery_time", 0.08)
    return _one(
        draft.style.word("delivery_date"),
        draft.date("delivery_date", draft.facts["delivery_date"], with_time=with_time),
    )


def _page(draft: Draft) -> list[Pair]:
    total = [] if draft.style.chance("page_bare", 0.5) else [text(" / "), PAGE_COUNT]
    return [Pair(draft.style.word("page"), counted(PAGE_NUMBER, *total))]


def _total(draft: Draft) -> list[Pair]:
    if draft.style.chance("net_only", 0.4) and draft.spec.sums == "order" and not draft.is_by_seller:
        return _one(draft.sum_word("net_amount"), draft.money("net_amount", draft.facts["net_amount"]))
    return _one(draft.sum_word("total_amount"), draft.money("total_amount", draft.facts["total_amount"]))


_MAKERS: dict[str, Callable[[Draft], list[Pair]]] = {
    "order_reference": _order_reference,
    "delivery_date": _delivery_date,
    "buyer_vat_id": lambda draft: _one(draft.style.word("buyer_vat_id"), draft.vat("buyer")),
    "seller_vat_id": lambda draft: _one(draft.style.word("vat_id"), draft.vat(draft.role("issuer"))),
    "currency": lambda draft: _one(draft.word("currency"), draft.currency_word()),
    "payment_terms": lambda draft: _one(draft.style.word("payment_terms"), terms(draft)),
    "page": _page,
    "total_amount": _total,
    "order_again": lambda draft: _one(draft.style.word("number", "PURCHASE_ORDER"), draft.order_reference()),
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


def label(draft: Draft, word: str, *, name: str) -> str:
    """A label with the style's punctuation."""
    if not word:
        return '""'
    ending = draft.style.pick(f"colon/{name}", (*":::::", *([""] * 4), " :", " :", "."))
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
    count = min(draft.style.pick(f"across_box/{name}", (2, 3, 3, 4)), _fitting(pairs))
    cells = [stack([label(draft, pair.label, name=name), pair.value], spacing=3) for pair in pairs]
    return call("table", *cells, columns=f"({'1fr,' * count})", inset=points(2 + gap / 2), stroke="0.4pt", align="left")


def _fitting(pairs: list[Pair]) -> int:
    """How many columns of half a page take the longest word of any pair without touching the next."""
    words = [word for pair in pairs for part in (pair.label, *_TEXT.findall(pair.value)) for word in part.split()]
    longest = max(map(len, words), default=0)
    return 4 if longest < 11 else 3 if longest < 15 else 2 if longest < 23 else 1


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
