"""Visual lines of a page as text that regular expressions can search, with the way back to words and boxes.

Belongs here: text and geometry for the label baseline. The labels are `baseline_labels`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from sap_llm.schema.page import Page

_WIDE_GAP = 1.6  # in line heights: words further apart belong to different cells
COLUMN = "\t"


@dataclass(frozen=True, eq=False)
class Span:
    """A piece of a line: its text and the words it touches."""

    text: str
    page: Page
    word_ids: list[int]

    @cached_property
    def box(self) -> list[float]:
        """Union of the words' boxes."""
        return self.page.union(self.word_ids)


@dataclass(frozen=True, eq=False)
class Line:
    """One visual line: words joined by spaces, cells by tabs."""

    page: Page
    index: int
    text: str
    starts: list[int]  # character offset of each word in text
    word_ids: list[int]

    def span(self, start: int, end: int) -> Span:
        """The part of the line between two character offsets, without outer white space."""
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        end = start + len(text)
        touched = [
            word
            for begin, word in zip(self.starts, self.word_ids, strict=True)
            if begin < end and begin + len(self.page.words[word]) > start
        ]
        return Span(text.replace(COLUMN, " "), self.page, touched)

    @cached_property
    def cells(self) -> list[Span]:
        """The line cut at its wide gaps; several rules ask for them."""
        return [self.span(match.start(), match.end()) for match in re.finditer(r"[^\t]+", self.text)]

    @property
    def height(self) -> float:
        """Height of the tallest word in points."""
        return max(float(self.page.boxes[word][3] - self.page.boxes[word][1]) for word in self.word_ids)


class Lines(list[Line]):
    """All lines of a document; their whole text tells quickly whether a label occurs at all."""

    @cached_property
    def text(self) -> str:
        """The texts of the lines, one a row."""
        return "\n".join(line.text for line in self)


def lines_of(pages: Sequence[Page]) -> Lines:
    """All lines of a document, top to bottom, page after page."""
    lines = Lines()
    for page in pages:
        rows: dict[int, list[int]] = {}
        for word, line in enumerate(page.lines.tolist()):
            rows.setdefault(line, []).append(word)
        for row in rows.values():
            lines.append(_line(page, len(lines), sorted(row, key=lambda word: float(page.boxes[word][0]))))
    return lines


def below(lines: Sequence[Line], label: Span, index: int, *, rows: int) -> list[Span]:
    """Cells within the next `rows` lines, nearest first, that stand under a label or right of it, a little lower."""
    left, top, right, bottom = label.box
    found: list[Span] = []
    for line in lines[index + 1 : index + 1 + rows]:
        if line.page is not label.page:
            break
        for cell in line.cells:
            if not cell.word_ids:
                continue
            x0, y0, x1, _ = cell.box
            is_under = x0 < right and x1 > left
            is_beside = x0 >= right and y0 < (top + bottom) / 2
            if is_under or is_beside:
                found.append(cell)
    return found


def _line(page: Page, index: int, row: list[int]) -> Line:
    text, starts = "", []
    for position, word in enumerate(row):
        if position:
            before, box = page.boxes[row[position - 1]], page.boxes[word]
            gap, height = float(box[0] - before[2]), max(1.0, float(box[3] - box[1]))
            text += COLUMN if gap > _WIDE_GAP * height else " "
        starts.append(len(text))
        text += page.words[word]
    return Line(page, index, text, starts, row)
