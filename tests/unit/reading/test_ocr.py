"""OCR where it is installed: real receipts, pages that lie on their side, and only those pages that need it."""

import json
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest

from sap_llm.reading import ocr
from sap_llm.reading.document import ReadDocument, read_document
from sap_llm.reading.language import detect_language
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import UnreadableDocumentError
from tests.support.hostile_files import scanned_pdf
from tests.support.raw_pdf import HELVETICA, picture, raw_pdf, shown, stream, to_unicode
from tests.support.typeset_corpus import typeset_pdf

pytestmark = pytest.mark.skipif(not ocr.has_ocr(), reason="tesserocr or Tesseract's language data are not installed")
ROWS = ["Rechnung Nummer 4711", "Bitte zahlen Sie den Betrag bis zum 14.03.2025", "Gesamtbetrag 267,75 EUR"]
LETTER = b"".join(shown(row, 30, 240 - 40 * index, size=14) for index, row in enumerate(ROWS))


@pytest.fixture(scope="module")
def invoice() -> bytes:
    return typeset_pdf(4711)[0]


def _recall(read: ReadDocument, expected: list[str]) -> float:
    found = {word for page in read.pages for word in page.words}
    return sum(word in found for word in expected) / len(expected)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_scan_is_read_in_place_whichever_way_it_lies(invoice: bytes, turn: int) -> None:
    true = read_document(invoice, name="i.pdf").pages[0]
    read = read_document(scanned_pdf(invoice, turn=turn), name="scan.pdf")
    assert _recall(read, true.words) > 0.85
    assert read.language == "de"
    assert 0.7 < read.quality <= 1
    (page,) = read.pages
    assert page.reader == "ocr"
    assert "Rechnungsnummer: RE-4711" in page.text()
    x0, y0, x1, y1 = true.boxes[true.words.index("Nettobetrag:")].tolist()
    width, height = true.width, true.height
    expected = {
        0: (x0, y0, x1, y1),
        90: (y0, width - x1, y1, width - x0),
        180: (width - x1, height - y1, width - x0, height - y0),
        270: (height - y1, x0, height - y0, x1),
    }[turn]
    np.testing.assert_allclose(page.boxes[page.words.index("Nettobetrag:")], expected, atol=3)


def test_only_the_pages_without_text_layer_are_read_by_ocr(invoice: bytes) -> None:
    document = pdfium.PdfDocument(invoice)
    document.import_pages(pdfium.PdfDocument(scanned_pdf(invoice)))
    document.new_page(200, 200)  # the blank back of a sheet
    document.import_pages(pdfium.PdfDocument(invoice))
    read = read_document(_saved(document), name="mixed.pdf")
    assert [page.reader for page in read.pages] == ["text_layer", "ocr", "text_layer", "text_layer"]
    assert [bool(page.words) for page in read.pages] == [True, True, False, True]
    assert [note for note in read.notes if "OCR" in note] == [
        "Pages read by OCR, their text layer is missing or bad: 2."
    ]
    assert [page.page_number for page in read.pages] == [1, 2, 3, 4]


@pytest.mark.parametrize("meaning", ["\ue041", "?", "\0", None])
def test_a_text_layer_that_makes_no_sense_is_read_by_ocr(meaning: str | None) -> None:
    letters = {code: meaning or chr(max(33, code - 29)) for code in range(33, 127)}
    fonts = HELVETICA[:-2] + b"/ToUnicode 4 0 R>>"
    read = read_document(raw_pdf(LETTER, fonts=fonts, extra=[stream(to_unicode(letters))]), name="broken.pdf")
    (page,) = read.pages
    assert page.reader == "ocr"
    assert _recall(read, " ".join(ROWS).split()) > 0.9
    assert (page.width, page.height) == (400, 300)


def test_a_scan_under_a_fax_header_is_read_by_ocr_and_a_picture_in_a_letter_is_not() -> None:
    bitmap = pdfium.PdfDocument(raw_pdf(LETTER))[0].render(scale=3, grayscale=True)
    image = picture(1200, 900, bitmap.to_numpy().tobytes())
    resources = b"/XObject<</I 4 0 R>>"
    header = shown("FAX 0049 4711 PAGE 1", 20, 290, size=7)
    fax = raw_pdf(b"q 400 0 0 300 0 0 cm /I Do Q " + header, resources=resources, extra=[image])
    (page,) = read_document(fax, name="fax.pdf").pages
    assert page.reader == "ocr"
    assert {"Gesamtbetrag", "4711"} <= set(page.words)
    logo = raw_pdf(b"q 80 0 0 60 300 0 cm /I Do Q " + header, resources=resources, extra=[image])
    assert read_document(logo, name="logo.pdf").pages[0].reader == "text_layer"


def test_the_confined_process_reads_pictures_as_the_reader_does(invoice: bytes) -> None:
    scan = scanned_pdf(invoice)
    direct = read_document(scan, name="scan.pdf")
    empty = raw_pdf(b"0.5 g 100 100 50 50 re f")
    with Sandbox() as sandbox:
        assert sandbox.read(scan, name="scan.pdf").pages[0].words == direct.pages[0].words
        with pytest.raises(UnreadableDocumentError, match="no words on any page"):  # Tesseract says so to /dev/null
            sandbox.read(empty, name="empty.pdf")


@pytest.mark.slow
def test_real_receipts_are_read(shared_data: Path) -> None:
    folder = shared_data / "sroie"
    found = total = 0
    languages = []
    for path in sorted((folder / "img").glob("*.jpg"))[:12]:
        read = read_document(path.read_bytes(), name=path.name)
        rows = (folder / "box" / f"{path.stem}.csv").read_text(errors="replace").splitlines()
        expected = [word for row in rows for word in row.split(",", 8)[-1].split()]
        words = [word.upper() for page in read.pages for word in page.words]
        total += len(expected)
        for word in expected:
            if word.upper() in words:
                words.remove(word.upper())
                found += 1
        languages.append(detect_language(word for page in read.pages for word in page.words))
    recall = found / total
    print(json.dumps({"receipts": 12, "words": total, "recall": round(recall, 3)}))  # read with -s
    assert recall > 0.7
    assert languages.count("en") >= 9


def _saved(document: pdfium.PdfDocument) -> bytes:
    import io

    stream_ = io.BytesIO()
    document.save(stream_)
    return stream_.getvalue()
