"""A contact sheet: first pages of generated documents in one picture, with the true boxes of their fields.

Choosing the pages and laying out the sheet belongs here; drawing one page does not (`evaluation.pictures`), nor making
it (`stage`) or damaging it (`augmentation`). Every document comes from a world of its own and is of a class that the
sheet lacks while there are any, so that a small sheet shows many layouts and classes.
"""

import io
import random
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from sap_llm.augmentation.config import DamageConfig
from sap_llm.augmentation.geometry import boxes_to_quads
from sap_llm.augmentation.picture import damage_picture, seeded
from sap_llm.evaluation.pictures import paint
from sap_llm.reading.pdf import raster_pages, render_page
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.synthetic.request import FactRow, Request, facts_of_worlds
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.stage import make_document
from sap_llm.synthetic.workers import in_order

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = tuple[int, int, int]
LEGEND: dict[str, Colour] = {
    "parties": (204, 0, 51),
    "dates": (0, 90, 200),
    "amounts": (0, 128, 64),
    "line items": (230, 145, 0),
    "numbers and other fields": (140, 40, 170),
}
_ACROSS = 4
_SCALE = 1.0  # pixels per point of a page 595 points wide; other sizes are shown equally wide
_DAMAGED_SCALE = 150 / 72  # noise and dots are those of a scan only at its resolution; the sheet shows it smaller
_WIDTH_POINTS = 595.28
_HEIGHT_POINTS = 841.89
_PALE = 0.25  # share of white over pages, which shall be judged by their look
_WORLDS_IN_VAIN = 8  # that are passed over in search of a class that the sheet lacks
_QUALITY = 50  # of JPEG
_GAP, _LINE = 14, 20  # pixels between pages, and of a line of text


def contact_sheet(
    request: Request, *, count: int, damage: DamageConfig | None = None, every: int = 1, width: int | None = None,
    form: Literal["PNG", "JPEG"] = "PNG",
) -> bytes:  # fmt: skip
    """A picture of the first pages of `count` documents, four in a row, under a legend of the colours.

    Args:
        request: Which documents.
        count: How many.
        damage: What happens to the pages; None shows them as they are typeset, grown pale under their boxes.
        every: Only each n-th page is damaged.
        width: Of the picture in pixels, where that is smaller than the sheet.
        form: Of the file.
    """
    from PIL import Image, ImageDraw, ImageFont

    pages = list(_pages(request, count, damage, every))
    across = min(_ACROSS, count)
    cell = (round(_WIDTH_POINTS * _SCALE) + _GAP, round(_HEIGHT_POINTS * _SCALE) + _LINE + _GAP)
    rows = -(-count // across)
    sheet = Image.new("RGB", (across * cell[0] + _GAP, rows * cell[1] + _LINE + 2 * _GAP), (225, 225, 225))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    x = _GAP
    for name, colour in LEGEND.items():
        draw.rectangle((x, _GAP, x + 14, _GAP + 14), outline=colour, width=3)
        draw.text((x + 20, _GAP), name, fill="black", font=font)
        x += 34 + round(draw.textlength(name, font=font))
    for index, (caption, picture) in enumerate(pages):
        left = _GAP + index % across * cell[0]
        top = _LINE + 2 * _GAP + index // across * cell[1]
        draw.text((left, top), caption, fill="black", font=font)
        picture.thumbnail((cell[0] - _GAP, cell[1] - _GAP - _LINE))
        sheet.paste(picture, (left, top + _LINE))
    if width is not None:
        sheet.thumbnail((width, sheet.height))
    stream = io.BytesIO()
    sheet.save(stream, format=form, optimize=True, **({"quality": _QUALITY} if form == "JPEG" else {}))
    return stream.getvalue()


def _pages(
    request: Request, count: int, damage: DamageConfig | None, every: int
) -> Iterator[tuple[str, "Image"]]:  # fmt: skip
    work = partial(make_document, config=request.documents)
    with closing(in_order(work, one_a_world(request), workers=request.documents.workers)) as documents:
        for index, rows in enumerate(islice((rows for rows in documents if "pages" in rows), count), start=1):
            yield _caption(rows), _first_page(rows, request, damage if index % every == 0 else None)


def one_a_world(request: Request) -> Iterator[FactRow]:
    """One wanted fact of each world, of a class that was not there before where the world has one."""
    shown: set[str] = set()
    vain = 0
    for number, facts in enumerate(facts_of_worlds(request)):
        new = [fact for fact in facts if fact["document_type"] not in shown]
        if not new and len(shown) < len(request.document_types) and vain < _WORLDS_IN_VAIN:
            vain += 1
        elif facts:
            chosen = random.Random(f"preview/{request.documents.seed}/{number}").choice(new or facts)
            shown.add(chosen["document_type"])
            vain = 0
            yield chosen


def _caption(rows: dict[str, list[Row]]) -> str:
    (document,) = rows["documents"]
    layout = document["layout"] if document["is_test_layout"] else document["layout"].split("/")[1]
    kind = document["document_type"].lower().replace("_", " ")
    return f"{kind}, {document['language']}, {layout}, page 1 of {document['page_count']}"


def _first_page(rows: dict[str, list[Row]], request: Request, damage: DamageConfig | None) -> "Image":
    (annotation,) = rows["annotations"]
    page, content = Page.from_row(rows["pages"][0]), rows["blobs"][0]["content"]
    places = [(field["box"], _colour(field["field"])) for field in annotation["fields"] if field["page"] == 1]
    places += [
        (field["box"], LEGEND["line items"])
        for item in annotation["line_items"]
        for field in item["fields"]
        if field["page"] == 1
    ]
    if damage is not None:
        return _damaged_page(page, content, places, damage, f"{request.documents.seed}/{annotation['document_id']}")
    scale = _SCALE * _WIDTH_POINTS / page.width
    fields = [("", box, colour) for box, colour in places]
    return paint(page, fields, scale, render_page(content, scale=scale), pale=_PALE)


def _damaged_page(
    page: Page, content: bytes, places: list[tuple[list[float], Colour]], damage: DamageConfig, key: str
) -> "Image":
    """The page at 150 dpi after the damage, with its fields as quads."""
    from PIL import Image, ImageDraw

    scale = _DAMAGED_SCALE * _WIDTH_POINTS / page.width
    picture = next(raster_pages(content, name="page", scale=scale))
    words = boxes_to_quads(page.boxes * scale)
    done = damage_picture(picture, words, damage, seeded(key), scale=scale)
    image = Image.fromarray(done.pixels).convert("RGB")
    draw = ImageDraw.Draw(image)
    quads = done.warp.quads(boxes_to_quads(np.array([box for box, _ in places]) * scale))
    for quad, (_, colour) in zip(quads.tolist(), places, strict=True):
        draw.polygon([tuple(corner) for corner in quad], outline=colour, width=2)
    return image


def _colour(field: str) -> Colour:
    if field.startswith(("seller_", "buyer_")):
        return LEGEND["parties"]
    kind = load_taxonomy().field(field).type
    return LEGEND.get(f"{kind}s", LEGEND["numbers and other fields"])
