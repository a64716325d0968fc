"""Pages with the boxes of a prediction, as small PNG pictures.

Belongs here: drawing with Pillow, imported by functions only. Which pages are drawn is for reports to say (`report`,
the card of a public corpus, that of synthetic documents).
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sap_llm.evaluation.fields import Outcome
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]
Boxes = Sequence[tuple[str, Sequence[float], Colour]]
"""Name (may be empty), edges in points, colour."""

MOST_BYTES = 30_000
_SCALES = (1.3, 1.1, 0.9, 0.75, 0.6, 0.45)  # pixels per point, tried until the file is small enough
_HIT, _INVENTED, _MISSED, _INK = (0, 128, 64), (204, 0, 51), (230, 145, 0), (70, 70, 70)
TRUTH = _HIT
"""Colour of what is known to be right."""
_LEVELS = 16  # colours of a sheet: small enough to stand inside the UI's report
_PALE = 0.55  # share of white laid over the page, so that the boxes stand out


def draw_page(
    page: Page,
    *,
    predicted: Iterable[Mapping[str, Any]],
    truth: Iterable[Mapping[str, Any]],
    outcomes: Sequence[Outcome],
    background: Callable[[float], bytes | None] | None = None,
) -> bytes:
    """A PNG of one page, at most `MOST_BYTES` long where that is possible: words, or the page itself, with boxes.

    Args:
        page: Its words and size.
        predicted: Rows of `tables.FIELD`; those on this page are drawn, right ones green, others red.
        truth: The same; missed values are drawn amber.
        outcomes: What became of the document's values.
        background: Scale (pixels per point) to a PNG of the page, or None.
    """
    kinds = {(outcome.field, outcome.predicted): outcome.kind for outcome in outcomes if outcome.kind != "missed"}
    missed = {(outcome.field, outcome.truth) for outcome in outcomes if outcome.kind == "missed"}
    boxes = [
        (field["field"], field["box"], _HIT if kinds[field["field"], field["value"]] == "hit" else _INVENTED)
        for field in predicted
        if field["page"] == page.page_number and (field["field"], field["value"]) in kinds
    ]
    boxes += [
        (field["field"], field["box"], _MISSED)
        for field in truth
        if field["page"] == page.page_number and field["box"] and (field["field"], field["value"]) in missed
    ]
    content = b""
    for scale in _SCALES:
        content = _encode(paint(page, boxes, scale, background(scale) if background else None))
        if len(content) <= MOST_BYTES:
            break
    return content


def paint(page: Page, boxes: Boxes, scale: float, below: bytes | None, *, pale: float = _PALE) -> "Image":
    """One page as a picture: its words, or the page itself grown pale, and named boxes in their colours over it.

    Args:
        page: Its words and size.
        boxes: Name (may be empty), edges in points, colour.
        scale: Pixels per point.
        below: A picture of the page, or None.
        pale: Share of white laid over that picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    size = (max(1, round(page.width * scale)), max(1, round(page.height * scale)))
    if below is None:
        image = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(image)
        for word, box in zip(page.words, page.boxes.tolist(), strict=True):
            font = ImageFont.load_default(max(4.0, 0.85 * (box[3] - box[1]) * scale))
            draw.text((box[0] * scale, box[1] * scale), word, fill=_INK, font=font)
    else:
        image = Image.open(io.BytesIO(below)).convert("L").convert("RGB").resize(size)
        image = Image.blend(image, Image.new("RGB", size, "white"), pale)
        draw = ImageDraw.Draw(image)
    label = ImageFont.load_default(max(6.0, 7.5 * scale))
    for name, box, colour in boxes:
        x0, y0, x1, y1 = (edge * scale for edge in box)
        draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=colour, width=max(1, round(scale)))
        draw.text((x0, y0 - 9 * scale), name, fill=colour, font=label)
    return image


@dataclass(frozen=True)
class Shown:
    """A page of a sheet: its words, boxes over them, and how to render it (without: its words are written)."""

    page: Page
    boxes: Boxes
    background: Callable[[float], bytes | None] | None = None


def page_sheet(pages: Sequence[Shown], *, across: int, cell: tuple[int, int]) -> bytes:
    """A PNG of small pages in rows.

    Args:
        pages: In order of reading.
        across: Pages in a row.
        cell: Width and height of one place in pixels.
    """
    from PIL import Image

    rows = -(-len(pages) // across)
    sheet = Image.new("RGB", (cell[0] * across, cell[1] * rows), (225, 225, 225))
    for index, shown in enumerate(pages):
        scale = min((cell[0] - 6) / shown.page.width, (cell[1] - 6) / shown.page.height)
        below = shown.background(scale) if shown.background else None
        place = (index % across * cell[0] + 3, index // across * cell[1] + 3)
        sheet.paste(paint(shown.page, shown.boxes, scale, below), place)
    stream = io.BytesIO()
    sheet.quantize(_LEVELS).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _encode(image: "Image") -> bytes:
    """PNG with a palette of grays and the three box colours; a palette of its own would lose the rare colours."""
    from PIL import Image
    from PIL.Image import Dither

    grays = [round(255 * step / 12) for step in range(13)]
    colours = [(gray, gray, gray) for gray in grays] + [_HIT, _INVENTED, _MISSED]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in colour])
    stream = io.BytesIO()
    image.quantize(palette=palette, dither=Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
