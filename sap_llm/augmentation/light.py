"""How the sheet was lit and how the sensor answered: falling light, shadows, brightness, contrast, few levels.

Belongs here: everything that is a smooth factor over the page, or a table from gray to gray: one pass each however many
of them happen. Losses of sharpness are in `capture`.
"""

import numpy as np
import numpy.typing as npt

from sap_llm.augmentation.canvas import Canvas
from sap_llm.augmentation.config import Light
from sap_llm.augmentation.geometry import draw

_COARSE = (64, 48)  # rows and columns of the map of light, which is smooth


def relight(canvas: Canvas, config: Light) -> list[str]:
    """Apply gradient and shadow as one factor, then brightness, contrast and levels as one table.

    Returns:
        Names of what happened.
    """
    import cv2

    done: list[str] = []
    falling, shade = draw(config.gradient, canvas.rng), draw(config.shadow, canvas.rng)
    if falling is not None or shade is not None:
        coarse = np.ones(_COARSE, dtype=np.float32)
        if falling is not None:
            coarse *= _gradient(falling, canvas.rng)
            done.append("gradient")
        if shade is not None:
            coarse *= _shadow(shade, canvas.rng)
            done.append("shadow")
        factor = cv2.resize((coarse * 255.0).astype(np.uint8), (canvas.width, canvas.height))
        if not canvas.is_gray:
            factor = cv2.merge([factor] * 3)
        canvas.pixels = np.asarray(cv2.multiply(canvas.pixels, factor, scale=1 / 255.0), dtype=np.uint8)
    table = _table(canvas, config, done)
    if table is not None:
        canvas.pixels = np.asarray(cv2.LUT(canvas.pixels, table), dtype=np.uint8)
    return done


def _gradient(loss: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : _COARSE[0] * 1j, -1 : 1 : _COARSE[1] * 1j]
    along = (x * np.cos(angle) + y * np.sin(angle) + 1.5) / 3.0
    return np.asarray(1.0 - loss * np.clip(along, 0.0, 1.0) ** 1.5, dtype=np.float32)


def _shadow(loss: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A hand's or telephone's shadow: a quarter-plane with a soft, slightly bent border."""
    import cv2

    angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.7)
    y, x = np.mgrid[-1 : 1 : _COARSE[0] * 1j, -1 : 1 : _COARSE[1] * 1j]
    bend = 0.25 * np.sin(3 * (x * np.sin(angle) - y * np.cos(angle)) + rng.uniform(0, 6))
    dark = (x * np.cos(angle) + y * np.sin(angle) + bend > place).astype(np.float32)
    soft = cv2.GaussianBlur(dark, (0, 0), rng.uniform(1.0, 3.0), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(1.0 - loss * soft, dtype=np.float32)


def _table(canvas: Canvas, config: Light, done: list[str]) -> npt.NDArray[np.uint8] | None:
    brightness, contrast = draw(config.brightness, canvas.rng), draw(config.contrast, canvas.rng)
    signs = canvas.rng.choice((-1.0, 1.0), 2)
    bits = draw(config.posterize, canvas.rng)
    levels = np.arange(256, dtype=np.float64)
    if contrast is not None:
        levels = levels * (1.0 + signs[0] * contrast)
        done.append("contrast")
    if brightness is not None:
        levels = levels + signs[1] * brightness * 255.0
        done.append("brightness")
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    if bits is not None:
        table &= np.uint8(0xFF << (8 - round(bits)) & 0xFF)
        done.append("posterize")
    return table if {"contrast", "brightness", "posterize"} & set(done) else None
