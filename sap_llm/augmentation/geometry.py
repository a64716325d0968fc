"""Where every point of a page goes: rotation, scale, shift, perspective and curl as one warp of picture and boxes.

Belongs here: drawing a warp, mapping points exactly, resampling a picture once. What changes brightness and not places
is in `paper`, `ink`, `light` and `capture`.

Pixels are squares: pixel i covers i to i + 1, and boxes are measured on the same axis. OpenCV counts from the middle of
the first pixel, so half a pixel is taken off before it is called.
"""

from dataclasses import dataclass
from math import cos, pi, radians, sin

import numpy as np
import numpy.typing as npt

from sap_llm.augmentation.config import Effect, Geometry
from sap_llm.schema.page import Quads

Matrix = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
"""[height, width], or [height, width, 3] in RGB."""

_EDGE_SAMPLES = np.linspace(0.0, 1.0, 9)  # places on a long edge at which a curled page is asked how far it bends


@dataclass(frozen=True, kw_only=True, eq=False)
class Warp:
    """A perspective matrix, then a curl: y grows by `curl * sin(pi * x / width)`.

    The curl depends on x alone, so that its inverse is exact.

    Attributes:
        matrix: float64 [3, 3], pixels to pixels.
        curl: Pixels; 0 for a flat page.
        size: Width and height of the picture.
    """

    matrix: Matrix
    curl: float
    size: tuple[int, int]

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        return self.curl == 0.0 and np.array_equal(self.matrix, np.eye(3))

    def points(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Map points [..., 2]."""
        x, y = points[..., 0].astype(np.float64), points[..., 1].astype(np.float64)
        a = self.matrix
        depth = a[2, 0] * x + a[2, 1] * y + a[2, 2]
        to_x = (a[0, 0] * x + a[0, 1] * y + a[0, 2]) / depth
        to_y = (a[1, 0] * x + a[1, 1] * y + a[1, 2]) / depth
        return np.stack([to_x, to_y + self._rise(to_x)], axis=-1)

    def quads(self, quads: Quads) -> Quads:
        """Map quads [n, 4, 2]; on a curled page a quad is widened until it holds the bent edges of its box."""
        mapped = self.points(quads)
        if self.curl and len(quads):
            mapped = _enclose_bent_edges(mapped, self._edges(quads))
        return mapped.astype(np.float32)

    def picture(self, picture: Picture, *, background: int = 255) -> Picture:
        """Resample once, bilinear; what comes from beyond the sheet has the gray `background`."""
        import cv2

        if self.is_identity:
            return picture
        inverse = _from_pixel_middles(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64))
        flags, border, colour = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_CONSTANT, (background,) * 3
        if self.curl:
            across, down = self._inverse_maps(inverse)
            result = cv2.remap(picture, across, down, cv2.INTER_LINEAR, None, border, colour)
        elif np.array_equal(inverse[2], (0.0, 0.0, 1.0)):
            result = cv2.warpAffine(picture, inverse[:2], self.size, None, flags, border, colour)
        else:
            result = cv2.warpPerspective(picture, inverse, self.size, None, flags, border, colour)
        return np.asarray(result, dtype=np.uint8)

    def _rise(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return np.asarray(self.curl * np.sin(pi * x / self.size[0]), dtype=np.float64)

    def _edges(self, quads: Quads) -> npt.NDArray[np.float64]:
        """Points along the upper and the lower edge of each quad, mapped: [n, 2, samples, 2]."""
        share = _EDGE_SAMPLES[None, :, None]
        upper = quads[:, None, 0] * (1 - share) + quads[:, None, 1] * share
        lower = quads[:, None, 3] * (1 - share) + quads[:, None, 2] * share
        return self.points(np.stack([upper, lower], axis=1))

    def _inverse_maps(self, inverse: Matrix) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Source columns and rows of all target pixels, for the middles of pixels.

        Each is a sum of one term a column and one a row, since the curl depends on the column alone.
        """
        x = np.arange(self.size[0], dtype=np.float64)
        rise, y = self._rise(x + 0.5), np.arange(self.size[1], dtype=np.float64)
        by_column = (inverse[:, 0:1] * x - inverse[:, 1:2] * rise + inverse[:, 2:3]).astype(np.float32)
        by_row = (inverse[:, 1:2] * y).astype(np.float32)
        across, down = (by_row[axis, :, None] + by_column[axis, None, :] for axis in (0, 1))
        if inverse[2, 0] or inverse[2, 1]:
            nearness = np.float32(1.0) / (by_row[2, :, None] + by_column[2, None, :])
            across *= nearness
            down *= nearness
        return across, down


def draw_warp(config: Geometry, size: tuple[int, int], scale: float, rng: np.random.Generator) -> Warp:
    """Draw all movements and multiply them into one.

    Args:
        config: Ranges and chances.
        size: Width and height of the picture in pixels.
        scale: Pixels per point.
        rng: Where chance comes from.
    """
    width, height = size
    angle = radians(_signed(config.rotation, rng))
    factor = 1.0 + _signed(config.scale, rng)
    shift = (_signed(config.shift, rng) * width, _signed(config.shift, rng) * height)
    turn = np.array([[cos(angle), -sin(angle), 0.0], [sin(angle), cos(angle), 0.0], [0.0, 0.0, 1.0]])
    middle = _moved(width / 2, height / 2)
    matrix = _moved(*shift) @ middle @ np.diag([factor, factor, 1.0]) @ turn @ np.linalg.inv(middle)
    inward = draw(config.perspective, rng)
    if inward is not None:
        matrix = _tilted(width, height, inward * rng.uniform(0.2, 1.0, (4, 2))) @ matrix
    if np.allclose(matrix, np.eye(3), atol=1e-12):
        matrix = np.eye(3)
    return Warp(matrix=matrix, curl=_signed(config.curl, rng) * scale, size=size)


def boxes_to_quads(boxes: npt.NDArray[np.floating]) -> Quads:
    """Upright boxes [n, 4] as quads [n, 4, 2]."""
    x0, y0, x1, y1 = np.asarray(boxes, dtype=np.float32).reshape(-1, 4).T
    corners = [np.stack(corner, axis=-1) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return np.asarray(np.stack(corners, axis=1), dtype=np.float32)


def quads_to_boxes(quads: Quads) -> npt.NDArray[np.float32]:
    """The smallest upright boxes [n, 4] around quads: for models that know no others."""
    return np.asarray(np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=-1), dtype=np.float32)


def enclosing_quad(quads: Quads) -> Quads:
    """The smallest quad [4, 2] around quads [n, 4, 2] whose upper edge runs as those of the quads do."""
    along = (quads[:, 1] - quads[:, 0]).astype(np.float64).sum(axis=0)
    length = float(np.hypot(*along))
    across = along / length if length else np.array([1.0, 0.0])
    axes = np.stack([across, [-across[1], across[0]]])
    seen = quads.reshape(-1, 2).astype(np.float64) @ axes.T
    (x0, y0), (x1, y1) = seen.min(axis=0), seen.max(axis=0)
    return np.asarray(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ axes, dtype=np.float32)


def clip_quads(quads: Quads, size: tuple[float, float]) -> tuple[Quads, npt.NDArray[np.float32]]:
    """Quads with all corners on the page, and the share of each one's upright box that lies on it."""
    limit = np.asarray(size, dtype=np.float32)
    clipped = np.clip(quads, np.float32(0.0), limit)
    before, after = quads_to_boxes(quads), quads_to_boxes(clipped)
    whole = np.maximum(np.prod(before[:, 2:] - before[:, :2], axis=1), np.float32(1e-9))
    return clipped, (np.prod(after[:, 2:] - after[:, :2], axis=1) / whole).astype(np.float32)


def draw(effect: Effect, rng: np.random.Generator) -> float | None:
    """A strength, or None where the damage does not happen; always two draws, so that effects do not shift others."""
    happens, strength = rng.random() < effect.chance, rng.uniform(0.0, 1.0)
    return effect.mild + (effect.strong - effect.mild) * strength if happens else None


def _signed(effect: Effect, rng: np.random.Generator) -> float:
    strength, sign = draw(effect, rng), rng.choice((-1.0, 1.0))
    return 0.0 if strength is None else float(strength * sign)


def _moved(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], dtype=np.float64)


def _from_pixel_middles(matrix: Matrix) -> Matrix:
    """The same map for coordinates that count from the middle of the first pixel, last element 1."""
    moved: Matrix = _moved(-0.5, -0.5) @ matrix @ _moved(0.5, 0.5)
    return np.asarray(moved / moved[2, 2], dtype=np.float64)


def _tilted(width: float, height: float, inward: Matrix) -> Matrix:
    """The homography that moves the page's corners inwards by shares of its size, [4, 2]."""
    import cv2

    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    towards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = corners + inward * towards * (width, height)
    return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), dtype=np.float64)


def _enclose_bent_edges(mapped: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Lengthen the sides of quads as far as the bent upper and lower edges leave the straight ones.

    Args:
        mapped: Corners, [n, 4, 2].
        edges: Points of upper and lower edges, [n, 2, samples, 2].
    """
    along = _unit(mapped[:, [1, 2]] - mapped[:, [0, 3]])
    down = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    off = np.einsum("nesd,ned->nes", edges - mapped[:, [0, 3], None], down)
    beyond = np.stack([np.minimum(off[:, 0].min(axis=-1), 0.0), np.maximum(off[:, 1].max(axis=-1), 0.0)], axis=-1)
    sides = _unit(mapped[:, [3, 2]] - mapped[:, [0, 1]])  # left and right, downwards
    # A step along a side moves the edge by its part along the edge's normal.
    steps = beyond[:, :, None] / np.maximum(np.einsum("nsd,ned->nes", sides, down), 0.1)
    moves = steps[..., None] * sides[:, None]
    moved: npt.NDArray[np.float64] = mapped + np.concatenate([moves[:, 0], moves[:, 1, ::-1]], axis=1)
    return moved


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return unit
