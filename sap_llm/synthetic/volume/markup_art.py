"""Blocks that never change on an issuer's documents, drawn from the expressions of the typesetting tier.

Reading the expressions that `markup` builds and drawing them belongs here: text, styles, marks, line breaks, stacks,
grids, tables without rules of their own, blocks and alignment. Whole pages and flowing tables do not (`pages`,
`line_table`); they change with each document and are drawn without expressions.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sap_llm.synthetic.markup import Mark
from sap_llm.synthetic.volume.canvas import MENTION, Canvas, Ink, NoRoomError, wrapped

CAP_HEIGHT = 0.73  # of the font size: where a line's box begins above its baseline
_LENGTH = re.compile(r"(-?[\d.]+)(pt|em|%|fr)")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SPACE = re.compile(r"[ \u00a0\u202f\n]")
_NAME = re.compile(r"[a-z][a-z.-]*")
_GRAY, _RGB = re.compile(r"luma\((\d+)\)"), re.compile(r'rgb\("#(\w\w)(\w\w)(\w\w)"\)')


@dataclass(frozen=True)
class Node:
    """One expression: a string literal (`text`), a sum of expressions or a call."""

    name: str
    text: str = ""
    parts: tuple["Node", ...] = ()
    named: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What text looks like at a place: makes the ink of a run."""

    ink: Callable[[bool, float, str], Ink]
    """From weight, size and colour."""
    size: float
    leading: float
    """Between lines of a paragraph, of the font size."""
    is_bold: bool = False
    colour: str = "0 g"
    side: str = "left"
    zoom: float = 1.0
    """Of sizes and spaces that expressions give in points."""


def parse(expression: str) -> Node:
    """The expression as a tree; ValueError for what no helper of `markup` writes."""
    node, end = _parse(expression, 0)
    if end != len(expression):
        raise ValueError(f"unreadable expression from {expression[end : end + 40]!r}")
    return node


def _parse(source: str, at: int) -> tuple[Node, int]:
    if source.startswith('"', at):
        literal = _STRING.match(source, at)
        assert literal is not None
        return Node(
            "", text=re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), literal[1])
        ), literal.end()
    if source.startswith("(", at):
        parts = []
        while True:
            part, at = _parse(source, at + 1)
            parts.append(part)
            if source[at] != "+":
                return Node("+", parts=tuple(parts)), at + 1
    name = _NAME.match(source, at)
    if name is None or not source.startswith("(", name.end()):
        raise ValueError(f"unreadable expression from {source[at : at + 40]!r}")
    parts, named = [], {}
    at = name.end() + 1
    while source[at] != ")":
        end = _argument_end(source, at)
        argument = source[at:end]
        key = re.match(r"([a-z-]+):", argument)
        if key:
            named[key[1]] = argument[key.end() :]
        elif argument.startswith(('"', "(")) or (_NAME.match(argument) and "(" in argument):
            parts.append(_parse(source, at)[0])
        else:
            parts.append(Node("raw", text=argument))
        at = end + (source[end] == ",")
    return Node(name[0], parts=tuple(parts), named=named), at + 1


def _argument_end(source: str, at: int) -> int:
    depth = 0
    while True:
        char = source[at]
        if char == '"':
            literal = _STRING.match(source, at)
            assert literal is not None
            at = literal.end()
            continue
        if char == "(":
            depth += 1
        elif char == ")":
            if depth == 0:
                return at
            depth -= 1
        elif char == "," and depth == 0:
            return at
        at += 1


def length(value: str, size: float, whole: float = 0.0) -> float:
    """A length in points: `3pt`, `0.8em` of the size, `30%` of the whole."""
    found = _LENGTH.match(value)
    if found is None:
        return 0.0
    number = float(found[1])
    return number * {"pt": 1.0, "em": size, "%": whole / 100, "fr": 0.0}[found[2]]


def colour_of(value: str) -> str:
    """The operator of a colour expression."""
    if gray := _GRAY.search(value):
        return f"{int(gray[1]) / 255:.3f} g"
    if rgb := _RGB.search(value):
        return " ".join(f"{int(part, 16) / 255:.3f}" for part in rgb.groups()) + " rg"
    return "0 g"


class Run(NamedTuple):
    """A word of a paragraph, or part of one, with the marks around it."""

    text: str
    ink: Ink
    is_after_space: bool
    marks: tuple[int, ...]
    width: float = 0.0
    """In points, set once its text is complete."""


class Painter:
    """Draws nodes; the marks are those that the expressions were built with."""

    def __init__(self, canvas: Canvas, marks: Sequence[Mark]) -> None:
        self.canvas, self.marks = canvas, marks
        self._last = -1  # mark of the last mention

    def draw(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """Draw a node in a column; returns its height."""
        if not _is_block(node):
            return self._paragraph(node, x, y, width, setting)
        return _BLOCKS[node.name](self, node, x, y, width, setting)

    def natural_width(self, node: Node, setting: Setting) -> float:
        """How wide a node would like to be."""
        if not _is_block(node):
            return max((_line_width(line) for line in _lines(node, setting)), default=0.0)
        inner = _restyled(node, setting)
        widths = [self.natural_width(part, inner) for part in node.parts if part.name != "raw"]
        if node.name in ("grid", "table"):
            columns = _tracks(node.named.get("columns", "(auto)"))
            gap = _gaps(node, setting.size)[0]
            inset = 2 * length(node.named.get("inset", "0pt"), setting.size)
            columns_of = [widths[index :: len(columns)] for index in range(len(columns))]
            return sum(max(one, default=0.0) + inset for one in columns_of) + gap * (len(columns) - 1)
        return max(widths, default=0.0)

    def least_width(self, node: Node, setting: Setting) -> float:
        """How wide a node must be: as its longest word."""
        if not _is_block(node):
            groups = [group for line in _lines(node, setting) for group in _groups(line)]
            return max((_line_width(group) for group in groups), default=0.0)
        if node.name in ("grid", "table"):
            return self.natural_width(node, setting)
        inner = _restyled(node, setting)
        return max((self.least_width(part, inner) for part in node.parts if part.name != "raw"), default=0.0)

    def _paragraph(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        top = y
        lines = [broken for line in _lines(node, setting) for broken in _broken(line, width)]
        if any(_line_width(line) > width + 0.5 for line in lines):
            raise NoRoomError("a word is wider than its column", where=node.name, remedy="Set it smaller.")
        for index, line in enumerate(lines):
            size = max((run.ink.size for run in line), default=setting.size)
            y += CAP_HEIGHT * size + (setting.leading * size if index else 0.0)
            slack = width - _line_width(line)
            pen = x + slack * {"left": 0.0, "right": 1.0, "center": 0.5}.get(setting.side, 0.0)
            for run in line:
                self._run(run, pen, y)
                pen += run.width
        return y - top

    def _run(self, run: Run, x: float, baseline: float) -> None:
        canvas = self.canvas
        start = canvas.count
        canvas.write(x, baseline, run.text, run.ink)
        for number in run.marks:
            mark = self.marks[number]
            if number == self._last and canvas.mentions[1 - MENTION] == start:
                canvas.go_on(canvas.count)
            elif mark.field:
                canvas.mention(start, mark.field, mark.value)
                self._last = number

    def stack(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """Parts under each other."""
        spacing = setting.zoom * length(node.named.get("spacing", "0pt"), setting.size / setting.zoom)
        top = y
        for part in node.parts:
            height = self.draw(part, x, y, width, setting)
            y += height + (spacing if height else 0.0)
        return max(0.0, y - spacing - top)

    def grid(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """Cells in rows; rules and fills as far as `blocks_pairs` and `blocks_parties` use them."""
        tracks = _tracks(node.named.get("columns", "(auto)"))
        count = len(tracks)
        gap, row_gap = _gaps(node, setting.size)
        inset = length(node.named.get("inset", "0pt"), setting.size)
        cells = [part for part in node.parts if part.name != "raw"]
        widths = self._widths(tracks, cells, width - gap * (count - 1), inset, setting)
        sides = re.findall(r"left|right|center", node.named.get("align", "")) or [setting.side]
        fills, has_rules = node.named.get("fill", "none"), "pt" in node.named.get("stroke", "none")
        top = y
        for number, start in enumerate(range(0, len(cells), count)):
            row_y, height, pen = y, 0.0, x
            for index, cell in enumerate(cells[start : start + count]):
                inner = replace(setting, side=sides[index % len(sides)])
                drawn = self.draw(cell, pen + inset, row_y + inset, widths[index] - 2 * inset, inner)
                height = max(height, drawn + 2 * inset)
                pen += widths[index] + gap
            if fills != "none" and (number % 2 == 1) == ("odd" in fills):
                self.canvas.fill(x, row_y, sum(widths), height, colour_of(fills))
            if has_rules:
                pen = x
                for column in widths:
                    self.canvas.frame(pen, row_y, column, height)
                    pen += column
            y += height + row_gap
        return max(0.0, y - row_gap - top)

    def _widths(
        self, tracks: list[str], cells: list[Node], width: float, inset: float, setting: Setting
    ) -> list[float]:
        """Of columns: fixed, as wide as their contents, or shares of the rest; none narrower than its longest word."""
        count = len(tracks)
        least, found = [], []
        for index, track in enumerate(tracks):
            column = cells[index::count]
            widest = max((self.least_width(cell, setting) for cell in column), default=0.0) + 2 * inset + 0.01
            natural = 0.0
            if track == "auto":
                natural = max((self.natural_width(cell, setting) for cell in column), default=0.0) + 2 * inset + 0.01
            least.append(widest)
            found.append(natural if track == "auto" else length(track, setting.size, width))
        shares = [float(track[:-2]) if track.endswith("fr") else 0.0 for track in tracks]
        rest = max(width - sum(found), 0.0)
        if any(shares):
            found = [one + rest * share / sum(shares) for one, share in zip(found, shares, strict=True)]
        short = sum(max(low - one, 0.0) for low, one in zip(least, found, strict=True))
        short += max(sum(found) - width, 0.0)
        spare = sum(max(one - low, 0.0) for low, one in zip(least, found, strict=True))
        if short > 0.02 and spare > 0:  # columns with more than they need give to the others
            give = min(1.0, short / spare)
            found = [max(one, low) - max(one - low, 0.0) * give for low, one in zip(least, found, strict=True)]
        return found

    def block(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """A box around one part, with its fill."""
        inset = length(node.named.get("inset", "0pt"), setting.size)
        body = next(part for part in node.parts if part.name != "raw")
        height = self.draw(body, x + inset, y + inset, width - 2 * inset, setting) + 2 * inset
        if node.named.get("fill", "none") != "none":
            self.canvas.fill(x, y, width, height, colour_of(node.named["fill"]))
        return height

    def styled(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """Blocks in another style."""
        body = next(part for part in node.parts if part.name != "raw")
        return self.draw(body, x, y, width, _restyled(node, setting))

    def aligned(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """A part at a side of the column."""
        where, body = node.parts
        inner = replace(setting, side=where.text.split("+")[0].strip())
        if _is_block(body):
            natural = min(width, self.natural_width(body, inner) + 0.01)
            x += (width - natural) * {"right": 1.0, "center": 0.5}.get(inner.side, 0.0)
            width = natural
        return self.draw(body, x, y, width, inner)

    def several(self, node: Node, x: float, y: float, width: float, setting: Setting) -> float:
        """A sum with blocks in it: under each other."""
        return self.stack(Node("stack", parts=node.parts), x, y, width, setting)


_BLOCKS: dict[str, Callable[[Painter, Node, float, float, float, Setting], float]] = {
    "stack": Painter.stack, "grid": Painter.grid, "table": Painter.grid, "block": Painter.block,
    "text": Painter.styled, "link": Painter.styled, "align": Painter.aligned, "+": Painter.several,
    "rect": Painter.block,
}  # fmt: skip


def _is_block(node: Node) -> bool:
    if node.name in ("stack", "grid", "table", "block", "align", "rect"):
        return True
    return any(_is_block(part) for part in node.parts)


def _restyled(node: Node, setting: Setting) -> Setting:
    if node.name != "text":
        return setting
    size = setting.size
    if "size" in node.named:
        size = length(node.named["size"], size) * (setting.zoom if node.named["size"].endswith("pt") else 1.0)
    colour = colour_of(node.named["fill"]) if "fill" in node.named else setting.colour
    return replace(setting, size=size, colour=colour, is_bold=setting.is_bold or "weight" in node.named)


def _lines(node: Node, setting: Setting) -> list[list[Run]]:
    """The paragraph's words in lines, as far as line breaks are written."""
    lines: list[list[Run]] = [[]]
    space = [False]

    def walk(node: Node, setting: Setting, marks: tuple[int, ...]) -> None:
        if node.name == "linebreak":
            lines.append([])
            space[0] = False
        elif node.name == "":
            ink = setting.ink(setting.is_bold, setting.size, setting.colour)
            for index, piece in enumerate(_SPACE.split(node.text)):
                space[0] = space[0] or index > 0
                if piece and lines[-1] and not space[0]:  # glued to what stands before: one word
                    before = lines[-1][-1]
                    lines[-1][-1] = before._replace(text=before.text + piece, marks=before.marks + marks)
                elif piece:
                    lines[-1].append(Run(piece, ink, bool(lines[-1]), marks))
                    space[0] = False
        elif node.name == "link":
            walk(node.parts[1], setting, (*marks, int(node.parts[0].text)))
        elif node.name != "raw":
            inner = _restyled(node, setting)
            for part in node.parts:
                walk(part, inner, marks)

    walk(node, setting, ())
    return [_spaced(line) for line in lines if line]


def _spaced(line: list[Run]) -> list[Run]:
    """Words with the spaces behind them, so that a viewer sees where they end."""
    found = []
    last = len(line) - 1
    for index, (text, ink, is_after_space, marks, _) in enumerate(line):
        whole = text + " " if index < last and line[index + 1].is_after_space else text
        found.append(Run(whole, ink, is_after_space, marks, ink.width(whole)))
    return found


def _line_width(line: list[Run]) -> float:
    return sum([run.width for run in line])


def _broken(line: list[Run], width: float) -> list[list[Run]]:
    """The line in as many lines as its words need."""
    groups = _groups(line)
    starts = wrapped([_line_width(group) for group in groups], 0.0, width)
    return [
        [run for group in groups[start:stop] for run in group]
        for start, stop in zip(starts, [*starts[1:], len(groups)], strict=True)
    ]


def _groups(line: list[Run]) -> list[list[Run]]:
    """What no space parts stays together."""
    groups: list[list[Run]] = []
    for run in line:
        if run.is_after_space or not groups:
            groups.append([])
        groups[-1].append(run)
    return groups


def _tracks(columns: str) -> list[str]:
    return [track.strip() for track in columns.strip("()").split(",") if track.strip()]


def _gaps(node: Node, size: float) -> tuple[float, float]:
    """Between columns and between rows."""
    both = node.named.get("gutter", "0pt")
    columns, rows = node.named.get("column-gutter", both), node.named.get("row-gutter", both)
    return length(columns, size), length(rows, size)
