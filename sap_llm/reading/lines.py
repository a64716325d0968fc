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
    order, lines, margins = order_pages(boxes, baselines, np.zeros(len(boxes), dtype=np.intp))
    return order, lines, float(margins[0]) if len(margins) else np.inf


def order_pages(
    boxes: npt.NDArray[Any], baselines: npt.NDArray[Any], pages: npt.NDArray[np.intp]
) -> tuple[Lines, Lines, npt.NDArray[np.float64]]:
    """`order_with_margin` of many pages at once.

    Args:
        boxes: [n, 4] in points.
        baselines: [n], y of each word.
        pages: [n], number of each word's page, ascending from 0, none of them left out.

    Returns:
        Indices of the words page by page in reading order, the line number of each word in that order (from 0 on each
        page), and the margin of each page.
    """
    if not len(boxes):
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32), np.zeros(0)
    tolerance = _tolerance(boxes, pages)
    by_height = _sorted_within(pages, baselines)
    anchors, limits, page_of = baselines[by_height], tolerance[by_height], pages[by_height]
    # Words of one baseline are of one line, but for the rare case that their limits differ by height.
    is_first = np.ones(len(anchors), dtype=bool)
    is_first[1:] = (anchors[1:] != anchors[:-1]) | (page_of[1:] != page_of[:-1])
    firsts = np.flatnonzero(is_first)
    is_new, margin = _line_starts(anchors, limits, page_of, firsts)
    numbers = np.cumsum(is_new) - 1
    lines = np.empty(len(numbers), dtype=np.int32)
    lines[by_height] = numbers
    order = _sorted_within(lines, boxes[:, 0]).astype(np.int32)
    lines = lines[order]
    steps = np.diff(boxes[order, 0])
    steps[lines[1:] != lines[:-1]] = np.inf
    page_of = pages[order]
    starts = np.flatnonzero(np.diff(page_of, prepend=-1))
    margin = np.minimum(margin, np.minimum.reduceat(np.append(steps, np.inf), starts))
    return order, (lines - lines[starts][page_of]).astype(np.int32), margin


def stable_order(keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Indices by key, equal ones as they were: as `np.argsort(kind="stable")`, in a tenth of its time on floats."""
    found = np.argsort(keys)
    ranked = keys[found]
    ranks = np.zeros(len(keys), dtype=np.int64)
    np.cumsum(ranked[1:] != ranked[:-1], out=ranks[1:])
    stable: npt.NDArray[np.intp] = np.sort(ranks << 32 | found) & 0xFFFFFFFF
    return stable


def _sorted_within(groups: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Indices by group and value, equal ones as they were."""
    least = values.min()
    return stable_order(groups * (values.max() - least + 1.0) + (values - least))


def _tolerance(boxes: npt.NDArray[Any], pages: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """How far each word may stand below its line: a share of its height, or of twice the page's usual one if less."""
    heights = np.maximum(boxes[:, 3] - boxes[:, 1], 0.1)
    ranked = heights[_sorted_within(pages, heights)]
    counts = np.bincount(pages)
    starts = np.cumsum(counts) - counts
    medians = (ranked[starts + (counts - 1) // 2] + ranked[starts + counts // 2]) / 2
    found: npt.NDArray[np.float64] = np.maximum(_SAME_LINE * np.minimum(heights, 2 * medians[pages]), 1.0)
    return found


def _line_starts(
    anchors: npt.NDArray[Any], limits: npt.NDArray[Any], pages: npt.NDArray[np.intp], firsts: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Which words, from the top of each page down, begin a line, and the margin of each page.

    Args:
        anchors: [n], baselines.
        limits: [n], how far below the first baseline of its line a word may stand.
        pages: [n].
        firsts: Where words of another baseline or page begin.
    """
    least, most = np.minimum.reduceat(limits, firsts), np.maximum.reduceat(limits, firsts)
    stops = np.append(firsts[1:], len(anchors))
    is_new = np.zeros(len(anchors), dtype=bool)
    margins: list[float] = []
    reference, last_page = 0.0, -1
    for page, anchor, low, high, first, stop in zip(
        *(column.tolist() for column in (pages[firsts], anchors[firsts], least, most, firsts, stops)), strict=True
    ):
        if page != last_page:
            last_page, reference = page, anchor
            is_new[first] = True
            margins.append(low)
            continue
        gap = anchor - reference
        if gap <= low:
            margin = low - gap
        elif gap > high:
            is_new[first] = True
            reference, margin = anchor, min(gap - limits[first], low)
        else:  # short words of the group begin a line, tall ones before them do not
            begin = first + int(np.argmax(limits[first:stop] < gap))
            is_new[begin] = True
            reference, margin = anchor, min(float(np.abs(gap - limits[first : begin + 1]).min()), low)
        margins[-1] = min(margins[-1], margin)
    return is_new, np.array(margins)


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
