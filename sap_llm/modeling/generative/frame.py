"""The picture of a page as the model sees it, and the way between its pixels and the page's points.

Belongs here: resizing by Qwen2.5-VL's own rule and the one conversion of boxes that training and inference share. What
is said about the boxes is `answers`; rendering files is `sap_llm.reading`.
"""

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sap_llm.evaluation.pictures import paint
from sap_llm.modeling.qwen import PIXEL_MULTIPLE, QwenShape
from sap_llm.schema.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

Pixels = tuple[int, int, int, int]
Points = tuple[float, float, float, float]
_LEAST_SCALE, _MOST_SCALE = 0.2, 4.0  # pixels a point that a page is rendered with, before it is resized


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A page of `page_width` x `page_height` points shown whole as a picture of `width` x `height` pixels."""

    page_width: float
    page_height: float
    width: int
    height: int

    @classmethod
    def of(cls, page: Page, picture: "Image") -> "Frame":
        """The frame of a picture that shows the whole page."""
        return cls(page_width=page.width, page_height=page.height, width=picture.width, height=picture.height)

    def to_pixels(self, box: "Sequence[float]") -> Pixels:
        """Edges x0 y0 x1 y1 in points to whole pixels, inside the picture."""
        scales = self._scales()
        limits = (self.width, self.height) * 2
        x0, y0, x1, y1 = (
            min(max(round(edge * scale), 0), limit) for edge, scale, limit in zip(box, scales, limits, strict=True)
        )
        return x0, y0, x1, y1

    def to_points(self, box: "Sequence[float]") -> Points:
        """Edges in pixels to points: within half a pixel of what `to_pixels` was given, where that was on the page."""
        x0, y0, x1, y1 = (edge / scale for edge, scale in zip(box, self._scales(), strict=True))
        return x0, y0, x1, y1

    def _scales(self) -> Points:
        across, down = self.width / self.page_width, self.height / self.page_height
        return across, down, across, down


def resized(width: int, height: int, shape: QwenShape) -> tuple[int, int]:
    """Width and height of a picture as the model's processor makes it: multiples of 28, within the shape's limits.

    The processor's rule is applied until nothing changes: its result for a long or small picture may be one that it
    would resize again.

    Raises:
        ValueError: One side is more than 200 times the other.
    """
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    limits = {"factor": PIXEL_MULTIPLE, "min_pixels": shape.min_pixels, "max_pixels": shape.max_pixels}
    size, previous = (height, width), None
    while size != previous:
        size, previous = smart_resize(*size, **limits), size
    return size[1], size[0]


def rendering_scale(page: Page, shape: QwenShape) -> float:
    """Pixels a point with which a page is best rendered: about as many pixels as the model may see."""
    wanted = math.sqrt(shape.max_pixels / max(1.0, page.width * page.height))
    return min(max(wanted, _LEAST_SCALE), _MOST_SCALE)


def page_picture(page: Page, shape: QwenShape, content: bytes | None = None) -> "Image":
    """The page as the model sees it, RGB, of a size that its processor leaves as it is.

    Args:
        page: Its words are drawn where there is no picture of it.
        shape: Limits of the size.
        content: A picture file of the whole page, if there is one.
    """
    from PIL import Image

    if content is None:
        picture = paint(page, (), rendering_scale(page, shape), None)
    else:
        with Image.open(io.BytesIO(content)) as opened:
            picture = opened.convert("RGB")
    size = resized(picture.width, picture.height, shape)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)
