"""One page's picture through the whole way of its sheet, and where everything on it lands.

Belongs here: the order of the damages and the test whether a word can still be read. Each damage is in `paper`, `ink`,
`light` or `capture`; documents of several pages are `stream`'s business.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sap_llm.augmentation import capture, ink, paper
from sap_llm.augmentation.canvas import Canvas
from sap_llm.augmentation.config import DamageConfig
from sap_llm.augmentation.geometry import Picture, Warp, draw, draw_warp, quads_to_boxes
from sap_llm.augmentation.light import relight
from sap_llm.schema.page import Quads

LEAST_LIKENESS = 0.5
"""Correlation of a word's pixels with those of the undamaged word below which it counts as illegible.

Of words between 0.4 and 0.5 Tesseract reads one in three nearly right, of those above 0.6 six in seven.
"""

_ON_THE_SHEET = (
    ("texture", paper.texture),
    ("bleed_through", paper.bleed_through),
    ("highlighter", ink.highlighter),
    ("pen", ink.pen),
    ("stamp", ink.stamp),
    ("fold", paper.fold),
    ("punch_holes", paper.punch_holes),
    ("staple", paper.staple),
)
_IN_THE_PICTURE = (
    ("dust", capture.dust),
    ("blur", capture.blur),
    ("motion", capture.motion),
    ("downscale", capture.downscale),
    ("noise", capture.noise),
    ("salt", capture.salt),
    ("fax", capture.fax),
    ("jpeg", capture.jpeg),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DamagedPicture:
    """What became of a picture.

    Attributes:
        pixels: Of the same height and width; gray or RGB.
        warp: Maps any point, box or quad of the given picture to this one.
        damages: Names of what was done, in order.
        jpeg: The picture as the file that it was last written as, where that is its last damage.
    """

    pixels: Picture
    warp: Warp
    damages: tuple[str, ...]
    jpeg: bytes | None


def seeded(*parts: object) -> np.random.Generator:
    """A generator for these parts (seed, document, copy, page), the same in every process and order."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def damage_picture(
    picture: Picture,
    words: Quads,
    config: DamageConfig,
    rng: np.random.Generator,
    *,
    scale: float,
    back: Picture | None = None,
) -> DamagedPicture:
    """Damage a page.

    Args:
        picture: uint8, gray [height, width] or RGB [height, width, 3]; left as it is.
        words: Quads of the words in pixels; people mark words, not places.
        config: What may happen.
        rng: Where all chance comes from, see `seeded`.
        scale: Pixels per point.
        back: Picture of what is printed on the other side.
    """
    pixels = to_gray(picture) if config.is_gray and picture.ndim == 3 else picture.copy()
    canvas = Canvas(pixels=pixels, scale=scale, rng=rng, words=words, back=back)
    for name, put in _ON_THE_SHEET:
        strength = draw(getattr(config.paper, name), rng)
        if strength is not None:
            put(canvas, strength)
            canvas.damages.append(name)
    warp = draw_warp(config.geometry, (canvas.width, canvas.height), scale, rng)
    if not warp.is_identity:
        canvas.pixels = warp.picture(canvas.pixels, background=config.surface)
        canvas.damages.append("warp")
    canvas.damages += relight(canvas, config.light)
    for name, lose in _IN_THE_PICTURE:
        strength = draw(getattr(config.capture, name), rng)
        if strength is not None:
            lose(canvas, strength)
            canvas.damages.append(name)
    return DamagedPicture(pixels=canvas.pixels, warp=warp, damages=tuple(canvas.damages), jpeg=canvas.jpeg)


def to_gray(picture: Picture) -> Picture:
    """Luminance of an RGB picture; a gray one as it is."""
    import cv2

    return picture if picture.ndim == 2 else np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def likeness(picture: Picture, damaged: DamagedPicture, words: Quads) -> npt.NDArray[np.float32]:
    """Correlation, for each word, of the pixels around it with those of the undamaged page put through the same warp.

    It is near 1 for pale or blurred print, for both move all pixels alike, and falls where other ink, lost lines or
    noise take over. Words beyond the page have 0.

    Args:
        picture: As given to `damage_picture`.
        damaged: What that returned.
        words: Quads in pixels of the undamaged picture, [n, 4, 2].
    """
    clean = damaged.warp.picture(to_gray(picture))
    dirty = to_gray(damaged.pixels)
    boxes = quads_to_boxes(damaged.warp.quads(words))
    low = np.maximum(np.floor(boxes[:, :2]).astype(int), 0).tolist()
    high = np.ceil(boxes[:, 2:]).astype(int).tolist()
    found = np.zeros(len(words), dtype=np.float32)
    for index, ((x0, y0), (x1, y1)) in enumerate(zip(low, high, strict=True)):
        a, b = clean[y0 : max(y1, 0), x0 : max(x1, 0)], dirty[y0 : max(y1, 0), x0 : max(x1, 0)]
        if a.size:
            found[index] = _correlation(a, b)
    return found


def _correlation(a: Picture, b: Picture) -> float:
    first, second = a.astype(np.float32).ravel(), b.astype(np.float32).ravel()
    first -= first.mean()
    second -= second.mean()
    size = float(first @ first) * float(second @ second)
    return float(first @ second) / size**0.5 if size > 0.0 else 0.0
