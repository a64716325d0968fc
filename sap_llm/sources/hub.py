"""Reader of corpora from the Hugging Face hub (SROIE, CORD, FUNSD, RVL-CDIP), behind the same interface as folders.

Belongs here: the features of these datasets. Without a folder the hub is asked; a folder is one written by
`datasets.Dataset.save_to_disk`. The package `datasets` is an extra and only imported here, inside functions.
"""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.errors import MissingToolError, SapLlmError, SourceError
from sap_llm.schema.page import Page
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.reader import Read, ReaderContext
from sap_llm.sources.truth import Truth

_LETTER_HEIGHT_POINTS = 792.0
_NORMALISED = 1000.0  # LayoutLM convention: boxes in thousandths of the page
_SROIE = {"company": "seller_name", "date": "document_date", "total": "total_amount"}
_RVL_CLASSES = {2: "FORM", 11: "SUPPLIER_INVOICE"}  # of its 16 classes those that the taxonomy has

Interpreter = Callable[[dict[str, Any], tuple[int, int]], tuple[Truth, list[tuple[str, list[float]]]]]


@dataclass(frozen=True, kw_only=True)
class HubCorpus:
    """A dataset of the hub.

    Attributes:
        repository: Owner and name on the hub.
        split: Which part is read.
        role: Role of its documents.
        licence: As its card states.
        interpret: From a record and the picture's size to truth and words with pixel boxes.
    """

    repository: str
    split: str
    role: str
    licence: str
    interpret: Interpreter


def _sroie(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[tuple[str, list[float]]]]:
    entities = record.get("entities") or {}
    header = {field: str(entities[name]) for name, field in _SROIE.items() if entities.get(name)}
    return Truth(document_type="RECEIPT", header=header), _scaled(record["words"], record["bboxes"], size)


def _funsd(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[tuple[str, list[float]]]]:
    return Truth(document_type="FORM"), _scaled(record.get("tokens") or record["words"], record["bboxes"], size)


def _cord(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[tuple[str, list[float]]]]:
    del size  # CORD's quads are pixels already
    truth = json.loads(record["ground_truth"])
    words = []
    for line in truth["valid_line"]:
        for word in line["words"]:
            quad = word["quad"]
            xs, ys = ([float(quad[f"{axis}{corner}"]) for corner in range(1, 5)] for axis in "xy")
            words.append((str(word["text"]), [min(xs), min(ys), max(xs), max(ys)]))
    parse = truth.get("gt_parse", {})
    total = _one(_one(parse.get("total")).get("total_price"))
    tax = _one(_one(parse.get("sub_total")).get("tax_price"))
    header = {name: value for name, value in (("total_amount", total), ("tax_amount", tax)) if isinstance(value, str)}
    return Truth(document_type="RECEIPT", header=header), words


def _rvl_cdip(record: dict[str, Any], size: tuple[int, int]) -> tuple[Truth, list[tuple[str, list[float]]]]:
    del size
    name = _RVL_CLASSES.get(record["label"])
    if name is None:
        raise LookupError(f"class {record['label']} is not in the taxonomy")
    return Truth(document_type=name), []


HUB_CORPORA: dict[str, HubCorpus] = {
    "hub-sroie": HubCorpus(
        repository="darentang/sroie", split="train", role="train", licence="CC-BY-4.0", interpret=_sroie
    ),
    "hub-cord": HubCorpus(
        repository="naver-clova-ix/cord-v2", split="train", role="train", licence="CC-BY-4.0", interpret=_cord
    ),
    "hub-funsd": HubCorpus(
        repository="nielsr/funsd", split="train", role="test_only", licence="FUNSD, research only", interpret=_funsd
    ),
    "hub-rvl-cdip": HubCorpus(
        repository="aharley/rvl_cdip", split="train", role="train", licence="unknown", interpret=_rvl_cdip
    ),
}


def read_hub(name: str) -> Callable[[ReaderContext], Iterator[Read | Fault]]:
    """The reader of one of `HUB_CORPORA`."""

    def read(context: ReaderContext) -> Iterator[Read | Fault]:
        corpus = HUB_CORPORA[name]
        for index, record in enumerate(_records(corpus, context.folder)):
            yield _read(context, corpus, record, f"{corpus.repository}/{corpus.split}/{index}")

    return read


def _records(corpus: HubCorpus, folder: Path) -> Iterator[dict[str, Any]]:
    if find_spec("datasets") is None:
        raise MissingToolError(
            "reading the Hugging Face hub needs the package `datasets`.",
            where=corpus.repository,
            remedy="Install the extra: pip install 'sap-llm[hub]'.",
        )
    import datasets

    try:
        if folder == Path():
            loaded = datasets.load_dataset(corpus.repository, split=corpus.split, streaming=True)
        else:
            loaded = datasets.load_from_disk(str(folder))
            loaded = loaded[corpus.split] if isinstance(loaded, datasets.DatasetDict) else loaded
    except Exception as error:
        raise SourceError(
            f"the dataset cannot be opened ({type(error).__name__}: {error}).",
            where=corpus.repository if folder == Path() else str(folder),
            remedy="Check the network, or give a folder written by `save_to_disk`.",
        ) from error
    yield from loaded


def _read(context: ReaderContext, corpus: HubCorpus, record: dict[str, Any], name: str) -> Read | Fault:
    try:
        image = record["image"]
        stream = io.BytesIO()
        image.convert("RGB").save(stream, format="PNG", compress_level=1)
        content = stream.getvalue()
        truth, words = corpus.interpret(record, image.size)
        if words:
            pages = [_page(words, image.size, sha256(content))]
            quality = 1.0
        else:  # pictures only
            read = context.sandbox.read(content, name=name, max_pages=1)
            pages, quality = read.pages, read.quality
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        return Fault(record=name, source=corpus.repository, reason="bad_record", detail=f"{error!r}")
    except SapLlmError as error:
        return Fault(record=name, source=corpus.repository, reason="unreadable", detail=str(error))
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type="image/png",
        pages=pages,
        truth=truth,
        quality=quality,
        licence=corpus.licence,
    )


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


def _one(value: Any) -> Any:
    """CORD repeats a group as a list where it occurs more than once; the first counts."""
    if isinstance(value, list):
        value = value[0] if value else None
    return {} if value is None else value
