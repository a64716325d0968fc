"""Order-independent hash of Arrow rows: the `data_version` of a dataset.

Two tables with the same rows in any order, chunking or file layout hash alike; anything else, including a moved list
element, hashes differently. File bytes play no part. Not cryptographic: it guards against accidents, not attackers.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_KEYS = (
    "sap_llm.lane.one",
    "sap_llm.lane.two",
)  # 16 characters each, as siphash wants; two lanes make 128 bits
_NULL = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)

Hashes = NDArray[np.uint64]


class RowHasher:
    """Accumulates rows batch by batch in constant memory; `hexdigest` may be asked at any time."""

    def __init__(self) -> None:
        self._sums = [np.uint64(0), np.uint64(0)]
        self.rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add all rows of `batch`; column order and widths of types (int32, int64) do not matter, column names do."""
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for part in batches:
            self.rows += part.num_rows
            for lane, key in enumerate(_KEYS):
                rows = _mix(_hash_columns(part.schema.names, part.columns, part.num_rows, key))
                with np.errstate(over="ignore"):
                    self._sums[lane] = self._sums[lane] + rows.sum(dtype=np.uint64)

    def hexdigest(self) -> str:
        """32 hexadecimal digits for the rows so far."""
        return "".join(f"{int(total):016x}" for total in self._sums)


def hash_rows(tables: Iterable[pa.Table | pa.RecordBatch]) -> str:
    """Hash the rows of all `tables` together."""
    hasher = RowHasher()
    for table in tables:
        hasher.update(table)
    return hasher.hexdigest()


def _hash_values(values: Any, **options: Any) -> Hashes:
    """Hash each value with pandas, imported late, because finding a version does not need pandas."""
    from pandas.util import hash_array

    return np.asarray(hash_array(values, **options), dtype=np.uint64)


def _mix(values: Hashes) -> Hashes:
    """Spread the bits (splitmix64 finaliser), so that sums of row hashes do not cancel."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * _MULTIPLIER
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash_columns(names: list[str], columns: list[pa.Array], length: int, key: str) -> Hashes:
    total = np.zeros(length, dtype=np.uint64)
    salts = _hash_values(np.array(names, dtype=object), hash_key=key, categorize=False) if names else total[:0]
    for salt, column in zip(salts, columns, strict=True):
        with np.errstate(over="ignore"):
            total += _mix(_hash_array(column, key) + np.uint64(salt))
    return total


def _hash_array(array: pa.Array, key: str) -> Hashes:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if any(check(array.type) for check in _LISTS):
        hashes = _hash_lists(array, key)
    elif pa.types.is_struct(array.type):
        names = [field.name for field in array.type]
        hashes = _hash_columns(names, array.flatten(), len(array), key)
    else:
        hashes = _hash_scalars(array, key)
    if array.null_count:
        hashes = np.where(np.asarray(array.is_null()), _NULL, hashes)
    return hashes


def _hash_lists(array: pa.Array, key: str) -> Hashes:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64)
    elements = _hash_array(array.flatten(), key)  # flatten skips the elements of null lists
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(lengths) else lengths
    positions = np.arange(len(elements), dtype=np.int64) - np.repeat(starts, lengths)
    with np.errstate(over="ignore"):
        weighted = _mix(elements * (positions.astype(np.uint64) * np.uint64(2) + np.uint64(1)) + _MULTIPLIER)
        running = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(weighted, dtype=np.uint64)])
        sums: Hashes = running[starts + lengths] - running[starts] + lengths.astype(np.uint64) * _NULL
    return sums


def _hash_scalars(array: pa.Array, key: str) -> Hashes:
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None))).cast(pa.int64())
    if pa.types.is_floating(array.type):
        values = np.asarray(pc.fill_null(array.cast(pa.float64()), 0.0)) + 0.0  # -0.0 becomes 0.0
        return _hash_values(values, hash_key=key)
    if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
        values = np.asarray(pc.fill_null(array.cast(pa.int64()), 0))
        return _hash_values(values, hash_key=key)
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        texts = np.array([(value or b"").hex() for value in array.to_pylist()], dtype=object)
    elif pa.types.is_null(array.type):
        return np.full(len(array), _NULL, dtype=np.uint64)
    else:
        texts = np.asarray(pc.fill_null(array.cast(pa.large_string()), ""), dtype=object)
    return _hash_values(texts, hash_key=key)
