"""What two versions say differently about the same documents: values by class and field.

Belongs here: choosing the annotation that counts and comparing its values, in columns, never object by object. Which
rows belong together is `keyed_rows`; the whole comparison of two versions is `diff`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

from sap_llm.schema.releases import TRUTH_SOURCES
from sap_llm.storage.keyed_rows import Matches, Positions, Rows, join, rows_at
from sap_llm.storage.store import Dataset

ANNOTATIONS = "annotations"
_LABELS = ("document_type", "document_subtype", "fields", "line_items")
_CHUNK = 16_384  # changed documents compared at a time
_LINES = 1 << 20  # more than the occurrences of a field in one line


class ValueChange(BaseModel):
    """One value that differs, as an example; None where a side has no such value."""

    document_id: str
    before: str | None
    after: str | None


class FieldChange(BaseModel):
    """Differences of one field in the documents of one class (as the newer version calls them)."""

    document_type: str
    field: str
    changed: int = 0
    added: int = 0
    removed: int = 0
    examples: list[ValueChange] = []

    @property
    def total(self) -> int:
        """All differing values."""
        return self.changed + self.added + self.removed


class LabelChanges(BaseModel):
    """The differences of the labels that count: per document the most trusted source's newest revision."""

    before: str
    after: str
    documents_compared: int = 0
    documents_relabelled: int = 0
    fields: list[FieldChange] = []


def compare_labels(old: Dataset, new: Dataset, *, only: NDArray[np.uint64] | None, examples: int) -> LabelChanges:
    """Compare the labels of the documents that both versions have.

    Args:
        old: Version with a table `annotations`.
        new: The other one.
        only: Sorted first lanes of the keys of the documents that take part; None for all.
        examples: Differing values kept for each class and field.
    """
    found = LabelChanges(before=str(old.ref), after=str(new.ref))
    tally = _Tally(examples)
    for matches in join(_labels(old, only), _labels(new, only)):
        found.documents_compared += matches.unchanged + len(matches.changed[0])
        for before, after in _chunks(matches):
            columns = ["document_id", *_LABELS]
            found.documents_relabelled += tally.add(
                rows_at(old, ANNOTATIONS, before, columns), rows_at(new, ANNOTATIONS, after, columns)
            )
    found.fields = tally.changes()
    return found


def _labels(dataset: Dataset, only: NDArray[np.uint64] | None) -> Rows:
    return Rows(dataset=dataset, table=ANNOTATIONS, key=("document_id",), columns=_LABELS, rank=_trust, only=only)


def _trust(batch: pa.RecordBatch) -> Positions:
    """Higher is more trusted: first the source, then the revision; -1 for what is no truth."""
    known = pc.index_in(batch.column("source"), value_set=pa.array(TRUTH_SOURCES))
    place = np.asarray(pc.fill_null(known, -1), dtype=np.int64)
    revision = np.asarray(batch.column("revision"), dtype=np.int64)
    return np.where(place < 0, -1, (len(TRUTH_SOURCES) - place) * 2**32 + revision)


def _chunks(matches: Matches) -> Iterator[tuple[Positions, Positions]]:
    before, after = matches.changed
    for start in range(0, len(before), _CHUNK):
        yield before[start : start + _CHUNK], after[start : start + _CHUNK]


class _Tally:
    """Counts differing values by class and field, and keeps a few of each."""

    def __init__(self, examples: int) -> None:
        self._limit = examples
        self._counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._examples: dict[tuple[str, str], list[ValueChange]] = defaultdict(list)

    def add(self, old: pa.Table, new: pa.Table) -> int:
        """Compare rows pair by pair; returns how many documents have a differing value."""
        before, after = _values(old), _values(new)
        merged = before.join(after, keys=["row", "field", "place"], join_type="full outer", right_suffix="_new")
        is_same = pc.equal(merged.column("value"), merged.column("value_new"))
        changes = merged.filter(pc.invert(pc.fill_null(is_same, False)))
        if not changes.num_rows:
            return 0
        changes = changes.sort_by([("row", "ascending"), ("field", "ascending"), ("place", "ascending")])
        rows = np.asarray(changes.column("row"))
        types = new.column("document_type").take(pa.array(rows)).to_pylist()
        documents = new.column("document_id").take(pa.array(rows)).to_pylist()
        fields = changes.column("field").to_pylist()
        values = zip(changes.column("value").to_pylist(), changes.column("value_new").to_pylist(), strict=True)
        for document_id, key, (was, now) in zip(documents, zip(types, fields, strict=True), values, strict=True):
            kind = "added" if was is None else "removed" if now is None else "changed"
            self._counts[kind][key] += 1
            if len(self._examples[key]) < self._limit:
                self._examples[key].append(ValueChange(document_id=document_id, before=was, after=now))
        return len(np.unique(rows))

    def changes(self) -> list[FieldChange]:
        """By class and field, most differences first."""
        keys = set().union(*self._counts.values()) if self._counts else set()
        found = [
            FieldChange(
                document_type=key[0],
                field=key[1],
                examples=self._examples[key],
                **{kind: counter[key] for kind, counter in self._counts.items()},
            )
            for key in keys
        ]
        return sorted(found, key=lambda one: (-one.total, one.document_type, one.field))


def _values(table: pa.Table) -> pa.Table:
    """Every value as a row: number of the document's row, field, place among its equals, value; nulls left out."""
    rows = pa.array(np.arange(table.num_rows))
    parts = [_header(table, name, rows) for name in ("document_type", "document_subtype")]
    parts.append(_exploded(table.column("fields").combine_chunks(), np.arange(table.num_rows), base=None))
    items = table.column("line_items").combine_chunks()
    owners = np.asarray(pc.list_parent_indices(items))
    lines = items.flatten()
    numbers = np.asarray(lines.field("line_number"), dtype=np.int64)
    parts.append(_exploded(lines.field("fields"), owners, base=numbers * _LINES, prefix="line_items."))
    return pa.concat_tables(parts)


def _header(table: pa.Table, name: str, rows: pa.Array) -> pa.Table:
    column = table.column(name).combine_chunks()
    return _known(rows, pa.array([name] * table.num_rows, pa.string()), np.zeros(table.num_rows, np.int64), column)


def _exploded(
    lists: pa.ListArray, owners: NDArray[np.int64], *, base: NDArray[np.int64] | None, prefix: str = ""
) -> pa.Table:
    parents = np.asarray(pc.list_parent_indices(lists), dtype=np.int64)
    structs = lists.flatten()
    names = structs.field("field")
    if prefix:
        names = pc.binary_join_element_wise(pa.scalar(prefix), names, "")
    rows = owners[parents]
    place = _places(rows if base is None else parents, names)
    if base is not None:
        place += base[parents]
    return _known(pa.array(rows), names, place, structs.field("value"))


def _places(groups: NDArray[np.int64], names: pa.Array) -> NDArray[np.int64]:
    """0 for the first occurrence of a name in its group, 1 for the second."""
    codes = np.asarray(pc.dictionary_encode(names).indices, dtype=np.int64)
    order = np.lexsort((codes, groups))  # stable: the order on the page is kept
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (groups[order][1:] == groups[order][:-1]) & (codes[order][1:] == codes[order][:-1])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - starts
    return places


def _known(rows: pa.Array, names: pa.Array, places: NDArray[np.int64], values: pa.Array) -> pa.Table:
    columns: Sequence[Any] = (rows, names, pa.array(places), values)
    table = pa.table(dict(zip(("row", "field", "place", "value"), columns, strict=True)))
    return table.filter(pc.is_valid(table.column("value")))
