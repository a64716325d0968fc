"""Titles and sentences of the volume tier: what a document says between its blocks.

Choosing and setting titles, introductions, remarks and prose belongs here; label-value pairs and sums do not (`pairs`,
`sums`), nor the order of blocks (`pages`).
"""

from dataclasses import dataclass

from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Canvas, Ink
from sap_llm.synthetic.volume.flowing import sentence, set_value, set_words, width_of
from sap_llm.synthetic.volume.printing import Piece, Printer


@dataclass(frozen=True, kw_only=True)
class TitleLook:
    """What a look decides about its title."""

    shape: str
    between: str
    of: str
    ink: Ink
    number_once: bool
    date_once: bool


def title_look(printer: Printer) -> TitleLook:
    """The title's look, made once."""
    return printer.look.once("title", lambda: _title_look(printer))


def _title_look(printer: Printer) -> TitleLook:
    look = printer.look
    style = look.style
    shape = style.pick("title", ("plain", "plain", "plain", "number", "number date", "colon number"))
    size = style.number("title_size", 11, 24 if shape == "plain" else 15)
    return TitleLook(
        shape=shape,
        between=style.pick("title_number", (*style.synonyms("number_word"), "")),
        of=style.word("of"),
        ink=look.ink(size * look.size / 9, is_bold=style.chance("title_bold", 0.75)),
        number_once=style.chance("number_once", 0.6),
        date_once=style.chance("date_once", 0.3),
    )


def title_pieces(printer: Printer) -> list[Piece]:
    """The title with number and date where the look puts them there; empty for a document without title."""
    look, facts = title_look(printer), printer.facts
    words = _title_words(printer)
    if not words or look.shape == "plain":
        return [(words, "document_title", words)] if words else []
    number = facts["document_number"]
    if look.shape == "colon number":
        return [(f"{words}:", "document_title", words), (number, "document_number", number)]
    pieces: list[Piece] = [(words, "document_title", words), (number, "document_number", number)]
    if look.between:
        pieces.insert(1, (look.between, "", ""))
    if look.shape == "number date":
        pieces += [(look.of, "", ""), *printer.date("document_date", facts["document_date"])]
    return pieces


def _title_words(printer: Printer) -> str:
    style, rng = printer.look.style, printer.rng
    if not printer.is_titled:
        misleading = style.synonyms("misleading_titles")
        return "" if rng.random() < 0.5 else misleading[int(rng.random() * len(misleading))]
    named = labels(style.language)["subtypes"].get(f"{printer.kind}.{printer.subtype}")
    if named and rng.random() < 0.92:
        word: str = style.pick(f"subtype/{printer.kind}.{printer.subtype}", named)
        return word
    return style.word("titles", printer.kind)


def title(printer: Printer, pieces: list[Piece], canvas: Canvas, x: float, y: float, width: float, side: str) -> float:
    """Set the title; returns its height."""
    if not pieces:
        return 0.0
    ink = title_look(printer).ink
    look = printer.look
    natural = width_of(tuple(pieces), ink)
    if natural > width and natural < 1.6 * width:
        ink = look.ink(ink.size * width / natural * 0.98, is_bold=ink.face is look.bold.face)
    return set_value(canvas, x, y, width, tuple(pieces), ink, look, side=side)


def intro(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """The sentences before the line items; returns the height."""
    look = printer.look
    template = look.once(("intro", bool(printer.facts["order_number"])), lambda: _intro(printer))
    top = y
    for part in template.split("|") if template else ():
        y += set_words(canvas, x, y, width, sentence(printer, part), look.text, look) + 6
    height = _prose(printer, canvas, x, y, width, "above")
    return max(0.0, y + height - top - (0 if height else 6)) if y + height > top else 0.0


def _intro(printer: Printer) -> str:
    style = printer.look.style
    choices = [one for one in labels(style.language)["intro"].get(printer.kind, ()) if printer.can_say(one)]
    if not choices or not style.chance("intro", 0.55):
        return ""
    chosen: str = style.rng(f"intro/{printer.kind}").choice(choices)
    return chosen


def _prose(printer: Printer, canvas: Canvas, x: float, y: float, width: float, place: str) -> float:
    """A paragraph about other things, full of dates, amounts and numbers that are no fields."""
    look = printer.look
    chosen = look.once(f"prose/{place}", lambda: _prose_templates(printer, place))
    if not chosen:
        return 0.0
    if look.style.chance("prose_lines", 0.3):
        top = y
        for template in chosen:
            y += set_words(canvas, x, y, width, sentence(printer, template), look.text, look) + 4
        return y - 4 - top
    return set_words(canvas, x, y, width, sentence(printer, " ".join(chosen)), look.text, look)


def _prose_templates(printer: Printer, place: str) -> list[str]:
    style = printer.look.style
    if printer.issuer != "seller" or not printer.probe.is_priced:  # it speaks of money that is asked for
        return []
    if not style.chance("prose", 0.16) or style.pick("prose_place", ("above", "below", "below")) != place:
        return []
    vocabulary = style.synonyms("prose")
    count = min(len(vocabulary), style.pick("prose_sentences", (2, 3, 4, 6, 9)))
    return style.rng("prose_text").sample(vocabulary, count)


def notes(printer: Printer, canvas: Canvas, x: float, y: float, width: float) -> float:
    """Remarks, greeting and prose below the sums; returns the height."""
    look, top = printer.look, y
    for template in look.once("notes", lambda: _notes(printer)):
        y += set_words(canvas, x, y, width, sentence(printer, template), look.text, look) + 4
    for words in _subtype_notes(printer):
        y += set_words(canvas, x, y, width, ((words, "", ""),), look.text, look) + 4
    for piece in _closing(printer):
        y += set_words(canvas, x, y, width, (piece,), look.text, look) + 4
    if y > top:
        y -= 4
    height = _prose(printer, canvas, x, y + 8, width, "below")
    return y - top + (8 + height if height else 0.0)


def _subtype_notes(printer: Printer) -> list[str]:
    """What says the subtype: nearly always where the title does not."""
    style, name = printer.look.style, f"{printer.kind}.{printer.subtype}"
    vocabulary = labels(style.language)
    named, notes = vocabulary["subtypes"].get(name), vocabulary["subtype_notes"].get(name)
    found = []
    if notes and printer.rng.random() < (0.6 if named and printer.is_titled else 0.95):
        found.append(style.pick(f"subtype_note/{name}", notes))
    if named and not printer.is_titled and printer.rng.random() < 0.6:
        found.append(f"{vocabulary['subtype_note']}: {style.pick(f'subtype/{name}', named)}")
    return found


def _notes(printer: Printer) -> list[str]:
    style = printer.look.style
    count = style.pick("noise_sentences", (0, 0, 1, 1, 2, 3))
    is_bill = printer.spec.sums == "taxed" and printer.issuer == "seller"
    kinds = ["all", printer.issuer] + (["bill"] if is_bill else [])
    return style.rng("noise_text").sample([one for kind in kinds for one in style.synonyms("noise", kind)], count)


def _greeting(printer: Printer) -> str:
    style = printer.look.style
    words = style.synonyms("closing") + (style.synonyms("seller_closing") if printer.issuer == "seller" else [])
    return style.rng("closing").choice(words)


def _closing(printer: Printer) -> list[Piece]:
    style = printer.look.style
    if not style.chance("closing", 0.3):
        return []
    word: str = printer.look.once("closing", lambda: _greeting(printer))
    found: list[Piece] = [(word, "", "")]
    if style.chance("closing_name", 0.5):
        party = printer.facts[printer.issuer]
        if style.chance("closing_company", 0.6):
            found.append((party["name"], f"{printer.issuer}_name", party["name"]))
        else:
            found.append((party["contact"], "", ""))
    return found
