"""A page being damaged, and the tiles of noise that all pages share.

Belongs here: what every effect needs. The effects are in `paper`, `ink`, `light` and `capture`; each takes a canvas and
a strength, draws from the canvas's generator only, and never writes into the picture that a caller gave.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

from sap_llm.augmentation.geometry import Picture
from sap_llm.schema.page import Quads

_TILE = 2048  # pixels; larger pictures repeat it, which nobody sees in white noise
_STEP = 32.0  # gray levels of a tile per standard deviation; +-4 deviations fit into a byte
MIDDLE = 128.0
POINTS_PER_MILLIMETRE = 72 / 25.4


@dataclass(kw_only=True)
class Canvas:
    """A picture on its way.

    Attributes:
        pixels: Owned by the canvas.
        scale: Pixels per point.
        rng: Where all chance comes from.
        words: Quads of the words in pixels of the undamaged picture.
        back: What is printed on the other side of the sheet, in the size of the picture.
        jpeg: The file, where the last thing done was to write one.
    """

    pixels: Picture
    scale: float
    rng: np.random.Generator
    words: Quads
    back: Picture | None = None
    jpeg: bytes | None = None
    damages: list[str] = field(default_factory=list)

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def is_gray(self) -> bool:
        """Whether there is one channel."""
        return self.pixels.ndim == 2

    def colour(self, red: float, green: float, blue: float) -> tuple[float, ...]:
        """The colour in the picture's channels; a gray picture gets its luminance."""
        return (0.299 * red + 0.587 * green + 0.114 * blue,) if self.is_gray else (red, green, blue)

    def lay_ink(self, mask: npt.NDArray[np.float32], left: int, top: int, colour: tuple[float, ...]) -> None:
        """Multiply a region by ink, as a transparent colour does: darker on dark, itself on white.

        Args:
            mask: float32 [height, width], share of ink 0..1; parts beyond the page fall away.
            left: Column of the mask's first pixel; may be negative.
            top: Row of it.
            colour: 0..255 in the channels of the picture.
        """
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(self.width, left + mask.shape[1]), min(self.height, top + mask.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        share = mask[y0 - top : y1 - top, x0 - left : x1 - left]
        region = self.pixels[y0:y1, x0:x1]
        for channel, value in enumerate(colour):
            part = region if self.is_gray else region[..., channel]
            part[...] = (part * (1.0 - share * np.float32(1.0 - value / 255.0)) + 0.5).astype(np.uint8)

    def add_noise(self, deviation: float, *, grain: float = 0.0, shift: float = 0.0) -> None:
        """Add Gaussian noise from a tile at a random place: one pass over bytes instead of drawing every pixel.

        Args:
            deviation: Of 255.
            grain: 0 for white noise, else the sigma in pixels of the grain.
            shift: Added to all pixels.
        """
        import cv2

        weight = deviation / _STEP
        layers = [self._cut(_tile(grain)) for _ in range(1 if self.is_gray or grain else 3)]
        if not self.is_gray:
            layers = [np.asarray(cv2.merge([layers[0], layers[-2 % len(layers)], layers[-1]]), dtype=np.uint8)]
        added = cv2.addWeighted(self.pixels, 1.0, layers[0], weight, shift - MIDDLE * weight)
        self.pixels = np.asarray(added, dtype=np.uint8)

    def _cut(self, tile: Picture) -> Picture:
        x, y = (int(self.rng.integers(_TILE)) for _ in range(2))
        down, across = -(-(y % 256 + self.height) // _TILE), -(-(x % 512 + self.width) // _TILE)
        if down > 1 or across > 1:
            tile = np.tile(tile, (down, across))
        room_y, room_x = tile.shape[0] - self.height, tile.shape[1] - self.width
        top, left = y % (room_y + 1), x % (room_x + 1)
        return tile[top : top + self.height, left : left + self.width]


@cache
def _tile(grain: float) -> Picture:
    """Bytes with mean 128 and `_STEP` levels a standard deviation; white, or of the given grain."""
    import cv2

    noise = np.random.default_rng(20_080).standard_normal((_TILE, _TILE), dtype=np.float32)
    if grain:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), grain, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)
        noise /= noise.std()
    return np.asarray(np.clip(np.rint(noise * _STEP + MIDDLE), 0, 255), dtype=np.uint8)
