"""Small pictures and reports for the asset pages: SVG data URIs that fit into inline Markdown.

Belongs here: drawing and fitting. The UI shows Markdown in place only below 1,000 characters; which numbers a stage
shows is `resources.results`.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import quote

INLINE_CHARACTERS = 999
_WIDTH, _HEIGHT = 240, 60
_CURVE_POINTS = 40


def loss_curve(values: Sequence[float]) -> str:
    """A polyline of at most 40 points as Markdown picture; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    step = max(1.0, len(values) / _CURVE_POINTS)
    picked = [float(values[min(len(values) - 1, int(index * step))]) for index in range(int(len(values) / step))]
    low, high = min(picked), max(picked)
    scale = (_HEIGHT - 4) / ((high - low) or 1.0)
    points = " ".join(
        f"{round(index * _WIDTH / (len(picked) - 1))},{round(2 + (high - value) * scale)}"
        for index, value in enumerate(picked)
    )
    return _picture(
        f'<polyline points="{points}" fill="none" stroke="#06c"/>',
        label=f"loss from {picked[0]:.3g} to {picked[-1]:.3g}",
    )


def bars(shares: Mapping[str, float]) -> str:
    """Horizontal bars of values between 0 and 1 as Markdown picture, without names (they stand in the label)."""
    if not shares:
        return ""
    rows = list(shares.items())[:12]
    path = "".join(f"M0 {3 + index * 6}h{max(0, min(1, value)) * _WIDTH:.0f}" for index, (_, value) in enumerate(rows))
    drawing = f'<path d="{path}" stroke="#06c" stroke-width="4"/>'
    return _picture(drawing, label=", ".join(name for name, _ in rows), height=6 * len(rows))


def table(rows: Mapping[str, object], *, head: tuple[str, str]) -> str:
    """A two-column Markdown table."""
    lines = [f"|{head[0]}|{head[1]}|", "|---|--:|", *(f"|{name}|{_short(value)}|" for name, value in rows.items())]
    return "\n".join(lines)


def fit(*parts: str) -> str:
    """Join as many of the parts, in order, as the UI shows in place; a part that does not fit is left out."""
    text = ""
    for part in filter(None, parts):
        joined = f"{text}\n\n{part}" if text else part
        if len(joined) <= INLINE_CHARACTERS:
            text = joined
    return text


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as a data URI."""
    return f"data:{media_type};base64,{b64encode(content).decode()}"


def _picture(drawing: str, *, label: str, height: int = _HEIGHT) -> str:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">{drawing}</svg>'
    encoded = min(data_uri(svg.encode(), "image/svg+xml"), f"data:image/svg+xml,{quote(svg, safe=_SAFE)}", key=len)
    return f"![{label[:60]}]({encoded})"


_SAFE = "/:=,"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
