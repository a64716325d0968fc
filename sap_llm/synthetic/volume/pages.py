"""Whole pages of the volume tier: families of arrangements that put blocks in order.

The order and places of blocks belong here; the blocks do not (`texts`, `pairs`, `line_table`, `sums`, and `markup_art`
for parties). The families are those of `layouts`, three of them kept for test layouts.
"""

from collections.abc import Callable
from functools import partial

from sap_llm.synthetic.blocks_parties import address_window, letterhead, other_parties, party_box, party_form, ship_to
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import stack
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Canvas
from sap_llm.synthetic.volume.flowing import no_room, set_value
from sap_llm.synthetic.volume.line_table import LineTable, table_look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.pairs import ARRANGEMENTS, arrange, arrangement, info_pairs
from sap_llm.synthetic.volume.printing import Piece, Printer
from sap_llm.synthetic.volume.sheet import Sheet
from sap_llm.synthetic.volume.sums import currency_note, payment, shape_of, shows_totals, tail, totals
from sap_llm.synthetic.volume.texts import intro, notes, title, title_look, title_pieces

_WIDE = ("wide", "table_row", "boxed_above", "inline")  # arrangements that need the page's whole width


class Composition:
    """One document while it is drawn."""

    def __init__(self, printer: Printer) -> None:
        self.printer, self.look = printer, printer.look
        self.style = printer.look.style
        self.x, self.width, self.gap = self.look.left, self.look.inner, self.look.gap
        self.narrow = 0.3 * self.width if self.look.family == "sidebar" else 0.0
        """Width of a column beside everything else."""
        self.body = (self.x + self.narrow + 14, self.width - self.narrow - 14) if self.narrow else (self.x, self.width)
        """Left edge and width of what has the line items."""
        self.table = LineTable(printer, *self.body)  # before all else, for it is what most often does not fit
        self.sheet = Sheet(printer)
        self.title: list[Piece] = title_pieces(printer)
        shape = title_look(printer)
        has_number = bool(self.title) and shape.shape != "plain" and shape.number_once
        has_date = has_number and shape.shape == "number date" and shape.date_once
        self.has_place_date = self.look.family == "letter" and self.style.chance("place_date", 0.15)
        self.info = info_pairs(printer, has_number=not has_number, has_date=not (has_date or self.has_place_date))

    # Each of these draws at x, y in a width and returns the lower edge.

    def party(self, build: Callable[[Draft], str], name: str, x: float, y: float, width: float, kind: str) -> float:
        """A block that is the same on all documents between the two parties."""
        key = (name, self.printer.both())
        fragment = self.look.expression(key, partial(self.printer.draft, name), build, width)
        if not fragment.text.number:
            return y
        return self.sheet.stamp(fragment, x, y, kind)

    def box(self, role: str, x: float, y: float, width: float, *, name: str = "party") -> float:
        """The box of a party."""
        return self.party(partial(party_box, role=role, name=name), f"box/{role}", x, y, width, "address")

    def put_title(self, x: float, y: float, width: float, side: str = "left") -> float:
        """The title, if the document has one."""
        canvas = self.sheet.canvas
        start = canvas.count
        height = title(self.printer, self.title, canvas, x, y, width, side)
        canvas.block("header", start)
        return y + height

    def put_info(self, x: float, y: float, width: float, options: tuple[str, ...] = ARRANGEMENTS) -> float:
        """The info block."""
        canvas = self.sheet.canvas
        start = canvas.count
        lower = y + arrange(canvas, self.printer, self.info, x, y, width, name="info", options=options)
        if lower > self.look.height:
            raise no_room("the info block", self.printer)
        canvas.block("header", start)
        return lower

    def others(self, share: float, x: float, y: float, width: float) -> float:
        """Boxes of third parties, in that share of looks."""
        if not self.style.chance("other_party", share):
            return y
        return self.party(lambda draft: stack(other_parties(draft), spacing=10), "others", x, y, width, "address")

    def below(self, y: float) -> float:
        """Where the next block begins."""
        return y + self.gap

    def tail(self, y: float) -> None:
        """Introduction, line table, sums, payment and closing texts."""
        x, width = self.body
        y = self.text(intro, x, y, width)
        y = self.lines(y, x, width)
        y = self.sums(y, x, width)
        parts = [payment, notes]
        if self.style.chance("notes_first", 0.2):
            parts.reverse()
        for part in parts:
            y = self.text(part, x, y, width)

    def text(self, draw: Callable[..., float], x: float, y: float, width: float) -> float:
        """Sentences, if the document has them; the edge is that of the next block."""
        lower = self.sheet.place(partial(draw, self.printer), x, y, width, "text")
        return self.below(lower) if lower != y else y

    def lines(self, y: float, x: float, width: float) -> float:
        """The line table under its heading."""
        if len(self.printer.facts["lines"]) < 8:
            y = self._heading("lines", x, y)
        if y + 60 > self.sheet.bottom:
            y = self.sheet.turn()
        y = self.table.draw(self.sheet, y)
        if shows_totals(self.printer) and shape_of(self.printer) == "tail":
            y = self.sheet.place(partial(tail, self.printer), x, y + 3, width, "totals")
        return self.below(y)

    def sums(self, y: float, x: float, width: float) -> float:
        """Totals, or the currency alone."""
        printer = self.printer
        if shows_totals(printer):
            lower = self.sheet.place(partial(self._headed_totals), x, y, width, "totals")
            return self.below(lower) if lower > y else y
        if printer.must_name_currency and "net_amount" in table_look(printer).names:
            return self.below(self.sheet.place(partial(currency_note, printer), x, y, width))
        return y

    def _headed_totals(self, canvas: Canvas, x: float, y: float, width: float) -> float:
        words = self.look.once("section/totals", lambda: self._section("totals"))
        top = y
        if words and shape_of(self.printer) != "tail":
            ink = self.look.ink(self.look.size * 1.15, is_bold=True)
            canvas.write(x, y + CAP_HEIGHT * ink.size, words, ink)
            y += CAP_HEIGHT * ink.size + 6
        return y + totals(self.printer, canvas, x, y, width) - top

    def _section(self, name: str) -> str:
        style = self.style
        if not style.chance("section_headings", 0.22):
            return ""
        word: str = style.pick(f"section/{name}", labels(style.language)["sections"][name])
        return word

    def _heading(self, name: str, x: float, y: float) -> float:
        words = self.look.once(f"section/{name}", lambda: self._section(name))
        if not words:
            return y
        ink = self.look.ink(self.look.size * 1.15, is_bold=True)
        if y + 60 > self.sheet.bottom:
            y = self.sheet.turn()
        self.sheet.canvas.write(x, y + CAP_HEIGHT * ink.size, words, ink)
        return y + CAP_HEIGHT * ink.size + 6

    def place_date(self, y: float) -> float:
        """The line with place and date above a letter."""
        template = self.look.once(
            "place_date", lambda: self.style.rng("place_date_words").choice(labels(self.look.language)["place_date"])
        )
        before, _, _ = template.partition("{date}")
        city = before.replace("{city}", self.printer.facts[self.printer.issuer]["address"]["city"]).strip()
        date = self.printer.date("document_date", self.printer.facts["document_date"])
        value = ((city, "", ""), *date) if city else date
        side = self.style.pick("place_date_side", ("right", "left"))
        return y + set_value(self.sheet.canvas, self.x, y, self.width, value, self.look.text, self.look, side=side)

    def both(self) -> list[str]:
        """Seller and buyer in the look's order."""
        return ["buyer", "seller"] if self.style.chance("buyer_first", 0.3) else ["seller", "buyer"]


def letter(page: Composition) -> None:
    """Letterhead, address window, info block beside it."""
    style, x, width = page.style, page.x, page.width
    side = style.pick("head_side", ("left", "right", "center"))
    head = partial(_aligned_head, side=side)
    y = page.below(page.party(head, f"head/{side}", x, page.sheet.top, width, "header"))
    is_title_first = not style.chance("title_below", 0.7)
    if is_title_first and page.title:
        y = page.below(page.put_title(x, y, width))
    window, info = partial(page.party, address_window, "window", kind="address"), page.put_info
    if arrangement(page.look, "info") in _WIDE or style.chance("info_below", 0.22):
        y = info(x, window(x, y, width * 0.55) + 16, width)
    else:
        share = style.pick("volume/letter_columns", (0.5, 0.55, 0.6))
        first, second = (info, window) if style.chance("window_right", 0.12) else (window, info)
        left = first(x, y, width * share - 12)
        y = max(left, second(x + width * share + 12, y, width * (1 - share) - 12))
    y = page.below(y)
    if page.has_place_date:
        y = page.below(page.place_date(y))
    if not is_title_first and page.title:
        y = page.below(page.put_title(x, y, width))
    lower = page.others(0.08, x, y, width * 0.6)
    page.tail(page.below(lower) if lower > y else y)


def _aligned_head(draft: Draft, side: str) -> str:
    head = letterhead(draft)
    return f"align({side},{head})" if head else ""


def modern(page: Composition) -> None:
    """Title against letterhead, parties in a row, info before or after."""
    style, x, width = page.style, page.x, page.width
    half = width / 2
    head = partial(page.party, letterhead, "head", kind="header")
    top = page.sheet.top
    if style.chance("title_right", 0.6) or not page.title:
        y = max(head(x, top, half - 8), page.put_title(x + half, top, half, "right"))
    else:
        y = max(page.put_title(x, top, half - 8), head(x + half, top, half))
    y = page.below(y)
    roles = page.both()
    if style.chance("info_beside", 0.3):
        left = y
        for role in roles:
            left = page.box(role, x, left, half - 10) + 12
        y = max(left, page.put_info(x + half + 10, y, half - 10))
    else:
        if is_info_first := style.chance("info_first", 0.4):
            y = page.below(page.put_info(x, y, width))
        y = max(page.box(role, x + index * half, y, half - 14) for index, role in enumerate(roles))
        if not is_info_first:
            y = page.put_info(x, page.below(y), width)
    page.tail(page.below(_extra_parties(page, page.below(y), 0.3, 0.2)))


def _extra_parties(page: Composition, y: float, ship: float, other: float) -> float:
    """Where goods go and third parties, beside each other; returns the lower edge."""
    half = page.width / 2
    lower = y - page.gap
    x = page.x
    if page.style.chance("ship_to", ship):
        lower = page.party(ship_to, "ship", x, y, half - 14, "address")
        x += half
    return max(lower, page.others(other, x, y, half - 14) if page.style.chance("other_party", other) else lower)


def form(page: Composition) -> None:
    """Sections of labelled rows."""
    style, x, width = page.style, page.x, page.width
    y = page.sheet.top
    if page.title:
        y = page.below(page.put_title(x, y, width))
    options = ("zebra", "zebra", "columns", "colon", "boxed")
    if is_first := style.chance("form_info_first", 0.7):
        y = page.below(page.put_info(x, y, width, options))
    half = width / 2
    sections = [(partial(party_form, role=role), f"form/{role}") for role in page.both()]
    if style.chance("form_beside", 0.25):
        y = max(
            page.party(build, name, x + index * half, y, half - 7, "address")
            for index, (build, name) in enumerate(sections)
        )
        y = page.below(y)
    else:
        for build, name in sections:
            y = page.below(page.party(build, name, x, y, width, "address"))
    if style.chance("other_party", 0.35):
        y = page.below(page.others(0.35, x, y, width))
    if not is_first:
        y = page.below(page.put_info(x, y, width, options))
    page.tail(page.sheet.turn() if style.chance("form_break", 0.2) else y)


def boxed(page: Composition) -> None:
    """Parties and info in frames, two in a row."""
    style, x, width = page.style, page.x, page.width
    y = page.sheet.top
    if style.chance("boxed_head", 0.5):
        y = page.below(page.party(letterhead, "head", x, y, width, "header"))
    if page.title:
        y = page.below(page.put_title(x, y, width))
    inset = style.number("box_inset", 3, 8)
    gap = 8.0 if style.chance("boxes_loose", 0.4) else 0.0
    column = (width - gap) / 2
    room = column - 2 * inset
    draws: list[Callable[[float, float], float]] = [partial(_boxed_party, page, role, room) for role in page.both()]
    if style.chance("ship_to", 0.4):
        draws.append(lambda at, top: page.party(ship_to, "ship", at, top, room, "address"))
    if style.chance("other_party", 0.45):
        draws.append(lambda at, top: page.others(0.45, at, top, room))
    draws.insert(style.pick("info_slot", (0, 1, 1, 2)), lambda at, top: page.put_info(at, top, room))
    for start in range(0, len(draws), 2):
        row = draws[start : start + 2]
        lower = max(draw(x + index * (column + gap) + inset, y + inset + 2) for index, draw in enumerate(row)) + inset
        for index in range(len(row)):
            page.sheet.canvas.frame(x + index * (column + gap), y, column, lower - y, line=0.5)
        y = lower + gap
    page.tail(page.below(y))


def _boxed_party(page: Composition, role: str, room: float, x: float, y: float) -> float:
    return page.box(role, x, y, room)


def plain(page: Composition) -> None:
    """Everything below each other."""
    style, x, width = page.style, page.x, page.width
    y = page.sheet.top
    is_title_first = style.chance("plain_title_first", 0.6)
    if is_title_first and page.title:
        y = page.below(page.put_title(x, y, width))
    for role in page.both():
        y = page.below(page.box(role, x, y, width))
    if style.chance("other_party", 0.2):
        y = page.below(page.others(0.2, x, y, width))
    if not is_title_first and page.title:
        y = page.below(page.put_title(x, y, width))
    y = page.put_info(x, y, width, ("colon", "columns", "inline", "wide"))
    page.tail(page.below(y))


def compact(page: Composition) -> None:
    """Issuer against title, recipient against info."""
    style, x, width, printer = page.style, page.x, page.width, page.printer
    half = width / 2
    y = page.sheet.top
    left = page.box(printer.issuer, x, y, half - 10, name="issuer")
    y = page.below(max(left, page.put_title(x + half + 10, y, half - 10)))
    options = ("wide", "inline", "boxed_above", "columns", "above")
    recipient = partial(page.box, printer.recipient, name="recipient")
    if arrangement(page.look, "info", options) in _WIDE:
        y = page.put_info(x, page.below(recipient(x, y, half)), width, options)
    else:
        info = partial(page.put_info, options=options)
        first, second = (info, recipient) if style.chance("compact_swap", 0.3) else (recipient, info)
        y = max(first(x, y, half - 10), second(x + half + 10, y, half - 10))
    page.tail(page.below(y))


def sidebar(page: Composition) -> None:
    """Info and parties in a narrow column beside everything else (a test layout)."""
    x, width = page.x, page.width
    y = page.below(page.put_title(x, page.sheet.top, width))
    lower = page.put_info(x, y, page.narrow, ("above", "colon", "columns"))
    for role in page.both():
        lower = page.box(role, x, lower + 18, page.narrow)
    page.tail(y)


def sums_first(page: Composition) -> None:
    """Sums above the line items, parties last (a test layout)."""
    x, width = page.x, page.width
    y = page.below(page.put_title(x, page.sheet.top, width))
    y = page.below(page.put_info(x, y, width))
    y = page.sums(y, x, width)
    y = page.text(payment, x, y, width)
    y = page.lines(y, x, width)
    if y + 130 > page.sheet.bottom:
        y = page.sheet.turn()
    half = width / 2
    lower = max(page.box(role, x + index * half, y, half - 14) for index, role in enumerate(page.both()))
    page.text(notes, x, page.below(lower), width)


def two_up(page: Composition) -> None:
    """Names alone, beside the info block (a test layout)."""
    x, width, printer = page.x, page.width, page.printer
    half = width / 2
    y = page.sheet.top
    left = page.put_info(x, y, half - 9, ("boxed", "columns"))
    at = page.put_title(x + half + 9, y, half - 9) + 12
    canvas = page.sheet.canvas
    start = canvas.count
    for role in ("seller", "buyer"):
        name = printer.facts[role]["name"]
        at += 9 + set_value(
            canvas, x + half + 9, at, half - 9, ((name, f"{role}_name", name),), page.look.text, page.look
        )
    canvas.block("address", start)
    page.tail(page.below(max(left, at)))


_FAMILIES: dict[str, Callable[[Composition], None]] = {
    "letter": letter, "modern": modern, "form": form, "boxed": boxed, "plain": plain, "compact": compact,
    "sidebar": sidebar, "sums_first": sums_first, "two_up": two_up,
}  # fmt: skip


def draw_pages(printer: Printer) -> list[Canvas]:
    """All pages of a document.

    Raises:
        NoRoomError: A value does not fit into its place.
        UndrawableTextError: The look's fonts lack a letter.
    """
    page = Composition(printer)
    _FAMILIES[page.look.family](page)
    return page.sheet.finish()
