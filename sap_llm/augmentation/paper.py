"""What the sheet itself went through: grain, the other side shining through, folds, holes, a staple.

Belongs here: damage that lies in the plane of the sheet and moves with it. Ink that people add is in `ink`, light and
sensor are in `light` and `capture`.
"""

import numpy as np

from sap_llm.augmentation.canvas import POINTS_PER_MILLIMETRE, Canvas
from sap_llm.augmentation.geometry import Picture

_GRAIN_POINTS = 0.6  # sigma of paper grain, about the length of a fibre bundle
_HOLE_RADIUS, _HOLE_MARGIN, _HOLES_APART = 3.0, 12.0, 80.0  # millimetres, ISO 838
_STAPLE = (12.0, 0.5)  # millimetres: length and thickness of the wire


def texture(canvas: Canvas, strength: float) -> None:
    """Grain of the paper; its white is two deviations below that of the screen, so that nothing is cut off."""
    canvas.add_noise(strength, grain=round(_GRAIN_POINTS * canvas.scale, 1), shift=-2.0 * strength)


def bleed_through(canvas: Canvas, strength: float) -> None:
    """The other side's print, mirrored and blurred; without another side, this one turned about."""
    import cv2

    back = canvas.pixels[::-1] if canvas.back is None else canvas.back
    if back.shape != canvas.pixels.shape:
        back = _like(back, canvas)
    blurred = cv2.GaussianBlur(np.ascontiguousarray(back[:, ::-1]), (0, 0), 0.35 * canvas.scale)
    canvas.pixels = np.asarray(cv2.addWeighted(canvas.pixels, 1.0, blurred, strength, -255.0 * strength), np.uint8)


def fold(canvas: Canvas, strength: float) -> None:
    """A letter's two folds, or the one of a sheet folded in half: a dark crease between a lit and a shaded slope."""
    thirds = canvas.rng.random() < 0.6
    for place in (1 / 3, 2 / 3) if thirds else (0.5,):
        _crease(canvas, (place + canvas.rng.uniform(-0.02, 0.02)) * canvas.height, strength)


def punch_holes(canvas: Canvas, strength: float) -> None:
    """Two holes at the left edge, through which the surface below is seen."""
    import cv2

    unit = POINTS_PER_MILLIMETRE * canvas.scale
    radius = _HOLE_RADIUS * unit
    side = int(2 * radius + 4)
    mask = np.zeros((side, side), dtype=np.uint8)
    cv2.circle(mask, (side // 2, side // 2), round(radius), 255, -1, cv2.LINE_AA)
    share = mask.astype(np.float32) / 255.0
    shift_x, shift_y = canvas.rng.uniform(-2, 2), canvas.rng.uniform(-6, 6)
    for sign in (-0.5, 0.5):
        x = (_HOLE_MARGIN + shift_x) * unit
        y = canvas.height / 2 + (sign * _HOLES_APART + shift_y) * unit
        left, top = int(x - side / 2), int(y - side / 2)
        level = 255.0 * (1.0 - strength)
        canvas.lay_ink(share, left, top, canvas.colour(level, level, level))


def staple(canvas: Canvas, strength: float) -> None:
    """A wire across the upper left corner with its small shadow."""
    import cv2

    unit = POINTS_PER_MILLIMETRE * canvas.scale
    length, thickness = _STAPLE[0] * unit, max(1, round(_STAPLE[1] * unit))
    angle = canvas.rng.uniform(-0.9, -0.5)
    side = int(length) + 4 * thickness + 4
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = np.array([side / 2, side / 2])
    mask = np.zeros((side, side), dtype=np.uint8)
    for offset, shade in ((thickness * 0.8, 110), (0.0, 255)):
        start, end = (tuple(map(round, middle + sign * reach + offset)) for sign in (-1, 1))
        cv2.line(mask, start, end, shade, thickness, cv2.LINE_AA)
    corner = canvas.rng.uniform(4.0, 9.0, 2) * unit
    level = 255.0 * (1.0 - strength)
    share = mask.astype(np.float32) / 255.0
    canvas.lay_ink(share, int(corner[0]), int(corner[1]), canvas.colour(level, level, level))


def _crease(canvas: Canvas, place: float, strength: float) -> None:
    reach = 9.0 * canvas.scale
    top, bottom = max(0, int(place - reach)), min(canvas.height, int(place + reach) + 1)
    away = np.arange(top, bottom, dtype=np.float32) + 0.5 - place
    slope = np.sign(away) * np.exp(-np.abs(away) / (3.0 * canvas.scale)) * 0.25
    line = np.exp(-((away / (0.35 * canvas.scale)) ** 2))
    factor = 1.0 - strength * (line + np.maximum(slope, 0.0)) + 0.3 * strength * np.maximum(-slope, 0.0)
    wear = 1.0 + 0.25 * canvas.rng.standard_normal(canvas.width).astype(np.float32)  # the crease is broken up
    loss = (factor[:, None] - 1.0) * wear[None, :]
    band = canvas.pixels[top:bottom]
    rows = loss if canvas.is_gray else loss[..., None]
    band[...] = np.clip(band * (1.0 + rows), 0, 255).astype(np.uint8)


def _like(back: Picture, canvas: Canvas) -> Picture:
    import cv2

    resized = cv2.resize(back, (canvas.width, canvas.height), interpolation=cv2.INTER_AREA)
    if resized.ndim != canvas.pixels.ndim:
        resized = cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY if canvas.is_gray else cv2.COLOR_GRAY2RGB)
    return np.asarray(resized, dtype=np.uint8)
