"""Typst source to a PDF, its words with true boxes, and the words of every mark.

Compiling, reading back and erasing the marks belongs here; composing pages does not (`layouts`), nor writing rows
(`rows`). One Compiler lives in each process; fonts are Typst's own and those of installed Python packages, never the
system's, so that pages are alike on every machine.
"""

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
from sap_llm.synthetic.markup import Mark

_ANNOTATION = re.compile(rb"(\d+) 0 obj\n<</Type/Annot/Subtype/Link/Rect\[([^\]]*)\][^\n]*?/URI\((\d+)\)>>[^\n]*>>")
_PAGE = re.compile(rb"(\d+) 0 obj\n<</Type/Page/.*?\nendobj", re.DOTALL)
_ANNOTS = re.compile(rb"/Annots\[([^\]]*)\]")
_MEDIA_BOX = re.compile(rb"/MediaBox\[([^\]]*)\]")
_KIDS = re.compile(rb"/Kids\[([^\]]*)\]")
_SET = re.compile(r'link\("(\d+)"')
_COLOURS = re.compile(rb"\[/ICCBased \d+ 0 R\]")
_LINKS = b"/Type/Annot/Subtype/Link"
_FONT_PACKAGES = (("matplotlib", "mpl-data/fonts/ttf"), ("great_expectations", "render/view/static/fonts/HKGrotesk"))


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Rectangles of one mark on one page, in page points from the top left."""

    mark: int
    page: int
    boxes: npt.NDArray[np.float64]


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
    return typst.Compiler(font_paths=folders, ignore_system_fonts=True)


def compile_source(source: str) -> bytes:
    """Compile Typst source to PDF bytes; the same source always gives the same bytes."""
    compiled: bytes = _compiler().compile(source.encode(), format="pdf", pdf_tags=False, timestamp=0)
    return compiled


def typeset(source: str) -> Typeset:
    """Compile, locate marks, erase them and read the words back."""
    compiled = compile_source(source)
    placed = locate_marks(compiled)
    content = erase_marks(compiled)
    pages = read_pages(content)
    return Typeset(
        content=content, pages=pages, words=_join(placed, pages), set_marks=frozenset(map(int, _SET.findall(source)))
    )


def locate_marks(compiled: bytes) -> list[Placed]:
    """Rectangles of all marks, grouped by mark and page."""
    found = {
        int(match[1]): (int(match[3]), match[2])
        for match in _ANNOTATION.finditer(compiled, 0, _end_of(compiled, _LINKS))
    }
    pages = {int(match[1]): match[0] for match in _PAGE.finditer(compiled, *_page_objects(compiled))}
    kids = _KIDS.search(compiled)
    order = [int(number) for number in re.findall(rb"(\d+) 0 R", kids[1])] if kids else []
    grouped: dict[tuple[int, int], list[list[float]]] = {}
    for page_number, key in enumerate(order, start=1):
        body = pages[key]
        annotations, media = _ANNOTS.search(body), _MEDIA_BOX.search(body)
        height = float(media[1].split()[3]) if media else 0.0
        for reference in re.findall(rb"(\d+) 0 R", annotations[1]) if annotations else ():
            mark, edges = found[int(reference)]
            x0, y0, x1, y1 = map(float, edges.split())
            grouped.setdefault((mark, page_number), []).append([x0, height - y1, x1, height - y0])
    return [Placed(mark=mark, page=page, boxes=np.array(boxes)) for (mark, page), boxes in grouped.items()]


def erase_marks(compiled: bytes) -> bytes:
    """The file without any trace of the marks; every byte offset stays, so the cross references hold."""

    def blank(match: re.Match[bytes]) -> bytes:
        head = match[1] + b" 0 obj\nnull"
        return head + b" " * (len(match[0]) - len(head))

    end = _end_of(compiled, _LINKS)
    first, last = _page_objects(compiled)
    return b"".join(
        (
            _ANNOTATION.sub(blank, compiled[:end]),
            compiled[end:first],
            _ANNOTS.sub(lambda match: b" " * len(match[0]), compiled[first:last]),
            compiled[last:],
        )
    )


def _end_of(compiled: bytes, token: bytes) -> int:
    """Where the last object that holds the token ends (0 without any)."""
    found = compiled.rfind(token)
    return compiled.index(b"endobj", found) if found >= 0 else 0


def _page_objects(compiled: bytes) -> tuple[int, int]:
    """The stretch of the file that holds all page objects; Typst writes them in one go, after the links."""
    first = compiled.index(b"/Type/Page/")
    return compiled.rindex(b"endobj", 0, first), _end_of(compiled, b"/Type/Page/") + len(b"endobj")


def overprinted(marks: Sequence[Mark], done: Typeset) -> list[str]:
    """Values that cannot be read back from their words (overprinted, fallen off the page); words cut by the edge."""
    found: dict[int, str] = {}
    for (key, page), words in sorted(done.words.items()):
        found[key] = found.get(key, "") + "".join(done.pages[page - 1].words[word] for word in words)
    faults = [
        page.words[word] for page in done.pages for word in np.flatnonzero(page.boxes[:, 2] > page.width + 1).tolist()
    ]
    for index, mark in enumerate(marks):
        expected = "".join(mark.text.split())
        rest = found.get(index, "").replace(expected, "") if expected else ""
        if (
            expected
            and index in done.set_marks
            and (index not in found or expected not in found[index] or any(char.isalnum() for char in rest))
        ):
            faults.append(mark.text)
    return faults


def read_pages(content: bytes) -> list[Page]:
    """All pages through the reader that foreign PDFs go through."""
    import pypdfium2 as pdfium

    from sap_llm.reading.words import read_page

    # Building the transforms of its colour profiles is half of what PDFium does with a page; words have no colour.
    document = pdfium.PdfDocument(_COLOURS.sub(lambda match: b"/DeviceGray".ljust(len(match[0])), content))
    try:
        return [read_page(document[index], page_number=index + 1, reader="typeset") for index in range(len(document))]
    finally:
        document.close()


def _join(placed: list[Placed], pages: list[Page]) -> dict[tuple[int, int], list[int]]:
    """Words whose centre lies in a rectangle of the mark."""
    joined: dict[tuple[int, int], list[int]] = {}
    for page in pages:
        here = [mark for mark in placed if mark.page == page.page_number]
        if not here or not page.words:
            continue
        rectangles = np.concatenate([mark.boxes for mark in here])
        owners = np.repeat([mark.mark for mark in here], [len(mark.boxes) for mark in here])
        x = (page.boxes[:, 0] + page.boxes[:, 2])[:, None] / 2
        y = (page.boxes[:, 1] + page.boxes[:, 3])[:, None] / 2
        inside = (x >= rectangles[:, 0]) & (x <= rectangles[:, 2]) & (y >= rectangles[:, 1]) & (y <= rectangles[:, 3])
        for word, rectangle in np.argwhere(inside).tolist():
            ids = joined.setdefault((int(owners[rectangle]), page.page_number), [])
            if not ids or ids[-1] != word:
                ids.append(word)
    return joined
