"""One row for each page: how much is on it and whether every box lies inside.

Belongs here: the flattening of `tables.PAGES`. Boxes of fields are `fields`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PAGE_COLUMNS = ("document_id", "page_number", "width", "height", "words", "boxes", "lines", "quality")


def flat_pages(pages: pa.Table) -> pa.Table:
    """The page with counts instead of lists.

    Columns: document_id, page_number, width, height, quality; words, boxes and lines (how many); characters; bad_boxes
    (not four edges, not a number, or right before left); outside_points (by how much the worst box stands out of the
    page, negative inside; null without boxes) and worst_word (its index).
    """
    pages = pages.combine_chunks()
    columns = {name: pages.column(name) for name in ("document_id", "page_number", "width", "height", "quality")}
    for name in ("words", "boxes", "lines"):
        columns[name] = pc.list_value_length(pages.column(name))
    parents = pc.list_parent_indices(pages.column("words")).to_numpy()
    lengths = pc.fill_null(pc.utf8_length(pc.list_flatten(pages.column("words"))), 0).to_numpy()
    columns["characters"] = pa.array(
        np.bincount(parents, weights=lengths, minlength=pages.num_rows).astype(np.int64), type=pa.int64()
    )
    edges = four_edges(pc.list_flatten(pages.column("boxes")))
    owners = pc.list_parent_indices(pages.column("boxes")).to_numpy()
    bad, outside, worst = _boxes(edges, owners, pages)
    columns["bad_boxes"] = pa.array(bad)
    columns["outside_points"] = pa.array(outside, mask=np.isnan(outside))
    columns["worst_word"] = pa.array(worst)
    return pa.table(columns)


def four_edges(boxes: pa.ChunkedArray) -> np.ndarray:
    """Boxes as rows of four float64; NaN where a box is null or has not exactly four edges."""
    flat = boxes.combine_chunks() if isinstance(boxes, pa.ChunkedArray) else boxes
    lengths = pc.fill_null(pc.list_value_length(flat), 0).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(flat).to_numpy(zero_copy_only=False).astype(np.float64)
    starts = np.cumsum(lengths) - lengths
    edges = np.full((len(lengths), 4), np.nan)
    whole = lengths == 4
    edges[whole] = values[starts[whole][:, None] + np.arange(4)]
    return edges


def outside(edges: np.ndarray, width: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Points by which each box stands out of its page; negative where it lies inside."""
    farthest: np.ndarray = np.maximum.reduce([-edges[:, 0], -edges[:, 1], edges[:, 2] - width, edges[:, 3] - height])
    return farthest


def is_upright(edges: np.ndarray) -> np.ndarray:
    """Whether each box has four edges that are numbers, left not after right, top not below bottom."""
    upright: np.ndarray = np.isfinite(edges).all(axis=1) & (edges[:, :2] <= edges[:, 2:]).all(axis=1)
    return upright


def _boxes(edges: np.ndarray, owners: np.ndarray, pages: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By page: how many boxes are none, the farthest that one stands out, and which one that is."""
    size = pages.num_rows
    bad = np.bincount(owners[~is_upright(edges)], minlength=size).astype(np.int64)
    width, height = (pages.column(name).to_numpy().astype(np.float64) for name in ("width", "height"))
    out = outside(edges, width[owners], height[owners])
    farthest, worst = np.full(size, np.nan), np.zeros(size, dtype=np.int64)
    if not len(owners):
        return bad, farthest, worst
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])  # owners are sorted
    comparable = np.where(np.isnan(out), -np.inf, out)
    highest = np.maximum.reduceat(comparable, starts)
    farthest[owners[starts]] = np.where(np.isfinite(highest), highest, np.nan)
    is_highest = comparable == np.repeat(highest, np.diff(np.r_[starts, len(owners)]))
    first = np.flatnonzero(is_highest)
    pages_of_first, where = np.unique(owners[first], return_index=True)
    worst[pages_of_first] = first[where] - starts[np.searchsorted(owners[starts], pages_of_first)]
    return bad, farthest, worst
