"""Pages of running text: letters, terms, minutes, brochures, resumes, plain notes, nearly empty pages.

The bodies of the class OTHER belong here; looks with boxes and tables do not (`papers_looks`). Their words are in
`data/prose_<language>.yaml`; they are no labels, so they are not merged with those.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from sap_llm.synthetic.blocks_parties import address_lines, letterhead
from sap_llm.synthetic.markup import aligned, bold, call, grid, join, lines, points, stack, styled, text
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.pools import company_name, read_data, surname


def free(draft: PaperDraft, words: str) -> str:
    """The body of a page of running text, by its variant."""
    parts = _VARIANTS[draft.facts["variant"]](draft, words)
    return "\n".join(f"block(width:100%,{part})" for part in parts if part and part != '""') or "[]"


def _prose(draft: PaperDraft) -> dict[str, Any]:
    return read_data(f"prose_{draft.style.language}")


def _sample(draft: PaperDraft, options: Sequence[Any], low: int, high: int) -> list[Any]:
    """Some of the options in random order; texts differ by document, not by issuer."""
    return draft.rng.sample(options, min(len(options), draft.rng.randint(low, high)))


def _sentences(draft: PaperDraft, options: Sequence[str], low: int, high: int) -> str:
    chosen = [draft.sentence(one) for one in _sample(draft, options, low, high)]
    return join(*[piece for one in chosen for piece in (text(" "), one)][1:])


def _paragraphs(draft: PaperDraft, options: Sequence[str], count: int) -> list[str]:
    """So many paragraphs of one to three sentences; no sentence twice. After a greeting German goes on in small."""
    rest = draft.rng.sample(options, len(options))
    rest = rest[:1] + [f"{one[0].upper()}{one[1:]}" for one in rest[1:]]
    found = []
    for _ in range(count):
        taken, rest = rest[: (size := draft.rng.randint(1, 3))], rest[size:]
        if taken:
            found.append(join(*[piece for one in taken for piece in (text(" "), draft.sentence(one))][1:]))
    return found


def _in_columns(blocks: Sequence[str], count: int, gap: str) -> str:
    """Blocks in columns of about the same number of blocks, as a printer would balance them."""
    size = -(-len(blocks) // count)
    parts = [blocks[start : start + size] for start in range(0, len(blocks), size)]
    return grid(f"({'1fr,' * count})", [stack(part, spacing=9) for part in parts], column_gutter=gap)


def _block(draft: PaperDraft, expression: str) -> str:
    return draft.sheet.block("text", expression)


def _headline(draft: PaperDraft, words: str, *, low: float = 12, high: float = 18) -> str:
    if not words:
        return ""
    shown = styled(bold(text(words)), size=points(draft.style.number("headline", low, high)))
    return draft.sheet.block("header", shown)


def _justified(draft: PaperDraft, expression: str) -> str:
    """A paragraph, set to both margins in some styles."""
    return f"{{set par(justify:true)\n{expression}}}" if draft.style.chance("justified", 0.4) else expression


def _letter(draft: PaperDraft, _words: str) -> list[str]:
    style, prose = draft.style, _prose(draft)
    window = [draft.name("addressee"), *address_lines(draft, "addressee", name="window")]
    if style.chance("sender_line", 0.4):
        window.insert(0, styled(draft.name("sender"), size="0.75em"))
    paragraphs = [
        _justified(draft, one)
        for one in _paragraphs(draft, prose["letter"], style.pick("letter_length", (2, 3, 3, 4, 5)))
    ]
    greeting = draft.rng.choice(prose["greetings"]).replace("{surname}", surname(draft.rng, style.language))
    subject = bold(draft.sentence(draft.rng.choice(prose["subjects"])), is_bold=style.chance("subject_bold", 0.8))
    end = [
        text(draft.rng.choice(prose["closings"])),
        call("v", points(style.number("sign_gap", 10, 40))),
        text(draft.issuer["contact"]),
    ]
    place = draft.sentence(style.rng("place_date").choice(prose["place_date"]))
    head = draft.sheet.block("header", aligned(style.pick("head_side", ("left", "right", "center")), letterhead(draft)))
    return [
        head, draft.sheet.block("address", stack(window, spacing=4)),
        aligned(style.pick("date_side", ("right", "left")), place),
        _block(draft, subject) if style.chance("subject", 0.85) else "", text(greeting),
        *(_block(draft, paragraph) for paragraph in paragraphs), stack(end, spacing=4),
    ]  # fmt: skip


def _terms(draft: PaperDraft, words: str) -> list[str]:
    style, prose = draft.style, _prose(draft)
    parts = []
    shape = style.pick("clause_shape", ("{}. {}", "§ {} {}", "{} {}", "{}) {}"))
    for number, (title, *sentences) in enumerate(_sample(draft, prose["clauses"], 9, 13), start=1):
        rows = [bold(text(shape.format(number, title)))]
        for index, sentence in enumerate(_sample(draft, sentences, 2, 3), start=1):
            mark = f"{number}.{index} " if style.chance("clause_numbers", 0.6) else ""
            rows.append(join(text(mark), draft.sentence(sentence)) if mark else draft.sentence(sentence))
        parts.append(_block(draft, _justified(draft, stack(rows, spacing=4))))
    columns = style.pick("terms_columns", (1, 2, 2, 2, 3))
    sized = styled(_in_columns(parts, columns, "14pt"), size=f"{style.number('terms_size', 0.62, 0.9):.2f}em")
    issuer = draft.name("sender") if style.chance("terms_issuer", 0.6) else ""
    dated = draft.header("document_date") if style.chance("terms_date", 0.4) else ""
    return [_headline(draft, words, low=10, high=15), issuer, dated, sized]


def _minutes(draft: PaperDraft, words: str) -> list[str]:
    style, prose = draft.style, _prose(draft)
    people = [draft.sentence("{person}"), *(text(_person(draft)) for _ in range(draft.rng.randint(2, 5)))]
    listed = join(*[piece for one in people for piece in (text(", "), one)][1:])
    values = [
        draft.header("document_date"),
        text(draft.issuer["address"]["city"]),
        listed,
        text(_person(draft)),
        text("10:00 - 11:30"),
    ]
    cells = [
        part
        for label, value in zip(prose["meeting_labels"], values, strict=True)
        for part in (text(label + ":"), value)
    ]
    parts = [
        _headline(draft, words),
        draft.sheet.block("header", grid("(auto,1fr)", cells, column_gutter="10pt", row_gutter="4pt")),
    ]
    for number, topic in enumerate(_sample(draft, prose["agenda"], 3, 6), start=1):
        rows = [
            bold(text(f"{number}. {topic}" if style.chance("agenda_numbers", 0.7) else topic)),
            _sentences(draft, prose["minutes"], 1, 3),
        ]
        parts.append(_block(draft, stack(rows, spacing=5)))
    if style.chance("actions", 0.6):
        cells = [bold(text(word)) for word in prose["actions_heading"]]
        for action in _sample(draft, prose["actions"], 2, 4):
            cells += [text(action), text(_person(draft)), draft.sentence("{other_date}")]
        parts.append(call("table", *cells, columns="(1fr,auto,auto)", stroke="0.4pt", inset="4pt"))
    return parts


def _person(draft: PaperDraft) -> str:
    language = draft.style.language
    return f"{draft.rng.choice('ABCDEFGHJKLMNPRSTUVW')}. {surname(draft.rng, language)}"


def _brochure(draft: PaperDraft, _words: str) -> list[str]:
    style, prose = draft.style, _prose(draft)
    fill = style.pick(
        "brochure_fill", ('rgb("#1b4f8a")', 'rgb("#2c6e49")', 'rgb("#d35400")', "luma(40)", 'rgb("#f3d9b1")')
    )
    ink = "black" if "f3d9b1" in fill else "white"
    banner = stack(
        [
            styled(bold(text(draft.rng.choice(prose["headlines"]))), size=points(style.number("banner", 20, 34))),
            draft.name("sender"),
        ],
        spacing=10,
    )
    parts = [
        call(
            "block", styled(banner, fill=ink), fill=fill, width="100%", inset=points(style.number("banner_pad", 14, 60))
        )
    ]
    cells = [
        stack([styled(bold(text(title)), size="1.3em"), text(about)], spacing=6)
        for title, about in _sample(draft, prose["features"], 3, 6)
    ]
    across = style.pick("brochure_across", (1, 2, 3))
    parts.append(
        grid(f"({'1fr,' * across})", [_block(draft, cell) for cell in cells], column_gutter="18pt", row_gutter="22pt")
    )
    if style.chance("brochure_picture", 0.6):
        parts.append(call("rect", width="100%", height=points(style.number("picture", 70, 190)), fill="luma(215)"))
    call_to = [bold(text(draft.rng.choice(prose["calls"]))), text(draft.issuer["phone"]), text(draft.issuer["web"])]
    return [*parts, aligned(style.pick("call_side", ("left", "center")), lines(call_to))]


def _resume(draft: PaperDraft, _words: str) -> list[str]:
    style, prose, rng = draft.style, _prose(draft), draft.rng
    title, *labels = prose["resume_labels"]
    name = styled(bold(draft.header("person")), size=points(style.number("headline", 16, 26)))
    address = draft.issuer["address"]
    values = [
        text(style.date(date(1958, 1, 1) + timedelta(days=rng.randrange(16_000)))),
        text(f"{address['postcode']} {address['city']}"),
        text(draft.issuer["phone"]),
        text(draft.issuer["email"]),
    ]
    cells = [part for label, value in zip(labels, values, strict=True) for part in (text(label + ":"), value)]
    parts = [
        name,
        text(title) if style.chance("resume_title", 0.7) else "",
        grid("(auto,1fr)", cells, column_gutter="10pt", row_gutter="4pt"),
    ]
    contents = [
        _dated(draft, _sample(draft, prose["jobs"], 2, 4)),
        _dated(draft, _sample(draft, prose["schools"], 1, 3)),
    ]
    contents += [text(", ".join(_sample(draft, prose[key], 2, 5))) for key in ("skills", "tongues", "interests")]
    for heading, content in zip(prose["resume_sections"], contents, strict=True):
        if heading != prose["resume_sections"][4] or rng.random() < 0.6:
            line = call("line", length="100%", stroke="0.5pt") if style.chance("resume_rules", 0.5) else ""
            parts.append(_block(draft, stack([bold(styled(text(heading), size="1.15em")), line, content], spacing=5)))
    return parts


def _dated(draft: PaperDraft, entries: list[str]) -> str:
    year, cells = draft.rng.randint(2015, 2026), []
    for entry in entries:
        start = year - draft.rng.randint(1, 6)
        employer = company_name(draft.rng, draft.issuer["country"])
        cells += [text(f"{start} - {year}"), draft.sentence(entry.replace("{company}", employer))]
        year = start
    return grid("(70pt,1fr)", cells, row_gutter="5pt")


def _readme(draft: PaperDraft, _words: str) -> list[str]:
    """Plain text as from an editor: one font, signs for headings and lists."""
    style, prose = draft.style, _prose(draft)
    title_mark, mark = style.pick("readme_mark", (("# ", "## "), ("== ", "-- "), ("", ""), ("*** ", "* ")))
    bullet = style.pick("bullet", ("- ", "* ", "", "  "))
    rows = [text(title_mark + draft.rng.choice(prose["readme_titles"])), text("")]
    rest = _sample(draft, prose["readme"], len(prose["readme"]), len(prose["readme"]))
    for head in _sample(draft, prose["readme_heads"], 2, 4):
        rows += [text(""), text(mark + head), text("-" * len(head) if style.chance("underlined", 0.4) else "")]
        taken, rest = rest[:2], rest[2:]
        rows += [text(bullet + one.replace("{email}", draft.issuer["email"])) for one in taken]
    plain = stack([row if row != '""' else call("v", "3pt") for row in rows], spacing=5)
    return [
        _block(
            draft, f'{{set text(font:"DejaVu Sans Mono",size:{points(style.number("readme_size", 7, 9))})\n{plain}}}'
        )
    ]


def _article(draft: PaperDraft, _words: str) -> list[str]:
    style, prose = draft.style, _prose(draft)
    paragraphs = [
        _block(draft, _justified(draft, one)) for one in _paragraphs(draft, prose["article"], draft.rng.randint(4, 8))
    ]
    across = style.pick("article_columns", (1, 2, 2, 3))
    return [
        _headline(draft, draft.rng.choice(prose["article_titles"]), low=16, high=26),
        _in_columns(paragraphs, across, "16pt"),
    ]


def _near_blank(draft: PaperDraft, _words: str) -> list[str]:
    note = draft.rng.choice(_prose(draft)["blank_notes"]).replace("{page}", str(draft.rng.randint(2, 90)))
    height = points(draft.rng.choice((0, 40, 260, 330)))
    return [call("v", height), aligned(draft.rng.choice(("left", "center", "right")), text(note))]


def _blank(_draft: PaperDraft, _words: str) -> list[str]:
    return []


_VARIANTS: dict[str, Callable[[PaperDraft, str], list[str]]] = {
    "letter": _letter,
    "terms": _terms,
    "minutes": _minutes,
    "brochure": _brochure,
    "resume": _resume,
    "readme": _readme,
    "article": _article,
    "near_blank": _near_blank,
    "blank": _blank,
}
