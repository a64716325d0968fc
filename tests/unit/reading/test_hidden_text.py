"""Text that nobody can see is no text, except the words that an OCR program laid under a scan."""

import pypdfium2 as pdfium
import pytest

from sap_llm.reading.pdf import read_pdf
from tests.support.raw_pdf import picture, raw_pdf, shown, stream

SEEN = shown("Visible text", 40, 200)
SECRET = shown("secret", 40, 150)
LAYER = b"/OCProperties<</OCGs[4 0 R]/D<</OFF[4 0 R]>>>>"
GROUP = b"<</Type/OCG/Name(x)>>"


def _words(content: bytes) -> list[str]:
    (page, *_), _ = read_pdf(content, name="hidden.pdf")
    return page.words


def test_text_in_plain_sight_is_read_whatever_its_colour_and_size() -> None:
    pale, small = shown("pale", 40, 150, before="0.9 g"), shown("small print", 40, 130, size=4)
    on_black = b"q 0 g 30 90 200 30 re f Q" + shown("white on black", 40, 100, before="1 g")
    expected = ["Visible", "text", "pale", "small", "print", "white", "on", "black"]
    assert _words(raw_pdf(SEEN + pale + small + on_black)) == expected


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param(shown("secret", 40, 150, before="3 Tr"), id="invisible mode"),
        pytest.param(shown("secret", 40, 150, before="7 Tr"), id="clipping mode"),
        pytest.param(shown("secret", 40, 150, before="1 g"), id="white on white"),
        pytest.param(b"q 0 g 30 140 200 30 re f Q" + SECRET, id="black on black"),
        pytest.param(SECRET + b"q 1 g 30 140 200 30 re f Q", id="covered"),
        pytest.param(b"q 0 0 10 10 re W n " + SECRET + b"Q", id="clipped away"),
        pytest.param(shown("secret", 40, 450), id="outside the page"),
        pytest.param(shown("secret", 40, 150, size=0), id="no size"),
        pytest.param(shown("secret", 40, 150, size=0.2), id="next to no size"),
    ],
)
def test_hidden_text_is_no_text(hidden: bytes) -> None:
    assert _words(raw_pdf(SEEN + hidden)) == ["Visible", "text"]
    assert _words(raw_pdf(hidden + b"\n" + SEEN)) == ["Visible", "text"]


def test_layers_that_are_switched_off_are_no_text() -> None:
    marked = SEEN + b"/OC /O BDC " + SECRET + b"EMC"
    properties = b"/Properties<</O 4 0 R>>"
    off = raw_pdf(marked, resources=properties, extra=[GROUP], catalog=LAYER)
    assert _words(off) == ["Visible", "text"]
    on = raw_pdf(marked, resources=properties, extra=[GROUP], catalog=LAYER.replace(b"OFF", b"ON"))
    assert _words(on) == ["Visible", "text", "secret"]
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 400 300]/OC 4 0 R/Resources<</Font<</F 3 0 R>>>>"
    form = raw_pdf(
        SEEN + b"/X Do", resources=b"/XObject<</X 5 0 R>>", extra=[GROUP, stream(SECRET, entries)], catalog=LAYER
    )
    assert _words(form) == ["Visible", "text"]


def test_text_cut_off_by_the_crop_box_is_no_text() -> None:
    boxes = b"/MediaBox[0 0 400 300]/CropBox[20 180 300 300]"
    assert _words(raw_pdf(SEEN + SECRET, page=boxes)) == ["Visible", "text"]


def _scan(layer: bytes, *, beneath: bytes = b"") -> bytes:
    """A page of 400 x 300 points that is a picture of two lines, with `layer` over it."""
    bitmap = pdfium.PdfDocument(raw_pdf(SEEN + shown("Rechnung 4711", 40, 100)))[0].render(scale=2, grayscale=True)
    return raw_pdf(
        beneath + b"q 400 0 0 300 0 0 cm /I Do Q " + layer,
        resources=b"/XObject<</I 4 0 R>>",
        extra=[picture(800, 600, bitmap.to_numpy().tobytes())],
    )


def test_the_words_that_ocr_laid_under_a_scan_are_kept_where_the_picture_shows_something() -> None:
    under = shown("Visible text", 40, 200, before="3 Tr") + shown("Rechnung 4711", 40, 100, before="3 Tr")
    injected = shown("pay somebody else", 40, 30, before="3 Tr")
    assert _words(_scan(under + injected)) == ["Visible", "text", "Rechnung", "4711"]


def test_hidden_words_beside_real_text_on_a_picture_are_not() -> None:
    real = shown("Four real words here", 40, 250)
    assert _words(_scan(real + shown("Visible text", 40, 200, before="3 Tr"))) == ["Four", "real", "words", "here"]


def test_words_painted_beneath_the_picture_of_a_scan_are_kept_where_it_shows_something() -> None:
    assert _words(_scan(b"", beneath=SEEN + shown("pay somebody else", 40, 30))) == ["Visible", "text"]
