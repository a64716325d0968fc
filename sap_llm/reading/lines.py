"""Reading order: which words stand on one visual line, and in what order they are read.

Belongs here: geometry of boxes only, so that readers of transcribed corpora need no PDF library. Characters of PDFs are
`words`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Lines

SLANTED = 4
"""The turn of words that are not printed along an edge of the page, such as a watermark across it."""

_SAME_LINE = 0.35  # of the character height: baselines of one visual line differ by less


def order_words(
    boxes: npt.NDArray[Any], *, origins: npt.NDArray[Any] | None = None, turns: npt.NDArray[Any] | None = None
) -> tuple[Lines, Lines]:
    """Reading order and visual line of words.

    Words that are printed in another direction are read as a reader does who turns the sheet: by their own lines, after
    those of the commonest direction.

    Args:
        boxes: [n, 4] in points.
        origins: [n, 2], where the baseline of each word begins; without them the middle of the box stands in.
        turns: [n] quarter turns of each word's direction, counterclockwise from rightwards, or `SLANTED`; None for 0.

    Returns:
        Indices of the words in reading order, and the line number of each word in that order.
    """
    origins = (boxes[:, :2] + boxes[:, 2:]) / 2 if origins is None else origins
    if turns is None or not turns.any():
        return order_with_margin(boxes, origins[:, 1])[:2]
    found, counts = np.unique(turns, return_counts=True)
    orders, lines, first = [], [], 0
    for turn in found[np.argsort(-counts, kind="stable")].tolist():
        chosen = np.flatnonzero(turns == turn)
        order, line, _ = order_with_margin(*_turned(boxes[chosen], origins[chosen], turn))
        orders.append(chosen[order])
        lines.append(line + first)
        first = int(lines[-1][-1]) + 1
    return np.concatenate(orders).astype(np.int32), np.concatenate(lines).astype(np.int32)


def order_with_margin(boxes: npt.NDArray[Any], baselines: npt.NDArray[Any]) -> tuple[Lines, Lines, float]:
    """`order_words` of upright words, and by how many points the closest of its decisions was taken.

    Boxes that differ by less than half the margin are read in the same order.
    """
    count = len(boxes)
    if not count:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32), np.inf
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 0.1)
    ranked = np.sort(heights)
    median = (ranked[(count - 1) // 2] + ranked[count // 2]) / 2
    tolerance = np.maximum(_SAME_LINE * np.minimum(heights, 2 * median), 1.0)
    by_height = np.argsort(baselines, kind="stable")
    numbers: list[int] = []
    line, reference, margin = 0, float(baselines[by_height[0]]), float("inf")
    for anchor, limit in zip(baselines[by_height].tolist(), tolerance[by_height].tolist(), strict=True):
        excess = anchor - reference - limit
        if -margin < excess < margin:
            margin = abs(excess)
        if excess > 0:
            line, reference = line + 1, anchor
        numbers.append(line)
    lines = np.empty(count, dtype=np.int32)
    lines[by_height] = numbers
    order = np.lexsort((boxes[:, 0], lines)).astype(np.int32)
    lines = lines[order]
    steps = np.diff(boxes[order, 0])[lines[1:] == lines[:-1]]
    return order, lines, min(margin, float(steps.min(initial=np.inf)))


def _turned(boxes: npt.NDArray[Any], origins: npt.NDArray[Any], turn: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Boxes and baselines as they stand once the sheet is turned so that the words run rightwards."""
    x0, y0, x1, y1 = boxes.T
    if turn == 0:
        return boxes, origins[:, 1]
    if turn == 1:  # upwards
        return np.stack([-y1, x0, -y0, x1], axis=1), origins[:, 0]
    if turn == 2:
        return np.stack([-x1, -y1, -x0, -y0], axis=1), -origins[:, 1]
    if turn == 3:  # downwards
        return np.stack([y0, -x1, y1, -x0], axis=1), -origins[:, 0]
    return boxes, np.zeros(len(boxes))  # a watermark, from left to right
