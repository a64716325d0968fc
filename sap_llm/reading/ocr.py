"""OCR: one interface, and the engines behind it.

Belongs here: from a decoded picture to words with boxes in its pixels. Decoding files is `image`; which pages need OCR
is decided by `document`. Tesseract comes through the `ocr` extra and its language data; without them the error says how
to get them.
"""

import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sap_llm.schema.errors import MissingToolError

if TYPE_CHECKING:
    from PIL.Image import Image

_LANGUAGES = (
    "eng",
    "deu",
    "fra",
    "spa",
)  # all at once find more words than the right one alone, on receipts and invoices
_TESSDATA = (
    "/usr/share/tesseract-ocr/5/tessdata",
    "/usr/share/tesseract-ocr/4.00/tessdata",
    "/usr/share/tessdata",
    "/usr/share/tesseract/tessdata",
    "/usr/local/share/tessdata",
    "/opt/homebrew/share/tessdata",
)
_MIN_CONFIDENCE = 1  # percent; below are specks that Tesseract takes for text
_IS_UPRIGHT = 0.7  # mean confidence: print that lies on its side is read with less, if at all
_REMEDY = (
    "Install the extra (`pip install 'sap-llm[ocr]'`) and Tesseract's language data "
    "(Debian: `apt-get install tesseract-ocr`), or set TESSDATA_PREFIX."
)


@dataclass(frozen=True, kw_only=True)
class OcrWord:
    """One word in a picture.

    Attributes:
        text: Without white space.
        box: x0 y0 x1 y1 in pixels from the top left corner.
        confidence: 0..1, the engine's own.
        turn: Quarter turns of its direction, counterclockwise from rightwards.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float
    turn: int = 0


class OcrEngine(Protocol):
    """What reads pictures; keeps its models loaded, is not for several threads."""

    def words(self, picture: "Image", *, dpi: float) -> list[OcrWord]:
        """Words in the engine's own order.

        Args:
            picture: Any mode.
            dpi: Dots per inch.
        """


@cache
def ocr_engine() -> OcrEngine:
    """The engine of this process.

    Raises:
        MissingToolError: There is none; the sentence says what to install.
    """
    if find_spec("tesserocr") is None:
        raise MissingToolError("no OCR engine to read pictures", where="tesserocr", remedy=_REMEDY)
    return _Tesseract(_tessdata())


def has_ocr() -> bool:
    """Whether OCR can run here."""
    try:
        ocr_engine()
    except MissingToolError:
        return False
    return True


class _Tesseract:
    """Tesseract 5 in process, loaded once for each mode of page segmentation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._installed = {path.name.partition(".")[0] for path in folder.glob("*.traineddata")}
        self._engines: dict[int, Any] = {}

    def words(self, picture: "Image", *, dpi: float) -> list[OcrWord]:
        """Read upright first; a poor reading is tried again with the print's orientation detected."""
        from tesserocr import PSM

        gray = picture.convert("L")
        found = self._recognised(gray, dpi, PSM.AUTO)
        if "osd" in self._installed and _mean_confidence(found) < _IS_UPRIGHT:
            turned = self._recognised(gray, dpi, PSM.AUTO_OSD)
            return max((found, turned), key=_mean_confidence)
        return found

    def _recognised(self, gray: "Image", dpi: float, mode: int) -> list[OcrWord]:
        from tesserocr import RIL, iterate_level

        engine = self._engine(mode)
        engine.SetImage(gray)
        engine.SetSourceResolution(round(dpi))
        engine.Recognize()
        iterator = engine.GetIterator()
        items = iterate_level(iterator, RIL.WORD) if iterator else ()
        words = [_word(item, RIL.WORD) for item in items if not item.Empty(RIL.WORD)]
        engine.Clear()  # the picture; the models stay
        return [word for word in words if word is not None]

    def _engine(self, mode: int) -> Any:
        from tesserocr import PyTessBaseAPI

        if mode not in self._engines:
            languages = "+".join(code for code in _LANGUAGES if code in self._installed)
            self._engines[mode] = PyTessBaseAPI(path=str(self._folder), lang=languages, psm=mode)
        return self._engines[mode]


def _word(item: Any, level: Any) -> OcrWord | None:
    text = "".join((item.GetUTF8Text(level) or "").split())
    confidence, box = item.Confidence(level), item.BoundingBox(level)  # percent; left, top, right, bottom
    if not text or not box or confidence < _MIN_CONFIDENCE:
        return None
    orientation, direction, *_ = item.Orientation()
    return OcrWord(
        text=text,
        box=box,
        confidence=confidence / 100,
        turn=-(orientation + (direction == 2)) % 4,  # both count clockwise; 2 is from top to bottom
    )


def _mean_confidence(words: list[OcrWord]) -> float:
    return sum(word.confidence for word in words) / len(words) if words else 0.0


def _tessdata() -> Path:
    named = os.environ.get("TESSDATA_PREFIX")
    for folder in [Path(named), Path(named) / "tessdata"] if named else [Path(path) for path in _TESSDATA]:
        if any((folder / f"{code}.traineddata").is_file() for code in _LANGUAGES):
            return folder
    raise MissingToolError("Tesseract's language data are missing", where=named or "tessdata", remedy=_REMEDY)
