"""The page while it is drawn: texts in places, operators of what is no text, and what the words mean.

Placing text, rules and fills, and keeping what never changes as fragments, belongs here; what is drawn does not
(`markup_art`, `pages`), nor where words end up and the content stream (`placing`). Points, y downwards from the upper
edge.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat
from typing import Any, NamedTuple

from sap_llm.schema.errors import SapLlmError
from sap_llm.synthetic.volume.fonts import Face, Shaped

BLACK = "0 g"


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
ROW_STEP = 4
Anchors = Sequence[tuple[float, float]] | Mapping[int, tuple[float, float]]
"""By column: where its cells are aligned, and which share of their width lies before that."""
RUN, MENTION, BLOCK = 4, 7, 3
"""How many entries of a canvas's lists belong together."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """What was drawn on a canvas of its own, to be stamped onto pages; coordinates from its upper left corner."""

    operators: str
    text: Shaped
    """All its words, as if they were one text."""
    mentions: list[Any]
    height: float


@dataclass(slots=True)
class Canvas:
    """One page, or one fragment (of height 0: its y axis starts at its upper edge).

    Texts are kept as they are given and become boxes and operators many pages at a time. What belongs together stands
    one after the other in flat lists, for thousands of small tuples are what the garbage collector takes longest for.
    """

    height: float = 0.0
    count: int = 0
    """Of words."""
    runs: list[Any] = field(default_factory=list)
    """x, baseline, `Shaped` and `Ink` of each text; no ink for a fragment, whose measures are points."""
    mentions: list[Any] = field(default_factory=list)
    """Words from, to, field, value, index of the line item, row and column of the line table (-1 for none).

    Rows of line items are `ROW_STEP` apart: what stands between them has numbers of its own.
    """
    blocks: list[Any] = field(default_factory=list)
    """Words from, to, kind of layout block."""
    art: list[str] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)

    def put(self, x: float, baseline: float, shaped: Shaped, ink: Ink) -> None:
        """Draw a shaped text from x on."""
        self.runs += (x, baseline, shaped, ink)
        self.count += shaped.number

    def put_row(
        self, baseline: float, cells: Iterable[tuple[int, Fitted]], anchors: Anchors, ink: Ink, line: int, row: int,
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
        runs, mentions, scale, at = self.runs, self.mentions, ink.scale, self.count
        for column, (width, pieces) in cells:
            anchor, share = anchors[column]
            x = anchor - share * width
            for shaped, name, value in pieces:
                runs += (x, baseline, shaped, ink)
                count = shaped.number
                if count:
                    mentions += (at, at + count, name, value, line if name != "currency" else -1, row, column)
                    at += count
                x += shaped.advance * scale
        self.count = at

    def put_rows(self, baselines: Sequence[float], columns: Sequence["CellColumn"], ink: Ink, first: int) -> None:
        """Draw rows of a table whose cells all have one line.

        Args:
            baselines: Of the rows.
            columns: Their cells; empty ones are harmless.
            ink: Of all cells.
            first: Index of the first row's line item; the header of the table has the number before that.
        """
        count = len(baselines)
        if not count:
            return
        rows = slice(first, first + count)
        texts = [column.texts[rows] for column in columns]
        self.runs += chain.from_iterable(
            zip(
                by_row([column.xs[rows] for column in columns]),
                by_row([baselines] * len(columns)),
                by_row(texts),
                repeat(ink),
                strict=False,
            )
        )
        ends = [*accumulate([text.number for text in by_row(texts)], initial=self.count)]
        nothing, lines = [-1] * count, [*range(first, first + count)]
        self.mentions += chain.from_iterable(
            zip(
                ends,
                ends[1:],
                [column.name for column in columns] * count,
                by_row([column.values[rows] for column in columns]),
                by_row([nothing if column.name == "currency" else lines for column in columns]),
                by_row([range(ROW_STEP * (first + 1), ROW_STEP * (first + count + 1), ROW_STEP)] * len(columns)),
                [column.number for column in columns] * count,
                strict=False,
            )
        )
        self.count = ends[-1]

    def write(self, x: float, baseline: float, text: str, ink: Ink) -> float:
        """Draw a text from x on; the x where it ends."""
        shaped = ink.shape(text)
        self.put(x, baseline, shaped, ink)
        return x + shaped.advance * ink.scale

    def mention(self, start: int, name: str, value: str) -> None:
        """Say which field the words from `start` to the last one show."""
        if start < self.count:
            self.mentions += (start, self.count, name, value, -1, -1, -1)

    def go_on(self, stop: int) -> None:
        """Say that the last mention goes on up to the word `stop`."""
        self.mentions[1 - MENTION] = stop

    def block(self, kind: str, start: int) -> None:
        """Say that the words from `start` to the last one are a layout block."""
        if start < self.count:
            self.blocks += (start, self.count, kind)

    def rule(self, x0: float, y0: float, x1: float, y1: float, *, width: float = 0.4, gray: float = 0.0) -> None:
        """A straight line."""
        high = self.height
        self.art.append(f"{gray:.2f} G {width:.2f} w {x0:.2f} {high - y0:.2f} m {x1:.2f} {high - y1:.2f} l S")

    def frame(self, x: float, y: float, width: float, height: float, *, line: float = 0.4) -> None:
        """The outline of a rectangle."""
        self.art.append(f"0 G {line:.2f} w {x:.2f} {self.height - y - height:.2f} {width:.2f} {height:.2f} re S")

    def fill(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle below all text; `colour` is an operator."""
        self.art.append(f"{colour} {x:.2f} {self.height - y - height:.2f} {width:.2f} {height:.2f} re f")

    def stamp(self, fragment: Fragment, x: float, y: float) -> None:
        """Draw a fragment with its upper left corner at x, y."""
        self.stamps.append(f"q 1 0 0 1 {x:.2f} {self.height - y:.2f} cm {fragment.operators} Q")
        offset = self.count
        self.runs += (x, y, fragment.text, None)
        self.count += fragment.text.number
        mentions = fragment.mentions.copy()
        for place in (0, 1):
            mentions[place::MENTION] = [word + offset for word in mentions[place::MENTION]]
        self.mentions += mentions

    def state(self) -> list[int]:
        """What `go_back` needs to undo all that is drawn from now on."""
        return [self.count, *(len(one) for one in self._lists())]

    def go_back(self, state: list[int]) -> None:
        """Undo what was drawn since."""
        self.count = state[0]
        for one, length in zip(self._lists(), state[1:], strict=True):
            del one[length:]

    def _lists(self) -> Iterator[list[Any]]:
        yield from (self.runs, self.mentions, self.blocks, self.art, self.stamps)


class CellColumn(NamedTuple):
    """The pieces at one place in all cells of a column of a table."""

    number: int
    """Of the column."""
    texts: list[Shaped]
    xs: list[float]
    name: str
    values: list[str]


def by_row(columns: Sequence[Iterable[Any]]) -> Iterator[Any]:
    """What the cells of columns hold, row by row."""
    return chain.from_iterable(zip(*columns, strict=False))


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
