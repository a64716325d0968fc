"""Typst source to a PDF, its words with true boxes, and the words of every mark.

Compiling, reading back and judging whether a page is legible belong here; which words a mark covers does not
(`print_order`, `links`), nor composing pages (`layouts`), nor writing rows (`rows`). One Compiler lives in each
process; fonts are Typst's own and those of installed Python packages, never the system's, so that pages are alike on
every machine.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Page
from sap_llm.synthetic.links import erase_marks, locate_marks, words_in_marks
from sap_llm.synthetic.markup import Mark
from sap_llm.synthetic.print_order import OutOfOrderError, PrintOrder

_COLOURS = re.compile(rb"\[/ICCBased \d+ 0 R\]")
_THREADS = "RAYON_NUM_THREADS"
_TOUCHING_POINTS, _TOUCHING_LINES = 0.7, 0.3
_FONT_PACKAGES = (("matplotlib", "mpl-data/fonts/ttf"), ("great_expectations", "render/view/static/fonts/HKGrotesk"))


@dataclass(frozen=True, kw_only=True)
class Typeset:
    """A finished document: file, pages with words, and the words that each mark covers."""

    content: bytes
    pages: list[Page]
    words: dict[tuple[int, int], list[int]]
    """(mark, page number) -> word ids in reading order."""
    set_marks: frozenset[int]
    """Marks that the source really sets (a layout may prepare more than it uses)."""


@cache
def _compiler() -> Any:
    import typst

    folders: list[Path] = []
    for package, folder in _FONT_PACKAGES:
        found = find_spec(package)
        if found and found.origin:
            folders.append(Path(found.origin).parent / folder)
    compiler = typst.Compiler(font_paths=folders, ignore_system_fonts=True)
    # Documents of few pages gain nothing by threads and pay for them. Typst asks how many when it first compiles; other
    # libraries of the process read the same variable for pools of their own.
    wanted = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        compiler.compile(b"x", format="pdf")
    finally:
        os.environ.pop(_THREADS)
        if wanted is not None:
            os.environ[_THREADS] = wanted
    return compiler


def compile_source(source: str) -> bytes:
    """Compile Typst source to PDF bytes; the same source always gives the same bytes."""
    compiled: bytes = _compiler().compile(source.encode(), format="pdf", pdf_tags=False, timestamp=0)
    return compiled


def typeset(source: str) -> Typeset:
    """Compile the source without its marks, read the words back and tell those of each mark."""
    order = PrintOrder(source)
    content = compile_source(order.source)
    pages, places = read_pages(content)
    try:
        words = _words_of_marks(order, pages, places)
    except OutOfOrderError:
        compiled = compile_source(source)
        content = erase_marks(compiled)
        pages, _ = read_pages(content)
        words = words_in_marks(locate_marks(compiled), pages)
    return Typeset(content=content, pages=pages, words=words, set_marks=order.set_marks)


def _words_of_marks(
    order: PrintOrder, pages: Sequence[Page], places: Sequence[npt.NDArray[np.intp]]
) -> dict[tuple[int, int], list[int]]:
    """Word ids of each mark and page.

    Raises:
        OutOfOrderError: The pages do not show the texts of the source in its order.
    """
    orders = [np.argsort(place) for place in places]
    ranks = [np.argsort(one) for one in orders]
    drawn = [[page.words[word] for word in one] for page, one in zip(pages, orders, strict=True)]
    found: dict[tuple[int, int], list[int]] = {}
    for page, rank, marks_of in zip(pages, ranks, order.marks_of_words(drawn), strict=True):
        for word, place in enumerate(rank.tolist()):
            for mark in marks_of[place]:
                found.setdefault((mark, page.page_number), []).append(word)
    return found


def overprinted(marks: Sequence[Mark], done: Typeset) -> list[str]:
    """Words over each other or cut by the edge, and values that cannot be read back from their words."""
    found: dict[int, str] = {}
    for (key, page), words in sorted(done.words.items()):
        if marks[key].text:
            shown = done.pages[page - 1].words
            found[key] = found.get(key, "") + "".join([shown[word] for word in words])
    faults = [page.words[word] for page in done.pages for word in (*_cut(page).tolist(), *_overlapping(page).tolist())]
    for index, mark in enumerate(marks):
        if mark.text and index in done.set_marks and not _is_read(found.get(index, ""), "".join(mark.text.split())):
            faults.append(mark.text)
    return faults


def _is_read(words: str, expected: str) -> bool:
    """Whether words show a text, with nothing but signs beside it."""
    return words == expected or (
        expected in words and not any(char.isalnum() for char in words.replace(expected, "") if expected)
    )


def _cut(page: Page) -> npt.NDArray[np.intp]:
    """Words that go beyond the right or lower edge, where what does not fit ends up."""
    found: npt.NDArray[np.intp] = np.flatnonzero((page.boxes[:, 2:] > (page.width + 1, page.height + 1)).any(axis=1))
    return found


def _overlapping(page: Page) -> npt.NDArray[np.intp]:
    """Words that stand on another word; lines may touch by a part of their height, as close ones do."""
    by_top = np.argsort(page.boxes[:, 1])
    left, top, right, bottom = page.boxes[by_top].T
    after = np.maximum(
        np.searchsorted(top, bottom) - np.arange(1, len(top) + 1), 0
    )  # next ones that begin above its end
    first = np.repeat(np.arange(len(top)), after)
    second = np.arange(len(first)) - np.repeat(np.cumsum(after) - after, after) + first + 1
    across = np.minimum(right[first], right[second]) - np.maximum(left[first], left[second])
    down = np.minimum(bottom[first], bottom[second]) - top[second]
    heights = bottom - top
    is_over = (across > _TOUCHING_POINTS) & (down > _TOUCHING_LINES * np.minimum(heights[first], heights[second]))
    found: npt.NDArray[np.intp] = by_top[first[is_over]]
    return found


def read_pages(content: bytes) -> tuple[list[Page], list[npt.NDArray[np.intp]]]:
    """All pages through the reader that foreign PDFs go through, and the places of their words in the file's order."""
    import pypdfium2 as pdfium

    from sap_llm.reading.words import read_own_page

    # Building the transforms of its colour profiles is half of what PDFium does with a page; words have no colour.
    document = pdfium.PdfDocument(_COLOURS.sub(lambda match: b"/DeviceGray".ljust(len(match[0])), content))
    try:
        read = [read_own_page(document[index], page_number=index + 1) for index in range(len(document))]
        return [page for page, _ in read], [places for _, places in read]
    finally:
        document.close()
