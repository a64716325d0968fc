"""Words of PDF pages: what Typst printed is what comes back, in place, however the page is turned."""

import io

import numpy as np
import pypdfium2 as pdfium
import pytest
import typst

from sap_llm.reading.lines import order_words
from sap_llm.reading.pdf import read_pdf

_TEXT = b"""#set page(width: 400pt, height: 300pt, margin: 0pt)
#set text(size: 12pt)
#place(dx: 40pt, dy: 50pt)[Oberfl\xc3\xa4che offline 1.234,56 \xe2\x82\xac]
#place(dx: 240pt, dy: 50pt)[rechts]
#place(dx: 40pt, dy: 150pt)[zweite Zeile]
#place(dx: 40pt, dy: 150.3pt)[zweite]
"""


@pytest.fixture(scope="module")
def sheet() -> bytes:
    content = typst.compile(_TEXT)
    assert isinstance(content, bytes)
    return content


def test_words_lines_and_places(sheet: bytes) -> None:
    (page,), total = read_pdf(sheet, name="sheet.pdf", reader="typeset")
    assert total == 1
    assert page.words == ["Oberfläche", "offline", "1.234,56", "€", "rechts", "zweite", "Zeile"]
    assert page.lines.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert (page.width, page.height, page.reader, page.quality) == (400.0, 300.0, "typeset", 1.0)
    left, top, right, bottom = page.boxes[0].tolist()
    assert left == pytest.approx(40, abs=1.5)
    assert 48 < top < bottom < 66
    assert right < page.boxes[1][0]
    assert page.boxes[4][0] == pytest.approx(240, abs=1.5)


def test_text_printed_twice_at_one_place_is_one_word(sheet: bytes) -> None:
    (page,), _ = read_pdf(sheet, name="sheet.pdf")
    assert page.words.count("zweite") == 1


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_page_has_its_words_where_they_are_seen(sheet: bytes, rotation: int) -> None:
    (upright,), _ = read_pdf(sheet, name="sheet.pdf")
    (turned,), _ = read_pdf(_changed(sheet, rotation=rotation), name="turned.pdf")
    assert (turned.width, turned.height) == ((400.0, 300.0) if rotation == 180 else (300.0, 400.0))
    expected = _rotated(upright.boxes, rotation, 400.0, 300.0)
    found = dict(zip(turned.words, turned.boxes, strict=True))
    for word, box in zip(upright.words, expected, strict=True):
        if word == "zweite":  # printed twice 0.3 points apart; which twin stays depends on the order
            continue
        np.testing.assert_allclose(found[word], box, atol=0.02)


def test_crop_box_moves_the_origin_and_hides_what_is_outside(sheet: bytes) -> None:
    (whole,), _ = read_pdf(sheet, name="sheet.pdf")
    (part,), _ = read_pdf(_changed(sheet, crop=(30, 200, 230, 290)), name="cropped.pdf")
    assert part.words == ["Oberfläche", "offline", "1.234,56", "€"]
    assert (part.width, part.height) == (200.0, 90.0)
    np.testing.assert_allclose(part.boxes, whole.boxes[:4] - np.array([30, 10, 30, 10]), atol=0.02)


def test_order_is_by_line_then_from_left() -> None:
    boxes = np.array([[100, 10, 120, 20], [10, 50, 30, 60], [10, 11, 30, 21], [200, 9, 220, 19]], dtype=np.float32)
    order, lines = order_words(boxes)
    assert order.tolist() == [2, 0, 3, 1]
    assert lines.tolist() == [0, 0, 0, 1]
    assert [part.tolist() for part in order_words(np.zeros((0, 4)))] == [[], []]


def test_ligature_glyphs_become_letters() -> None:
    content = typst.compile("#set page(width: 200pt, height: 80pt, margin: 9pt)\nRe\ufb02ex \ufb01ne".encode())
    assert isinstance(content, bytes)
    (page,), _ = read_pdf(content, name="ligatures.pdf")
    assert page.words == ["Reflex", "fine"]


def _changed(content: bytes, *, rotation: int = 0, crop: tuple[int, int, int, int] | None = None) -> bytes:
    document = pdfium.PdfDocument(content)
    document[0].set_rotation(rotation)
    if crop:
        document[0].set_cropbox(*crop)
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def _rotated(boxes: np.ndarray, rotation: int, width: float, height: float) -> np.ndarray:
    x0, y0, x1, y1 = boxes.T
    if rotation == 90:
        return np.stack([height - y1, x0, height - y0, x1], axis=1)
    if rotation == 180:
        return np.stack([width - x1, height - y1, width - x0, height - y0], axis=1)
    return np.stack([y0, width - x1, y1, width - x0], axis=1)
