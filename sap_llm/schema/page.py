"""One page as every room sees it: words, their boxes and the visual line that each stands on.

Belongs here: the in-memory page and its conversion from and to rows of the `pages` table. How a page is obtained from a
file is `reading`; what is found on it is `modeling`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
Lines = npt.NDArray[np.int32]
Quads = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """Words of one page in reading order.

    Attributes:
        page_number: From 1.
        width: Points (1/72 inch), after rotation and crop box.
        height: Points.
        words: n texts without white space.
        boxes: float32 [n, 4], x0 y0 x1 y1 in points from the top left corner.
        lines: int32 [n], visual line of each word, from 0, not decreasing.
        reader: text_layer | ocr | typeset | source.
        quality: 0..1, how far the reading can be trusted.
        image_sha256: Blob of the page's picture, where there is one.
        quads: float32 [n, 4, 2], corners x, y of each word on a warped page from its upper left on, clockwise; the
            boxes are the smallest upright ones around them. None on an upright page. The table has no column for them:
            damaged pages are made on demand and not stored.
    """

    page_number: int
    width: float
    height: float
    words: list[str]
    boxes: Boxes
    lines: Lines
    reader: str
    quality: float = 1.0
    image_sha256: str | None = None
    quads: Quads | None = None

    def __post_init__(self) -> None:
        count = len(self.words)
        if self.boxes.shape != (count, 4) or self.lines.shape != (count,):
            raise ValueError(f"{count} words, boxes {self.boxes.shape}, lines {self.lines.shape}")
        if self.quads is not None and self.quads.shape != (count, 4, 2):
            raise ValueError(f"{count} words, quads {self.quads.shape}")

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Page":
        """Build the page from a mapping with the columns of `tables.PAGES`."""
        count = len(row["words"])
        return cls(
            page_number=int(row["page_number"]),
            width=float(row["width"]),
            height=float(row["height"]),
            words=list(row["words"]),
            boxes=np.asarray(row["boxes"], dtype=np.float32).reshape(count, 4),
            lines=np.asarray(row["lines"], dtype=np.int32).reshape(count),
            reader=row["reader"],
            quality=float(row["quality"]),
            image_sha256=row.get("image_sha256"),
        )

    def to_row(self, document_id: str) -> dict[str, Any]:
        """The page as a row of `tables.PAGES`."""
        return {
            "document_id": document_id,
            "page_number": self.page_number,
            "width": self.width,
            "height": self.height,
            "words": self.words,
            "boxes": self.boxes.tolist(),
            "lines": self.lines.tolist(),
            "reader": self.reader,
            "quality": self.quality,
            "image_sha256": self.image_sha256,
        }

    def text(self) -> str:
        """Words joined by spaces, one visual line a row."""
        rows: list[list[str]] = []
        previous = None
        for word, line in zip(self.words, self.lines.tolist(), strict=True):
            if line != previous:
                rows.append([])
                previous = line
            rows[-1].append(word)
        return "\n".join(" ".join(row) for row in rows)

    def union(self, word_ids: list[int]) -> list[float]:
        """Smallest box around the words of the given indices (at least one)."""
        left, top, right, bottom = zip(*self.boxes[word_ids].tolist(), strict=True)  # most are few; numpy costs more
        return [min(left), min(top), max(right), max(bottom)]

    def box_of(self, word_ids: list[int]) -> tuple[float, float, float, float]:
        """`union` as a tuple."""
        x0, y0, x1, y1 = self.union(word_ids)
        return x0, y0, x1, y1
