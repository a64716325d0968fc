"""PDF files: opening them safely, their pages, their attachments, their pictures.

Belongs here: everything that opens a PDF through PDFium. How characters become words is `words`; e-invoice attachments
are only handed out here, `sources` reads them. Foreign files should come through `sandbox`.
"""

import ctypes
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from pypdfium2 import raw

from sap_llm.reading.visibility import SCAN_SHARE, is_empty, picture_share
from sap_llm.reading.words import CrowdedPageError, read_page
from sap_llm.schema.errors import UnreadableDocumentError
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_MAX_PAGES = 200
MAX_ATTACHMENT_BYTES = 64 * 2**20
MAX_RASTER_PIXELS = 64 * 2**20
POINTS_PER_INCH = 72
_MAX_PAGE_POINTS = 14_400.0  # PDF 1.7, annex C: larger pages are not allowed

_REASONS = {
    raw.FPDF_ERR_FORMAT: (
        "not a PDF, or damaged beyond repair",
        "Export the document again, or open and re-save it.",
    ),
    raw.FPDF_ERR_PASSWORD: (
        "encrypted with a password",
        "Remove the password and try again.",
    ),
    raw.FPDF_ERR_SECURITY: (
        "protected by an unsupported security scheme",
        "Save an unprotected copy and try again.",
    ),
}


@contextmanager
def open_pdf(content: bytes, *, name: str) -> Iterator[pdfium.PdfDocument]:
    """Open a PDF with at least one page.

    Raises:
        UnreadableDocumentError: Empty, damaged, encrypted or without pages; also for errors inside the block.
    """
    if not content:
        raise UnreadableDocumentError(
            "the file is empty",
            where=name,
            remedy="Check how it was copied or uploaded.",
        )
    document = None
    try:
        document = pdfium.PdfDocument(content)
        if not len(document):
            raise UnreadableDocumentError("the PDF has no pages", where=name, remedy="Export the document again.")
        yield document
    except pdfium.PdfiumError as error:
        what, remedy = _REASONS.get(
            getattr(error, "err_code", None),
            (f"PDFium cannot read it ({error})", "Export the document again."),
        )
        raise UnreadableDocumentError(what, where=name, remedy=remedy) from error
    finally:
        if document is not None:
            document.close()


def read_pdf(
    content: bytes,
    *,
    name: str,
    max_pages: int = DEFAULT_MAX_PAGES,
    reader: str = "text_layer",
) -> tuple[list[Page], int]:
    """Words of the first `max_pages` pages by the text layer; a page without text has no words.

    Returns:
        The pages, and how many the file has altogether.

    Raises:
        UnreadableDocumentError: The file or one of the pages cannot be read.
    """
    with open_pdf(content, name=name) as document:
        total = len(document)
        return [_read(document, index, name, reader) for index in range(min(total, max_pages))], total


def attachments(content: bytes, *, name: str) -> dict[str, bytes]:
    """Embedded files by name; those above `MAX_ATTACHMENT_BYTES` are left out.

    Raises:
        UnreadableDocumentError: The file cannot be read.
    """
    found: dict[str, bytes] = {}
    with open_pdf(content, name=name) as document:
        for index in range(document.count_attachments()):
            handle = raw.FPDFDoc_GetAttachment(document, index)
            data = _attached(handle)
            if data is not None:
                found[_attachment_name(handle)] = data
    return found


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a page shows besides its text: whether nothing at all, or a picture that fills it."""

    is_empty: bool
    is_scan: bool


def drawings(content: bytes, *, name: str, page_numbers: Iterable[int]) -> dict[int, Drawing]:
    """What is drawn on pages, by their number from 1.

    Raises:
        UnreadableDocumentError: The file cannot be read.
    """
    found = {}
    with open_pdf(content, name=name) as document:
        for number in page_numbers:
            page = document[number - 1]
            found[number] = Drawing(is_empty=is_empty(page), is_scan=picture_share(page) >= SCAN_SHARE)
    return found


def render_page(
    content: bytes,
    *,
    name: str = "document.pdf",
    page_number: int = 1,
    scale: float = 1.0,
) -> bytes:
    """Picture of one page as PNG; `scale` 1 is 72 dots per inch.

    Raises:
        UnreadableDocumentError: The file cannot be read, has no such page, or the picture would be too large.
    """
    image = page_picture(content, name=name, page_number=page_number, scale=scale)
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def page_picture(content: bytes, *, name: str, page_number: int, scale: float) -> "Image":
    """Picture of one page; arguments and errors are those of `render_page`."""
    with open_pdf(content, name=name) as document:
        if not 1 <= page_number <= len(document):
            raise UnreadableDocumentError(
                f"no page {page_number}",
                where=name,
                remedy=f"The file has {len(document)} pages.",
            )
        page = document[page_number - 1]
        _refuse_too_large(page.get_size(), page_number, name, scale)
        picture: Image = page.render(scale=scale).to_pil()
        return picture


def raster_pages(content: bytes, *, name: str, scale: float) -> Iterator[npt.NDArray[np.uint8]]:
    """Pixels of all pages in order, uint8 RGB [height, width, 3]; `scale` 1 is 72 dots per inch.

    Raises:
        UnreadableDocumentError: The file cannot be read, or a picture would be too large.
    """
    with open_pdf(content, name=name) as document:
        for index in range(len(document)):
            page = document[index]
            _refuse_too_large(page.get_size(), index + 1, name, scale)
            yield np.ascontiguousarray(page.render(scale=scale, rev_byteorder=True).to_numpy()[..., :3])


def _refuse_too_large(size: tuple[float, float], number: int, name: str, scale: float) -> None:
    if size[0] * size[1] * scale * scale > MAX_RASTER_PIXELS:
        raise UnreadableDocumentError(
            f"page {number} would have more than {MAX_RASTER_PIXELS} pixels",
            where=name,
            remedy="Use a smaller scale.",
        )


def _read(document: pdfium.PdfDocument, index: int, name: str, reader: str) -> Page:
    where = f"{name}, page {index + 1}"
    try:
        page = document[index]
        width, height = page.get_size()
        if not (0 < width <= _MAX_PAGE_POINTS and 0 < height <= _MAX_PAGE_POINTS):
            raise UnreadableDocumentError(
                f"impossible page size {width:g} x {height:g} points",
                where=where,
                remedy="Export the document again.",
            )
        return read_page(page, page_number=index + 1, reader=reader, has_hidden_text=reader != "typeset")
    except CrowdedPageError as error:
        raise UnreadableDocumentError(str(error), where=where, remedy="Split the document.") from error


def _attached(handle: object) -> bytes | None:
    size = ctypes.c_ulong()
    if not raw.FPDFAttachment_GetFile(handle, None, 0, size) or size.value > MAX_ATTACHMENT_BYTES:
        return None
    buffer = ctypes.create_string_buffer(size.value)
    raw.FPDFAttachment_GetFile(handle, buffer, size.value, size)
    return buffer.raw[: size.value]


def _attachment_name(handle: object) -> str:
    size = raw.FPDFAttachment_GetName(handle, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAttachment_GetName(handle, ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: max(0, size - 2)].decode("utf-16-le", "replace")
