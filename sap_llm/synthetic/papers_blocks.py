"""Blocks of papers after their description: pairs, tables with declared columns, sums, texts, signatures.

Blocks that any look may use belong here; looks of their own, such as a till's, do not (`papers_looks`).
"""

from collections.abc import Sequence
from typing import Any

from sap_llm.synthetic.blocks_lines import ruled_table
from sap_llm.synthetic.blocks_noise import Pair, noise_pairs
from sap_llm.synthetic.blocks_pairs import arrange
from sap_llm.synthetic.blocks_parties import party_box
from sap_llm.synthetic.blocks_totals import headed, plain_totals
from sap_llm.synthetic.markup import Mark, bold, call, grid, join, lines, points, stack, styled, text
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.papers_values import column, field_of
from sap_llm.synthetic.style import labels

_NUMBERS = ("amount", "quantity", "integer", "percent")
_BARE = ("readme", "resume", "blank")  # kinds of OTHER that are on no company's paper


def has_footer(draft: PaperDraft) -> bool:
    """Whether the page may have the footer of its issuer."""
    return draft.kind != "OTHER" or draft.facts["variant"] not in _BARE


def title_key(draft: PaperDraft) -> str:
    """The key of the words for the title: of the paper's variant where it has words of its own."""
    known = labels(draft.style.language)["titles"]
    forms = (draft.facts["variant"], draft.style.pick("form", list(draft.description.get("boxes", ("",)))))
    return next((key for form in forms if (key := f"{draft.kind}.{form}") in known), draft.kind)


def word_of(draft: PaperDraft, name: str) -> str:
    """The label of a header value."""
    if name in ("document_number", "document_date"):
        return draft.style.word(name.removeprefix("document_"), draft.kind)
    return draft.style.word("vessel" if (name, draft.kind) == ("vehicle_id", "BILL_OF_LADING") else name)


def value_pair(draft: PaperDraft, name: str) -> Pair:
    """A header value under its label."""
    return Pair(word_of(draft, name), draft.header(name))


def paper_pairs(draft: PaperDraft, *, has_number: bool = True, has_noise: bool = True) -> list[Pair]:
    """The info block: what the style shows of the values that the paper has, in the style's order."""
    style, values = draft.style, draft.facts["values"]
    chances = draft.description["pairs"]
    names = [name for name, chance in chances.items() if name in values and style.chance(f"pair/{name}", chance)]
    if not has_number:
        names = [name for name in names if name != "document_number"]
    if "currency" in values and "currency" not in names and draft.must_name_currency:
        names.append("currency")
    if style.chance("info_shuffled", 0.5):
        first, rest = names[:1], names[1:]
        style.rng("info_order").shuffle(rest)
        names = first + rest
    found = [value_pair(draft, name) for name in names]
    has_noise = has_noise and draft.is_by_trader
    return found + (noise_pairs(draft)[:3] if has_noise and style.chance("paper_noise", 0.35) else [])


def paper_table(draft: PaperDraft) -> str:
    """The line table in the style's order of columns; nothing for a paper without lines."""
    rows = draft.facts["lines"]
    tables = draft.description["tables"]
    variant = draft.facts["variant"] if draft.facts["variant"] in tables else "any"
    if not rows or not tables.get(variant):
        return ""
    names = draft.style.pick(f"columns/{variant}", tables[variant])
    return table_of(draft, names, rows, is_lines=True)


def table_of(draft: PaperDraft, names: Sequence[str], rows: Sequence[dict[str, Any]], *, is_lines: bool) -> str:
    """A table of declared columns; with `is_lines` its cells are marked as those of line items."""
    header = [
        bold(
            draft.sheet.mark(Mark(row=0, column=place), text(word)) if is_lines else text(word),
            is_bold=draft.style.chance("heading_bold", 0.65),
        )
        for place, word in enumerate(draft.style.word("columns", name) for name in names)
    ]
    cells = [
        cell_of(draft, name, row, index if is_lines else -1, place)
        for index, row in enumerate(rows)
        for place, name in enumerate(names)
    ]
    wide = [bool(column(name).get("wide")) for name in names]
    if not any(wide):
        wide[-1] = draft.style.chance("table_wide", 0.8)
    return ruled_table(
        draft, header, cells, widths=["1fr" if is_wide else "auto" for is_wide in wide],
        sides=[_side(draft, name) for name in names],
    )  # fmt: skip


def _side(draft: PaperDraft, name: str) -> str:
    sides = ("right", "right", "right", "center") if column(name).get("type") in _NUMBERS else ("left",)
    return draft.style.pick(f"side/{name}", sides)


def cell_of(draft: PaperDraft, name: str, row: dict[str, Any], index: int, place: int) -> str:
    """One cell, or nothing where the row has no such value; `index` is -1 in tables without line items."""
    spec = column(name)
    if "parts" in spec:
        found = [cell for part in spec["parts"] if (cell := cell_of(draft, part, row, index, place)) != '""']
        if not found:
            return '""'
        if spec.get("inline") or draft.style.chance(f"inline/{name}", 0.4):
            return join(*[piece for cell in found for piece in (text(" "), cell)][1:])
        return lines(found)
    value = str(row.get("number" if name == "position" else spec.get("from", name), ""))
    if not value:
        return '""'
    kind = spec.get("type", "string")
    if kind == "word":
        kind, value = "string", draft.style.word("words", value)
    elif kind == "weekday":
        kind, value = "string", labels(draft.style.language)["weekdays"][int(value)]
    if index < 0:
        return draft.typed("", kind, value)
    return draft.typed(
        field_of(spec.get("field", ""), draft.kind), kind, value, line=index, row=index + 1, column=place
    )


def paper_totals(draft: PaperDraft) -> str:
    """The sums below the table."""
    values = draft.facts["values"]
    names = [name for name in draft.description.get("totals", ()) if name in values]
    if not names:
        return ""
    shown = [name for name in names[:-1] if draft.style.chance(f"total/{name}", 0.8)] + names[-1:]
    return plain_totals(draft, [value_pair(draft, name) for name in shown])


def paper_tail(draft: PaperDraft) -> list[str]:
    """Everything below parties and info: tables, sums, account, texts, signatures."""
    style, spec, facts = draft.style, draft.description, draft.facts
    boxes = [
        draft.sheet.block("address", party_box(draft, role))
        for role in spec.get("parties", ())
        if style.chance(f"party/{role}", 0.85)
    ]
    main = paper_table(draft)
    parts = [*boxes, headed(draft, "lines", main) if len(facts["lines"]) < 12 and draft.is_by_trader else main]
    for name in spec.get("more", ()):
        if facts["tables"].get(name):
            heading = bold(text(style.word("table_headings", name)))
            table = table_of(draft, style.pick(f"columns/{name}", spec[name]), facts["tables"][name], is_lines=False)
            parts.append(stack([heading, table], spacing=5))
    if sums := paper_totals(draft):
        parts.append(draft.sheet.block("totals", sums + ",breakable:false,width:100%"))
    after = [
        name
        for name, chance in spec.get("after", {}).items()
        if name in facts["values"] and style.chance(f"after/{name}", chance)
    ]
    if after:
        pairs = [value_pair(draft, name) for name in after]
        parts.append(
            draft.sheet.block("text", arrange(draft, pairs, name="bank", options=("colon", "columns", "inline")))
        )
    return [part for part in [*parts, paper_text(draft), signatures(draft)] if part] or [""]


def paper_text(draft: PaperDraft) -> str:
    """Sentences of the class below the table."""
    known = labels(draft.style.language)["texts"].get(draft.kind, ())
    count = min(len(known), draft.style.pick("text_sentences", (0, 1, 1, 2, 2, 3)))
    if not count:
        return ""
    chosen = [draft.sentence(sentence) for sentence in draft.style.rng("texts").sample(known, count)]
    if draft.style.chance("text_lines", 0.5):
        return draft.sheet.block("text", stack(chosen, spacing=5))
    return draft.sheet.block("text", join(*[piece for one in chosen for piece in (text(" "), one)][1:]))


def sign_field(draft: PaperDraft, concept: str) -> str:
    """A line to sign on, with what belongs there below; some are signed with a name."""
    word = styled(text(draft.style.word("signs", concept)), size="0.8em")
    signed = draft.style.chance(f"signed/{concept}", 0.4) and draft.rng.random() < 0.7
    name = styled(text(draft.issuer["contact"]), style='"italic"', size="1.1em") if signed else call("v", "1em")
    return stack([name, call("line", length="90%", stroke="0.5pt"), word], spacing=3)


def signatures(draft: PaperDraft) -> str:
    """The row of lines to sign on, in styles that have one."""
    concepts = draft.description.get("sign", ())
    if not concepts or not draft.style.chance("signatures", 0.65):
        return ""
    fields = [sign_field(draft, concept) for concept in concepts]
    gap = points(draft.style.number("sign_gap", 14, 36))
    return stack([call("v", gap), grid(f"({'1fr,' * len(fields)})", fields, column_gutter="14pt")])
