"""What is drawn beside the words: logos, stamps, and the page of terms at the end.

Shapes and print that no value needs belong here; what an issuer says about itself does not (`blocks_parties`), nor
damage done to a page later (`augmentation`). Nothing here covers anything: stamps stand in the flow of the page.
"""

from collections.abc import Callable
from datetime import date, timedelta

from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import aligned, bold, call, points, stack, styled, text
from sap_llm.synthetic.pools import read_data

_COLOURS = ("#1b4f8a", "#8a1b2c", "#2c6e49", "#d35400", "#5b2c83", "#0e7c86", "#444444", "#c99700")
_INKS = ("#1b3f8a", "#b3202c", "#333333")
_STAMPED, _WITH_TERMS = 0.07, 0.06
_CLAUSES = (6, 12)


def logo(draft: Draft, head: str) -> str:
    """The head of a letter with a drawn mark beside or above it, in some styles."""
    style = draft.style
    if not head or not style.chance("drawn_logo", 0.4):
        return head
    size = style.number("logo_mark", 14, 34)
    mark = _SHAPES[style.pick("logo_shape", tuple(_SHAPES))](size, f'rgb("{style.pick("logo_colour", _COLOURS)}")')
    if style.chance("logo_above", 0.3):
        return stack([mark, head], spacing=6)
    return call(
        "grid", *([head, mark] if style.chance("logo_behind", 0.2) else [mark, head]), columns="(auto,auto)",
        column_gutter=points(size / 3), align="horizon",
    )  # fmt: skip


def _bars(size: float, colour: str) -> str:
    heights = (0.45, 0.7, 1.0)
    bars = [call("rect", width=points(size / 4), height=points(size * part), fill=colour) for part in heights]
    return aligned("bottom", stack(bars, spacing=size / 12, direction="ltr"))


def _waves(size: float, colour: str) -> str:
    rows = [call("rect", width=points(size), height=points(size / 6), fill=colour, radius="40%") for _ in "abc"]
    return stack(rows, spacing=size / 7)


_SHAPES: dict[str, Callable[[float, str], str]] = {
    "disc": lambda size, colour: call("circle", radius=points(size / 2), fill=colour),
    "ring": lambda size, colour: call("circle", radius=points(size / 2.4), stroke=f"{points(size / 7)}+{colour}"),
    "square": lambda size, colour: call("square", size=points(size), fill=colour, radius="20%"),
    "triangle": lambda size, colour: call(
        "polygon", f"(0pt,{points(size)})", f"({points(size)},{points(size)})", f"({points(size / 2)},0pt)", fill=colour
    ),
    "hexagon": lambda size, colour: f"polygon.regular(fill:{colour},size:{points(size)},vertices:6)",
    "pair": lambda size, colour: stack(
        [call("circle", radius=points(size / 3), fill=tone) for tone in (colour, f"{colour}.lighten(45%)")],
        spacing=-size / 5,
        direction="ltr",
    ),
    "bars": _bars,
    "waves": _waves,
}


def stamp(draft: Draft) -> str:
    """A stamp below everything else on some documents: a word, often with a day after the document's."""
    style, rng = draft.style, draft.rng
    if rng.random() >= _STAMPED:
        return ""
    ink = f'rgb("{rng.choice(_INKS)}")'
    rows = [bold(styled(text(rng.choice(style.synonyms("stamps"))), size=points(rng.choice((11, 13, 16)))))]
    if rng.random() < 0.6:
        day = date.fromisoformat(draft.facts["document_date"]) + timedelta(days=rng.randint(1, 20))
        rows.append(styled(text(style.date(day)), size="8pt"))
    framed = call(
        "rect", styled(aligned("center", stack(rows, spacing=4)), fill=ink), stroke=f"1.4pt+{ink}", inset="7pt",
        radius=rng.choice(("0pt", "4pt")),
    )  # fmt: skip
    return call("block", aligned(rng.choice(("left", "center", "right")), framed), width="100%", above="26pt")


def terms_page(draft: Draft) -> str:
    """The issuer's general terms on a page of their own, behind documents of some layouts that make contracts."""
    style = draft.style
    if draft.spec.payment == "none" or not style.chance("terms_page", _WITH_TERMS):
        return ""
    clauses = read_data(f"prose_{style.language}")["clauses"]
    chosen = style.rng("terms_clauses").sample(clauses, min(len(clauses), style.pick("terms_count", _CLAUSES)))
    parts = []
    for number, (title, *sentences) in enumerate(chosen, start=1):
        rows = [bold(text(f"{number}. {title}")), *(draft.sentence(one) for one in sentences)]
        parts.append(f"block(breakable:false,{stack(rows, spacing=3)})")
    heading = bold(styled(text(style.word("terms_heading")), size="1.2em"))
    across = style.pick("terms_across", ("1", "2", "2", "3"))
    body = draft.sheet.block(
        "text", f"{{set text(size:0.8em)\n{call('columns', across, _braced(parts), gutter='14pt')}}}"
    )
    return "\n".join(("pagebreak()", f"block({heading})", body))


def _braced(parts: list[str]) -> str:
    return "{" + "\n".join(parts) + "}"
