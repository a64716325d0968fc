"""What optics, sensor, telephone line and file format lose: sharpness, lines, levels; and what they add: noise, dust.

Belongs here: damage in the plane of the picture, after the warp. Each function takes a canvas and a strength whose unit
the configuration states.
"""

import numpy as np

from sap_llm.augmentation.canvas import Canvas

_FAX_DPI = (204.0, 98.0)  # ITU-T T.4, standard resolution
_FAX_THRESHOLDS = (135, 190)
_POINTS_PER_INCH = 72.0


def dust(canvas: Canvas, strength: float) -> None:
    """Specks on the glass and a few hairs."""
    import cv2

    count = round(strength)
    places = canvas.rng.uniform(0, 1, (count, 2)) * (canvas.width, canvas.height)
    radii = canvas.rng.exponential(0.35, count) * canvas.scale
    levels = canvas.rng.integers(30, 170, count)
    for (x, y), radius, level in zip(places, radii, levels.tolist(), strict=True):
        colour = (level,) * 3
        if canvas.rng.random() < 0.06:
            length = canvas.rng.uniform(8, 30) * canvas.scale
            bend = np.cumsum(canvas.rng.normal(0, 0.35, 8))
            steps = np.stack([np.cos(bend), np.sin(bend)], axis=1) * length / 8
            line = np.rint((np.array([x, y]) + np.cumsum(steps, axis=0)) * 16).astype(np.int32)
            cv2.polylines(canvas.pixels, [line], False, colour, 1, cv2.LINE_AA, 4)
        else:
            cv2.circle(canvas.pixels, (int(x), int(y)), max(0, round(radius)), colour, -1, cv2.LINE_AA)


def blur(canvas: Canvas, strength: float) -> None:
    """A lens out of focus."""
    import cv2

    sigma = max(0.1, strength * canvas.scale)
    side = max(3, 2 * round(2 * sigma) + 1)
    canvas.pixels = np.asarray(cv2.GaussianBlur(canvas.pixels, (side, side), sigma), dtype=np.uint8)


def motion(canvas: Canvas, strength: float) -> None:
    """A straight movement while the picture was taken."""
    import cv2

    length = strength * canvas.scale
    angle = canvas.rng.uniform(0, np.pi)
    half = max(1, int(np.ceil(length / 2)))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.uint8)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = (tuple(map(int, np.rint((half + sign * reach) * 16))) for sign in (-1, 1))
    cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32) / float(kernel.sum())
    canvas.pixels = np.asarray(cv2.filter2D(canvas.pixels, -1, weights), dtype=np.uint8)


def downscale(canvas: Canvas, strength: float) -> None:
    """Fewer pixels, enlarged again."""
    import cv2

    small = (max(1, round(canvas.width * strength)), max(1, round(canvas.height * strength)))
    reduced = cv2.resize(canvas.pixels, small, interpolation=cv2.INTER_LINEAR)
    enlarged = cv2.resize(reduced, (canvas.width, canvas.height), interpolation=cv2.INTER_LINEAR)
    canvas.pixels = np.asarray(enlarged, dtype=np.uint8)


def noise(canvas: Canvas, strength: float) -> None:
    """Gaussian noise of the sensor."""
    canvas.add_noise(strength)


def salt(canvas: Canvas, strength: float) -> None:
    """Single pixels that are black or white."""
    count = int(strength * canvas.width * canvas.height)
    y, x = canvas.rng.integers(canvas.height, size=count), canvas.rng.integers(canvas.width, size=count)
    level = canvas.rng.choice(np.array([0, 255], dtype=np.uint8), count)
    canvas.pixels[y, x] = level if canvas.is_gray else level[:, None]


def fax(canvas: Canvas, strength: float) -> None:
    """Standard resolution, one bit, and scan lines that are repeated because the next was lost."""
    import cv2

    gray = canvas.pixels if canvas.is_gray else cv2.cvtColor(canvas.pixels, cv2.COLOR_RGB2GRAY)
    across, down = (dpi / _POINTS_PER_INCH / canvas.scale for dpi in _FAX_DPI)
    size = (max(1, round(canvas.width * across)), max(1, round(canvas.height * down)))
    lines = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if max(across, down) <= 1 else cv2.INTER_LINEAR)
    lines = cv2.threshold(lines, int(canvas.rng.integers(*_FAX_THRESHOLDS)), 255, cv2.THRESH_BINARY)[1]
    lost = canvas.rng.random(size[1]) < strength
    lost[0] = False
    source = np.maximum.accumulate(np.where(lost, 0, np.arange(size[1])))
    enlarged = cv2.resize(lines[source], (canvas.width, canvas.height), interpolation=cv2.INTER_NEAREST)
    canvas.pixels = np.asarray(enlarged if canvas.is_gray else cv2.cvtColor(enlarged, cv2.COLOR_GRAY2RGB), np.uint8)


def jpeg(canvas: Canvas, strength: float) -> None:
    """Written as JPEG and read again; the file is kept."""
    import cv2

    pixels = canvas.pixels if canvas.is_gray else cv2.cvtColor(canvas.pixels, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, round(strength)])[1]
    read = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE if canvas.is_gray else cv2.IMREAD_COLOR_RGB)
    canvas.pixels, canvas.jpeg = np.asarray(read, dtype=np.uint8), content.tobytes()
