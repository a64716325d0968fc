"""The data version of a dataset: what must not change it, and what must."""

import copy
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.storage.logical_hash import RowHasher, hash_rows

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("count", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("flag", pa.bool_()),
        pa.field("moment", pa.timestamp("us", tz="UTC")),
        pa.field("content", pa.large_binary()),
        pa.field("words", pa.list_(pa.string())),
        pa.field("boxes", pa.list_(pa.list_(pa.float32()))),
        pa.field("fields", pa.list_(pa.struct([("name", pa.string()), ("ids", pa.list_(pa.int32()))]))),
    ]
)
small = st.integers(-3, 3)
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
rows = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(max_size=4),
        "count": st.none() | st.integers(-(2**31), 2**31 - 1),
        "score": st.none() | floats,
        "flag": st.none() | st.booleans(),
        "moment": st.none()
        | st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
        "content": st.none() | st.binary(max_size=4),
        "words": st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
        "boxes": st.none() | st.lists(st.none() | st.lists(st.none() | floats, max_size=2), max_size=3),
        "fields": st.none()
        | st.lists(
            st.none()
            | st.fixed_dictionaries(
                {"name": st.none() | st.text(max_size=2), "ids": st.none() | st.lists(st.none() | small, max_size=2)}
            ),
            max_size=2,
        ),
    }
)
tables = st.lists(rows, min_size=1, max_size=6)


def table(values: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(values, schema=SCHEMA)


def hashed(values: list[dict[str, Any]]) -> str:
    return hash_rows([table(values)])


@given(values=tables, data=st.data())
@settings(max_examples=60, deadline=None)
def test_order_of_rows_and_chunks_and_columns_changes_nothing(
    values: list[dict[str, Any]], data: st.DataObject
) -> None:
    expected = hashed(values)
    shuffled = table(data.draw(st.permutations(values)))
    assert hash_rows([shuffled]) == expected
    cut = data.draw(st.integers(0, len(values)))
    assert hash_rows([shuffled.slice(cut), shuffled.slice(0, cut)]) == expected
    assert hash_rows([pa.concat_tables([shuffled.slice(0, cut), shuffled.slice(cut)])]) == expected
    assert hash_rows([shuffled.select(data.draw(st.permutations(SCHEMA.names)))]) == expected
    hasher = RowHasher()
    for batch in shuffled.to_batches(max_chunksize=1):
        hasher.update(batch)
    assert (hasher.hexdigest(), hasher.rows) == (expected, len(values))


@given(values=tables, group=st.integers(1, 3), dictionary=st.booleans())
@settings(max_examples=20, deadline=None)
def test_file_layout_changes_nothing(
    values: list[dict[str, Any]], group: int, dictionary: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.mktemp("layout") / "t.parquet"
    pq.write_table(table(values), path, row_group_size=group, use_dictionary=dictionary, compression="zstd")
    assert hash_rows([pq.read_table(path)]) == hashed(values)


@given(values=tables, data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_value_changes_it(values: list[dict[str, Any]], data: st.DataObject) -> None:
    changed = copy.deepcopy(values)
    row = data.draw(st.integers(0, len(values) - 1))
    column = data.draw(st.sampled_from(SCHEMA.names))
    changed[row][column] = data.draw(rows)[column]
    is_same = sorted(map(repr, map(normal, values))) == sorted(map(repr, map(normal, changed)))
    assert (hashed(changed) == hashed(values)) == is_same


def normal(row: Any) -> Any:
    """A row with -0.0 as 0.0 and floats as the column stores them."""
    if isinstance(row, dict):
        return {key: normal(value) for key, value in row.items()}
    if isinstance(row, list):
        return [normal(value) for value in row]
    return row + 0.0 if isinstance(row, float) else row


@given(values=st.lists(st.text(max_size=2), min_size=2, max_size=6), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_moved_list_element_changes_it(values: list[str], data: st.DataObject) -> None:
    moved = data.draw(st.permutations(values))
    same_order = hash_rows([pa.table({"w": [values]})]) == hash_rows([pa.table({"w": [moved]})])
    assert same_order == (moved == values)


@given(first=st.lists(small, max_size=3), second=st.lists(small, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_element_belongs_to_its_own_list(first: list[int], second: list[int]) -> None:
    kind = pa.list_(pa.list_(pa.int32()))
    apart = hash_rows([pa.table({"x": pa.array([[first, second]], kind)})])
    joined = hash_rows([pa.table({"x": pa.array([[[*first, *second], []]], kind)})])
    assert (apart == joined) == (second == [])


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int32()), pa.list_(pa.string()), pa.list_(pa.list_(pa.float32()))], ids=str
)
def test_null_and_empty_and_list_of_null_are_three_things(kind: pa.DataType) -> None:
    hashes = {hash_rows([pa.table({"x": pa.array([value], kind)})]) for value in (None, [], [None], [None, None])}
    assert len(hashes) == 4


def test_nulls_differ_from_zero_values() -> None:
    for kind, zero in (
        (pa.int32(), 0),
        (pa.float64(), 0.0),
        (pa.string(), ""),
        (pa.binary(), b""),
        (pa.bool_(), False),
    ):
        assert hash_rows([pa.table({"x": pa.array([zero], kind)})]) != hash_rows(
            [pa.table({"x": pa.array([None], kind)})]
        )


def test_struct_of_nulls_differs_from_null_struct() -> None:
    kind = pa.struct([("a", pa.int32()), ("b", pa.string())])
    values = [None, {"a": None, "b": None}, {"a": 0, "b": None}, {"a": None, "b": ""}]
    assert len({hash_rows([pa.table({"x": pa.array([value], kind)})]) for value in values}) == 4


def test_values_belong_to_their_row_and_column() -> None:
    one = pa.table({"a": [1, 2], "b": [3, 4]})
    crossed = pa.table({"a": [1, 2], "b": [4, 3]})
    renamed = pa.table({"b": [1, 2], "a": [3, 4]})
    assert len({hash_rows([table]) for table in (one, crossed, renamed)}) == 3


def test_a_repeated_row_counts() -> None:
    once = pa.table({"a": ["x"]})
    assert len({hash_rows([once] * times) for times in range(5)}) == 5
    assert hash_rows([]) == hash_rows([once.slice(0, 0)])


def test_widths_of_types_do_not_matter() -> None:
    for narrow, wide, value in (
        (pa.int16(), pa.int64(), 7),
        (pa.string(), pa.large_string(), "ä"),
        (pa.float32(), pa.float64(), 0.5),
        (pa.string(), pa.dictionary(pa.int32(), pa.string()), "x"),
    ):
        left = pa.table({"x": pa.array([value, None], narrow)})
        right = pa.table({"x": pa.array([value, None], wide)})
        assert hash_rows([left]) == hash_rows([right])


def test_negative_zero_is_zero_and_nan_is_itself() -> None:
    assert hash_rows([pa.table({"x": [0.0]})]) == hash_rows([pa.table({"x": [-0.0]})])
    assert hash_rows([pa.table({"x": [math.nan]})]) != hash_rows([pa.table({"x": [0.0]})])


def test_slices_hash_like_copies() -> None:
    whole = table(
        [
            {"id": str(n), "words": [str(n)] * (n % 3), "boxes": [[n, n]] * (n % 2) or None, "fields": [{"ids": [n]}]}
            for n in range(9)
        ]
    )
    for start in range(9):
        piece = whole.slice(start, 3)
        assert hash_rows([piece]) == hash_rows([pa.Table.from_pylist(piece.to_pylist(), schema=SCHEMA)])
