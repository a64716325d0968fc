"""Pictures (PNG, JPEG, TIFF, WebP, BMP) to pages: decoding within limits, then OCR.

Belongs here: decoding, resolution, and from the words of an OCR engine to a `Page`. The engines are `ocr`; damage and
augmentation of pictures are `augmentation`.
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sap_llm.reading.legibility import quality
from sap_llm.reading.lines import order_words
from sap_llm.reading.ocr import ocr_engine
from sap_llm.schema.errors import UnreadableDocumentError
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_DPI = 150.0  # of pictures that do not say: an A4 scan of this density has 1240 x 1754 pixels
OCR_DPI = 225.0  # pages of PDFs are rendered so; 150 finds five words of a hundred less
_COARSE_DPI, _ENLARGED = (
    200.0,
    1.5,
)  # pictures below are enlarged, which finds eight words of a hundred more on receipts
_MAX_ENLARGED_SIDE = 7000  # pixels before
_MAX_PIXELS = 100 * 2**20
_PLAUSIBLE_DPI = (50.0, 1200.0)


def read_image(content: bytes, *, name: str, max_pages: int) -> tuple[list[Page], int]:
    """Words of a picture by OCR, one page a frame.

    Returns:
        The pages, and how many frames the file has altogether.

    Raises:
        MissingToolError: OCR is not installed.
        UnreadableDocumentError: The picture is damaged or too large.
    """
    ocr_engine()  # before decoding: without it nothing else matters
    pages: list[Page] = []
    total = 0
    for frame, count in _frames(content, name=name, max_pages=max_pages):
        total = count
        pages.append(ocr_page(frame, page_number=len(pages) + 1))
    return pages, total


def ocr_page(picture: "Image", *, page_number: int, dpi: float | None = None) -> Page:
    """Words of one decoded picture.

    The page's quality is the engine's confidence, each word weighted by its length, times `legibility.quality`.

    Args:
        picture: Any mode.
        page_number: From 1.
        dpi: Dots per inch; None takes the picture's own, or `DEFAULT_DPI`.

    Raises:
        MissingToolError: OCR is not installed.
    """
    from PIL.Image import Resampling

    dpi = dpi or image_dpi(picture)
    width, height = picture.width * 72.0 / dpi, picture.height * 72.0 / dpi
    if dpi < _COARSE_DPI and max(picture.size) <= _MAX_ENLARGED_SIDE:
        size = round(picture.width * _ENLARGED), round(picture.height * _ENLARGED)
        picture = picture.convert("L").resize(size, Resampling.LANCZOS)
        dpi *= _ENLARGED
    scale = 72.0 / dpi
    found = ocr_engine().words(picture, dpi=dpi)
    boxes = np.asarray([word.box for word in found], dtype=np.float32).reshape(len(found), 4) * np.float32(scale)
    order, lines = order_words(boxes, turns=np.asarray([word.turn for word in found], dtype=np.int64))
    words = [found[index].text for index in order]
    lengths = [len(word.text) for word in found]
    confidence = float(np.average([word.confidence for word in found], weights=lengths)) if found else 0.0
    return Page(
        page_number=page_number,
        width=width,
        height=height,
        words=words,
        boxes=boxes[order],
        lines=lines,
        reader="ocr",
        quality=confidence * quality(words),
    )


def render_frame(content: bytes, *, name: str, page_number: int, scale: float) -> bytes:
    """One upright frame as PNG, at most `scale` pixels a point and never enlarged.

    Raises:
        UnreadableDocumentError: The picture is damaged or too large, or has no such frame.
    """
    for number, (frame, _) in enumerate(_frames(content, name=name, max_pages=page_number), start=1):
        if number == page_number:
            shrunk = min(1.0, scale * 72.0 / image_dpi(frame))
            picture = frame if frame.mode in {"1", "L", "RGB"} else frame.convert("RGB")
            picture = picture.resize((max(1, round(frame.width * shrunk)), max(1, round(frame.height * shrunk))))
            stream = io.BytesIO()
            picture.save(stream, format="PNG", compress_level=1)
            return stream.getvalue()
    raise UnreadableDocumentError(f"no page {page_number}", where=name, remedy="The picture has fewer frames.")


def image_dpi(image: "Image") -> float:
    """Dots per inch that the picture states, if plausible, else `DEFAULT_DPI`."""
    stated = image.info.get("dpi")
    value = float(stated[0]) if stated else 0.0
    return value if _PLAUSIBLE_DPI[0] <= value <= _PLAUSIBLE_DPI[1] else DEFAULT_DPI


def _frames(content: bytes, *, name: str, max_pages: int) -> "Iterator[tuple[Image, int]]":
    """Upright frames one after the other, each with the number of all frames."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as opened:
            total = getattr(opened, "n_frames", 1)
            for number in range(min(total, max_pages)):
                opened.seek(number)
                if opened.width * opened.height > _MAX_PIXELS:
                    raise UnreadableDocumentError(
                        f"{opened.width} x {opened.height} pixels are too many",
                        where=name,
                        remedy="Scale it down.",
                    )
                dpi = opened.info.get("dpi")
                upright = ImageOps.exif_transpose(opened)
                upright.info.setdefault("dpi", dpi)
                yield upright, total
    except (
        UnidentifiedImageError,
        OSError,
        EOFError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise UnreadableDocumentError(
            f"the picture cannot be decoded ({error})",
            where=name,
            remedy="Save it again as PNG or JPEG.",
        ) from error
