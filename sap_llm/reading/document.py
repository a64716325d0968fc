"""Any document to pages: decides by content which reader takes the bytes.

Belongs here: the decision and what all readers share (limits, notes). Foreign files should come through
`sandbox.read_in_sandbox`, which calls `read_document` in a process of its own.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sap_llm.reading.language import detect_language
from sap_llm.schema.errors import MissingToolError, UnreadableDocumentError
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from sap_llm.reading.pdf import Drawing

DEFAULT_MAX_PAGES = 200
_MAX_SIDE_PIXELS = 7000
MIN_QUALITY = 0.7  # of a text layer; e-invoices have 0.98 and more, a font with a shifted table less than 0.65
_FEW_WORDS = 20  # a fax header or a stamp over a scan
_IMAGES = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"BM": "image/bmp",
    b"GIF8": "image/gif",
}


@dataclass(frozen=True, kw_only=True)
class ReadDocument:
    """What a file holds.

    Attributes:
        pages: At least one, in order.
        media_type: Of the file.
        quality: 0..1, mean over the pages that have words; what a page's means is in `legibility` and `image.ocr_page`.
        language: ISO 639-1 code, None where the words do not tell.
        notes: Sentences for the user, e.g. that only the first pages were read.
    """

    pages: list[Page]
    media_type: str
    quality: float
    language: str | None = None
    notes: tuple[str, ...] = ()


def read_document(content: bytes, *, name: str, max_pages: int = DEFAULT_MAX_PAGES) -> ReadDocument:
    """Read a PDF, a picture or a text.

    A file with more than `max_pages` pages is read up to there, and a note says so: header data stand in front. OCR is
    asked page by page: where there is no text layer, where it is illegible, or where a picture fills the page and the
    text layer has hardly a word; its answer is taken where it has more legible text.

    Raises:
        UnreadableDocumentError: Empty, damaged, encrypted, or of no known kind.
        MissingToolError: Only OCR could read it, and it is not installed.
    """
    kind = media_type(content, name=name)
    notes: list[str] = []
    if kind == "application/pdf":
        pages, total = _read_pdf(content, name, max_pages, notes)
    elif kind.startswith("image/"):
        from sap_llm.reading.image import read_image

        pages, total = read_image(content, name=name, max_pages=max_pages)
    else:
        from sap_llm.reading.text import read_text

        pages, total = read_text(content, name=name, max_pages=max_pages)
    if total > len(pages):
        notes.append(f"Only the first {len(pages)} of {total} pages were read.")
    if not any(page.words for page in pages):
        raise UnreadableDocumentError("no words on any page", where=name, remedy="Check that it is not blank.")
    qualities = [page.quality for page in pages if page.words]
    return ReadDocument(
        pages=pages,
        media_type=kind,
        quality=round(sum(qualities) / len(qualities), 4),
        language=detect_language(word for page in pages for word in page.words),
        notes=tuple(notes),
    )


def render_page(content: bytes, *, name: str = "document", page_number: int = 1, scale: float = 1.0) -> bytes:
    """Picture of one page of a PDF or picture file as PNG.

    Args:
        content: The file.
        name: For messages.
        page_number: From 1.
        scale: Pixels a point; a picture file is never enlarged.

    Raises:
        UnreadableDocumentError: The file cannot be read, has no such page, or has none that could be shown (text).
    """
    kind = media_type(content, name=name)
    if kind == "application/pdf":
        from sap_llm.reading import pdf

        return pdf.render_page(content, name=name, page_number=page_number, scale=scale)
    if kind.startswith("image/"):
        from sap_llm.reading.image import render_frame

        return render_frame(content, name=name, page_number=page_number, scale=scale)
    raise UnreadableDocumentError(f"a file of {kind} has no page to show", where=name, remedy="Give a PDF or picture.")


def media_type(content: bytes, *, name: str) -> str:
    """Media type by the first bytes.

    Raises:
        UnreadableDocumentError: Empty, or neither PDF, picture nor text.
    """
    if not content:
        raise UnreadableDocumentError(
            "the file is empty",
            where=name,
            remedy="Check how it was copied or uploaded.",
        )
    if b"%PDF-" in content[:1024]:  # readers accept junk in front
        return "application/pdf"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    for magic, kind in _IMAGES.items():
        if content.startswith(magic):
            return kind
    from sap_llm.reading.text import is_text

    if is_text(content) or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text/plain"
    raise UnreadableDocumentError(
        "neither PDF nor picture nor text",
        where=name,
        remedy="Give a PDF, PNG, JPEG, TIFF or text file.",
    )


def _read_pdf(content: bytes, name: str, max_pages: int, notes: list[str]) -> tuple[list[Page], int]:
    from sap_llm.reading.ocr import has_ocr
    from sap_llm.reading.pdf import drawings, read_pdf

    pages, total = read_pdf(content, name=name, max_pages=max_pages)
    suspects = [page.page_number for page in pages if len(page.words) < _FEW_WORDS or page.quality < MIN_QUALITY]
    drawn = drawings(content, name=name, page_numbers=suspects) if suspects else {}
    poor = [page.page_number for page in pages if page.page_number in drawn and _is_poor(page, drawn[page.page_number])]
    if not poor:
        return pages, total
    listed = ", ".join(map(str, poor))
    if has_ocr():
        pages, read = _with_ocr(content, name, pages, poor)
        if read:
            notes.append(f"Pages read by OCR, their text layer is missing or bad: {', '.join(map(str, read))}.")
    elif not any(page.words for page in pages):
        raise MissingToolError(
            "the PDF has no text layer (a scan?), and OCR is not installed",
            where=name,
            remedy="Install the extra (`pip install 'sap-llm[ocr]'`) and Tesseract's language data.",
        )
    else:
        notes.append(f"The text layer is missing or bad, and OCR is not installed: pages {listed}.")
    return pages, total


def _is_poor(page: Page, drawn: "Drawing") -> bool:
    """Whether a picture of the page may tell more than its text layer."""
    if not page.words:
        return not drawn.is_empty
    return page.quality < MIN_QUALITY or drawn.is_scan


def _with_ocr(content: bytes, name: str, pages: list[Page], poor: list[int]) -> tuple[list[Page], list[int]]:
    """Pages of which the poor ones are read by OCR where that gives more legible text, and the numbers of these."""
    from sap_llm.reading.image import OCR_DPI, ocr_page
    from sap_llm.reading.pdf import page_picture

    read: dict[int, Page] = {}
    for page in pages:
        if page.page_number in poor:
            scale = min(OCR_DPI / 72, _MAX_SIDE_PIXELS / max(page.width, page.height))
            picture = page_picture(content, name=name, page_number=page.page_number, scale=scale)
            seen = ocr_page(picture, page_number=page.page_number, dpi=72 * scale)
            if _legible_characters(seen) > _legible_characters(page):
                read[page.page_number] = replace(seen, width=page.width, height=page.height)  # pixels round the size
    return [read.get(page.page_number, page) for page in pages], list(read)


def _legible_characters(page: Page) -> float:
    return page.quality * sum(map(len, page.words))
