"""Pages to the bytes of a PDF file.

Objects, cross references and the part of all files that never changes (the fonts) belong here; content streams do not
(`canvas`). Fonts stand first, so that files of one look share their beginning and its hash is computed once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from sap_llm.synthetic.volume.fonts import Face

_HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


@dataclass(frozen=True)
class _Beginning:
    """Header and fonts of a file."""

    content: bytes
    entries: tuple[str, ...]
    """Of the cross-reference table, from object 1."""
    fonts: str
    """Entries of a page's font resources."""
    digest: Any
    """sha256 that has seen the content."""


@lru_cache(maxsize=64)
def _beginning(faces: tuple[Face, ...]) -> _Beginning:
    content = bytearray(_HEADER)
    entries: list[str] = []
    fonts: list[str] = []
    for index, face in enumerate(faces):
        fonts.append(f"/F{index} {len(entries) + 1} 0 R")
        for body in face.objects(len(entries) + 1):
            entries.append(f"{len(content):010d} 00000 n \n")
            content += b"%d 0 obj\n%b\nendobj\n" % (len(entries), body)
    return _Beginning(bytes(content), tuple(entries), "".join(fonts), hashlib.sha256(content))


class PdfFile(NamedTuple):
    """A file in two parts: all files with the same fonts share the first."""

    beginning: bytes
    rest: bytes
    sha256: str


def pdf_file(contents: Sequence[str], *, width: float, height: float, faces: tuple[Face, ...]) -> PdfFile:
    """The file.

    Args:
        contents: Content stream of each page.
        width: Of all pages, in points.
        height: Likewise.
        faces: Fonts `/F0`, `/F1` and so on.
    """
    beginning = _beginning(faces)
    first = len(beginning.entries) + 1
    offset = len(beginning.content)
    pages = [first + 2 + 2 * index for index in range(len(contents))]
    kids = " ".join(f"{number} 0 R" for number in pages)
    resources = f"<</Font<<{beginning.fonts}>>>>"
    bodies = [
        f"<</Type/Catalog/Pages {first + 1} 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]/MediaBox[0 0 {width:g} {height:g}]/Resources{resources}>>",
    ]
    for number, content in zip(pages, contents, strict=True):
        bodies.append(f"<</Type/Page/Parent {first + 1} 0 R/Contents {number + 1} 0 R>>")
        bodies.append(f"<</Length {len(content)}>>stream\n{content}\nendstream")
    parts, entries = [], []
    for number, body in enumerate(bodies, start=first):
        entries.append(f"{offset:010d} 00000 n \n")
        part = f"{number} 0 obj\n{body}\nendobj\n"
        offset += len(part)
        parts.append(part)
    count = first + len(bodies)
    table = "".join((*beginning.entries, *entries))
    parts.append(
        f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<</Size {count}/Root {first} 0 R>>\n"
        f"startxref\n{offset}\n%%EOF\n"
    )
    rest = "".join(parts).encode("ascii")
    digest = beginning.digest.copy()
    digest.update(rest)
    return PdfFile(beginning.content, rest, digest.hexdigest())
