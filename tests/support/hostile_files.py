"""Files that no reader may stumble over, made on the spot."""

import io
import struct
import zlib

import pypdfium2 as pdfium

from tests.support.raw_pdf import assembled, stream


def pdf_of_pages(content: bytes, *, count: int) -> bytes:
    """The first page of a PDF `count` times."""
    source = pdfium.PdfDocument(content)
    target = pdfium.PdfDocument.new()
    target.import_pages(source, pages=[0] * count)
    buffer = io.BytesIO()
    target.save(buffer)
    return buffer.getvalue()


def encrypted_pdf() -> bytes:
    """A PDF whose security handler (40-bit, revision 2) no password of ours opens."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <" + b"3f" * 32 + b"> /U <" + b"a5" * 32 + b"> >>",
    ]
    return assembled(objects, b"/Encrypt 4 0 R/ID[<%s><%s>]" % (b"0f" * 16, b"0f" * 16))


def scanned_pdf(content: bytes, *, dpi: float = 150, turn: int = 0, pages: int = 1) -> bytes:
    """The first page of a PDF as a picture without text layer, turned by so many degrees counterclockwise."""
    picture = pdfium.PdfDocument(content)[0].render(scale=dpi / 72).to_pil().convert("L").rotate(turn, expand=True)
    buffer = io.BytesIO()
    picture.save(buffer, format="PDF", resolution=dpi, save_all=True, append_images=[picture] * (pages - 1))
    return buffer.getvalue()


def page_loop_pdf(*, depth: int = 0) -> bytes:
    """A page tree that is its own child, or one that is `depth` levels deep."""
    if not depth:
        return assembled([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"])
    levels = [b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % (number + 3) for number in range(depth)]
    return assembled([b"<</Type/Catalog/Pages 2 0 R>>", *levels, b"<</Type/Page/MediaBox[0 0 9 9]>>"])


def content_bomb_pdf(*, megabytes: int) -> bytes:
    """A page whose few kilobytes of content unpack to very many drawing operators."""
    operators = b"0 0 m 9 9 l S\n" * (megabytes * 2**20 // 14)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R>>",
        stream(operators, is_packed=True),
    ]
    return assembled(objects)


def pixel_bomb_png(*, side: int) -> bytes:
    """A PNG of a few bytes that claims to have `side` x `side` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )
