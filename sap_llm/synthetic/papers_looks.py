"""Looks that only papers have: sheets without an addressee, tills, numbered boxes, forms, data sheets.

Whole bodies of such pages, and pages of other sizes, belong here; blocks that any look may use do not
(`papers_blocks`), nor pages of running text (`papers_prose`).
"""

from collections.abc import Callable

from sap_llm.synthetic.blocks_pairs import ARRANGEMENTS, arrange
from sap_llm.synthetic.blocks_parties import address_lines, contact_lines, letterhead
from sap_llm.synthetic.markup import aligned, bold, call, grid, join, language, lines, points, stack, styled, text
from sap_llm.synthetic.papers_blocks import (
    cell_of,
    paper_pairs,
    paper_table,
    paper_tail,
    signatures,
    value_pair,
    word_of,
)
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.papers_prose import free
from sap_llm.synthetic.style import labels

_MONOSPACED = ("DejaVu Sans Mono", "DejaVu Sans Mono", "DejaVu Sans Mono", "HK Grotesk", "DejaVu Sans")
_TITLE_BOX = 240.0  # points times characters: the longest word of a title must fit into its box


def paragraphs(parts: list[str]) -> str:
    """Blocks one below the other."""
    return "\n".join(f"block(width:100%,{part})" for part in parts if part and part != '""')


def heading(draft: PaperDraft, words: str, *, low: float = 12, high: float = 22) -> str:
    """The title block; nothing for a document without one."""
    if not words:
        return ""
    shown = styled(
        bold(draft.plain("document_title", words), is_bold=draft.style.chance("title_bold", 0.8)),
        size=points(draft.style.number("title_size", low, high)),
    )
    return draft.sheet.block("header", shown)


def _head(draft: PaperDraft, words: str) -> list[str]:
    """Company and title as papers within a company begin."""
    style = draft.style
    company = letterhead(draft) or bold(draft.name(draft.role("issuer")))
    head, title = draft.sheet.block("header", company), heading(draft, words)
    shape = style.pick("sheet_head", ("beside", "beside", "centred", "title first", "stacked"))
    if shape == "beside":
        return [grid("(1fr,auto)", [head, title], column_gutter="12pt", align="(left+horizon,right+horizon)")]
    if shape == "centred":
        return [head, aligned("center", title)]
    return [title, head] if shape == "title first" else [head, title]


def _sheet(draft: PaperDraft, words: str) -> str:
    """A sheet of a company's own: head, pairs over the whole width, tables, sums, signatures."""
    info = draft.sheet.block(
        "header",
        arrange(draft, paper_pairs(draft), name="info", options=(*ARRANGEMENTS, "boxed_above", "wide", "zebra")),
    )
    if draft.style.chance("info_framed", 0.25):
        info = call("rect", info, width="100%", inset="6pt", stroke="0.5pt")
    return paragraphs([*_head(draft, words), info, *paper_tail(draft)])


def _till(draft: PaperDraft, words: str) -> str:
    """A till's strip: shop, items, total, payment, thanks."""
    style = draft.style
    shop = [
        bold(draft.name("seller")),
        *address_lines(draft, "seller", name="till"),
        *contact_lines(draft, draft.issuer, name="till"),
    ]
    if draft.issuer["vat_id"] and style.chance("till_vat", 0.7):
        shop.append(join(text(style.word("vat_id") + " "), draft.vat("seller")))
    rule = _till_rule(draft)
    shop_block = stack(shop, spacing=style.number("till_gap", 2.5, 4)) + ",width:100%"
    side = style.pick("till_side", ("center", "center", "center", "left"))
    parts = [
        aligned(side, draft.sheet.block("header", shop_block)),
        aligned("center", heading(draft, words, low=9, high=13)) if style.chance("till_title", 0.6) else "",
        draft.sheet.block("header", _till_info(draft)), rule, _till_items(draft), rule,
        draft.sheet.block("totals", _till_sums(draft)), _till_payment(draft), rule,
    ]  # fmt: skip
    thanks = [
        draft.sentence(one)
        for one in style.rng("texts").sample(
            labels(style.language)["texts"]["RECEIPT"], style.pick("text_sentences", (1, 1, 2, 3))
        )
    ]
    parts.append(aligned("center", draft.sheet.block("text", stack(thanks, spacing=4) + ",width:100%")))
    if style.chance("till_code", 0.4):
        parts.append(aligned("center", _bars(draft)))
    return paragraphs(parts)


def _till_info(draft: PaperDraft) -> str:
    """Number, date, till: label and value on a line, the value beside it or at the edge."""
    widths = draft.style.pick("till_info", ("(auto,1fr)", "(1fr,auto)", "(auto,auto)"))
    cells = [part for pair in paper_pairs(draft, has_noise=False) for part in (text(pair.label), pair.value)]
    return grid(widths, cells, column_gutter="5pt", row_gutter="3.5pt")


def _till_rule(draft: PaperDraft) -> str:
    shape = draft.style.pick("till_rule", ("dashed", "dashed", "solid", "signs"))
    if shape == "signs":
        sign = draft.style.pick("till_sign", ("-", "=", "*"))
        return call("repeat", text(sign))
    return call("line", length="100%", stroke='(thickness:0.6pt,dash:"dashed")' if shape == "dashed" else "0.6pt")


def _till_items(draft: PaperDraft) -> str:
    names = draft.style.pick("columns/any", draft.description["tables"]["any"])
    cells = [
        cell_of(draft, name, row, index, place)
        for index, row in enumerate(draft.facts["lines"])
        for place, name in enumerate(names)
    ]
    widths = ",".join("1fr" if name == "description" else "auto" for name in names)
    sides = ",".join("left" if name in ("description", "quantity") else "right" for name in names)
    gap = points(draft.style.number("till_row", 2.5, 5))
    return grid(f"({widths},)", cells, column_gutter="5pt", row_gutter=gap, align=f"({sides},)")


def _till_sums(draft: PaperDraft) -> str:
    style, values = draft.style, draft.facts["values"]
    rows = [name for name in ("net_amount", "tax_amount") if style.chance(f"total/{name}", 0.6)]
    rows.insert(0 if style.chance("total_first", 0.6) else len(rows), "total_amount")
    rows += [name for name in ("given_amount", "change_amount") if name in values]
    cells = []
    for name in rows:
        pair = value_pair(draft, name)
        is_total = name == "total_amount"
        label = text(pair.label)
        if name == "tax_amount" and style.chance("till_rate", 0.7):
            label = join(text(pair.label + " "), draft.header("tax_rate"))
        size = f"{style.number('till_total', 1.0, 1.3):.2f}em" if is_total else ""
        cells += [styled(bold(part, is_bold=is_total), size=size) if size else part for part in (label, pair.value)]
    return grid("(1fr,auto)", cells, row_gutter="4pt", align="(left,right)")


def _till_payment(draft: PaperDraft) -> str:
    style, values = draft.style, draft.facts["values"]
    rows = [grid("(1fr,auto)", [text(word_of(draft, "payment_method")), draft.header("payment_method")])]
    if "card_number" in values and style.chance("till_card", 0.8):
        rows += [join(text(word_of(draft, name) + " "), draft.header(name)) for name in ("card_number", "terminal")]
    if "time" in values and style.chance("till_time", 0.8):
        rows.append(grid("(1fr,auto)", [draft.header("document_date"), draft.header("time")]))
    if draft.must_name_currency and style.chance("till_currency", 0.6):
        rows.append(join(text(style.word("currency") + " "), draft.currency_word()))
    return stack(rows, spacing=4)


def _bars(draft: PaperDraft) -> str:
    widths = [draft.rng.choice((0.6, 0.6, 1.2, 1.8)) for _ in range(40)]
    bars = [
        call("rect", width=points(width), height="22pt", fill="black" if index % 2 else "white")
        for index, width in enumerate(widths)
    ]
    return stack(bars, direction="ltr")


def _till_page(draft: PaperDraft) -> str:
    style = draft.style
    margin = points(style.number("till_margin", 8, 16))
    return call(
        "set page", width=points(style.pick("till_width", (164.4, 164.4, 198.4, 226.8, 226.8, 240.0))), height="auto",
        margin=f"(x:{margin},y:{points(style.number('till_end', 12, 40))})", header="none", footer="none",
    ) + "\n" + call(
        "set text", font=text(style.pick("till_font", _MONOSPACED)), size=points(style.number("till_size", 6.6, 7.8)),
        lang=language(style.language), hyphenate="false", ligatures="false",
    )  # fmt: skip


def _boxes(draft: PaperDraft, words: str) -> str:
    """A printed form of numbered boxes, as transport and customs have."""
    style = draft.style
    forms = draft.description["boxes"]
    number, cells = 0, []
    shape = style.pick("box_number", ("{}", "{}", "{}.", "({})", ""))
    for row in forms[style.pick("form", list(forms))]:
        for content, span in row:
            if content != "title":
                number += 1
            inside = _box(draft, content, shape.format(number), words)
            cells.append(call("table.cell", inside, colspan=str(span), inset="0pt" if content == "lines" else ""))
    stroke = style.pick(
        "box_stroke",
        ("0.5pt", "0.8pt", "0.4pt+gray", '0.6pt+rgb("#8a1b2c")', '0.6pt+rgb("#2c6e49")', '0.5pt+rgb("#1b4f8a")'),
    )
    inset = points(style.number("box_pad", 2.5, 5))
    return paragraphs([call("table", *cells, columns="(1fr,)*12", stroke=stroke, inset=inset), paper_note(draft)])


def paper_note(draft: PaperDraft) -> str:
    """Small print below a form."""
    known = labels(draft.style.language)["form_notes"]
    if not draft.style.chance("form_note", 0.5):
        return ""
    note = styled(text(draft.style.rng("form_note").choice(known)), size="0.75em")
    return draft.sheet.block("text", note)


def _box(draft: PaperDraft, content: str, number: str, words: str) -> str:
    style = draft.style
    kind, _, name = content.partition(":")
    if kind == "title":
        high = min(17.0, _TITLE_BOX / max(map(len, words.split()), default=1))
        return stack([heading(draft, words, low=min(11.0, high), high=high), call("v", "6pt")]) if words else '""'
    if kind == "lines":
        return stack([paper_table(draft), _room(draft, "lines", high=150)])
    if kind == "sign":
        return stack([_box_label(draft, style.word("signs", name), number), call("v", "26pt")])
    if kind == "blank":
        filled = style.word("blanks", name) if draft.rng.random() < 0.3 else ""
        return stack(
            [_box_label(draft, style.word("boxes", name), number), text(filled) if filled else call("v", "9pt")],
            spacing=3,
        )
    if kind == "text":
        clause = styled(text(style.rng("clause").choice(labels(style.language)["clauses"][name])), size="0.78em")
        return draft.sheet.block("text", clause)
    if kind == "party":
        inside = lines([draft.name(name), *address_lines(draft, name, name="box")])
        return draft.sheet.block(
            "address", stack([_box_label(draft, draft.heading(name), number), inside, _room(draft, "party")], spacing=3)
        )
    value = draft.header(content) if content in draft.facts["values"] else ""
    return stack([_box_label(draft, word_of(draft, content), number), value or call("v", "8pt")], spacing=3)


def _room(draft: PaperDraft, name: str, *, high: float = 24) -> str:
    """The empty space that printed forms leave below what is filled in."""
    return call("v", points(draft.style.number(f"room/{name}", 3, high)))


def _box_label(draft: PaperDraft, word: str, number: str) -> str:
    size = f"{draft.style.number('box_label', 0.62, 0.8):.2f}em"
    parts = [text(f"{number} ")] if number else []
    colour = draft.style.pick("box_label_fill", ("black", "luma(90)", "luma(60)"))
    return styled(join(*parts, text(word)), size=size, fill=colour)


def _form_fields(draft: PaperDraft, words: str) -> str:
    """A form that someone filled in: labels over lines or in boxes, choices to tick."""
    style = draft.style
    fields = draft.description["fields"][draft.facts["variant"]]
    shape = style.pick("field_shape", ("line", "line", "box", "above", "rows", "dots"))
    cells = [_form_field(draft, name, shape) for name in fields if name in draft.facts["values"]]
    across = 1 if shape == "rows" else style.pick("fields_across", (1, 2, 2, 3))
    gap = points(style.number("field_gap", 7, 15))
    body = grid(f"({'1fr,' * across})", cells, column_gutter="14pt", row_gutter=gap)
    sections = [
        call("rect", body, width="100%", inset="8pt", stroke="0.5pt") if style.chance("form_frame", 0.3) else body
    ]
    sections += [
        _choices(draft, group)
        for group in style.rng("choices").sample(
            labels(style.language)["choices"], style.pick("choice_count", (1, 2, 2, 3))
        )
    ]
    if style.chance("form_sections", 0.6):
        heads = style.rng("form_heads").sample(labels(style.language)["form_sections"], len(sections))
        bar = style.pick("form_bar", ('rgb("#dbe9f6")', "luma(225)", "white", 'rgb("#1b4f8a")'))
        ink = "white" if bar == 'rgb("#1b4f8a")' else "black"
        sections = [
            stack(
                [call("block", styled(bold(text(head)), fill=ink), fill=bar, width="100%", inset="4pt"), part],
                spacing=6,
            )
            for head, part in zip(heads, sections, strict=True)
        ]
    return paragraphs([*_head(draft, words), *sections, paper_note(draft), signatures(draft)])


def _form_field(draft: PaperDraft, name: str, shape: str) -> str:
    style = draft.style
    word = text(word_of(draft, name) + style.pick("field_colon", (":", ":", "", " :")))
    is_blank = draft.rng.random() < 0.12 and name not in ("person", "document_date")
    hand = style.pick("field_ink", ("black", "black", 'rgb("#1a3e8c")'))
    value = (
        call("v", "1em")
        if is_blank
        else styled(
            draft.header(name),
            fill=hand,
            font=text(
                style.pick("field_font", ("DejaVu Sans Mono", "STIXGeneral", "HK Grotesk", "New Computer Modern"))
            ),
        )
    )
    if shape == "line":
        return grid(
            "(auto,1fr)",
            [word, stack([value, call("line", length="100%", stroke="0.4pt")], spacing=2)],
            column_gutter="5pt",
        )
    if shape == "box":
        return stack(
            [styled(word, size="0.8em"), call("rect", value, width="100%", stroke="0.5pt", inset="4pt")], spacing=2.5
        )
    if shape == "above":
        return stack([value, call("line", length="100%", stroke="0.4pt"), styled(word, size="0.75em")], spacing=2.5)
    if shape == "dots":
        return grid(
            "(auto,1fr)",
            [word, stack([value, call("line", length="100%", stroke='(thickness:0.6pt,dash:"dotted")')], spacing=2)],
            column_gutter="5pt",
        )
    return call("table", word, value, columns="(35%,1fr)", stroke="0.4pt", inset="4pt")


def _choices(draft: PaperDraft, group: dict[str, list[str]]) -> str:
    """A question with options to tick."""
    style = draft.style
    ((question, options),) = group.items()
    ticked = draft.rng.randrange(len(options))
    boxes = []
    for index, option in enumerate(options):
        inside = text("x") if index == ticked else ""
        box = call(
            "box",
            inside or '""',
            width="7pt",
            height="7pt",
            stroke="0.5pt",
            baseline="1pt",
            inset="1pt" if inside else "",
        )
        boxes.append(join(styled(box, size="6pt"), text(" " + option)))
    if style.chance("options_stacked", 0.4):
        return stack([text(question), *boxes], spacing=5)
    return stack([text(question), grid(f"({'auto,' * len(boxes)})", boxes, column_gutter="16pt")], spacing=5)


def _datasheet(draft: PaperDraft, words: str) -> str:
    """Sixteen sections over pages, as regulations ask of safety data sheets."""
    style = draft.style
    vocabulary = labels(style.language)
    info = draft.sheet.block(
        "header",
        arrange(draft, paper_pairs(draft), name="info", options=("columns", "wide", "zebra", "colon", "boxed")),
    )
    parts = [*_head(draft, words), info]
    shape = style.pick("section_shape", ("{}. ", "{} ", "SECTION {}: ", "{}) "))
    size = f"{style.number('section_size', 1.0, 1.25):.2f}em"
    bar = style.pick("section_bar", ("none", "none", "luma(225)", 'rgb("#dbe9f6")'))
    prefix = shape.replace("SECTION", vocabulary["section_word"])
    for number, section in enumerate(vocabulary["safety"], start=1):
        head = styled(
            bold(text(prefix.format(number) + style.rng(f"safety/{number}").choice(section["titles"]))), size=size
        )
        parts.append(call("block", head, width="100%", fill=bar, inset="2.5pt", sticky="true"))
        count = min(len(section["texts"]), style.pick("section_length", (2, 3, 4)))
        chosen = style.rng(f"safety_text/{number}").sample(section["texts"], count)
        rows = [draft.sentence(one) for one in chosen]
        if number == 1 and style.chance("safety_supplier", 0.9):
            rows.append(join(text(draft.heading("seller") + ": "), draft.name("seller")))
            rows += address_lines(draft, "seller", name="safety")
        parts.append(draft.sheet.block("text", stack(rows, spacing=4)))
    return paragraphs(parts)


def _transfer(draft: PaperDraft, words: str) -> str:
    """A bank's form to pay by: boxes, often shaded, smaller than the page."""
    fill = draft.style.pick("slip_fill", ("white", 'rgb("#fbe9e0")', 'rgb("#eef3fb")', "luma(245)"))
    width = draft.style.pick("slip_width", ("100%", "100%", "82%"))
    slip = call("block", "{" + _boxes(draft, words) + "}", fill=fill, width=width, inset="8pt", stroke="0.5pt")
    return paragraphs([letterhead(draft) if draft.style.chance("slip_head", 0.4) else "", slip])


LOOKS: dict[str, Callable[[PaperDraft, str], str]] = {
    "sheet": _sheet,
    "till": _till,
    "boxes": _boxes,
    "transfer": _transfer,
    "form_fields": _form_fields,
    "datasheet": _datasheet,
    "free": free,
}
"""Body of a look, from the draft and the words of its title (empty for none)."""
PAGES: dict[str, Callable[[PaperDraft], str]] = {"till": _till_page}
"""Page rules of looks that have no common page."""
