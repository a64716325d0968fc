"""What a reader of the printed page can see: hidden text is told from text, and a scan from a typeset page.

Belongs here: the rule, and the ink that it is judged by. Words and their boxes come from `words`.

The rule. A word counts only where the page as rendered shows ink in its box: that leaves out white on white, covered or
clipped text, and layers that are switched off, whatever made them invisible. Text in a mode that paints nothing (3 and
7) is left out as well, unless the page is a scan: a picture covers at least half of it and most words are painted so.
Then that layer is what an OCR program wrote down, and stays where the picture has ink. Text too small to read is left
out.
"""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from pypdfium2 import raw

SCAN_SHARE = 0.5
"""Share of the page from which on a picture makes it a scan."""

_UNPAINTED = (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
_MIN_ADVANCE_POINTS = 0.5  # of a character: print of four points is twice as wide at its narrowest
_MIN_CONTRAST = 6  # gray levels of 255 within a word's box; light gray print of 6 points has 15
_MAX_PIXELS = 1500**2
_ROWS, _COLUMNS = 8, 24  # samples of a box: about one a pixel for a word of ten points
_MAX_DEPTH = 3  # of form objects within each other

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def visible_words(page: pdfium.PdfPage, texts: list[str], boxes: Doubles, modes: npt.NDArray[np.int32]) -> Flags:
    """Which words somebody who looks at the page can read.

    Args:
        page: Open page.
        texts: n words.
        boxes: [n, 4] in points from the top left corner of the page as shown.
        modes: [n] text rendering mode of each word (ISO 32000-1, table 106).
    """
    if not texts:
        return np.zeros(0, dtype=bool)
    sizes = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    lengths = np.asarray([len(text) for text in texts])
    seen = _has_ink(page, boxes) & ((lengths < 2) | (sizes >= _MIN_ADVANCE_POINTS * lengths))
    unpainted = np.isin(modes, _UNPAINTED)
    if unpainted.any() and not (unpainted.sum() * 2 > len(texts) and picture_share(page) >= SCAN_SHARE):
        seen &= ~unpainted
    return seen


def picture_share(page: pdfium.PdfPage) -> float:
    """Share of the page that pictures cover, 0..1; overlaps count twice."""
    left, bottom, right, top = page.get_bbox()
    area = 0.0
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=_MAX_DEPTH):
        x0, y0, x1, y1 = item.get_bounds()
        area += max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, top) - max(y0, bottom))
    share: float = area / ((right - left) * (top - bottom))
    return min(1.0, share)


def is_empty(page: pdfium.PdfPage) -> bool:
    """Whether nothing at all is drawn, as on the back of a sheet."""
    return bool(raw.FPDFPage_CountObjects(page) == 0)


def _has_ink(page: pdfium.PdfPage, boxes: Doubles) -> Flags:
    """Whether the rendered page is not of one tone within each box."""
    width, height = page.get_size()
    scale = min(1.0, (_MAX_PIXELS / (width * height)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    pixels: npt.NDArray[Any] = bitmap.to_numpy().reshape(bitmap.height, bitmap.width)
    columns = _samples(boxes[:, 0] * scale, boxes[:, 2] * scale, _COLUMNS, bitmap.width)
    rows = _samples(boxes[:, 1] * scale, boxes[:, 3] * scale, _ROWS, bitmap.height)
    sampled = pixels[rows[:, :, None], columns[:, None, :]].reshape(len(boxes), -1)
    contrast: Flags = sampled.max(axis=1).astype(np.int16) - sampled.min(axis=1) >= _MIN_CONTRAST
    bitmap.close()
    return contrast


def _samples(low: Doubles, high: Doubles, count: int, limit: int) -> npt.NDArray[np.intp]:
    """[n, count] pixel positions evenly from `low` to `high`, a pixel beyond them at both ends."""
    steps = np.linspace(0.0, 1.0, count)
    places = (low - 1)[:, None] + (high - low + 2)[:, None] * steps
    return np.clip(places, 0, limit - 1).astype(np.intp)


def text_mode(handle: int) -> int:
    """Rendering mode of the text object at an address; 0 (painted) where there is none."""
    return int(raw.FPDFTextObj_GetTextRenderMode(ctypes.cast(handle, raw.FPDF_PAGEOBJECT))) if handle else 0
