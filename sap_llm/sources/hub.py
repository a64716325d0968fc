"""Reader of corpora from the Hugging Face hub (SROIE, CORD, FUNSD, RVL-CDIP), behind the same interface as folders.

Belongs here: the features of these datasets, from a record to truth, words and page. Where records come from is
`local_sets`, CORD's annotation is `cord`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.errors import MissingToolError, SapLlmError
from sap_llm.schema.page import Page
from sap_llm.sources.catalogue import catalogue
from sap_llm.sources.cord import Word, cord_truth, cord_words, read_annotation
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.local_sets import records
from sap_llm.sources.reader import Read, ReaderContext
from sap_llm.sources.truth import Truth

if TYPE_CHECKING:
    from PIL.Image import Image

_LETTER_HEIGHT_POINTS = 792.0
_NORMALISED = 1000.0  # LayoutLM convention: boxes in thousandths of the page
_SROIE = {"company": "seller_name", "date": "document_date", "total": "total_amount"}
_RVL_CLASSES = (
    "OTHER",  # letter
    "FORM",
    "OTHER",  # email
    "OTHER",  # handwritten
    "OTHER",  # advertisement
    "OTHER",  # scientific report
    "OTHER",  # scientific publication
    "OTHER",  # specification
    "OTHER",  # file folder
    "OTHER",  # news article
    "OTHER",  # budget
    "SUPPLIER_INVOICE",  # invoice
    "OTHER",  # presentation
    "FORM",  # questionnaire
    "OTHER",  # resume
    "OTHER",  # memo
)
"""Our class of each of RVL-CDIP's 16, in the order of its labels."""
_SHARP, _CONTRAST, _SHORT_SIDE = 60.0, 100.0, 500.0  # what a legible scan has at least; less lowers the quality

Interpreter = Callable[[dict[str, Any], tuple[int, int]], tuple[Truth, list[Word]]]


def _sroie(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[Word]]:
    entities = record.get("entities") or {}
    header = {field: str(entities[name]) for name, field in _SROIE.items() if entities.get(name)}
    return Truth(document_type="RECEIPT", header=header), _scaled(record["words"], record["bboxes"], size)


def _funsd(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[Word]]:
    return Truth(document_type="FORM"), _scaled(record.get("tokens") or record["words"], record["bboxes"], size)


def _cord(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[Word]]:
    del size  # CORD's quads are pixels already
    annotation = read_annotation(record["ground_truth"])
    return cord_truth(annotation), cord_words(annotation)


def _rvl_cdip(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[Word]]:
    del size
    return Truth(document_type=dict(enumerate(_RVL_CLASSES))[record["label"]]), []


HUB_CORPORA: dict[str, Interpreter] = {
    "hub-sroie": _sroie,
    "hub-cord": _cord,
    "hub-funsd": _funsd,
    "hub-rvl-cdip": _rvl_cdip,
}
"""From a record and the picture's size to truth and words with pixel boxes; no words: OCR reads the picture."""
_LANGUAGES = {"hub-sroie": "en", "hub-cord": "id", "hub-funsd": "en", "hub-rvl-cdip": "en"}


def read_hub(name: str) -> Callable[[ReaderContext], Iterator[Read | Fault]]:
    """The reader of one of `HUB_CORPORA`."""

    def read(context: ReaderContext) -> Iterator[Read | Fault]:
        facts = catalogue()[name]
        for index, record in enumerate(records(facts, context.folder)):
            yield _read(context, name, record, f"{facts.repository}/{facts.split}/{index}")

    return read


def _read(context: ReaderContext, corpus: str, record: dict[str, Any], name: str) -> Read | Fault:
    try:
        image = _picture(record["image"])
        stream = io.BytesIO()
        image.save(stream, format="PNG", compress_level=1)
        content = stream.getvalue()
        quality = picture_quality(image)
        truth, words = HUB_CORPORA[corpus](record, image.size)
        if words:
            pages = [_page(words, image.size, sha256(content))]
        else:  # pictures only
            read = context.sandbox.read(content, name=name, max_pages=1)
            pages, quality = read.pages, min(quality, read.quality)
    except (LookupError, ValueError, TypeError, AttributeError, OSError) as error:
        return Fault(record=name, source=corpus, reason="bad_record", detail=f"{error!r}")
    except MissingToolError as error:
        return Fault(record=name, source=corpus, reason="needs_ocr", detail=str(error))
    except SapLlmError as error:
        return Fault(record=name, source=corpus, reason="unreadable", detail=str(error))
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type="image/png",
        pages=pages,
        truth=truth,
        quality=quality,
        language=_LANGUAGES[corpus],
    )


def _picture(value: Any) -> "Image":
    """The picture of a record: decoded already, a file, or bytes as Parquet holds them."""
    from PIL import Image

    if isinstance(value, Path):
        value = {"bytes": value.read_bytes()}
    if isinstance(value, dict):
        with Image.open(io.BytesIO(value["bytes"])) as opened:
            return opened.convert("RGB")
    image: Image.Image = value.convert("RGB")
    return image


def picture_quality(image: "Image") -> float:
    """How legible a picture is by its pixels alone, 0..1: the worst of sharpness, contrast and size.

    Sharpness is the Laplacian at the strongest edges, contrast the distance between ink and paper; ink covers a
    thousandth of the picture at least. Scanned and photographed text of usual size has 1.
    """
    gray = np.asarray(image.convert("L"), dtype=np.float32)
    if min(gray.shape) < 3:
        return 0.0
    dark, light = np.percentile(gray, (0.1, 99))
    middle = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * middle
    edges = np.sort(np.abs(laplacian), axis=None)[-max(1, laplacian.size // 1000) :]  # text covers little of a page
    sharpness, contrast = float(edges.mean()) / _SHARP, float(light - dark) / _CONTRAST
    return round(float(min(1.0, sharpness, contrast, min(gray.shape) / _SHORT_SIDE)), 4)


def _page(words: list[tuple[str, list[float]]], size: tuple[int, int], image_sha256: str) -> Page:
    kept = [(text, box) for raw, box in words if (text := "".join(raw.split()))]
    scale = _LETTER_HEIGHT_POINTS / max(size)
    boxes = np.asarray([box for _, box in kept], dtype=np.float32).reshape(len(kept), 4) * np.float32(scale)
    order, lines = order_words(boxes)
    return Page(
        page_number=1,
        width=size[0] * scale,
        height=size[1] * scale,
        words=[kept[index][0] for index in order],
        boxes=boxes[order],
        lines=lines,
        reader="source",
        image_sha256=image_sha256,
    )


def _scaled(words: list[str], boxes: list[list[float]], size: tuple[int, int]) -> list[tuple[str, list[float]]]:
    """Words with boxes in thousandths of the page to pixels."""
    across, down = size[0] / _NORMALISED, size[1] / _NORMALISED
    factors = (across, down, across, down)
    return [
        (word, [edge * factor for edge, factor in zip(box, factors, strict=True)])
        for word, box in zip(words, boxes, strict=True)
    ]
