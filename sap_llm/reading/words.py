"""Characters of a PDF page to words, boxes and visual lines.

Belongs here: the one way from PDFium's character list to a `Page`, used for foreign PDFs and for pages that the
simulator typesets, so that both see words alike. Opening files and limits are `pdf`. PDFium is not thread-safe: one
thread of a process at a time.
"""

import ctypes
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from pypdfium2 import raw

from sap_llm.reading.legibility import quality
from sap_llm.reading.lines import SLANTED, order_words
from sap_llm.reading.visibility import text_mode, visible_words
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
_UNMAPPED = {0x00: "\ufffd"}  # the font does not say which letter it draws
_TRANSLATION: dict[int, str] = _LIGATURES | _HYPHENS | _DROPPED | _UNMAPPED
_TRANSLATED = re.compile("[" + "".join(map(chr, _TRANSLATION)) + "\ud800-\udfff]")
_SAME_PLACE_POINTS, _SAME_PLACE = 1.0, 0.25  # fake bold and shadows print a word twice, this near, or of its height
_SPACES = {
    0x01,
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
_IS_INK = np.ones(1 << 16, dtype=np.bool_)
_IS_INK[list(_SPACES)] = False
_SLANT_QUARTERS = 0.1  # of a right angle: a crooked scan is not slanted print
_WORD_GAP = 1.0  # of the character height: a wider gap separates words even without a space

_Doubles = npt.NDArray[np.float64]

# Own prototypes: passing addresses as integers avoids one ctypes object per character and edge (3x faster), and calls
# of less than a microsecond had better keep the interpreter lock.
_RECTANGLE = [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p] * 4
_POINT = [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p] * 2


def _bare(function: Any, argument_types: list[Any], result_type: Any = ctypes.c_int) -> Any:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return ctypes.PYFUNCTYPE(result_type, *argument_types)(address)


_get_text = _bare(raw.FPDFText_GetText, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p])
_get_box = _bare(raw.FPDFText_GetCharBox, _RECTANGLE)
_get_origin = _bare(raw.FPDFText_GetCharOrigin, _POINT)
_get_unicode = _bare(raw.FPDFText_GetUnicode, [ctypes.c_void_p, ctypes.c_int])
_get_angle = _bare(raw.FPDFText_GetCharAngle, [ctypes.c_void_p, ctypes.c_int], ctypes.c_float)
_get_object = _bare(raw.FPDFText_GetTextObject, [ctypes.c_void_p, ctypes.c_int], ctypes.c_void_p)


class CrowdedPageError(Exception):
    """More characters than anybody prints on one page."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """n words in PDF user space.

    Attributes:
        texts: n.
        edges: [n, 4] left, right, bottom, top.
        origins: [n, 2], of the first character.
        angles: [n] radians clockwise, of the first character.
        modes: [n] text rendering mode, of the first character; 0 where it was not asked for.
    """

    texts: list[str]
    edges: _Doubles
    origins: _Doubles
    angles: _Doubles
    modes: npt.NDArray[np.int32]


def read_page(
    page: pdfium.PdfPage, *, page_number: int, reader: str = "text_layer", has_hidden_text: bool = True
) -> Page:
    """Words of one PDF page from its text layer; `legibility` says what their quality is, `visibility` which count.

    A page without text gives no words and quality 0. Ligatures are spelled out, and the hyphen of a divided word stays
    at its end: both halves are printed, each with a box of its own.

    Args:
        page: Open page.
        page_number: From 1.
        reader: Recorded in the page: `text_layer`, or `typeset` for our own documents.
        has_hidden_text: Whether some may be hidden; False saves rendering pages that we typeset ourselves.

    Raises:
        CrowdedPageError: More than `MAX_CHARACTERS` characters on the page.
    """
    return _read(page, page_number=page_number, reader=reader, has_hidden_text=has_hidden_text)[0]


def read_own_page(page: pdfium.PdfPage, *, page_number: int) -> tuple[Page, npt.NDArray[np.intp]]:
    """`read_page` of a page that we typeset, and the place of each word in the order in which the file draws them.

    A word that does not count, such as one off the page, leaves its place empty.
    """
    return _read(page, page_number=page_number, reader="typeset", has_hidden_text=False)


def _read(
    page: pdfium.PdfPage, *, page_number: int, reader: str, has_hidden_text: bool
) -> tuple[Page, npt.NDArray[np.intp]]:
    width, height = page.get_size()
    found = _words(page, asks_mode=has_hidden_text)
    boxes, origins = _upright(page, found.edges, found.origins)
    is_kept = _distinct(found.texts, boxes, width, height)
    if has_hidden_text:
        is_kept &= visible_words(page, found.texts, boxes, found.modes)
    kept = np.flatnonzero(is_kept)
    turns = _turns(found.angles[kept], page.get_rotation())
    order, lines = order_words(boxes[kept], origins=origins[kept], turns=turns)
    kept = kept[order]
    words = [found.texts[index] for index in kept.tolist()]
    done = Page(
        page_number=page_number,
        width=width,
        height=height,
        words=words,
        boxes=boxes[kept].astype(np.float32),
        lines=lines,
        reader=reader,
        quality=quality(words),
    )
    return done, kept


def _words(page: pdfium.PdfPage, *, asks_mode: bool) -> _Found:
    textpage = page.get_textpage()
    try:
        count = textpage.count_chars()
        if count > MAX_CHARACTERS:
            raise CrowdedPageError(f"{count} characters on one page")
        handle = ctypes.cast(textpage.raw, ctypes.c_void_p).value
        codes = _codes(handle, count)
        kept = np.flatnonzero(_IS_INK[codes])
        edges = np.zeros((len(kept), 4))
        at = edges.ctypes.data
        for index in kept.tolist():
            _get_box(handle, index, at, at + 8, at + 16, at + 24)
            at += 32
        starts = _starts(kept, edges)
        first = kept[starts].tolist()
        origins = np.zeros((len(first), 2))
        at = origins.ctypes.data
        for index in first:
            _get_origin(handle, index, at, at + 8)
            at += 16
        angles = np.asarray([_get_angle(handle, index) for index in first], dtype=np.float64)
        objects = [_get_object(handle, index) for index in first] if asks_mode else [0] * len(first)
        modes = {item: text_mode(item) for item in set(objects)}
    finally:
        textpage.close()
    if not len(starts):
        edges = np.zeros((0, 4))
    else:
        low, high = np.minimum.reduceat(edges, starts), np.maximum.reduceat(edges, starts)
        edges = np.stack([low[:, 0], high[:, 1], low[:, 2], high[:, 3]], axis=1)
    return _Found(
        texts=_texts(codes[kept], starts),
        edges=edges,
        origins=origins,
        angles=angles,
        modes=np.asarray([modes[item] for item in objects], dtype=np.int32),
    )


def _codes(handle: int | None, count: int) -> npt.NDArray[np.uint16]:
    """UTF-16 units of all characters, in one call where PDFium has a unit for each (it leaves out unmapped ones)."""
    codes = np.zeros(count + 1, dtype=np.uint16)
    if count and _get_text(handle, 0, count, codes.ctypes.data) == count + 1:
        return codes[:count]
    return np.asarray([_get_unicode(handle, index) for index in range(count)], dtype=np.uint32).astype(np.uint16)


def _texts(codes: npt.NDArray[np.uint16], starts: npt.NDArray[np.intp]) -> list[str]:
    if not len(starts):
        return []
    units = codes.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass")
    if len(units) < len(codes):  # pairs of UTF-16, each two units that have their boxes
        units = "".join(map(chr, codes.tolist()))
    first = starts.tolist()
    texts = [units[start:end] for start, end in zip(first, [*first[1:], len(units)], strict=True)]
    return [_text(text) for text in texts] if _TRANSLATED.search(units) else texts


def _starts(indices: npt.NDArray[np.intp], edges: _Doubles) -> npt.NDArray[np.intp]:
    """Positions among the characters where words begin: after white space, or after a gap that no space explains."""
    if not len(indices):
        return indices
    before, here = edges[:-1], edges[1:]
    # of four characters in a row the tallest: a full stop and a comma are small and, in a monospaced face, far apart
    heights = np.pad(edges[:, 3] - edges[:, 2], 1, mode="edge")
    size = np.maximum.reduce([heights[start : len(heights) - 3 + start] for start in range(4)])
    size = np.maximum(size, np.median(heights))
    apart_x = np.maximum(here[:, 0] - before[:, 1], before[:, 0] - here[:, 1])
    apart_y = np.maximum(here[:, 2] - before[:, 3], before[:, 2] - here[:, 3])
    is_start = np.ones(len(indices), dtype=np.bool_)
    is_start[1:] = (np.diff(indices) > 1) | (apart_x > _WORD_GAP * size) | (apart_y > _WORD_GAP * size)
    return np.flatnonzero(is_start)


def _upright(page: pdfium.PdfPage, edges: _Doubles, origins: _Doubles) -> tuple[_Doubles, _Doubles]:
    """Boxes and origins in points from the top left corner of the page as shown: crop box first, then rotation."""
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
    return boxes, np.stack([x[2], y[2]], axis=1)


def _turns(angles: _Doubles, rotation: int) -> npt.NDArray[np.int64]:
    """Quarter turns of each direction as shown, `SLANTED` for those between."""
    quarters = -angles / (np.pi / 2)
    nearest = np.rint(quarters)
    turns = (nearest.astype(np.int64) - rotation // 90) % 4
    return np.where(np.abs(quarters - nearest) > _SLANT_QUARTERS, SLANTED, turns)


def _text(units: str) -> str:
    if not units.isascii() and any("\ud800" <= unit <= "\udfff" for unit in units):  # halves of a pair of UTF-16
        units = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return units.translate(_TRANSLATION)


def _distinct(texts: list[str], boxes: _Doubles, width: float, height: float) -> npt.NDArray[np.bool_]:
    """Words that are on the page, have text and are not printed a second time at the same place."""
    kept: npt.NDArray[np.bool_] = (boxes[:, 2] > 0) & (boxes[:, 0] < width) & (boxes[:, 3] > 0) & (boxes[:, 1] < height)
    seen: dict[str, list[tuple[float, float]]] = {}
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    nears = np.maximum(_SAME_PLACE_POINTS, _SAME_PLACE * sides).tolist()
    for index, (text, (x, y, *_), is_inside) in enumerate(zip(texts, boxes.tolist(), kept.tolist(), strict=True)):
        if not text or not is_inside:
            kept[index] = False
            continue
        twins = seen.get(text)
        if twins is None:
            seen[text] = [(x, y)]
            continue
        near = nears[index]
        if any(abs(left - x) < near and abs(top - y) < near for left, top in twins):
            kept[index] = False
        else:
            twins.append((x, y))
    return kept
