"""Pictures (PNG, JPEG, TIFF, WebP, BMP) to pages by OCR.

Belongs here: decoding pictures and the OCR engine. Tesseract comes through the `ocr` extra and its language data;
without them the error says how to get them. Damage and augmentation of pictures are `augmentation`.
"""

import io
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.errors import MissingToolError, UnreadableDocumentError
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_DPI = 150.0  # of pictures that do not say: an A4 scan of this density has 1240 x 1754 pixels
_MAX_PIXELS = 100 * 2**20
_PLAUSIBLE_DPI = (50.0, 1200.0)
_LANGUAGES = ("eng", "deu", "fra", "spa")
_TESSDATA = (
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/share/tesseract/tessdata",
    "/usr/local/share/tessdata",
    "/opt/homebrew/share/tessdata",
)
_MIN_CONFIDENCE = 1  # percent; below are specks that Tesseract takes for text
_REMEDY = (
    "Install the extra (`pip install 'sap-llm[ocr]'`) and Tesseract's language data "
    "(Debian: `apt-get install tesseract-ocr`), or set TESSDATA_PREFIX."
)


def read_image(content: bytes, *, name: str, max_pages: int) -> tuple[list[Page], int]:
    """Words of a picture by OCR, one page a frame.

    Returns:
        The pages, and how many frames the file has altogether.

    Raises:
        MissingToolError: OCR is not installed.
        UnreadableDocumentError: The picture is damaged or too large.
    """
    frames, total = _frames(content, name=name, max_pages=max_pages)
    return [ocr_page(frame, page_number=index) for index, frame in enumerate(frames, start=1)], total


def ocr_page(image: "Image", *, page_number: int, dpi: float | None = None) -> Page:
    """Words of one decoded picture.

    Args:
        image: Any mode.
        page_number: From 1.
        dpi: Dots per inch; None takes the picture's own, or `DEFAULT_DPI`.

    Raises:
        MissingToolError: OCR is not installed.
    """
    folder, languages = tessdata()
    from tesserocr import PSM, RIL, PyTessBaseAPI, iterate_level

    dpi = dpi or image_dpi(image)
    scale = 72.0 / dpi
    words: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    confidences: list[float] = []
    with PyTessBaseAPI(path=folder, lang=languages, psm=PSM.AUTO) as engine:
        engine.SetImage(image.convert("L"))
        engine.SetSourceResolution(round(dpi))
        engine.Recognize()
        iterator = engine.GetIterator()
        for found in iterate_level(iterator, RIL.WORD) if iterator else ():
            text = "".join((found.GetUTF8Text(RIL.WORD) or "").split()) if not found.Empty(RIL.WORD) else ""
            confidence = found.Confidence(RIL.WORD) if text else 0.0
            box = found.BoundingBox(RIL.WORD)
            if text and box and confidence >= _MIN_CONFIDENCE:
                words.append(text)
                boxes.append(box)
                confidences.append(confidence / 100)
    scaled = np.asarray(boxes, dtype=np.float32).reshape(len(words), 4) * np.float32(scale)
    order, lines = order_words(scaled)
    return Page(
        page_number=page_number,
        width=image.width * scale,
        height=image.height * scale,
        words=[words[index] for index in order],
        boxes=scaled[order],
        lines=lines,
        reader="ocr",
        quality=float(np.mean(confidences)) if confidences else 0.0,
    )


def image_dpi(image: "Image") -> float:
    """Dots per inch that the picture states, if plausible, else `DEFAULT_DPI`."""
    stated = image.info.get("dpi")
    value = float(stated[0]) if stated else 0.0
    return value if _PLAUSIBLE_DPI[0] <= value <= _PLAUSIBLE_DPI[1] else DEFAULT_DPI


def has_ocr() -> bool:
    """Whether OCR can run here."""
    try:
        tessdata()
    except MissingToolError:
        return False
    return True


@cache
def tessdata() -> tuple[str, str]:
    """Folder of Tesseract's data and the languages found there, joined by '+'.

    Raises:
        MissingToolError: The package or the data are missing.
    """
    from importlib.util import find_spec

    if find_spec("tesserocr") is None:
        raise MissingToolError("no OCR engine to read pictures", where="tesserocr", remedy=_REMEDY)
    named = os.environ.get("TESSDATA_PREFIX")
    for folder in [Path(named), Path(named) / "tessdata"] if named else [Path(path) for path in _TESSDATA]:
        languages = [code for code in _LANGUAGES if (folder / f"{code}.traineddata").is_file()]
        if languages:
            return str(folder), "+".join(languages)
    raise MissingToolError(
        "Tesseract's language data are missing",
        where=named or "tessdata",
        remedy=_REMEDY,
    )


def _frames(content: bytes, *, name: str, max_pages: int) -> "tuple[list[Image], int]":
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise UnreadableDocumentError(
                    f"{opened.width} x {opened.height} pixels are too many",
                    where=name,
                    remedy="Scale it down.",
                )
            total = getattr(opened, "n_frames", 1)
            frames: list[Image.Image] = []
            for frame in ImageSequence.Iterator(opened):
                if len(frames) == max_pages:
                    break
                upright = ImageOps.exif_transpose(frame)
                upright.info.setdefault("dpi", frame.info.get("dpi"))
                frames.append(upright.copy())
            return frames, total
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise UnreadableDocumentError(
            f"the picture cannot be decoded ({error})",
            where=name,
            remedy="Save it again as PNG or JPEG.",
        ) from error
