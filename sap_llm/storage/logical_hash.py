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
"""One row a lane, one column an element; a single row where the lanes do not differ (numbers know no key)."""


class RowHasher:
    """Accumulates rows batch by batch in constant memory; `hexdigest` may be asked at any time."""

    def __init__(self) -> None:
        self._sums = np.zeros(len(_KEYS), dtype=np.uint64)
        self.rows = 0

    def update(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add all rows of `batch`; column order and widths of types (int32, int64) do not matter, column names do."""
        batches = batch.to_batches() if isinstance(batch, pa.Table) else [batch]
        for part in batches:
            self.rows += part.num_rows
            rows = row_hashes(part)
            with np.errstate(over="ignore"):
                self._sums += rows.sum(axis=1, dtype=np.uint64)

    def hexdigest(self) -> str:
        """32 hexadecimal digits for the rows so far."""
        return "".join(f"{int(total):016x}" for total in self._sums)


def row_hashes(batch: pa.RecordBatch | pa.Table) -> Hashes:
    """128 bits for each row, as two lanes of shape [2, rows]; equal rows hash alike in any table."""
    return _mix(_hash_columns(batch.schema.names, batch.columns, batch.num_rows))


def hash_rows(tables: Iterable[pa.Table | pa.RecordBatch]) -> str:
    """Hash the rows of all `tables` together."""
    hasher = RowHasher()
    for table in tables:
        hasher.update(table)
    return hasher.hexdigest()


def _hash_texts(texts: NDArray[np.object_]) -> Hashes:
    """Hash each text in both lanes with pandas, imported late, because finding a version does not need pandas."""
    from pandas.util import hash_array

    lanes = [hash_array(texts, hash_key=key, categorize=False) for key in _KEYS]
    return np.asarray(lanes, dtype=np.uint64).reshape(len(_KEYS), len(texts))


def _hash_numbers(values: NDArray[Any]) -> Hashes:
    from pandas.util import hash_array

    return np.asarray(hash_array(values), dtype=np.uint64)[None]


def _mix(values: Hashes) -> Hashes:
    """Spread the bits (splitmix64 finaliser), so that sums of row hashes do not cancel."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * _MULTIPLIER
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash_columns(names: list[str], columns: list[pa.Array], length: int) -> Hashes:
    total = np.zeros((len(_KEYS), length), dtype=np.uint64)
    salts = _hash_texts(np.array(names, dtype=object)).T if names else ()
    for salt, column in zip(salts, columns, strict=True):
        with np.errstate(over="ignore"):
            total += _mix(_hash_array(column) + salt[:, None])
    return total


def _hash_array(array: pa.Array) -> Hashes:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if any(check(array.type) for check in _LISTS):
        hashes = _hash_lists(array)
    elif pa.types.is_struct(array.type):
        names = [field.name for field in array.type]
        hashes = _hash_columns(names, array.flatten(), len(array))
    else:
        hashes = _hash_scalars(array)
    if array.null_count:
        hashes = np.where(np.asarray(array.is_null()), _NULL, hashes)
    return hashes


def _hash_lists(array: pa.Array) -> Hashes:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0), dtype=np.int64)
    elements = _hash_array(array.flatten())  # flatten skips the elements of null lists
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(lengths) else lengths
    positions = np.arange(elements.shape[1], dtype=np.int64) - np.repeat(starts, lengths)
    with np.errstate(over="ignore"):
        weighted = _mix(elements * (positions.astype(np.uint64) * np.uint64(2) + np.uint64(1)) + _MULTIPLIER)
        running = np.zeros((len(weighted), weighted.shape[1] + 1), dtype=np.uint64)
        np.cumsum(weighted, axis=1, out=running[:, 1:])
        sums: Hashes = running[:, starts + lengths] - running[:, starts] + lengths.astype(np.uint64) * _NULL
    return sums


def _hash_scalars(array: pa.Array) -> Hashes:
    if pa.types.is_temporal(array.type):
        array = array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None))).cast(pa.int64())
    if pa.types.is_floating(array.type):
        return _hash_numbers(np.asarray(pc.fill_null(array.cast(pa.float64()), 0.0)) + 0.0)  # -0.0 becomes 0.0
    if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
        return _hash_numbers(np.asarray(pc.fill_null(array.cast(pa.int64()), 0)))
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return _hash_texts(np.array([(value or b"").hex() for value in array.to_pylist()], dtype=object))
    if pa.types.is_null(array.type):
        return np.full((1, len(array)), _NULL, dtype=np.uint64)
    # each distinct text once: words and names repeat thousands of times
    distinct = pc.fill_null(array.cast(pa.large_string()), "").dictionary_encode()
    hashes = _hash_texts(np.asarray(distinct.dictionary, dtype=object))
    return hashes[:, np.asarray(distinct.indices)]
