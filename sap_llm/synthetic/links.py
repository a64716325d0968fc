"""Marks as links of the compiled file: where they are, the words within them, and their removal.

This finds the words of marks where the order of the print does not tell them (`print_order`), as on pages whose columns
go on side by side. It takes PDF files as Typst writes them; reading words is not done here (`typeset`).
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Page

_ANNOTATION = re.compile(rb"(\d+) 0 obj\n<</Type/Annot/Subtype/Link/Rect\[([^\]]*)\][^\n]*?/URI\((\d+)\)>>[^\n]*>>")
_PAGE = re.compile(rb"(\d+) 0 obj\n<</Type/Page/.*?\nendobj", re.DOTALL)
_ANNOTS = re.compile(rb"/Annots\[([^\]]*)\]")
_MEDIA_BOX = re.compile(rb"/MediaBox\[([^\]]*)\]")
_KIDS = re.compile(rb"/Kids\[([^\]]*)\]")
_LINKS = b"/Type/Annot/Subtype/Link"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Rectangles of one mark on one page, in page points from the top left."""

    mark: int
    page: int
    boxes: npt.NDArray[np.float64]


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


def words_in_marks(placed: list[Placed], pages: list[Page]) -> dict[tuple[int, int], list[int]]:
    """(mark, page number) -> ids of the words whose centre lies in a rectangle of the mark, in reading order."""
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
