"""How one issuer's documents of one class look: everything that is decided once and used for each document.

Fonts, sizes, margins and label wording of a style, and the fragments that never change, belong here; values do not
(`printing`), nor arranging them (`pairs`, `line_table`, `sums`, `pages`).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, TypeVar

from sap_llm.synthetic.classes import Role
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import Mark
from sap_llm.synthetic.style import Style
from sap_llm.synthetic.volume.canvas import BLACK, Canvas, Fragment, Ink, NoRoomError
from sap_llm.synthetic.volume.fonts import face
from sap_llm.synthetic.volume.markup_art import Node, Painter, Setting, parse
from sap_llm.synthetic.volume.placing import drawn

T = TypeVar("T")

FONTS = (
    "DejaVu Sans", "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "STIXGeneral", "STIXGeneral", "HK Grotesk",
    "HK Grotesk", "HK Grotesk Medium",
)  # fmt: skip
GRAY = "0.353 g"
_SIZES = ((595.28, 841.89), (595.28, 841.89), (595.28, 841.89), (595.0, 842.0), (612.0, 792.0))
_NARROW = {"DejaVu Sans": 0.92, "DejaVu Serif": 0.92, "DejaVu Sans Mono": 0.84, "STIXGeneral": 1.06}
_ZOOMS = (1.0, 0.86, 0.74)  # a block with a long word is set smaller before the page is
_FRAGMENTS = 96  # kept of a look; test layouts are shared by the issuers of many worlds
# What the expressions of the other tier would print of single documents, where fragments serve all of an issuer.
_PRESET: dict[str, Any] = {"form_number": False}


class Look:
    """The compiled layout of a style for one class.

    Args:
        style: The issuer's style, with the choices of this tier.
        kind: Document class.
        scale: Below 1 where a page would else not hold its values.
        family: Of fonts, instead of the style's own.
    """

    def __init__(self, style: Style, kind: str, scale: float = 1.0, family: str = "") -> None:
        self.kind, self.language = kind, style.language
        self.style = style
        pick, number = self.style.pick, self.style.number
        self.font = family or pick("volume/font", FONTS)
        tracking = round(1000 * pick("tracking", (0, 0, 0, 0, -0.02, 0.02, 0.04)))
        self.faces = tuple(face(self.font, is_bold=is_bold, tracking=tracking) for is_bold in (False, True))
        self.width, self.height = pick("volume/size", _SIZES)
        self.size = number("font_size", 7.6, 10.6) * scale * _NARROW.get(self.font, 1.0)
        self.leading = number("leading", 0.42, 0.75)
        self.gap = number("block_gap", 9, 22) * scale
        self.left = number("margin_x", 34, 72) * scale
        self.top, self.bottom = number("margin_top", 28, 70), number("margin_bottom", 62, 90)
        self.inner = self.width - 2 * self.left
        thousands, point = self.style.number_shape
        self.number_shape = (spaced(thousands), point)
        self.is_sign_behind = self.style.chance("trailing_minus", 0.04)
        self._rng = random.Random(0)  # of drafts that draw nothing
        self.family = self.draft({}, "EUR", "seller").family
        self._inks: dict[tuple[bool, float, str], Ink] = {}
        self._fragments: dict[Any, Fragment] = {}
        self.text = self.ink()
        self.bold = self.ink(is_bold=True)
        self.setting = Setting(ink=self._ink, size=self.size, leading=self.leading, zoom=scale)
        self.shared: dict[Any, Any] = {}
        """What other modules work out once for this look."""

    def ink(self, size: float = 0.0, *, is_bold: bool = False, colour: str = BLACK) -> Ink:
        """The ink of a size in points (0: that of the text)."""
        return self._ink(is_bold, size or self.size, colour)

    def _ink(self, is_bold: bool, size: float, colour: str) -> Ink:
        key = (is_bold, size, colour)
        found = self._inks.get(key)
        if found is None:
            found = self._inks[key] = Ink(self.faces[is_bold], f"/F{is_bold:d}", size, colour)
        return found

    def once(self, name: Any, make: Callable[[], T]) -> T:
        """What `make` returns, made once for this look."""
        found = self.shared.get(name, self)
        if found is self:
            found = self.shared[name] = make()
        made: T = found
        return made

    def expression(
        self, key: Any, make_draft: Callable[[], Draft], build: Callable[[Draft], str], width: float
    ) -> Fragment:
        """The expression that `build` makes of a draft, drawn once for this look and key."""
        key = (key, round(width, 2))
        found = self._fragments.get(key)
        if found is None:
            if len(self._fragments) >= _FRAGMENTS:
                self._fragments.clear()
            draft = make_draft()
            found = self._fragments[key] = self._draw(key, build(draft), draft.sheet.marks, width)
        return found

    def _draw(self, key: Any, source: str, marks: Sequence[Mark], width: float) -> Fragment:
        if source in ("", '""'):
            return drawn(lambda _: 0.0)
        node = parse(source)
        for zoom in _ZOOMS:
            setting = replace(self.setting, zoom=zoom * self.setting.zoom, size=zoom * self.size)
            try:  # on a canvas of its own, for what is half drawn stays
                return drawn(partial(_paint, node=node, marks=marks, width=width, setting=setting))
            except NoRoomError:
                continue
        raise NoRoomError(f"the block {key[0]} does not fit", where=self.style.seed, remedy="Set it smaller.")

    def draft(
        self, facts: dict[str, Any], currency: str, role: Role, *, subtype: str | None = None, name: str = ""
    ) -> Draft:
        """A draft for choices, or with a name for expressions that are the same on all documents of the look."""
        return Draft(
            kind=self.kind, subtype=subtype, facts=facts, currency=currency, style=self.style, issuer_role=role,
            rng=random.Random(f"{self.style.seed}/volume/{name}") if name else self._rng,
        )  # fmt: skip

    def label(self, word: str, name: str) -> tuple[str, Ink]:
        """A label with the style's punctuation and ink, as `blocks_pairs.label` prints it."""
        return self.once(f"label/{name}/{word}", lambda: self._label(word, name))

    def _label(self, word: str, name: str) -> tuple[str, Ink]:
        style = self.style
        ending = style.pick(f"colon/{name}", (":", ":", ":", "", "", " :", "."))
        ending = "" if word.endswith((".", ":")) and ending == "." else ending
        if style.chance(f"label_bold/{name}", 0.25):
            return word + ending, self.bold
        return word + ending, self.ink(colour=GRAY) if style.chance(f"label_gray/{name}", 0.2) else self.text


def _paint(canvas: Canvas, *, node: Node, marks: Sequence[Mark], width: float, setting: Setting) -> float:
    return Painter(canvas, marks).draw(node, 0.0, 0.0, width, setting)


def spaced(text: str) -> str:
    """The text with plain spaces: the fonts have no others, and readers part words at each kind."""
    return text.replace("\u00a0", " ").replace("\u202f", " ")


@lru_cache(maxsize=128)
def look_of(seed: str, language: str, country: str, is_test: bool, kind: str, scale: float, family: str) -> Look:
    """The look of a style; the last ones are kept."""
    return Look(_style_of(seed, language, country, is_test, kind), kind, scale, family)


@lru_cache(maxsize=128)
def _style_of(seed: str, language: str, country: str, is_test: bool, _kind: str) -> Style:
    """The style for all sizes of a look: its own, for the other tier fills other choices in under the same names."""
    return Style(seed=seed, language=language, country=country, is_test=is_test, _choices=dict(_PRESET))
