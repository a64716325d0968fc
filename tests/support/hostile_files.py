"""Files that no reader may stumble over, made on the spot."""

import io

import pypdfium2 as pdfium


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
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"<< /Size 5 /Root 1 0 R /Encrypt 4 0 R /ID [<%s> <%s>] >>" % (b"0f" * 16, b"0f" * 16)
    return (
        body
        + b"xref\n0 5\n0000000000 65535 f \n"
        + table
        + b"trailer\n"
        + trailer
        + b"\nstartxref\n%d\n%%%%EOF\n" % len(body)
    )
