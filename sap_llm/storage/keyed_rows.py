"""Which rows of two tables belong together and differ: a hash join on logical keys that never holds a whole table.

Belongs here: reading keys and row hashes, the join in buckets on disk, rows by their positions. What differences mean
is `diff` and `label_changes`.

Cost: each table is read once for its hashes, 48 bytes a row go to a temporary file, and each bucket (about 1.4 million
rows of both sides together) is sorted in memory: O(n log n) time, O(bucket) memory whatever the table's size.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sap_llm.storage.logical_hash import row_hashes
from sap_llm.storage.store import Dataset

BUCKET_ROWS = 1_400_000
Positions = NDArray[np.int64]
Records = NDArray[np.void]
_RECORD = np.dtype([("key", "<u8", 2), ("row", "<u8", 2), ("rank", "<i8"), ("position", "<i8")])


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One side of a comparison."""

    dataset: Dataset
    table: str
    key: Sequence[str]
    columns: Sequence[str]
    """Columns whose difference makes a row changed."""
    rank: Callable[[pa.RecordBatch], Positions] | None = None
    """Where given, of the rows with one key that of the highest rank counts (the later of equals), none below 0."""
    only: NDArray[np.uint64] | None = None
    """Where given, sorted first lanes of the keys that take part."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """One bucket, joined; row numbers of the old and the new table."""

    added: Positions
    removed: Positions
    changed: tuple[Positions, Positions]
    unchanged: int
    keys: NDArray[np.uint64]
    """First lanes of the keys that both sides have, sorted."""


def join(old: Rows, new: Rows, *, bucket_rows: int = BUCKET_ROWS) -> Iterator[Matches]:
    """Join two tables bucket by bucket. A key that occurs several times is matched in the order of its rows' hashes."""
    total = sum(side.dataset.manifest.rows[side.table] for side in (old, new))
    buckets = max(1, -(-total // bucket_rows))
    with ExitStack() as stack:
        spilled = [
            [stack.enter_context(tempfile.TemporaryFile(prefix="sap_llm_diff_")) for _ in range(buckets)]
            for _ in (old, new)
        ]
        for side, files in zip((old, new), spilled, strict=True):
            _spill(side, files)
        for old_file, new_file in zip(*spilled, strict=True):
            yield _matched(_load(old_file, old), _load(new_file, new))


def rows_at(dataset: Dataset, table: str, positions: Positions, columns: Sequence[str]) -> pa.Table:
    """The rows at the given positions, in the given order; reads only the row groups that hold them."""
    (fragment,) = dataset.scan(table).get_fragments()
    ends = np.cumsum([group.num_rows for group in fragment.row_groups], dtype=np.int64)
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    groups = np.searchsorted(ends, ordered, side="right")
    parts = [fragment.physical_schema.empty_table().select(list(columns))]
    for group in np.unique(groups):
        start = ends[group - 1] if group else 0
        inside = fragment.subset(row_group_ids=[int(group)]).to_table(columns=list(columns))
        parts.append(inside.take(pa.array(ordered[groups == group] - start)))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.concat_tables(parts).take(pa.array(back))


def _spill(side: Rows, files: Sequence[IO[bytes]]) -> None:
    """Write a record for every row that takes part into its bucket's file."""
    needed = list(dict.fromkeys([*side.key, *side.columns, *(("source", "revision") if side.rank else ())]))
    position = 0
    for batch in side.dataset.batches(side.table, columns=needed):
        records = np.zeros(batch.num_rows, dtype=_RECORD)
        records["key"] = row_hashes(batch.select(list(side.key))).T
        records["row"] = row_hashes(batch.select(list(side.columns))).T
        records["position"] = np.arange(position, position + batch.num_rows)
        position += batch.num_rows
        records = _taking_part(records, batch, side)
        bucket = (records["key"][:, 1] % np.uint64(len(files))).astype(np.int64)
        for number, file in enumerate(files):
            file.write(records[bucket == number].tobytes())


def _taking_part(records: Records, batch: pa.RecordBatch, side: Rows) -> Records:
    keep = np.ones(len(records), dtype=bool)
    if side.rank is not None:
        records["rank"] = side.rank(batch)
        keep &= records["rank"] >= 0
    if side.only is not None:
        keep &= _is_among(records["key"][:, 0], side.only)
    return records if keep.all() else records[keep]


def _is_among(keys: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each key is among the ordered ones; `np.isin` would order them anew for every batch."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=bool)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    found: NDArray[np.bool_] = ordered[places] == keys
    return found


def _load(file: Any, side: Rows) -> Records:
    file.seek(0)
    records = np.frombuffer(file.read(), dtype=_RECORD)
    if side.rank is None:
        return records
    order = np.lexsort((records["position"], records["rank"], records["key"][:, 1], records["key"][:, 0]))
    ordered = records[order]
    is_last = np.ones(len(ordered), dtype=bool)
    is_last[:-1] = (ordered["key"][1:] != ordered["key"][:-1]).any(axis=1)
    return ordered[is_last]


def _occurrence(records: Records) -> Positions:
    """0 for the first row of a key, 1 for its second, in the order of row hashes."""
    order = np.lexsort((records["row"][:, 1], records["row"][:, 0], records["key"][:, 1], records["key"][:, 0]))
    keys = records["key"][order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.arange(len(order)) - starts
    return found


def _matched(old: Records, new: Records) -> Matches:
    both = np.concatenate([old, new])
    side = np.repeat(np.array([0, 1], dtype=np.int8), [len(old), len(new)])
    occurrence = np.concatenate([_occurrence(old), _occurrence(new)])
    order = np.lexsort((side, occurrence, both["key"][:, 1], both["key"][:, 0]))
    both, side, occurrence = both[order], side[order], occurrence[order]
    is_pair = np.zeros(len(both), dtype=bool)  # of this row and the next
    is_pair[:-1] = (
        (both["key"][1:] == both["key"][:-1]).all(axis=1)
        & (occurrence[1:] == occurrence[:-1])
        & (side[1:] != side[:-1])
    )
    first = np.flatnonzero(is_pair)
    is_alone = ~is_pair
    is_alone[first + 1] = False
    is_changed = (both["row"][first] != both["row"][first + 1]).any(axis=1)
    changed = first[is_changed]
    return Matches(
        added=np.sort(both["position"][is_alone & (side == 1)]),
        removed=np.sort(both["position"][is_alone & (side == 0)]),
        changed=_in_order(both["position"][changed], both["position"][changed + 1]),
        unchanged=int(len(first) - len(changed)),
        keys=np.unique(both["key"][first, 0]),
    )


def _in_order(old: Positions, new: Positions) -> tuple[Positions, Positions]:
    """Pairs in the order of the old table, so that chunks of them read few row groups."""
    order = np.argsort(old, kind="stable")
    return old[order], new[order]
