"""Whole pages: families of layouts that put blocks in order.

Page set-up, titles, texts and the order of blocks belong here; the blocks do not (`blocks_*`).
"""

from collections.abc import Callable

from sap_llm.synthetic.blocks_art import logo, stamp, terms_page
from sap_llm.synthetic.blocks_lines import columns, line_table
from sap_llm.synthetic.blocks_noise import Pair
from sap_llm.synthetic.blocks_pairs import ARRANGEMENTS, arrange, info_pairs, label
from sap_llm.synthetic.blocks_parties import (
    address_window,
    footer,
    letterhead,
    other_parties,
    party_box,
    party_form,
    ship_to,
)
from sap_llm.synthetic.blocks_texts import closing_texts, intro, prose
from sap_llm.synthetic.blocks_totals import has_totals, headed, payment, tail_cells, totals, totals_shape
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import (
    BODY,
    FOOT,
    HEAD,
    PAGE_COUNT,
    PAGE_NUMBER,
    aligned,
    bold,
    call,
    counted,
    grid,
    join,
    language,
    points,
    stack,
    styled,
    text,
)
from sap_llm.synthetic.papers_blocks import has_footer, paper_pairs, paper_tail, title_key
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.papers_looks import LOOKS, PAGES
from sap_llm.synthetic.style import FONTS, labels

_SIZES = ((595.28, 841.89), (595.28, 841.89), (595.28, 841.89), (595.0, 842.0))
_SPACED = 0.03  # share of layouts that set the letters of a title apart
_LETTER = (612.0, 792.0)  # paper of North America
_WIDE = ("wide", "table_row", "boxed_above")  # arrangements that need the page's whole width
_NARROWEST = ("above", "colon", "colon")
_NARROW = ("columns", "columns", "colon", "colon", "above")


def compose(draft: Draft) -> str:
    """Typst source of the document; marks are collected in `draft.sheet`."""
    style = draft.style
    body = _body(draft)
    if not isinstance(draft, PaperDraft):
        body = "\n".join(part for part in (body, stamp(draft), terms_page(draft)) if part)
    width, height = _LETTER if style.country in ("US", "MX") else style.pick("size", _SIZES)
    scale = draft.scale
    foot = "" if isinstance(draft, PaperDraft) and not has_footer(draft) else footer(draft)
    width_margin = points(style.number("margin_x", 34, 72) * draft.scale)
    top, bottom = points(style.number("margin_top", 28, 70)), points(style.number("margin_bottom", 72, 96))
    page = call(
        "set page",
        width=points(width),
        height=points(height),
        footer_descent="10%",
        margin=f"(x:{width_margin},top:{top},bottom:{bottom})",
        header=HEAD + _running_head(draft),
        footer=FOOT + (draft.sheet.block("footer", foot) if foot else "none") + BODY,
    )
    font = call(
        "set text",
        font=text(style.pick("font", FONTS)),
        size=points(style.number("font_size", 7.6, 10.6) * scale),
        lang=language(style.language),
        hyphenate="false",
        tracking=f"{style.pick('tracking', (0, 0, 0, 0, -0.02, 0.02, 0.04)):.2f}em",
        ligatures="false",
    )
    spacing = points(style.number("block_gap", 9, 22) * scale)
    rules = [
        page,
        font,
        f"set par(leading:{style.number('leading', 0.42, 0.75):.2f}em,spacing:{spacing})",
        f"set block(spacing:{spacing})",
        "set table.cell(breakable:false)",
    ]
    if isinstance(draft, PaperDraft) and (own := PAGES.get(draft.family)) is not None:
        rules[:2] = [own(draft)]
    return "\n".join(["#{", *rules, body, "}", ""])


def _body(draft: Draft) -> str:
    if isinstance(draft, PaperDraft) and draft.family in LOOKS:
        return LOOKS[draft.family](draft, title_words(draft))
    return _FAMILIES[draft.family](draft)


def _running_head(draft: Draft) -> str:
    style = draft.style
    shape = style.pick("running_head", ("none", "none", "none", "page", "note"))
    if shape == "none":
        return "none"
    word, of = style.word("page"), style.pick("page_of", style.synonyms("page_of"))
    if shape == "note" and not isinstance(draft, PaperDraft):
        notes = [sentence for sentence in style.synonyms("noise", "all") if "{" not in sentence]
        return styled(text(style.rng("head_note").choice(notes)), size="0.75em")
    total = [text(f" {of} "), PAGE_COUNT] if style.chance("page_total", 0.6) else []
    page = counted(text(f"{word} "), PAGE_NUMBER, *total)
    return aligned(style.pick("page_side", ("right", "left")), styled(page, size="0.8em"))


def title_words(draft: Draft) -> str:
    """The words of the title: plain, by subtype, misleading or none."""
    if not draft.is_titled:
        rng = draft.rng
        return "" if rng.random() < 0.5 else rng.choice(draft.style.synonyms("misleading_titles"))
    named = labels(draft.style.language)["subtypes"].get(f"{draft.kind}.{draft.subtype}")
    if named and draft.rng.random() < 0.92:
        word: str = draft.style.pick(f"subtype/{draft.subtype}", named)
        return word
    return draft.style.word("titles", title_key(draft) if isinstance(draft, PaperDraft) else draft.kind)


def _title(draft: Draft) -> tuple[str, bool]:
    """The title block, and whether it already holds the document's number."""
    style = draft.style
    words = title_words(draft)
    shape = style.pick("title", ("plain", "plain", "plain", "number", "number date", "colon number"))
    if isinstance(draft, PaperDraft) and "document_number" not in draft.facts["values"]:
        shape = "plain"
    is_spaced = style.chance("title_spaced", _SPACED) and " " not in words
    parts = (
        [draft.sheet.value("document_title", words, " ".join(words.upper()) if is_spaced else words)] if words else []
    )
    has_number = shape != "plain" and bool(words)
    if has_number:
        number = draft.plain("document_number", draft.facts["document_number"])
        between = (
            text(": ")
            if shape == "colon number"
            else text(f" {style.pick('title_number', (*style.synonyms('number_word'), ''))} ".replace("  ", " "))
        )
        parts += [between, number]
        if shape == "number date":
            parts += [text(f" {style.word('of')} "), draft.date("document_date", draft.facts["document_date"])]
    if not parts:
        return "", False
    size = points(style.number("title_size", 11, 24 if not has_number else 15))
    shown = styled(bold(join(*parts), is_bold=style.chance("title_bold", 0.75)), size=size)
    return draft.sheet.block("header", shown), has_number and style.chance("number_once", 0.6)


def _info(
    draft: Draft, has_number: bool, *, options: tuple[str, ...] = ARRANGEMENTS, narrow: tuple[str, ...] = ()
) -> str:
    """The info block; papers have long pairs, so that a narrow place takes only the arrangements that it names."""
    if not isinstance(draft, PaperDraft):
        arranged = arrange(draft, info_pairs(draft, has_number=not has_number), name="info", options=options)
    else:
        pairs = paper_pairs(draft, has_number=not has_number)
        options, reserved = (narrow, ("below",)) if narrow else (options, ("below", "stacked_labels", "table_row"))
        arranged = arrange(draft, pairs, name="info", options=options, test_only=reserved)
    return draft.sheet.block("header", arranged)


def _tail(draft: Draft) -> list[str]:
    """Line table, totals, payment and closing texts."""
    if isinstance(draft, PaperDraft):
        return [*paper_tail(draft), closing_texts(draft) if draft.is_by_trader else ""]
    style = draft.style
    shows_totals = has_totals(draft)
    width = len(columns(draft))
    is_tail = shows_totals and totals_shape(draft) == "tail" and width > 2
    lines = line_table(draft, tail=tail_cells(draft, width) if is_tail else ())
    parts = [headed(draft, "lines", lines) if len(draft.facts["lines"]) < 8 else lines]
    if shows_totals:
        below = totals(draft)
        parts.append(draft.sheet.block("totals", below + ",breakable:false,width:100%") if below else "")
    elif draft.must_name_currency and draft.spec.prices != "none" and not draft.facts.get("unpriced"):
        parts.append(join(label(draft, draft.word("currency"), name="currency_note"), text(" "), draft.currency_word()))
    paid = payment(draft)
    tail = [draft.sheet.block("text", paid) if paid else "", closing_texts(draft), prose(draft, "below")]
    if style.chance("notes_first", 0.2):
        tail.reverse()
    return parts + tail


def _paragraphs(parts: list[str]) -> str:
    """Blocks one after the other with the style's spacing."""
    return "\n".join(_paragraph(part) for part in parts if part and part != '""')


def _paragraph(part: str) -> str:
    """A block; only one as wide as the page can be aligned on it."""
    if part.startswith("v("):
        return part
    return f"block({part},width:100%)" if part.startswith("align(") else f"block({part})"


def _letter(draft: Draft) -> str:
    style = draft.style
    head = draft.sheet.block("header", logo(draft, letterhead(draft)))
    title, has_number = _title(draft)
    window = draft.sheet.block("address", address_window(draft))
    info = _info(draft, has_number, narrow=() if style.chance("info_below", 0.22) else _NARROW)
    side = style.pick("head_side", ("left", "right", "center"))
    if style.chance("window_right", 0.12):
        row = grid("(1.2fr,1fr)", [info, window], column_gutter="24pt")
    elif style.chance("info_below", 0.22) or style.pick("arrangement/info", ("",)) in _WIDE:
        row = stack([window, info], spacing=16)
    else:
        narrow = style.pick("arrangement/info", ("",)) in ("colon", "boxed", "stacked_labels", "below")
        options = (
            ("(1fr,auto)", "(1fr,auto)", "(1.2fr,1fr)", "(1fr,1fr)")
            if narrow
            else ("(1.2fr,1fr)", "(1fr,1fr)", "(1fr,1.2fr)")
        )
        row = grid(style.pick("letter_columns", options), [window, info], column_gutter="24pt")
    order = [row, title] if style.chance("title_below", 0.7) else [title, row]
    if others := _others(draft, 0.08):
        order.append(grid(f"({'1fr,' * len(others)})", others, column_gutter="14pt"))
    if style.chance("place_date", 0.15):
        order.insert(1, aligned(style.pick("place_date_side", ("right", "left")), _place_date(draft)))
    return _paragraphs([aligned(side, head), *order, intro(draft), *_tail(draft)])


def _modern(draft: Draft) -> str:
    style = draft.style
    title, has_number = _title(draft)
    head = draft.sheet.block("header", logo(draft, letterhead(draft)))
    top = (
        [head, aligned("right", title)]
        if style.chance("title_right", 0.6)
        else [title or head, aligned("right", head) if title else ""]
    )
    parties = [draft.sheet.block("address", party_box(draft, role)) for role in _both(draft)]
    if not isinstance(draft, PaperDraft) and style.chance("ship_to", 0.3):
        parties.append(draft.sheet.block("address", ship_to(draft)))
    parties += _others(draft, 0.2)
    info = _info(draft, has_number)
    across = min(len(parties), style.pick("parties_across", (2, 3, 3)))
    row = grid(f"({'1fr,' * across})", parties, column_gutter="14pt", row_gutter="10pt")
    middle = [info, row] if style.chance("info_first", 0.4) else [row, info]
    if style.chance("info_beside", 0.3) and style.pick("arrangement/info", ("",)) not in _WIDE:
        middle = [grid("(1fr,1fr)", [stack(parties, spacing=12), info], column_gutter="20pt")]
    return _paragraphs([grid("(1fr,1fr)", [part or '""' for part in top]), *middle, intro(draft), *_tail(draft)])


def _place_date(draft: Draft) -> str:
    """The line with place and date above a letter."""
    template = draft.style.rng("place_date_words").choice(labels(draft.style.language)["place_date"])
    before, _, after = template.replace("{city}", draft.issuer["address"]["city"]).partition("{date}")
    return join(text(before), draft.date("document_date", draft.facts["document_date"]), text(after) if after else "")


def _others(draft: Draft, probability: float) -> list[str]:
    """Boxes of third parties, in that share of styles, and of the customer whom a third-party order names."""
    if draft.subtype == "THIRD_PARTY":
        return [draft.sheet.block("address", ship_to(draft))]
    if isinstance(draft, PaperDraft) or not draft.style.chance("other_party", probability):
        return []
    return [draft.sheet.block("address", box) for box in other_parties(draft)]


def _both(draft: Draft) -> list[str]:
    if isinstance(draft, PaperDraft):
        return draft.parties
    roles = ["seller", "buyer"]
    if draft.style.chance("buyer_first", 0.3):
        roles.reverse()
    return roles


def _form(draft: Draft) -> str:
    style = draft.style
    title, has_number = _title(draft)
    info = _info(draft, has_number, options=("zebra", "zebra", "columns", "colon", "boxed"))
    sections = [draft.sheet.block("address", party_form(draft, role)) for role in _both(draft)]
    sections += _others(draft, 0.35)
    if style.chance("form_beside", 0.25):
        sections = [grid("(1fr,1fr)", sections, column_gutter="14pt")]
    order = [title, info, *sections] if style.chance("form_info_first", 0.7) else [title, *sections, info]
    tail = _tail(draft)
    if style.chance("form_break", 0.35):
        cut = 1 if style.chance("form_break_late", 0.4) else 0
        pages = [[*order, intro(draft), *tail[:cut]], tail[cut:]]
        return "\npagebreak(weak:true)\n".join(_paragraphs(page) for page in pages)
    return _paragraphs([*order, intro(draft), *tail])


def _boxed(draft: Draft) -> str:
    style = draft.style
    title, has_number = _title(draft)
    inset = points(style.number("box_inset", 3, 8))
    boxes = [draft.sheet.block("address", party_box(draft, role)) for role in _both(draft)]
    if not isinstance(draft, PaperDraft) and style.chance("ship_to", 0.4):
        boxes.append(draft.sheet.block("address", ship_to(draft)))
    boxes += _others(draft, 0.45)
    info = _info(draft, has_number, narrow=_NARROW)
    boxes.insert(style.pick("info_slot", (0, 1, 1, 2)), info)
    table = call("table", *boxes, columns="(1fr,1fr)", inset=inset, stroke="0.5pt")
    if style.chance("boxes_loose", 0.4):
        framed = [call("rect", box, width="100%", inset=inset, stroke="0.5pt") for box in boxes]
        table = grid("(1fr,1fr)", framed, gutter="8pt")
    head = draft.sheet.block("header", logo(draft, letterhead(draft))) if style.chance("boxed_head", 0.5) else ""
    return _paragraphs([head, title, table, intro(draft), *_tail(draft)])


def _plain(draft: Draft) -> str:
    style = draft.style
    title, has_number = _title(draft)
    info = _info(draft, has_number, options=("colon", "columns", "inline", "wide"))
    parties = [draft.sheet.block("address", party_box(draft, role)) for role in _both(draft)] + _others(draft, 0.2)
    parts = [title, *parties, info] if style.chance("plain_title_first", 0.6) else [*parties, title, info]
    return _paragraphs([*parts, intro(draft), *_tail(draft)])


def _compact(draft: Draft) -> str:
    style = draft.style
    title, has_number = _title(draft)
    issuer, recipient = draft.role("issuer"), draft.role("recipient")
    left = draft.sheet.block("address", party_box(draft, issuer, name="issuer"))
    right = draft.sheet.block("address", party_box(draft, recipient, name="recipient"))
    info = _info(draft, has_number, options=("wide", "inline", "boxed_above", "columns", "above"))
    top = grid("(1fr,1fr)", [left, title or info], column_gutter="20pt")
    second = right
    if title and style.pick("arrangement/info", ("",)) in _WIDE:
        second = stack([right, info], spacing=14)
    elif title:
        beside = [info, right] if style.chance("compact_swap", 0.3) else [right, info]
        second = grid("(1fr,1fr)", beside, column_gutter="20pt")
    return _paragraphs([top, second, intro(draft), *_tail(draft)])


def _sidebar(draft: Draft) -> str:
    title, has_number = _title(draft)
    info = _info(draft, has_number, options=_NARROWEST, narrow=_NARROWEST)
    boxes = [draft.sheet.block("address", party_box(draft, role)) for role in _both(draft)]
    side = stack([info, *boxes], spacing=18)
    return _paragraphs([title, grid("(30%,1fr)", [side, stack(_tail(draft), spacing=12)], column_gutter="14pt")])


def _sums_first(draft: Draft) -> str:
    title, has_number = _title(draft)
    tail = _tail(draft)
    boxes = [draft.sheet.block("address", party_box(draft, role)) for role in _both(draft)]
    info = _info(draft, has_number)
    return _paragraphs([title, info, *tail[1:], tail[0], grid("(1fr,1fr)", boxes, column_gutter="14pt")])


def _two_up(draft: Draft) -> str:
    title, has_number = _title(draft)
    pairs = [Pair("", draft.name("seller")), Pair("", draft.name("buyer"))]
    window = draft.sheet.block("address", stack([pair.value for pair in pairs], spacing=9))
    info = _info(draft, has_number, options=("boxed", "columns"))
    return _paragraphs(
        [grid("(1fr,1fr)", [info, stack([title, window], spacing=12)], column_gutter="18pt"), *_tail(draft)]
    )


_FAMILIES: dict[str, Callable[[Draft], str]] = {
    "letter": _letter,
    "modern": _modern,
    "form": _form,
    "boxed": _boxed,
    "plain": _plain,
    "compact": _compact,
    "sidebar": _sidebar,
    "sums_first": _sums_first,
    "two_up": _two_up,
}
