"""What people put on a page: rubber stamps over text, highlighter, underlines, ticks and rings by pen.

Belongs here: drawing the marks and where they go. How ink covers print is `Canvas.lay_ink`; the words of stamps are in
`data/stamps.yaml`.
"""

from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import yaml

from sap_llm.augmentation.canvas import Canvas

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Mask = npt.NDArray[np.float32]

_STAMP_COLOURS = ((30, 50, 150), (170, 25, 40), (40, 40, 45), (20, 110, 70))
_PEN_COLOURS = ((25, 40, 140), (30, 30, 35), (180, 30, 40))
_HIGHLIGHTERS = ((255, 240, 60), (170, 255, 90), (255, 170, 210))
_STAMPS_OVER_PRINT = 0.6
_FONT = ("mpl-data", "fonts", "ttf", "DejaVuSans-Bold.ttf")  # Pillow's own font has no umlauts


def stamp(canvas: Canvas, strength: float) -> None:
    """A framed word and a date, turned, unevenly inked, more often over print than beside it."""
    import cv2

    rng = canvas.rng
    mask = _stamp_face(str(rng.choice(_stamp_words())), rng, canvas.scale * rng.uniform(0.8, 1.3))
    mask *= _uneven(mask.shape, rng)
    angle = float(rng.uniform(-25, 25))
    height, width = mask.shape
    side = int(np.hypot(height, width)) + 2
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    turn[:, 2] += (side / 2 - width / 2, side / 2 - height / 2)
    turned = np.asarray(cv2.warpAffine(mask, turn, (side, side)), dtype=np.float32)
    middle = rng.uniform((0.2, 0.2), (0.85, 0.85)) * (canvas.width, canvas.height)
    if rng.random() < _STAMPS_OVER_PRINT and len(canvas.words):
        middle = canvas.words[rng.integers(len(canvas.words))].mean(axis=0)
    left, top = (int(place - side / 2) for place in middle)
    colour = _STAMP_COLOURS[rng.integers(len(_STAMP_COLOURS))]
    canvas.lay_ink(turned * np.float32(strength), left, top, canvas.colour(*colour))


def highlighter(canvas: Canvas, strength: float) -> None:
    """A broad stroke over a run of words of one line."""
    chosen = _run_of_words(canvas, most=6)
    if chosen is None:
        return
    x0, y0, x1, y1 = chosen
    pad = 1.5 * canvas.scale
    height, width = int(y1 - y0 + 2 * pad), int(x1 - x0 + 4 * pad)
    mask = np.full((height, width), strength, dtype=np.float32)
    edge = np.clip(np.arange(height) / max(1.0, pad), 0.35, 1.0).astype(np.float32)
    mask *= np.minimum(edge, edge[::-1])[:, None]
    colour = canvas.colour(*_HIGHLIGHTERS[canvas.rng.integers(len(_HIGHLIGHTERS))])
    canvas.lay_ink(mask, int(x0 - 2 * pad), int(y0 - pad), colour)


def pen(canvas: Canvas, strength: float) -> None:
    """One to four marks: a line below words, a ring around them, or a tick beside them."""
    colour = canvas.colour(*_PEN_COLOURS[canvas.rng.integers(len(_PEN_COLOURS))])
    for _ in range(int(canvas.rng.integers(1, 5))):
        chosen = _run_of_words(canvas, most=3)
        if chosen is None:
            return
        shape = (_underline, _ring, _tick)[canvas.rng.integers(3)]
        _draw_stroke(canvas, shape(chosen, canvas.rng, canvas.scale), strength, colour)


def _underline(box: tuple[float, ...], rng: np.random.Generator, scale: float) -> npt.NDArray[np.float64]:
    x = np.linspace(box[0], box[2], 12)
    return np.stack([x, box[3] + scale * (1.0 + rng.normal(0, 0.35, 12).cumsum() * 0.6)], axis=1)


def _ring(box: tuple[float, ...], rng: np.random.Generator, scale: float) -> npt.NDArray[np.float64]:
    turn = np.linspace(0.4, 0.4 + 2.15 * np.pi, 40)
    wobble = 1.0 + 0.06 * np.sin(turn * 2 + rng.uniform(0, 6)) + np.linspace(0, 0.12, 40)
    x = (box[0] + box[2]) / 2 + ((box[2] - box[0]) * 0.6 + 3 * scale) * wobble * np.cos(turn)
    y = (box[1] + box[3]) / 2 + ((box[3] - box[1]) * 0.75 + 2 * scale) * wobble * np.sin(turn)
    return np.stack([x, y], axis=1)


def _tick(box: tuple[float, ...], rng: np.random.Generator, scale: float) -> npt.NDArray[np.float64]:
    size = scale * rng.uniform(6, 11)
    start = np.array([box[2] + 2 * scale, (box[1] + box[3]) / 2])
    corners = np.array([[0.0, 0.0], [0.35, 0.45], [1.1, -0.9]]) * size
    return start + corners + rng.normal(0, 0.04 * size, (3, 2))


def _draw_stroke(canvas: Canvas, points: npt.NDArray[np.float64], strength: float, colour: tuple[float, ...]) -> None:
    import cv2

    thickness = max(1, round(canvas.scale * canvas.rng.uniform(0.7, 1.2)))
    low = np.floor(points.min(axis=0)).astype(int) - 2 * thickness
    width, height = np.ceil(points.max(axis=0)).astype(int) - low + 2 * thickness
    mask = np.zeros((int(height), int(width)), dtype=np.uint8)
    fixed = np.rint((points - low) * 16).astype(np.int32)  # OpenCV takes sixteenths of a pixel with shift 4
    cv2.polylines(mask, [fixed], False, 255, thickness, cv2.LINE_AA, 4)
    canvas.lay_ink(mask.astype(np.float32) / 255.0 * np.float32(strength), int(low[0]), int(low[1]), colour)


def _run_of_words(canvas: Canvas, *, most: int) -> tuple[float, ...] | None:
    """The upright box around a word and some that follow it at the same height."""
    if not len(canvas.words):
        return None
    first = int(canvas.rng.integers(len(canvas.words)))
    x0, y0 = canvas.words[first].min(axis=0)
    x1, y1 = canvas.words[first].max(axis=0)
    for quad in canvas.words[first + 1 : first + int(canvas.rng.integers(1, most + 1))]:
        low, high = quad.min(axis=0), quad.max(axis=0)
        if low[1] > y1 or high[1] < y0 or low[0] < x1:
            break
        x1, y0, y1 = high[0], min(y0, low[1]), max(y1, high[1])
    return float(x0), float(y0), float(x1), float(y1)


def _stamp_face(word: str, rng: np.random.Generator, scale: float) -> Mask:
    from PIL import Image, ImageDraw

    date = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(2019, 2027)}"
    large, small = _font(round(22 * scale)), _font(round(11 * scale))
    width = max(large.getlength(word), small.getlength(date)) + 24 * scale
    has_date = rng.random() < 0.7
    height = (56 if has_date else 40) * scale
    image = Image.new("L", (round(width), round(height)), 0)
    draw = ImageDraw.Draw(image)
    line = max(1, round(1.8 * scale))
    draw.rounded_rectangle((line, line, width - line - 1, height - line - 1), 5 * scale, outline=255, width=line)
    draw.text((width / 2, 19 * scale), word, fill=255, font=large, anchor="mm")
    if has_date:
        draw.text((width / 2, 42 * scale), date, fill=255, font=small, anchor="mm")
    return np.asarray(image, dtype=np.float32) / 255.0


def _uneven(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    """Ink of a worn stamp: patches that took less, and pores that took none."""
    import cv2

    coarse = rng.uniform(0.35, 1.3, (max(2, shape[0] // 12), max(2, shape[1] // 12))).astype(np.float32)
    patches = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    pores = cv2.GaussianBlur(rng.random(shape, dtype=np.float32), (0, 0), 0.8) > 0.42
    return np.asarray(np.clip(patches, 0.0, 1.0) * pores, dtype=np.float32)


@cache
def _stamp_words() -> tuple[str, ...]:
    text = files("sap_llm.augmentation").joinpath("data/stamps.yaml").read_text(encoding="utf-8")
    return tuple(word for words in yaml.safe_load(text).values() for word in words)


@cache
def _font(pixels: int) -> "FreeTypeFont":
    from PIL import ImageFont

    found = find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(str(Path(found.origin).parent.joinpath(*_FONT)), max(6, pixels))
