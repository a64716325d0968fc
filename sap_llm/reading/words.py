"""Characters of a PDF page to words, boxes and visual lines.

Belongs here: the one way from PDFium's character list to a `Page`, used for foreign PDFs and for pages that the
simulator typesets, so that both see words alike. Opening files and limits are `pdf`. PDFium is not thread-safe: one
thread of a process at a time.
"""

import ctypes
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from pypdfium2 import raw

from sap_llm.reading.lines import order_words
from sap_llm.schema.page import Page

MAX_CHARACTERS = 200_000  # a page of dense small print has about 10,000

_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}
_HYPHENS = {
    0x02: "-",
    0xFFFE: "-",
    0xAD: "-",
}  # PDFium marks the hyphen of a divided word by 0x02 (older: 0xFFFE)
_DROPPED = {0xFEFF: "", 0x200B: "", 0x200C: "", 0x200D: "", 0x200E: "", 0x200F: ""}
_TRANSLATION: dict[int, str] = _LIGATURES | _HYPHENS | _DROPPED
_TRANSLATED = re.compile("[" + "".join(map(chr, _TRANSLATION)) + "\ud800-\udfff]")
_UNKNOWN = re.compile("[\ufffd\ue000-\uf8ff]")  # replacement character and private use
_SAME_PLACE_POINTS = 1.0  # fake bold prints a word twice, this near
_SPACES = {
    *range(0x02),
    *range(0x03, 0x21),
    0x7F,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
}
_SPACES |= {0x202F, 0x205F, 0x3000}
_WORD_GAP = 1.0  # of the character height: a wider gap separates words even without a space

_Doubles = npt.NDArray[np.float64]

# Own prototypes: passing addresses as integers avoids one ctypes object per character and edge (3x faster), and calls
# of less than a microsecond had better keep the interpreter lock.
_RECTANGLE = [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p] * 4
_POINT = [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p] * 2


def _bare(function: Any, argument_types: list[Any]) -> Any:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return ctypes.PYFUNCTYPE(ctypes.c_int, *argument_types)(address)


_get_box = _bare(raw.FPDFText_GetCharBox, _RECTANGLE)
_get_origin = _bare(raw.FPDFText_GetCharOrigin, _POINT)
_get_unicode = _bare(raw.FPDFText_GetUnicode, [ctypes.c_void_p, ctypes.c_int])


def read_page(page: pdfium.PdfPage, *, page_number: int, reader: str = "text_layer") -> Page:
    """Words of one PDF page from its text layer.

    A page without text gives no words and quality 0. Quality is the share of characters that have a known meaning.

    Args:
        page: Open page.
        page_number: From 1.
        reader: Recorded in the page: `text_layer`, or `typeset` for our own documents.

    Raises:
        ValueError: More than `MAX_CHARACTERS` characters on the page.
    """
    width, height = page.get_size()
    texts, edges, origins = _words(page)
    word_boxes, baselines = _upright(page, edges, origins)
    visible = _visible(texts, word_boxes, width, height)
    texts = [texts[index] for index in visible]
    word_boxes, baselines = word_boxes[visible], baselines[visible]
    order, lines = order_words(word_boxes, baselines=baselines)
    return Page(
        page_number=page_number,
        width=width,
        height=height,
        words=[texts[index] for index in order],
        boxes=word_boxes[order].astype(np.float32),
        lines=lines,
        reader=reader,
        quality=_quality(texts),
    )


def _words(page: pdfium.PdfPage) -> tuple[list[str], _Doubles, _Doubles]:
    """Texts, edges (left, right, bottom, top) [n, 4] and origins of the first character [n, 2], in PDF user space."""
    textpage = page.get_textpage()
    try:
        count = textpage.count_chars()
        if count > MAX_CHARACTERS:
            raise ValueError(f"{count} characters on one page")
        handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
        codes = [_get_unicode(handle, index) for index in range(count)]
        kept = [index for index, code in enumerate(codes) if code not in _SPACES]
        edges = np.zeros((len(kept), 4))
        at = edges.ctypes.data
        for index in kept:
            _get_box(handle, index, at, at + 8, at + 16, at + 24)
            at += 32
        starts = _starts(kept, edges)
        origins = np.zeros((len(starts), 2))
        at = origins.ctypes.data
        for start in starts:
            _get_origin(handle, kept[start], at, at + 8)
            at += 16
    finally:
        textpage.close()
    if not starts:
        return [], np.zeros((0, 4)), origins
    ends = [*starts[1:], len(kept)]
    units = "".join([chr(codes[index]) for index in kept])
    texts = [units[start:end] for start, end in zip(starts, ends, strict=True)]
    if _TRANSLATED.search(units):
        texts = [_text(text) for text in texts]
    low = np.minimum.reduceat(edges, starts)
    high = np.maximum.reduceat(edges, starts)
    return (
        texts,
        np.stack([low[:, 0], high[:, 1], low[:, 2], high[:, 3]], axis=1),
        origins,
    )


def _starts(kept: list[int], edges: _Doubles) -> list[int]:
    """Positions in `kept` where words begin: after white space, or after a gap that no space explains."""
    if not kept:
        return []
    indices = np.asarray(kept)
    before, here = edges[:-1], edges[1:]
    size = np.maximum(before[:, 3] - before[:, 2], here[:, 3] - here[:, 2])
    size = np.maximum(size, np.median(edges[:, 3] - edges[:, 2]))
    apart_x = np.maximum(here[:, 0] - before[:, 1], before[:, 0] - here[:, 1])
    apart_y = np.maximum(here[:, 2] - before[:, 3], before[:, 2] - here[:, 3])
    is_start = (np.diff(indices) > 1) | (apart_x > _WORD_GAP * size) | (apart_y > _WORD_GAP * size)
    found: list[int] = (np.flatnonzero(is_start) + 1).tolist()
    return [0, *found]


def _upright(page: pdfium.PdfPage, edges: _Doubles, origins: _Doubles) -> tuple[_Doubles, _Doubles]:
    """Boxes and baselines in points from the top left corner of the page as shown: crop box first, then rotation."""
    left, bottom, right, top = page.get_bbox()
    width, height = right - left, top - bottom
    x = np.stack([edges[:, 0], edges[:, 1], origins[:, 0]]) - left
    y = top - np.stack([edges[:, 3], edges[:, 2], origins[:, 1]])
    rotation = page.get_rotation()
    if rotation == 90:
        x, y = height - y, x
    elif rotation == 180:
        x, y = width - x, height - y
    elif rotation == 270:
        x, y = y, width - x
    low, high = np.minimum(x[0], x[1]), np.maximum(x[0], x[1])
    boxes = np.stack([low, np.minimum(y[0], y[1]), high, np.maximum(y[0], y[1])], axis=1)
    return boxes, y[2]


def _text(units: str) -> str:
    if not units.isascii() and any("\ud800" <= unit <= "\udfff" for unit in units):  # halves of a pair of UTF-16
        units = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return units.translate(_TRANSLATION)


def _visible(texts: list[str], boxes: _Doubles, width: float, height: float) -> list[int]:
    """Indices of words that are on the page, have text and are not printed a second time at the same place."""
    seen: dict[str, list[list[float]]] = {}
    kept: list[int] = []
    inside = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    for index, (text, box, is_inside) in enumerate(zip(texts, boxes.tolist(), inside.tolist(), strict=True)):
        if not text or not is_inside:
            continue
        twins = seen.get(text)
        if twins is None:
            seen[text] = [box]
        elif any(
            abs(twin[0] - box[0]) < _SAME_PLACE_POINTS and abs(twin[1] - box[1]) < _SAME_PLACE_POINTS for twin in twins
        ):
            continue
        else:
            twins.append(box)
        kept.append(index)
    return kept


def _quality(texts: list[str]) -> float:
    joined = "".join(texts)
    return 1.0 - len(_UNKNOWN.findall(joined)) / len(joined) if joined else 0.0
