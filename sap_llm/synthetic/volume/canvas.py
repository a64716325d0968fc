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
_SHOW = "1 0 0 1 %.2f %.2f Tm<%s>Tj\n"


class NoRoomError(SapLlmError):
    """A page cannot hold a value in its place."""


class Ink:
    """How text looks; two inks are equal if they are the same object."""

    __slots__ = ("colour", "face", "head", "scale", "shape", "size")

    def __init__(self, face: Face, resource: str, size: float, colour: str = BLACK) -> None:
        self.face, self.size, self.colour = face, size, colour
        self.scale = size / 1000
        self.shape = face.shape
        self.head = f"{colour} {resource} {size:.3f} Tf {face.tracking * size / 1000:.4f} Tc\n"

    def width(self, text: str) -> float:
        """Advance of a text in points."""
        return self.shape(text).advance * self.scale


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

    def put_line(self, baseline: float, items: Iterable[tuple[float, Shaped]], ink: Ink) -> None:
        """Draw shaped texts on one baseline, each from its x on: `put` for the many cells of a row."""
        words, edges, runs, scale = self.words, self._edges, self._runs, ink.scale
        place, texts = self._texts.setdefault(ink, (len(self._texts), []))
        y = self.height - baseline
        for x, shaped in items:
            code, _, new_words, count, new_edges = shaped
            words += new_words
            edges += new_edges
            runs += (x, baseline, scale, count, place)
            texts += (x, y, code)

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
        found += np.round(runs[:, :2], 2)[:, _X_AND_Y][of_run]
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


class _Scratch(Canvas):
    """The canvas of a fragment: its file order is that of drawing, so that its words need no second order."""

    __slots__ = ()

    def put(self, x: float, baseline: float, shaped: Shaped, ink: Ink) -> None:
        """Draw a shaped text from x on."""
        self.words += shaped.words
        self._edges += shaped.edges
        self._runs += (x, baseline, ink.scale, shaped.number, 0)
        self._stamps.append(f"BT {ink.head}1 0 0 1 {x:.2f} {self.height - baseline:.2f} Tm<{shaped.code}>Tj ET")

    def put_line(self, baseline: float, items: Iterable[tuple[float, Shaped]], ink: Ink) -> None:
        """Draw shaped texts on one baseline."""
        for x, shaped in items:
            self.put(x, baseline, shaped, ink)


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
