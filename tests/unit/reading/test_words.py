"""Words of PDF pages: what Typst printed is what comes back, in place, however the page is turned."""

import io

import numpy as np
import pypdfium2 as pdfium
import pytest
import typst

from sap_llm.reading.lines import order_words
from sap_llm.reading.pdf import read_pdf
from tests.support.raw_pdf import HELVETICA, raw_pdf, shown, stream, to_unicode

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


@pytest.mark.parametrize("rotation", [0, 90, 180, 270, -90, 450])
def test_print_along_the_edges_is_read_line_by_line_in_its_own_direction(rotation: int) -> None:
    prints = {
        "1 0 0 1": ("upright line one", 100, 200),
        "0 1 -1 0": ("up the margin", 30, 60),
        "0 -1 1 0": ("down the other", 370, 250),
        "-1 0 0 -1": ("upside down", 300, 40),
    }
    content = b"".join(shown(text, x, y, matrix=matrix) for matrix, (text, x, y) in prints.items())
    content += shown("second line", 100, 180)
    page = f"/MediaBox[0 0 400 300]/Rotate {rotation}".encode()
    (read,), _ = read_pdf(raw_pdf(content, page=page), name="edges.pdf")
    lines = read.text().splitlines()
    assert lines[:2] == ["upright line one", "second line"]
    assert sorted(lines[2:]) == ["down the other", "up the margin", "upside down"]
    low, high = read.boxes[:, :2], read.boxes[:, 2:]
    assert (low < high).all()
    assert (low >= 0).all()
    assert (high <= [read.width, read.height]).all()


def test_a_watermark_across_the_page_stands_apart() -> None:
    stamp = shown("DRAFT COPY", 100, 50, size=40, matrix="0.7071 0.7071 -0.7071 0.7071")
    (page,), _ = read_pdf(raw_pdf(stamp + shown("Visible text", 40, 200)), name="stamp.pdf")
    assert page.text().splitlines() == ["Visible text", "DRAFT COPY"]


def test_the_origin_of_the_page_is_the_corner_of_what_is_shown() -> None:
    (plain,), _ = read_pdf(raw_pdf(shown("Visible text", 40, 200)), name="plain.pdf")
    media = b"/MediaBox[100 200 500 500]"
    (moved,), _ = read_pdf(raw_pdf(shown("Visible text", 140, 400), page=media), name="moved.pdf")
    assert (moved.width, moved.height) == (400, 300)
    np.testing.assert_allclose(moved.boxes, plain.boxes, atol=0.02)
    cropped = raw_pdf(shown("Visible text", 140, 400), page=media + b"/CropBox[120 300 400 450]/Rotate 90")
    (page,), _ = read_pdf(cropped, name="cropped.pdf")
    assert (page.width, page.height) == (150, 280)
    x0, y0, x1, y1 = (plain.boxes - [20, 50, 20, 50]).T
    np.testing.assert_allclose(page.boxes, np.stack([150 - y1, x0, 150 - y0, x1], axis=1), atol=0.02)


def test_letters_behind_one_glyph_share_its_box() -> None:
    codes = {ord("#"): "fl", ord("@"): "\ufb01", ord("$"): "\ufb03"} | {ord(letter): letter for letter in "Rexne ac"}
    fonts = HELVETICA[:-2] + b"/ToUnicode 4 0 R>>"
    content = shown("Re#ex @ne a$x", 40, 200)
    (page,), _ = read_pdf(raw_pdf(content, fonts=fonts, extra=[stream(to_unicode(codes))]), name="one.pdf")
    (glyphs,), _ = read_pdf(raw_pdf(content), name="glyphs.pdf")
    assert page.words == ["Reflex", "fine", "affix"]
    np.testing.assert_allclose(page.boxes, glyphs.boxes, atol=0.02)


def test_a_divided_word_keeps_its_hyphen_whatever_the_font_calls_it() -> None:
    rows = shown("Die Liefe-", 40, 200) + shown("rung Ende\u00ad", 40, 185) + shown("lich", 40, 170)
    (page,), _ = read_pdf(raw_pdf(rows), name="hyphen.pdf")
    assert page.text().splitlines() == ["Die Liefe-", "rung Ende-", "lich"]


@pytest.mark.parametrize(("right", "down", "size"), [(0.4, 0, 12), (0.3, 0.3, 12), (2, 2, 20), (0, 1.5, 20)])
def test_bold_and_shadow_by_double_printing_are_one_word(right: float, down: float, size: int) -> None:
    shadow = shown("Summe 11,11", 40 + right, 200 - down, size=size, before="0.6 g")
    (page,), _ = read_pdf(raw_pdf(shadow + shown("Summe 11,11", 40, 200, size=size)), name="bold.pdf")
    assert page.words == ["Summe", "11,11"]


def test_letters_printed_twice_one_by_one_are_one_letter() -> None:
    glyphs = b"".join(
        shown(letter, 40 + 7 * index + shift, 100) for index, letter in enumerate("nun") for shift in (0.0, 0.3)
    )
    (page,), _ = read_pdf(raw_pdf(glyphs), name="twice.pdf")
    assert "".join(page.words) == "nun"


def test_the_same_number_in_two_rows_stays_two_words() -> None:
    (page,), _ = read_pdf(raw_pdf(shown("0,00 0,00", 40, 200) + shown("0,00 0,00", 40, 188)), name="rows.pdf")
    assert page.words == ["0,00"] * 4


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
