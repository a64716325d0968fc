"""PDFs written object by object, for what no typesetter would print: hidden layers, odd boxes, broken fonts, scans.

Belongs here: the file format alone (ISO 32000-1, sections 7.5 and 8 to 9). Documents with content are `typeset_corpus`.
"""

import zlib
from collections.abc import Mapping, Sequence

HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"


def stream(content: bytes, entries: bytes = b"", *, is_packed: bool = False) -> bytes:
    """A stream object with further dictionary entries."""
    if is_packed:
        content, entries = zlib.compress(content, 9), entries + b"/Filter/FlateDecode"
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)


def picture(width: int, height: int, gray: bytes) -> bytes:
    """An image XObject of 8-bit gray samples."""
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray/BitsPerComponent 8"
    return stream(gray, entries % (width, height), is_packed=True)


def raw_pdf(
    *contents: bytes,
    page: bytes = b"/MediaBox[0 0 400 300]",
    resources: bytes = b"",
    fonts: bytes = HELVETICA,
    extra: Sequence[bytes] = (),
    catalog: bytes = b"",
) -> bytes:
    """A PDF with one page for each content stream.

    Args:
        contents: Content streams; font `/F` is there.
        page: Entries of every page, its boxes among them.
        resources: Further entries of the pages' resources.
        fonts: The font's dictionary.
        extra: Further objects; the first has number 4.
        catalog: Further entries of the catalog.
    """
    first = 4 + len(extra)
    kids = b" ".join(b"%d 0 R" % (first + 2 * index) for index in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(contents)),
        fonts,
        *extra,
    ]
    for content in contents:
        number = len(objects) + 2
        entries = b"<</Type/Page/Parent 2 0 R%s/Resources<</Font<</F 3 0 R>>%s>>/Contents %d 0 R>>"
        objects.append(entries % (page, resources, number))
        objects.append(stream(content))
    return assembled(objects)


def assembled(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """Objects 1 to n with cross-reference table; the first is the catalog."""
    body = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF"
    return bytes(body) + end % (size, rows, size, trailer, len(body))


def shown(text: str, x: float, y: float, *, size: float = 12, before: str = "", matrix: str = "1 0 0 1") -> bytes:
    """Operators that print `text` at a place in user space."""
    escaped = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    head = f"{before} BT /F {size:g} Tf {matrix} {x:g} {y:g} Tm (".encode()
    return b"q " + head + escaped + b") Tj ET Q\n"


def to_unicode(codes: Mapping[int, str]) -> bytes:
    """A ToUnicode CMap of one-byte codes."""
    rows = "\n".join(f"<{code:02X}> <{text.encode('utf-16-be').hex()}>" for code, text in codes.items())
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapType 2 def\n"
        f"1 begincodespacerange <00> <FF> endcodespacerange\n{len(codes)} beginbfchar\n{rows}\nendbfchar\n"
        "endcmap end end"
    ).encode()
