"""Reading order: which words stand on one visual line, and in what order they are read.

Belongs here: geometry of boxes only, so that readers of transcribed corpora need no PDF library. Characters of PDFs are
`words`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Lines

_SAME_LINE = 0.35  # of the character height: baselines of one visual line differ by less


def order_words(boxes: npt.NDArray[Any], *, baselines: npt.NDArray[Any] | None = None) -> tuple[Lines, Lines]:
    """Reading order and visual line of words.

    Args:
        boxes: [n, 4] in points.
        baselines: [n] y of each baseline; without them the middle of the box stands in.

    Returns:
        Indices of the words in reading order, and the line number of each word in that order.
    """
    order, lines, _ = order_with_margin(boxes, baselines=baselines)
    return order, lines


def order_with_margin(
    boxes: npt.NDArray[Any], *, baselines: npt.NDArray[Any] | None = None
) -> tuple[Lines, Lines, float]:
    """`order_words`, and by how many points the closest of its decisions was taken.

    Boxes that differ by less than half the margin are read in the same order.
    """
    count = len(boxes)
    if not count:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32), np.inf
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 0.1)
    anchors = baselines if baselines is not None else (boxes[:, 1] + boxes[:, 3]) / 2
    ranked = np.sort(heights)
    median = (ranked[(count - 1) // 2] + ranked[count // 2]) / 2
    tolerance = np.maximum(_SAME_LINE * np.minimum(heights, 2 * median), 1.0)
    by_height = np.argsort(anchors, kind="stable")
    numbers: list[int] = []
    line, reference, margin = 0, float(anchors[by_height[0]]), float("inf")
    for anchor, limit in zip(anchors[by_height].tolist(), tolerance[by_height].tolist(), strict=True):
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
