"""Any file to pages, or a sentence that says what to do."""

import io

import numpy as np
import pypdfium2 as pdfium
import pytest
import typst
from PIL import Image

from sap_llm.reading import ocr
from sap_llm.reading.document import read_document
from sap_llm.reading.pdf import attachments, render_page
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import MissingToolError, UnreadableDocumentError
from sap_llm.schema.page import Page
from tests.support.hostile_files import encrypted_pdf, scanned_pdf
from tests.support.typeset_corpus import typeset_pdf


@pytest.fixture(scope="module")
def invoice() -> bytes:
    return typeset_pdf(4711)[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"%PDF-1.7 nothing else", "damaged"),
        (encrypted_pdf(), "password"),
        (b"\x00\x01\x02\x03binary", "neither PDF nor picture nor text"),
        (b"\x89PNG\r\n\x1a\nbroken", "cannot be decoded"),
        (b"   \n \n", "no words"),
    ],
)
def test_bad_files_say_what_is_wrong_and_what_to_do(content: bytes, words: str) -> None:
    with pytest.raises(UnreadableDocumentError, match=words) as caught:
        read_document(content, name="bad.bin")
    assert caught.value.where == "bad.bin"
    assert caught.value.remedy


def test_a_long_pdf_is_read_up_to_the_limit_and_says_so() -> None:
    content = typst.compile(b"#for page in range(500) [Seite #page #pagebreak()]")
    assert isinstance(content, bytes)
    read = read_document(content, name="long.pdf", max_pages=3)
    assert len(read.pages) == 3
    assert read.pages[2].words == ["Seite", "2"]
    assert any("first 3 of 50" in note for note in read.notes)


def test_text_keeps_its_columns() -> None:
    read = read_document("Pos  Menge\n1        5\n\n\fÄnderung\n".encode("cp1252"), name="list.txt")
    assert read.media_type == "text/plain"
    assert [page.words for page in read.pages] == [["Pos", "Menge", "1", "5"], ["Änderung"]]
    first = read.pages[0]
    assert first.boxes[1][2] == first.boxes[3][2]  # right-aligned numbers stay aligned
    assert first.lines.tolist() == [0, 0, 1, 1]


def test_pages_survive_the_table(invoice: bytes) -> None:
    page = read_document(invoice, name="i.pdf").pages[0]
    back = Page.from_row(page.to_row("doc-1"))
    assert (back.words, back.width, back.reader) == (page.words, page.width, page.reader)
    np.testing.assert_array_equal(back.boxes, page.boxes)
    np.testing.assert_array_equal(back.lines, page.lines)
    assert "Rechnungsnummer: RE-4711" in page.text()


def test_a_picture_of_a_page_is_read_by_ocr_or_names_the_tool(invoice: bytes) -> None:
    picture = render_page(invoice, scale=150 / 72)
    if not ocr.has_ocr():
        with pytest.raises(MissingToolError, match=r"OCR|Tesseract"):
            read_document(picture, name="scan.png")
        return
    read = read_document(picture, name="scan.png")
    true = read_document(invoice, name="i.pdf").pages[0]
    (page,) = read.pages
    assert page.reader == "ocr"
    assert 0.5 < read.quality <= 1
    assert "267,75" in page.words
    assert page.width == pytest.approx(true.width, rel=0.01)
    spot = true.boxes[true.words.index("267,75")]
    np.testing.assert_allclose(page.boxes[page.words.index("267,75")], spot, atol=2.0)


def test_without_language_data_the_error_says_how_to_get_them(invoice: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ocr.ocr_engine.cache_clear()
    monkeypatch.setenv("TESSDATA_PREFIX", "/nowhere")
    try:
        with pytest.raises(MissingToolError) as caught:
            read_document(scanned_pdf(invoice), name="scan.pdf")
        assert "pip install" in caught.value.remedy
    finally:
        ocr.ocr_engine.cache_clear()


def test_pictures_of_pages_have_a_size_limit(invoice: bytes) -> None:
    with Image.open(io.BytesIO(render_page(invoice, scale=0.5))) as picture:
        assert picture.size == (298, 421)
    with pytest.raises(UnreadableDocumentError, match="pixels"):
        render_page(invoice, scale=1000)
    with pytest.raises(UnreadableDocumentError, match="no page 2"):
        render_page(invoice, page_number=2)


def test_attachments_come_back(invoice: bytes) -> None:
    document = pdfium.PdfDocument(invoice)
    document.new_attachment("factur-x.xml").set_data(b"<a>\xc3\xa4</a>")
    stream = io.BytesIO()
    document.save(stream)
    assert attachments(stream.getvalue(), name="a.pdf") == {"factur-x.xml": b"<a>\xc3\xa4</a>"}


def test_the_sandbox_reads_as_the_reader_does_and_outlives_bad_files(invoice: bytes) -> None:
    direct = read_document(invoice, name="i.pdf")
    with Sandbox() as sandbox:
        for _ in range(2):
            read = sandbox.read(invoice, name="i.pdf")
            assert read.pages[0].words == direct.pages[0].words
            np.testing.assert_array_equal(read.pages[0].boxes, direct.pages[0].boxes)
            with pytest.raises(UnreadableDocumentError, match="damaged"):
                sandbox.read(b"%PDF-1.4", name="bad.pdf")
        assert sandbox.render(invoice, name="i.pdf", scale=0.2).startswith(b"\x89PNG")
