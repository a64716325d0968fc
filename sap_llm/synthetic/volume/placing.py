"""Where the words of drawn pages are: boxes, reading order and content streams of many pages at once.

Turning what canvases hold into numbers and operators belongs here; drawing does not (`canvas`), nor what words mean
(`truth`), nor the file around pages (`pdf`). One array operation over the words of a hundred pages costs hardly more
than one over those of a single page.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, chain, pairwise

import numpy as np
import numpy.typing as npt

from sap_llm.reading.lines import order_pages, stable_order
from sap_llm.schema.page import Lines
from sap_llm.synthetic.volume.canvas import RUN, Canvas, Fragment, Ink
from sap_llm.synthetic.volume.fonts import Shaped

Numbers = npt.NDArray[np.intp]
Boxes = npt.NDArray[np.float64]
_X_AND_Y = [0, 1, 0, 1, 1]  # of left, top, right, bottom and baseline
_NEARLY_A_TIE = 0.4999999
_MOST_INKS = 1 << 12  # on a page


class _Decimals(dict[int, str]):
    """Hundredths as a file has them; a page has some ten thousand places, and printing each anew takes long."""

    def __init__(self, shape: str) -> None:
        self._shape = shape

    def __missing__(self, hundredths: int) -> str:
        found = self[hundredths] = self._shape.format(hundredths / 100)
        return found


_X = _Decimals("1 0 0 1 {:.2f} ").__getitem__
_Y = _Decimals("{:.2f} Tm<").__getitem__


class Placed:
    """The words of some pages, at least one.

    Args:
        canvases: The pages.
    """

    def __init__(self, canvases: Sequence[Canvas]) -> None:
        self._canvases = canvases
        self._counts = [len(canvas.runs) // RUN for canvas in canvases]
        runs = [*chain.from_iterable([canvas.runs for canvas in canvases])]
        xs, baselines, shaped, self._inks = (runs[start::RUN] for start in range(RUN))
        for face in {ink.face for ink in dict.fromkeys(self._inks) if ink}:
            face.finish()
        self._codes = [text.code for text in shaped]
        of_run = np.repeat(np.arange(len(canvases)), self._counts)
        heights = np.array([canvas.height for canvas in canvases])[of_run]
        self._hundredths = _hundredths(np.array([xs, heights - np.array(baselines)]))
        lengths = np.array([text.number for text in shaped])
        self.words: list[str] = [*chain.from_iterable([text.words for text in shaped])]
        """As they were drawn, page by page."""
        self.page_of = np.repeat(of_run, lengths)
        self.first_words: list[int] = [0, *accumulate(canvas.count for canvas in canvases)]
        """Of each page, and the number of all words."""
        found = np.frombuffer(b"".join([text.edges for text in shaped])).reshape(-1, 5)
        found = found * np.repeat([ink.scale if ink else 1.0 for ink in self._inks], lengths)[:, None]
        x, y = self._hundredths / 100
        found += np.repeat(np.array([x, heights - y]), lengths, axis=1)[_X_AND_Y].T
        self.places: Boxes = found
        """Left, top, right, bottom and baseline of each drawn word, in the hundredths of points that the file has."""
        self._keys = self._file_keys(of_run)
        self._in_file = stable_order(self._keys)
        self._lengths = lengths

    def _file_keys(self, of_run: Numbers) -> Numbers:
        """Numbers that ascend as the runs do in the file: on each page fragments first, then ink by ink."""
        ranks: list[int] = []
        start = 0
        for count in self._counts:
            inks = self._inks[start : start + count]
            start += count
            rank: dict[Ink | None, int] = {None: 0}
            for number, ink in enumerate(dict.fromkeys(inks), start=1):
                rank.setdefault(ink, number)
            ranks += map(rank.__getitem__, inks)
        found: Numbers = of_run * _MOST_INKS + ranks
        return found

    def reading_order(self) -> tuple[Numbers, Lines, npt.NDArray[np.float64]]:
        """Words page by page in reading order, the visual line of each, and how safe the order of each page is."""
        # Words of one baseline come to the reader in the order of the file.
        starts = np.cumsum(self._lengths) - self._lengths
        in_file = spread(starts[self._in_file], self._lengths[self._in_file])
        places = self.places[in_file]
        with_words, dense = np.unique(self.page_of, return_inverse=True)
        order, lines, found = order_pages(places[:, :4], np.round(places[:, 4], 3), dense)
        margins = np.full(len(self._counts), np.inf)
        margins[with_words] = found
        return in_file[order], lines, margins

    def contents(self) -> list[str]:
        """The content stream of each page."""
        order = self._in_file[self._lengths[self._in_file] > 0]
        runs: list[int] = order.tolist()
        xs, ys = (map(show, row) for show, row in zip((_X, _Y), self._hundredths[:, order].tolist(), strict=True))
        shown = [*chain.from_iterable(zip(xs, ys, map(self._codes.__getitem__, runs), strict=True))]
        keys = self._keys[order]
        starts: list[int] = np.flatnonzero(np.diff(keys, prepend=-1)).tolist()
        texts: list[list[str]] = [[] for _ in self._canvases]
        for start, stop in pairwise([*starts, len(runs)]):
            ink = self._inks[runs[start]]
            if ink:
                texts[keys[start] // _MOST_INKS] += (ink.head, *shown[3 * start : 3 * stop])
        return [
            "\n".join([*canvas.art, *canvas.stamps, *(("BT", "".join(shown) + "ET") if shown else ())])
            for canvas, shown in zip(self._canvases, texts, strict=True)
        ]

    def one_by_one(self) -> list[str]:
        """Operators of each text, in the order of drawing."""
        shown = zip(self._inks, *self._hundredths.tolist(), self._codes, strict=True)
        return [f"BT {ink.head}{_X(x)}{_Y(y)}{code[:-1]} ET" for ink, x, y, code in shown if ink]


def spread(starts: Numbers, lengths: Numbers) -> Numbers:
    """The numbers of all ranges one after the other, each from its start on."""
    ends = np.cumsum(lengths)
    found: Numbers = np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
    return found


def _hundredths(values: Boxes) -> npt.NDArray[np.int64]:
    """Values as `%.2f` prints them, which rounds what is a tie in decimals by its binary digits."""
    exact = values * 100
    rounded = np.rint(exact)
    for place in zip(*np.nonzero(np.abs(exact - rounded) > _NEARLY_A_TIE), strict=True):
        rounded[place] = round(100 * float(f"{values[place]:.2f}"))
    return rounded.astype(np.int64)


def drawn(draw: Callable[[Canvas], float]) -> Fragment:
    """The fragment that `draw` makes on an empty canvas; it returns the height.

    The order of its texts in the file is that of drawing, so that its words need no second order.
    """
    canvas = Canvas()
    height = draw(canvas)
    words, edges = list[str](), b""
    operators = canvas.art
    if canvas.runs:
        placed = Placed([canvas])
        words, edges = placed.words, placed.places.tobytes()
        operators += placed.one_by_one()
    return Fragment("\n".join(operators), Shaped(0.0, words, edges), canvas.mentions, height)
