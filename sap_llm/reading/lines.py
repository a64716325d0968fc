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
    count = len(boxes)
    if not count:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 0.1)
    anchors = baselines if baselines is not None else (boxes[:, 1] + boxes[:, 3]) / 2
    tolerance = np.maximum(_SAME_LINE * np.minimum(heights, 2 * np.median(heights)), 1.0)
    by_height = np.argsort(anchors, kind="stable")
    lines = np.zeros(count, dtype=np.int32)
    line, reference = 0, float(anchors[by_height[0]])
    for index in by_height.tolist():
        anchor = float(anchors[index])
        if anchor - reference > tolerance[index]:
            line, reference = line + 1, anchor
        lines[index] = line
    order = np.lexsort((boxes[:, 0], lines)).astype(np.int32)
    return order, lines[order]
