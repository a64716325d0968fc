"""Words to groups: each word that begins nothing goes to its nearest predecessor of the same kind.

Belongs here: the grouping that cells of tables and layout blocks share. Where groups begin is the model's word
(`heads.Scores.starts`); what a group means is the caller's (`table_decoding`, `layout_decoding`).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.candidates import Scroll

Array = npt.NDArray[Any]
_WORD_SPACE, _LINE_SPACE = 1.0, 1.5  # of the height, the widest gaps within a text
_TIER = 1e4  # more than any distance on a page


def grouped(scroll: Scroll, kinds: Array, begins: Array, parts: Array | None = None) -> list[list[int]]:
    """Groups of words in reading order, ordered by their first words; words of kind 0 are in none.

    A word goes to the nearest one of its kind and page, and of these first to one that stands right before it on its
    line, then to one on the line right above it, then to any on its line, then to any above it. Where there is none, it
    goes to the one before it in reading order.

    Args:
        scroll: The document.
        kinds: int [n], 0 for words that are of no kind.
        begins: bool [n], whether the word is the first of its group.
        parts: int [n], words of the same one are nearer to each other than to all others (rows of a table).
    """
    group_of: dict[int, list[int]] = {}
    groups: list[list[int]] = []
    for kind, page in sorted({pair for pair in zip(kinds.tolist(), scroll.pages.tolist(), strict=True) if pair[0]}):
        places = np.flatnonzero((kinds == kind) & (scroll.pages == page))
        for place, before in zip(places.tolist(), _predecessors(scroll, places, parts), strict=True):
            if begins[place] or before is None:
                groups.append([])
                group_of[place] = groups[-1]
            else:
                group_of[place] = group_of[before]
            group_of[place].append(place)
    return sorted(groups)


def _predecessors(scroll: Scroll, places: Array, parts: Array | None) -> list[int | None]:
    """For each of the words of one kind and page the one that it would continue."""
    left, top, right, bottom = scroll.boxes[places].astype(np.float64).T
    lines, height = scroll.lines[places], max(1.0, float(np.median(bottom - top)))
    is_earlier = np.arange(len(places))[None, :] < np.arange(len(places))[:, None]
    is_beside = is_earlier & (lines[:, None] == lines[None, :])
    is_above = is_earlier & (lines[None, :] < lines[:, None])
    is_above &= (left[None, :] < right[:, None]) & (right[None, :] > left[:, None])
    across = np.maximum(left[:, None] - right[None, :], 0.0) / height
    down = np.maximum(top[:, None] - bottom[None, :], 0.0) / height
    across = np.where(is_beside, across + np.where(across < _WORD_SPACE, 0, 2 * _TIER), np.inf)
    is_near = down < _LINE_SPACE
    if parts is not None:
        is_near &= parts[places][:, None] == parts[places][None, :]
    down = np.where(is_above, down + np.where(is_near, _TIER, 3 * _TIER), np.inf)
    distance = np.minimum(across, down)
    nearest = distance.argmin(axis=1)
    found: list[int | None] = [None]
    for index in range(1, len(places)):
        has_any = np.isfinite(distance[index, nearest[index]])
        found.append(int(places[nearest[index] if has_any else index - 1]))
    return found
