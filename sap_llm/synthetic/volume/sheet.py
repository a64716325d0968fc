"""The pages of one document while they are drawn: where the current one ends, and turning to the next.

Page breaks, running heads and feet belong here; what stands between does not (`pages`).
"""

from collections.abc import Callable
from functools import partial

from sap_llm.synthetic.blocks_parties import footer
from sap_llm.synthetic.volume.canvas import Canvas, Fragment
from sap_llm.synthetic.volume.flowing import no_room
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import Printer

Draw = Callable[[Canvas, float, float, float], float]
"""Draws at x, y in a width; returns the height."""
_MAX_PAGES = 40


class Sheet:
    """A growing list of pages; `canvas` is the current one."""

    def __init__(self, printer: Printer) -> None:
        self.printer, self.look = printer, printer.look
        self.foot: Fragment = self.look.expression(
            ("foot", printer.key(printer.issuer)), partial(printer.draft, "foot"), footer, self.look.inner
        )
        self.top = self.look.top
        self.bottom = self.look.height - max(self.look.bottom - 20, self.foot.height + 34)
        self.pages = [Canvas(height=self.look.height)]

    @property
    def canvas(self) -> Canvas:
        """The current page."""
        return self.pages[-1]

    def turn(self) -> float:
        """Begin the next page; returns its upper edge."""
        if len(self.pages) >= _MAX_PAGES:
            raise no_room(f"a document of {_MAX_PAGES} pages", self.printer)
        self.pages.append(Canvas(height=self.look.height))
        return self.top

    def place(self, draw: Draw, x: float, y: float, width: float, kind: str = "") -> float:
        """Draw a block that stays together, on the next page if this one is too short; returns its lower edge."""
        for _ in range(2):
            canvas = self.canvas
            state = canvas.state()
            start = canvas.count
            lower = y + draw(canvas, x, y, width)
            if lower <= self.bottom:
                if kind:
                    canvas.block(kind, start)
                return lower
            canvas.go_back(state)
            y = self.turn()
        raise no_room("a block", self.printer)

    def stamp(self, fragment: Fragment, x: float, y: float, kind: str = "") -> float:
        """Stamp a fragment as a block; returns its lower edge."""
        start, lower = self.canvas.count, y + fragment.height
        if lower > self.look.height:
            raise no_room("a block", self.printer)
        self.canvas.stamp(fragment, x, y)
        if kind:
            self.canvas.block(kind, start)
        return lower

    def finish(self) -> list[Canvas]:
        """Put head and foot on all pages."""
        look = self.look
        style = look.style
        shape = style.pick("running_head", ("none", "none", "none", "page", "note"))
        foot_y = look.height - self.foot.height - 16
        for number, canvas in enumerate(self.pages, start=1):
            if self.foot.text.number:
                start = canvas.count
                canvas.stamp(self.foot, look.left, foot_y)
                canvas.block("footer", start)
            if shape == "page":
                self._page_number(canvas, number)
            elif shape == "note":
                canvas.write(look.left, 18.0, look.once("head_note", self._head_note), look.ink(look.size * 0.75))
        return self.pages

    def _head_note(self) -> str:
        style = self.look.style
        note: str = style.rng("head_note").choice([one for one in style.synonyms("noise", "all") if "{" not in one])
        return note

    def _page_number(self, canvas: Canvas, number: int) -> None:
        look = self.look
        style = look.style
        text = f"{style.word('page')} {number}"
        if style.chance("page_total", 0.6):
            text += f" {style.pick('page_of', style.synonyms('page_of'))} {len(self.pages)}"
        ink = look.ink(look.size * 0.8)
        is_right = style.pick("page_side", ("right", "left")) == "right"
        x = look.width - look.left - ink.width(text) if is_right else look.left
        canvas.write(x, 12.0 + CAP_HEIGHT * ink.size, text, ink)
