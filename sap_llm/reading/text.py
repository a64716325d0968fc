"""Plain text files to pages: words laid out on the grid of a line printer.

Belongs here: decoding text and placing it. A text has no boxes of its own, so columns and rows become points
(`COLUMN_POINTS`, `ROW_POINTS`); alignment by spaces survives, which is what the layout model needs.
"""

import re

import numpy as np

from sap_llm.schema.errors import UnreadableDocumentError
from sap_llm.schema.page import Page

COLUMN_POINTS = 6.0  # 10-point fixed pitch
ROW_POINTS = 12.0
ROWS_PER_PAGE = 66  # of a line printer
_MARGIN = 36.0
_A4_WIDTH = 595.0
_WORD = re.compile(r"\S+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_MAX_BYTES = 8 * 2**20


def read_text(content: bytes, *, name: str, max_pages: int) -> tuple[list[Page], int]:
    """Words of a text file; a form feed or 66 rows end a page.

    Returns:
        The pages, and how many the file has altogether.

    Raises:
        UnreadableDocumentError: Not text, too large, or no words.
    """
    rows = [row.expandtabs(8) for page in _decode(content, name).split("\f") for row in _padded(page)]
    while rows and not rows[-1].strip():
        rows.pop()
    if not any(row.strip() for row in rows):
        raise UnreadableDocumentError("the text has no words", where=name, remedy="Check the export of the file.")
    total = -(-len(rows) // ROWS_PER_PAGE)
    starts = [index * ROWS_PER_PAGE for index in range(min(total, max_pages))]
    return [_page(rows[start : start + ROWS_PER_PAGE], index + 1) for index, start in enumerate(starts)], total


def is_text(content: bytes) -> bool:
    """Whether the bytes look like text: hardly any control characters."""
    head = content[:65536].decode("latin-1")
    return bool(head) and b"\0" not in content[:65536] and len(_CONTROL.findall(head)) <= len(head) / 100


def _decode(content: bytes, name: str) -> str:
    if len(content) > _MAX_BYTES:
        raise UnreadableDocumentError(
            f"a text of {len(content)} bytes is too large",
            where=name,
            remedy="Split it.",
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if not is_text(content):
        raise UnreadableDocumentError(
            "neither PDF nor picture nor text",
            where=name,
            remedy="Give a PDF, PNG, JPEG, TIFF or text file.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _padded(page: str) -> list[str]:
    """Rows of the text between two form feeds, filled up to whole pages."""
    rows = page.splitlines()
    return rows + [""] * (-len(rows) % ROWS_PER_PAGE)


def _page(rows: list[str], number: int) -> Page:
    words: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    lines: list[int] = []
    line = -1
    for index, row in enumerate(rows):
        top = _MARGIN + index * ROW_POINTS
        found = list(_WORD.finditer(row))
        line += bool(found)
        for match in found:
            words.append(match.group())
            left, right = (_MARGIN + column * COLUMN_POINTS for column in match.span())
            boxes.append((left, top + 2, right, top + ROW_POINTS))
            lines.append(line)
    columns = max((len(row) for row in rows), default=0)
    return Page(
        page_number=number,
        width=max(_A4_WIDTH, 2 * _MARGIN + columns * COLUMN_POINTS),
        height=2 * _MARGIN + ROWS_PER_PAGE * ROW_POINTS,
        words=words,
        boxes=np.asarray(boxes, dtype=np.float32).reshape(len(words), 4),
        lines=np.asarray(lines, dtype=np.int32),
        reader="source",
    )
