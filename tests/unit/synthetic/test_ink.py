"""Word boxes against the ink of the page itself: rendered, not read back from the text layer that they came from.

What is checked. A page is rendered at 600 dpi with its text alone and all text black: rules, fills and frames are taken
out, since a rule that touches a word hides where its glyphs end, and pale text would count as little ink. What is dark
then is glyph, nothing else, so two statements are sound. No ink is without a word: every dark pixel is near some word's
box. No box is too large: each is touched by ink on all its four sides.

Tolerances, in pixels of 0.12 points; a pixel is the square that it covers. Measured on 223 first pages (seeds 3, 5 and
9, with all classes and languages): pixels with any ink at all are at most 1.42 outside of a box, those at least half
covered 0.93, all of them sideways and in print below 5 points, which the rasteriser sets on whole pixels: on the pages
with the largest, no pixel is half covered outside of a box at 1200 dpi, and a slow test holds half of a 600th of an
inch there. A box is wider than
its ink by at most 1.4 at the left, right and lower edge, of which one is the pixel that ink begins in, and by 2.21 at
the upper edge: there PDFium's boxes stand about a hundredth of the letters' height above the ink.
"""

import io
from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
import pytest
from pypdfium2 import raw

from sap_llm.schema.page import Page
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.request import DOCUMENT_TYPES, LANGUAGES, Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, typeset_fact

DOTS_PER_INCH = 600
ANY_INK, HALF_COVERED = 1, 128
OUTSIDE = {ANY_INK: 1.45, HALF_COVERED: 0.95}  # least darkness of a pixel -> how far from a box it may be
TOO_WIDE = np.array([1.5, 2.25, 1.5, 1.5])  # left, upper, right and lower edge
FACTS = BusinessFactsConfig(seed=5, chains_per_world=2, lines_max=8)
CONFIG = SyntheticDocsConfig(
    seed=5, workers=1, test_layout_share=0.3, untitled_share=0.2, foreign_language_share=0.0,
    tier="typeset", volume_share=0.0
)  # fmt: skip

Boxes = npt.NDArray[np.float64]
Ink = npt.NDArray[np.uint8]


def ink_of(content: bytes, number: int = 1, dots: int = DOTS_PER_INCH) -> Ink:
    """Darkness of a page's text, 0 to 255, [height, width]."""
    document = pdfium.PdfDocument(io.BytesIO(content))
    page = document[number - 1]
    for item in list(page.get_objects(max_depth=1)):
        if item.type != raw.FPDF_PAGEOBJ_TEXT:
            page.remove_obj(item)
        else:
            assert raw.FPDFPageObj_SetFillColor(item.raw, 0, 0, 0, 255)
    rendered: Ink = page.render(scale=dots / 72, grayscale=True).to_numpy().squeeze()
    return 255 - rendered


def boxes_of(page: Page, ink: Ink) -> Boxes:
    """Word boxes in pixels; the picture is a whole number of pixels, so its scale is not quite 600 / 72."""
    height, width = ink.shape
    return page.boxes.astype(float) * np.array([width / page.width, height / page.height] * 2)


def farthest(ink: Ink, boxes: Boxes, darkness: int) -> float:
    """How far outside of all boxes a pixel of at least that darkness lies."""
    rest = ink >= darkness
    for x0, y0, x1, y1 in boxes:
        rest[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = False
    y, x = (places[:, None] for places in np.nonzero(rest))
    beside = np.maximum(boxes[:, 0] - (x + 1), x - boxes[:, 2])
    above = np.maximum(boxes[:, 1] - (y + 1), y - boxes[:, 3])
    apart = np.maximum(np.maximum(beside, above), 0)
    return float(apart.min(axis=1).max(initial=0.0))


def widest(ink: Ink, boxes: Boxes) -> Boxes:
    """The largest distance of a box's left, upper, right and lower edge to the ink inside; infinite without any."""
    gaps = []
    for x0, y0, x1, y1 in boxes:
        left, top = max(0, int(x0)), max(0, int(y0))
        inside = ink[top : int(np.ceil(y1)), left : int(np.ceil(x1))] > 0
        x, y = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        if len(x) == 0:
            return np.full(4, np.inf)
        gaps.append((left + x[0] - x0, top + y[0] - y0, x1 - left - x[-1] - 1, y1 - top - y[-1] - 1))
    return np.max(gaps, axis=0)


def first_pages(language: str) -> Iterator[tuple[Page, bytes]]:
    """A first page of every fourth class in the language; the four languages together have them all."""
    for kind in DOCUMENT_TYPES[LANGUAGES.index(language) :: len(LANGUAGES)]:
        request = Request(facts=FACTS, documents=CONFIG, document_types=(kind,), languages=(language,))
        rows = next(rows for rows in (typeset_fact(fact, CONFIG) for fact in wanted_facts(request)) if "pages" in rows)
        yield Page.from_row(rows["pages"][0]), rows["blobs"][0]["content"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_ink_is_in_word_boxes_and_all_boxes_are_tight(language: str) -> None:
    for page, content in first_pages(language):
        ink = ink_of(content)
        boxes = boxes_of(page, ink)
        assert len(boxes) > 30
        for darkness, tolerance in OUTSIDE.items():
            assert farthest(ink, boxes, darkness) <= tolerance
        assert (widest(ink, boxes) <= TOO_WIDE).all()


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_ink_is_within_half_a_600th_of_an_inch_where_pixels_are_smaller(language: str) -> None:
    for page, content in islice(first_pages(language), 3):
        ink = ink_of(content, dots=2 * DOTS_PER_INCH)
        assert farthest(ink, boxes_of(page, ink), HALF_COVERED) <= 1.0


def test_a_missing_a_shifted_and_a_wide_box_are_found() -> None:
    page, content = next(first_pages("de"))
    ink = ink_of(content)
    boxes = boxes_of(page, ink)
    assert farthest(ink, np.delete(boxes, 3, axis=0), HALF_COVERED) > 3
    assert farthest(ink, boxes + np.array([2.5, 0, 2.5, 0]), HALF_COVERED) > OUTSIDE[HALF_COVERED]
    for edge, outwards in enumerate((-1, -1, 1, 1)):
        grown = boxes.copy()
        grown[:, edge] += outwards * (TOO_WIDE[edge] + 1)
        assert widest(ink, grown)[edge] > TOO_WIDE[edge]
