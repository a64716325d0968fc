"""Reader of SROIE receipts: transcribed text lines with boxes, four key fields, a picture where there is one.

Belongs here: the ICDAR 2019 SROIE file format. Transcripts are split into words with boxes in proportion to their
letters, so positions inside a line are estimates.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.page import Page
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.reader import Read, ReaderContext
from sap_llm.sources.truth import Truth

_FIELDS = {"company": "seller_name", "date": "document_date", "total": "total_amount"}
_LINE_POINTS = 10.0  # height of a printed receipt line; scans state no usable density, so it sets the scale
_MARGIN_POINTS = 10.0
_CORNERS = 8

Line = tuple[float, float, float, float, str]


def read_sroie(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every receipt with a key file: those with pictures first, then those of `labels-only`."""
    for part in (context.folder, context.folder / "labels-only"):
        for key in sorted((part / "key").glob("*.json")):
            yield _read(context, part, key)


def _read(context: ReaderContext, part: Path, key: Path) -> Read | Fault:
    name = context.name(key)
    box = part / "box" / f"{key.stem}.csv"
    try:
        labels = json.loads(key.read_text(encoding="utf-8"))
        transcript = box.read_bytes()
        lines = parse_lines(transcript)
    except (OSError, ValueError) as error:
        return Fault(record=name, source=name, reason="unreadable", detail=f"Key or box file cannot be read: {error}")
    if not lines:
        return Fault(record=name, source=name, reason="unreadable", detail=f"{context.name(box)} holds no text lines.")
    image = part / "img" / f"{key.stem}.jpg"
    content, media_type = (image.read_bytes(), "image/jpeg") if image.exists() else (transcript, "text/csv")
    size = _image_size(content) if media_type == "image/jpeg" else None
    page = page_of_lines(lines, size=size, image_sha256=sha256(content) if size else None)
    header = {field: labels[label].strip() for label, field in _FIELDS.items() if labels.get(label, "").strip()}
    return Read(
        key=f"{part.name if part != context.folder else ''}/{key.stem}",
        name=name,
        content=content,
        media_type=media_type,
        pages=[page],
        truth=Truth(document_type="RECEIPT", header=header, source="human"),
        language="en",
    )


def parse_lines(transcript: bytes) -> list[Line]:
    """Text lines of a box file: `x1,y1,...,x4,y4,text`, the text may hold commas; pixels.

    Raises:
        ValueError: A line has no eight numbers in front.
    """
    try:
        text = transcript.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = transcript.decode("cp1252", "replace")
    lines: list[Line] = []
    for row in text.splitlines():
        if not row.strip():
            continue
        *corners, words = row.split(",", _CORNERS)
        if len(corners) != _CORNERS:
            raise ValueError(f"no eight coordinates in {row[:60]!r}")
        numbers = [float(corner) for corner in corners]
        lines.append((min(numbers[0::2]), min(numbers[1::2]), max(numbers[0::2]), max(numbers[1::2]), words))
    return lines


def page_of_lines(lines: list[Line], *, size: tuple[int, int] | None, image_sha256: str | None = None) -> Page:
    """A page from transcribed lines in pixels; the median line becomes `_LINE_POINTS` high.

    Args:
        lines: Box and text of each line.
        size: Width and height of the picture in pixels; without it the lines' extent with a margin.
        image_sha256: Blob of the picture.
    """
    scale = _LINE_POINTS / max(1.0, float(np.median([line[3] - line[1] for line in lines])))
    words: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    for line in lines:
        for word, x0, x1 in split_line(line[4], line[0], line[2]):
            words.append(word)
            boxes.append((x0, line[1], x1, line[3]))
    edges = np.asarray(boxes, dtype=np.float32).reshape(len(words), 4) * np.float32(scale)
    if size is None:
        shift = np.float32(_MARGIN_POINTS) - edges[:, :2].min(axis=0)
        edges = edges + np.tile(shift, 2)
        width, height = (float(edge) + _MARGIN_POINTS for edge in edges[:, 2:].max(axis=0))
    else:
        width, height = size[0] * scale, size[1] * scale
    order, visual = order_words(edges)
    return Page(
        page_number=1,
        width=width,
        height=height,
        words=[words[index] for index in order],
        boxes=edges[order],
        lines=visual,
        reader="source",
        image_sha256=image_sha256,
    )


def split_line(text: str, x0: float, x1: float) -> Iterator[tuple[str, float, float]]:
    """Words of a line with left and right edges in proportion to their characters."""
    per_character = (x1 - x0) / max(1, len(text))
    position = 0
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        yield word, x0 + start * per_character, x0 + position * per_character


def _image_size(content: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return image.size
