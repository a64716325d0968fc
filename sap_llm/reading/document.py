"""Any document to pages: decides by content which reader takes the bytes.

Belongs here: the decision and what all readers share (limits, notes). Foreign files should come through
`sandbox.read_in_sandbox`, which calls `read_document` in a process of its own.
"""

from dataclasses import dataclass

from sap_llm.schema.errors import MissingToolError, UnreadableDocumentError
from sap_llm.schema.page import Page

DEFAULT_MAX_PAGES = 200
_OCR_SCALE = 150 / 72
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
        quality: 0..1, mean over the pages that have words.
        notes: Sentences for the user, e.g. that only the first pages were read.
    """

    pages: list[Page]
    media_type: str
    quality: float
    notes: tuple[str, ...] = ()


def read_document(content: bytes, *, name: str, max_pages: int = DEFAULT_MAX_PAGES) -> ReadDocument:
    """Read a PDF, a picture or a text.

    A file with more than `max_pages` pages is read up to there, and a note says so: header data stand in front.

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
        notes=tuple(notes),
    )


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
    from sap_llm.reading.image import has_ocr
    from sap_llm.reading.pdf import read_pdf

    pages, total = read_pdf(content, name=name, max_pages=max_pages)
    blank = [page.page_number for page in pages if not page.words]
    if not blank:
        return pages, total
    if has_ocr():
        notes.append(f"Pages without text layer read by OCR: {', '.join(map(str, blank))}.")
        return [_ocr(content, name, page) if not page.words else page for page in pages], total
    if len(blank) == len(pages):
        raise MissingToolError(
            "the PDF has no text layer (a scan?), and OCR is not installed",
            where=name,
            remedy="Install the extra (`pip install 'sap-llm[ocr]'`) and Tesseract's language data.",
        )
    notes.append(f"Pages without text layer were not read, OCR is not installed: {', '.join(map(str, blank))}.")
    return pages, total


def _ocr(content: bytes, name: str, page: Page) -> Page:
    import io

    from PIL import Image

    from sap_llm.reading.image import ocr_page
    from sap_llm.reading.pdf import render_page

    scale = min(_OCR_SCALE, 7000 / max(page.width, page.height))
    picture = Image.open(io.BytesIO(render_page(content, name=name, page_number=page.page_number, scale=scale)))
    return ocr_page(picture, page_number=page.page_number, dpi=72 * scale)
