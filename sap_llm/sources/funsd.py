"""Reader of FUNSD: noisy scanned forms with words and boxes.

Belongs here: the FUNSD file format. Its questions and answers are no fields of the taxonomy, so the truth is the class.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sap_llm.reading.lines import order_words
from sap_llm.schema.page import Page
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.reader import Read, ReaderContext
from sap_llm.sources.truth import Truth

_LETTER_HEIGHT_POINTS = 792.0  # the scans are US letter pages


def read_funsd(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every form that has an annotation and a picture, in order of name."""
    for path in sorted((context.folder / "annotations").glob("*.json")):
        yield _read(context, path)


def _read(context: ReaderContext, path: Path) -> Read | Fault:
    from PIL import Image

    name = context.name(path)
    picture = context.folder / "images" / f"{path.stem}.png"
    try:
        form = json.loads(path.read_text(encoding="utf-8"))["form"]
        content = picture.read_bytes()
        with Image.open(picture) as image:
            size = image.size
        words = [word for entity in form for word in entity["words"]]
        page = page_of_words(words, size=size, image_sha256=sha256(content))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Fault(record=name, source=name, reason="unreadable", detail=f"Form or picture cannot be read: {error!r}")
    return Read(
        key=path.stem,
        name=name,
        content=content,
        media_type="image/png",
        pages=[page],
        truth=Truth(document_type="FORM", source="human"),
        language="en",
    )


def page_of_words(words: list[dict[str, Any]], *, size: tuple[int, int], image_sha256: str | None) -> Page:
    """A page from `{"text", "box"}` words in pixels of a picture of `size`; words without text are dropped."""
    kept = [(text, word["box"]) for word in words if (text := "".join(str(word["text"]).split()))]
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
