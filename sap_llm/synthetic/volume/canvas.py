"""The page while it is drawn: PDF operators, words with boxes, and what the words mean.

Placing text, rules and fills, and keeping what never changes as fragments, belongs here; what is drawn does not
(`markup_art`, `blocks`), nor the file around pages (`pdf`). Points, y downwards from the upper edge.
"""

import itertools
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.schema.errors import SapLlmError
from sap_llm.synthetic.volume.fonts import Face, Shaped

Boxes = npt.NDArray[np.float64]
BLACK = "0 g"
_X_AND_Y = [0, 1, 0, 1, 1]  # of left, top, right, bottom and baseline
_NEARLY_A_TIE = 0.4999999
_SHOW = "1 0 0 1 %.2f %.2f Tm<%s>Tj\n"


class NoRoomError(SapLlmError):
    """A page cannot hold a value in its place."""


class Ink:
    """How text looks; two inks are equal if they are the same object."""

    __slots__ = ("colour", "face", "head", "scale", "shape", "size")

    def __init__(self, face: Face, resource: str, size: float, colour: str = BLACK) -> None:
        size = round(size, 2)  # so that the file has the size and the tracking that widths are computed from
        self.face, self.size, self.colour = face, size, colour
        self.scale = size / 1000
        self.shape = face.shape
        self.head = f"{colour} {resource} {size:.2f} Tf {face.tracking * size / 1000:.4f} Tc\n"

    def width(self, text: str) -> float:
        """Advance of a text in points."""
        return self.shape(text).advance * self.scale


Fitted = tuple[float, tuple[tuple[Shaped, str, str], ...]]
"""A value set on one line: width in points; each piece shaped, with its field and value. All but the last end in a
space."""
Mention = tuple[int, int, str, str, int, int, int]
"""Words from, to, field, value, index of the line item, row and column of the line table (-1 for none)."""
Block = tuple[int, int, str]
"""Words from, to, kind of layout block."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What was drawn on a canvas of its own, to be stamped onto pages; coordinates from its upper left corner."""

    operators: str
    words: list[str]
    edges: "array[float]"
    """Left, top, right, bottom and baseline of each word."""
    mentions: list[Mention]
    blocks: list[Block]
    height: float


@dataclass(slots=True)
class Canvas:
    """One page, or one fragment (of height 0: its y axis starts at its upper edge).

    Numbers of words are collected flat and become boxes all at once: a hundred small objects a page cost more than all
    the arithmetic.
    """

    height: float = 0.0
    words: list[str] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    _edges: "array[float]" = field(default_factory=lambda: array("d"))
    """Five of each word, relative to its run."""
    _runs: list[float] = field(default_factory=list)
    """x, baseline, scale, number of words and place of the ink (-1 for a fragment) of each run."""
    _art: list[str] = field(default_factory=list)
    _stamps: list[str] = field(default_factory=list)
    _texts: dict[Any, tuple[int, list[Any]]] = field(default_factory=dict)
    """Ink -> place among the inks; x, y and code of each run."""

    def put(self, x: float, baseline: float, shaped: Shaped, ink: Ink) -> None:
        """Draw a shaped text from x on."""
        self.words += shaped.words
        self._edges += shaped.edges
        found = self._texts.get(ink)
        if found is None:
            found = self._texts[ink] = (len(self._texts), [])
        self._runs += (x, baseline, ink.scale, shaped.number, found[0])
        found[1].extend((x, self.height - baseline, shaped.code))

    def put_row(
        self, baseline: float, cells: Iterable[tuple[int, Fitted]], anchors: Sequence[tuple[float, float]], ink: Ink,
        line: int, row: int,
    ) -> None:  # fmt: skip
        """Draw cells of a table's row on one baseline, with their meanings: `put` for many texts.

        Args:
            baseline: Of the row.
            cells: By column.
            anchors: Where each column is aligned, and which share of a cell's width lies before that.
            ink: Of all cells.
            line: Index of the line item, -1 for none.
            row: Of the table.
        """
        words, edges, runs, mentions, scale = self.words, self._edges, self._runs, self.mentions, ink.scale
        place, texts = self._texts.setdefault(ink, (len(self._texts), []))
        y = self.height - baseline
        at = len(words)
        for column, (width, pieces) in cells:
            anchor, share = anchors[column]
            x = anchor - share * width
            for (code, advance, new_words, count, new_edges), name, value in pieces:
                words += new_words
                edges += new_edges
                runs += (x, baseline, scale, count, place)
                texts += (x, y, code)
                if count:
                    mentions.append((at, at + count, name, value, line if name != "currency" else -1, row, column))
                    at += count
                x += advance * scale

    def write(self, x: float, baseline: float, text: str, ink: Ink) -> float:
        """Draw a text from x on; the x where it ends."""
        shaped = ink.shape(text)
        self.put(x, baseline, shaped, ink)
        return x + shaped.advance * ink.scale

    def mention(self, start: int, name: str, value: str) -> None:
        """Say which field the words from `start` to the last one show."""
        if start < len(self.words):
            self.mentions.append((start, len(self.words), name, value, -1, -1, -1))

    def block(self, kind: str, start: int) -> None:
        """Say that the words from `start` to the last one are a layout block."""
        if start < len(self.words):
            self.blocks.append((start, len(self.words), kind))

    def rule(self, x0: float, y0: float, x1: float, y1: float, *, width: float = 0.4, gray: float = 0.0) -> None:
        """A straight line."""
        high = self.height
        self._art.append(f"{gray:.2f} G {width:.2f} w {x0:.2f} {high - y0:.2f} m {x1:.2f} {high - y1:.2f} l S")

    def frame(self, x: float, y: float, width: float, height: float, *, line: float = 0.4) -> None:
        """The outline of a rectangle."""
        self._art.append(f"0 G {line:.2f} w {x:.2f} {self.height - y - height:.2f} {width:.2f} {height:.2f} re S")

    def fill(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle below all text; `colour` is an operator."""
        self._art.append(f"{colour} {x:.2f} {self.height - y - height:.2f} {width:.2f} {height:.2f} re f")

    def stamp(self, fragment: Fragment, x: float, y: float) -> None:
        """Draw a fragment with its upper left corner at x, y."""
        self._stamps.append(f"q 1 0 0 1 {x:.2f} {self.height - y:.2f} cm {fragment.operators} Q")
        offset = len(self.words)
        self.words += fragment.words
        self._edges += fragment.edges
        self._runs += (x, y, 1.0, len(fragment.words), -1)
        for start, stop, *rest in fragment.mentions:
            self.mentions.append((start + offset, stop + offset, *rest))  # type: ignore[arg-type]
        for start, stop, kind in fragment.blocks:
            self.blocks.append((start + offset, stop + offset, kind))

    def state(self) -> list[int]:
        """What `go_back` needs to undo all that is drawn from now on."""
        return [len(one) for one in self._lists()]

    def go_back(self, state: list[int]) -> None:
        """Undo what was drawn since."""
        for one, length in itertools.zip_longest(self._lists(), state, fillvalue=0):
            del one[length:]  # type: ignore[union-attr]

    def _lists(self) -> list[Any]:
        return [
            self.words, self.mentions, self.blocks, self._edges, self._runs, self._art, self._stamps,
            *(run for _, run in self._texts.values()),
        ]  # fmt: skip

    def places(self) -> tuple[Boxes, npt.NDArray[np.intp]]:
        """Where all words are, and in what order they are in the file: fragments first, then ink by ink.

        Places are left, top, right, bottom and baseline, [n, 5], in the hundredths of points that the file has.
        """
        if not self.words:
            return np.zeros((0, 5)), np.zeros(0, dtype=np.intp)
        runs = np.frombuffer(array("d", self._runs)).reshape(-1, 5)
        of_run = np.repeat(np.arange(len(runs)), runs[:, 3].astype(np.intp))
        found = np.array(self._edges).reshape(-1, 5)
        found *= runs[of_run, 2, None]
        origins = _as_printed(np.column_stack([runs[:, 0], self.height - runs[:, 1]]))
        origins[:, 1] = self.height - origins[:, 1]
        found += origins[:, _X_AND_Y][of_run]
        return found, np.argsort(runs[of_run, 4], kind="stable")

    def operators(self) -> str:
        """The content stream."""
        parts = [*self._art, *self._stamps]
        if self._texts:
            parts.append("BT")
            for ink, (_, run) in self._texts.items():
                parts.append(ink.head + _SHOW * (len(run) // 3) % tuple(run))
            parts.append("ET")
        return "\n".join(parts)

    def freeze(self, height: float) -> Fragment:
        """What was drawn as a fragment."""
        edges = array("d", self.places()[0].tobytes())
        return Fragment(self.operators(), self.words, edges, self.mentions, self.blocks, height)


def _as_printed(values: Boxes) -> Boxes:
    """Values as `%.2f` prints them, which rounds what is a tie in decimals by its binary digits."""
    hundredths = values * 100
    rounded = np.rint(hundredths)
    for place in zip(*np.nonzero(np.abs(hundredths - rounded) > _NEARLY_A_TIE), strict=True):
        rounded[place] = round(100 * float(f"{values[place]:.2f}"))
    found: Boxes = rounded / 100
    return found


class _Scratch(Canvas):
    """The canvas of a fragment: its file order is that of drawing, so that its words need no second order."""

    __slots__ = ()

    def put(self, x: float, baseline: float, shaped: Shaped, ink: Ink) -> None:
        """Draw a shaped text from x on."""
        self.words += shaped.words
        self._edges += shaped.edges
        self._runs += (x, baseline, ink.scale, shaped.number, 0)
        self._stamps.append(f"BT {ink.head}1 0 0 1 {x:.2f} {self.height - baseline:.2f} Tm<{shaped.code}>Tj ET")


def drawn(draw: Callable[[Canvas], float]) -> Fragment:
    """The fragment that `draw` makes on an empty canvas; it returns the height."""
    canvas = _Scratch()
    return canvas.freeze(draw(canvas))


def wrapped(words: Sequence[float], space: float, width: float) -> list[int]:
    """Greedy line breaks: the index of the first word of each line.

    Args:
        words: Advance of each word.
        space: Advance of a space.
        width: Of the line; a wider word has a line of its own.
    """
    starts = [0]
    pen = 0.0
    for index, advance in enumerate(words):
        if index > starts[-1] and pen + advance > width:
            starts.append(index)
            pen = 0.0
        pen += advance + space
    return starts
