"""What a source prints, in the order in which Typst writes it into the file, and so the words of every mark.

Taking the marks out of a source, and telling from the order of a page's words which of them they cover, belongs here;
building marked expressions does not (`markup`), nor compiling and reading files (`typeset`). Typst writes the head of a
page, then its body from the first word to the last, then its foot; a table that goes on has its header on each page. A
document is understood here only if every letter of every page is where this order says. Marks could be looked up by
their rectangles as well (`links`), but a link around every value makes compiling a quarter slower.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sap_llm.synthetic.markup import BODY, END, FOOT, HEAD, PAGE_COUNT, PAGE_NUMBER

_TOKEN = re.compile(
    rf'(?P<end>{re.escape(END)})|link\("(?P<mark>\d+)",'
    r'|(?<!:)(?<!rgb\()"(?P<text>(?:[^"\\]|\\.)*)"'
    r'|"(?:[^"\\]|\\.)*"'  # an argument: a colour, a weight
    rf"|(?P<number>{re.escape(PAGE_NUMBER)}|{re.escape(PAGE_COUNT)})"
    rf"|(?P<part>{re.escape(HEAD)}|{re.escape(FOOT)}|{re.escape(BODY)})"
    r"|(?P<heading>table\.header\()"
)
_LINK = re.compile(r'link\("\d+",')
_NUMBER, _COUNT = "\x01", "\x02"  # stand for the number of the page and of the last one


class OutOfOrderError(Exception):
    """The words of the pages are not those of the source in its order."""


@dataclass(frozen=True)
class _Run:
    """Text without white space, and the leaf of the source that each of its characters comes from."""

    text: str
    leaves: npt.NDArray[np.int32]

    def on(self, number: int, count: int) -> "_Run":
        """The run as page `number` of `count` shows it."""
        if _NUMBER not in self.text and _COUNT not in self.text:
            return self
        shown = {_NUMBER: str(number), _COUNT: str(count)}
        pieces = [shown.get(letter, letter) for letter in self.text]
        return _Run("".join(pieces), np.repeat(self.leaves, [len(piece) for piece in pieces]))


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
        means: dict[str | None, Callable[[re.Match[str]], None]] = {
            "text": self._text, "number": self._number, "end": self._end, "mark": self._mark,
            "heading": self._heading, "part": self._turn, None: lambda _: None,
        }  # fmt: skip
        for match in _TOKEN.finditer(source):
            means[match.lastgroup](match)

    def _text(self, match: re.Match[str]) -> None:
        literal = match["text"]
        if "\\" in literal:
            literal = literal.replace("\\n", " ").replace('\\"', '"').replace("\\\\", "\\")
        self._leaf("".join(literal.split()))

    def _number(self, match: re.Match[str]) -> None:
        self._leaf(_NUMBER if match[0] == PAGE_NUMBER else _COUNT)

    def _leaf(self, piece: str) -> None:
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

    def _turn(self, match: re.Match[str]) -> None:
        self._part = self.parts[match[0]]

    def _end(self, _: re.Match[str]) -> None:
        self._marks = self._open.pop()
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
            upto = done + len(rest) - (again.stop - again.start)
            if head.text + body.text[again] + body.text[done:upto] + foot.text != printed:
                raise OutOfOrderError
            leaves = np.concatenate((head.leaves, body.leaves[again], body.leaves[done:upto], foot.leaves))
            lengths = np.fromiter(map(len, words), dtype=np.intp, count=len(words))
            middles = (
                np.cumsum(lengths) - lengths // 2 - 1
            )  # the earlier one of two: signs at the end of a word are narrow
            covered.append([self._marks_of[leaf] for leaf in leaves[middles].tolist()])
            done = upto
        if done != len(self._body.text):
            raise OutOfOrderError
        return covered

    def _repeated(self, body: _Run, rest: str, done: int) -> slice:
        """The header, as characters of the body, that a table which goes on after a page break begins with again."""
        for start, end in reversed(self._headings):
            if end <= done:
                is_repeated = rest.startswith(body.text[start:end]) and not body.text.startswith(rest, done)
                return slice(start, end) if is_repeated else slice(0, 0)
        return slice(0, 0)
