"""What a source prints, in the order in which Typst writes it into the file, and so the words of every mark.

Taking the marks out of a source, and telling from the order of a page's words which of them they cover, belongs here;
building marked expressions does not (`markup`), nor compiling and reading files (`typeset`). Typst writes the head of a
page, then its body from the first word to the last, then its foot; a table that goes on has its header on each page. A
document is understood here only if every letter of every page is where this order says. Marks could be looked up by
their rectangles as well (`links`), but a link around every value makes compiling a quarter slower.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sap_llm.synthetic.markup import BODY, CARRIED, COUNTED, END, FOOT, HEAD, LINES, PAGE_COUNT, PAGE_NUMBER

_TOKEN = re.compile(
    rf'(?P<end>{re.escape(END)})|link\("(?P<mark>\d+)",'
    rf"|(?P<line>{re.escape(COUNTED)})|{re.escape(LINES)}"
    r'|(?<!:)(?<!rgb\()"(?P<text>(?:[^"\\]|\\.)*)"'
    r'|"(?:[^"\\]|\\.)*"'  # an argument: a colour, a weight
    rf"|(?P<number>{re.escape(PAGE_NUMBER)}|{re.escape(PAGE_COUNT)})"
    rf"|(?P<part>{re.escape(HEAD)}|{re.escape(FOOT)}|{re.escape(BODY)})"
    rf"|(?P<heading>table\.header\()|(?P<carried>{re.escape(CARRIED)})"
)
_ESCAPE = re.compile(r"\\(.)")
_LINK = re.compile(r'link\("\d+",')
_NUMBER, _COUNT = "\x01", "\x02"  # stand for the number of the page and of the last one


class OutOfOrderError(Exception):
    """The words of the pages are not those of the source in its order."""


@dataclass(frozen=True)
class _Run:
    """Text without white space, and the leaf of the source that each of its characters comes from."""

    text: str
    leaves: npt.NDArray[np.int32]

    def __getitem__(self, place: slice) -> "_Run":
        return _Run(self.text[place], self.leaves[place])

    def on(self, number: int, count: int) -> "_Run":
        """The run as page `number` of `count` shows it."""
        if _NUMBER not in self.text and _COUNT not in self.text:
            return self
        shown = {_NUMBER: str(number), _COUNT: str(count)}
        pieces = [shown.get(letter, letter) for letter in self.text]
        return _Run("".join(pieces), np.repeat(self.leaves, [len(piece) for piece in pieces]))


@dataclass
class _Varying:
    """A leaf that shows one of its texts by how many lines of a table have been set (the first text for one line)."""

    leaf: int
    pieces: list[str] = field(default_factory=list)


@dataclass
class _Part:
    """The leaves of a page's head, body or foot, as they are found."""

    pieces: list[str] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)

    def run(self) -> _Run:
        lengths = [len(piece) for piece in self.pieces]
        return _Run("".join(self.pieces), np.repeat(np.asarray(self.leaves, dtype=np.int32), lengths))


class _Reading:
    """One pass over a source: what each token means."""

    def __init__(self, source: str) -> None:
        self.parts = {HEAD: _Part(), BODY: _Part(), FOOT: _Part()}
        self.marks_of: list[tuple[int, ...]] = []
        self.headings: list[tuple[int, int]] = []
        self.found: set[int] = set()
        self._part = self.parts[BODY]
        self._open: list[tuple[int, ...]] = []  # the marks around each mark or header that is open
        self._marks: tuple[int, ...] = ()
        self._heading_at: tuple[int, int] | None = None
        self.lines: list[int] = []
        self.carried_in: list[_Varying] = []
        self.carried_over: list[_Varying] = []
        self._varying: _Varying | None = None
        means: dict[str | None, Callable[[re.Match[str]], None]] = {
            "text": self._text, "number": self._number, "end": self._end, "mark": self._mark,
            "heading": self._heading, "part": self._turn, "line": self._line, "carried": self._carried,
            None: lambda _: None,
        }  # fmt: skip
        for match in _TOKEN.finditer(source):
            means[match.lastgroup](match)

    def _text(self, match: re.Match[str]) -> None:
        literal = match["text"]
        if "\\" in literal:
            literal = _ESCAPE.sub(lambda escape: " " if escape[1] == "n" else escape[1], literal)
        self._leaf("".join(literal.split()))

    def _number(self, match: re.Match[str]) -> None:
        self._leaf(_NUMBER if match[0] == PAGE_NUMBER else _COUNT)

    def _leaf(self, piece: str) -> None:
        if self._varying:
            self._varying.pieces.append(piece)
            return
        self._part.pieces.append(piece)
        self._part.leaves.append(len(self.marks_of))
        self.marks_of.append(self._marks)

    def _mark(self, match: re.Match[str]) -> None:
        self._open.append(self._marks)
        mark = int(match["mark"])
        self._marks = (*self._marks, mark)
        self.found.add(mark)

    def _heading(self, _: re.Match[str]) -> None:
        self._heading_at = len(self._open), self._length()
        self._open.append(self._marks)

    def _line(self, _: re.Match[str]) -> None:
        self.lines.append(self._length())

    def _carried(self, _: re.Match[str]) -> None:
        self._open.append(self._marks)
        self._varying = _Varying(len(self.marks_of))
        self.marks_of.append(self._marks)
        (self.carried_in if self._heading_at else self.carried_over).append(self._varying)

    def _turn(self, match: re.Match[str]) -> None:
        self._part = self.parts[match[0]]

    def _end(self, _: re.Match[str]) -> None:
        self._marks = self._open.pop()
        self._varying = None
        if self._heading_at and self._heading_at[0] == len(self._open):
            self.headings.append((self._heading_at[1], self._length()))
            self._heading_at = None

    def _length(self) -> int:
        return sum(map(len, self._part.pieces))


class PrintOrder:
    """The texts of one source in order.

    Attributes:
        source: The source without its marks.
        set_marks: Marks that the source sets (a layout may prepare more than it uses).
    """

    def __init__(self, source: str) -> None:
        reading = _Reading(source)
        self.source = _LINK.sub("(", source).replace(END, "")
        self.set_marks = frozenset(reading.found)
        self._marks_of = reading.marks_of
        self._headings = reading.headings
        self._lines = reading.lines
        self._carried_in, self._carried_over = reading.carried_in, reading.carried_over
        self._head, self._body, self._foot = (reading.parts[name].run() for name in (HEAD, BODY, FOOT))

    def marks_of_words(self, pages: Sequence[Sequence[str]]) -> list[list[tuple[int, ...]]]:
        """The marks that cover each word: those of the leaf that prints its middle letter.

        Args:
            pages: The words of each page in the order of the file, without white space.

        Raises:
            OutOfOrderError: They are not what the source prints.
        """
        done, covered = 0, []
        for number, words in enumerate(pages, start=1):
            head, body, foot = (run.on(number, len(pages)) for run in (self._head, self._body, self._foot))
            printed = "".join(words)
            rest = printed[len(head.text) : len(printed) - len(foot.text)]
            again = self._repeated(body, rest, done)
            above, below, upto = self._between_pages(done, len(rest) - (again.stop - again.start))
            runs = (head, body[again], above, body[done:upto], below, foot)
            if "".join([run.text for run in runs]) != printed:
                raise OutOfOrderError
            leaves = np.concatenate([run.leaves for run in runs])
            lengths = np.fromiter(map(len, words), dtype=np.intp, count=len(words))
            middles = (
                np.cumsum(lengths) - lengths // 2 - 1
            )  # the earlier one of two: signs at the end of a word are narrow
            covered.append([self._marks_of[leaf] for leaf in leaves[middles].tolist()])
            done = upto
        if done != len(self._body.text):
            raise OutOfOrderError
        return covered

    def _between_pages(self, done: int, length: int) -> tuple[_Run, _Run, int]:
        """What a page shows of sums that are carried, at its head and its foot, and up to where it shows the body.

        Args:
            done: Characters of the body that earlier pages show.
            length: Of what this page shows of the body and such sums.
        """
        line = bisect_left(self._lines, done)
        above = self._sums(self._carried_in, line)
        for last in range(line + 1, len(self._lines)) if self._carried_over else ():
            below = self._sums(self._carried_over, last)
            if len(above.text) + self._lines[last] - done + len(below.text) == length:
                return above, below, self._lines[last]
        return above, self._sums([], 0), done + length - len(above.text)

    def _sums(self, varying: Sequence[_Varying], line: int) -> _Run:
        part = _Part()
        for one in varying if 0 < line < len(self._lines) else ():
            part.pieces.append(one.pieces[line - 1 if len(one.pieces) > 1 else 0])
            part.leaves.append(one.leaf)
        return part.run()

    def _repeated(self, body: _Run, rest: str, done: int) -> slice:
        """The header, as characters of the body, that a table which goes on after a page break begins with again."""
        for start, end in reversed(self._headings):
            if end <= done:
                is_repeated = rest.startswith(body.text[start:end]) and not body.text.startswith(rest, done)
                return slice(start, end) if is_repeated else slice(0, 0)
        return slice(0, 0)
