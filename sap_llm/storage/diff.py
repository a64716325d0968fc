"""What changed between two dataset versions: rows, classes, splits, labels, quarantine, and what made them differ.

Belongs here: the comparison as data. How it is printed is `cli.data_text`; rows are joined by `keyed_rows`, label
values compared by `label_changes`.

Cost: see `keyed_rows`. Beside a bucket, memory holds one chunk of at most 16,384 changed rows of both sides with all
that is nested in them, and 8 bytes a document; `python -m benchmarks versions` measures it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

from sap_llm.schema.manifest import DatasetRef, Manifest
from sap_llm.schema.tables import LOGICAL_KEY
from sap_llm.storage.keyed_rows import Positions, Rows, join, rows_at
from sap_llm.storage.label_changes import ANNOTATIONS, LabelChanges, compare_labels
from sap_llm.storage.logical_hash import row_hashes
from sap_llm.storage.store import Dataset, DatasetStore

DOCUMENTS, QUARANTINE = "documents", "quarantine"
_TRACED = ("document_type", "document_subtype", "split", "role")
"""Columns of `documents` whose every change is counted as from -> to."""
_BYTES = (pa.types.is_binary, pa.types.is_large_binary)
_CHUNK = 16_384


class Change(BaseModel):
    """A value that differs; None where a side has none."""

    before: Any = None
    after: Any = None


class Transition(BaseModel):
    """How many documents went from one value to another, with a few of them."""

    before: str | None
    after: str | None
    documents: int
    examples: list[str] = []


class Differing(BaseModel):
    """Counts by name on both sides."""

    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0


class TableDiff(BaseModel):
    """Rows of one table; `key` is empty where rows have no key and are compared whole."""

    key: list[str] = []
    before: int = 0
    after: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: dict[str, int] = {}
    """Changed rows by column that differs."""
    added_examples: list[str] = []
    removed_examples: list[str] = []


class VersionDiff(BaseModel):
    """Everything that differs between two versions of a dataset."""

    before: DatasetRef
    after: DatasetRef
    has_same_data: bool
    identity: dict[str, Change] = {}
    """Code, taxonomy and schema version, seed."""
    configuration: dict[str, Change] = {}
    inputs: dict[str, Change] = {}
    metrics: dict[str, Change] = {}
    files: dict[str, Change] = {}
    """Opaque files by their sha256."""
    tables: dict[str, TableDiff] = {}
    classes: dict[str, Differing] = {}
    moves: dict[str, list[Transition]] = {}
    """Changed values of `document_type` (relabelled), `split` and the like, by column."""
    labels: LabelChanges | None = None
    quarantine: dict[str, Change] = {}
    """Rows in quarantine by reason."""


def compare(store: DatasetStore, before: DatasetRef, after: DatasetRef, *, examples: int = 3) -> VersionDiff:
    """Compare two versions.

    Args:
        store: Where both are.
        before: The older, or simply the first.
        after: The other.
        examples: How many document ids or values are named for each kind of difference.

    Raises:
        DatasetNotFoundError: One is not complete.
    """
    old, new = store.open(before), store.open(after)
    diff = VersionDiff(before=before, after=after, has_same_data=old.manifest.data_version == new.manifest.data_version)
    _compare_manifests(diff, old.manifest, new.manifest)
    common: list[NDArray[np.uint64]] = []
    for name in sorted({*old.manifest.rows, *new.manifest.rows}):
        diff.tables[name] = _compare_table(diff, old, new, name, examples, common)
    if any(one.has_table(QUARANTINE) for one in (old, new)):
        reasons = [_counts(one, QUARANTINE, "reason") for one in (old, new)]
        diff.quarantine = _differing(*reasons)
    sources = _annotated(store, old), _annotated(store, new)
    if sources[0] is not None and sources[1] is not None and sources[0].ref != sources[1].ref:
        only = np.unique(np.concatenate(common)) if common else None
        diff.labels = compare_labels(sources[0], sources[1], only=only, examples=examples)
    return diff


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def changed_metrics(old: Manifest, new: Manifest) -> dict[str, Change]:
    """Metrics that differ."""
    return _differing(old.metrics, new.metrics)


def _compare_manifests(diff: VersionDiff, old: Manifest, new: Manifest) -> None:
    names = ("code_version", "taxonomy_version", "schema_version", "seed")
    diff.identity = _differing(*({name: getattr(one, name) for name in names} for one in (old, new)))
    diff.configuration = _differing(flat(old.configuration), flat(new.configuration))
    diff.inputs = _differing(*({role: str(ref) for role, ref in one.inputs.items()} for one in (old, new)))
    diff.metrics = changed_metrics(old, new)
    diff.files = _differing(*(_opaque(one) for one in (old, new)))


def _opaque(manifest: Manifest) -> dict[str, str]:
    return {
        name: sha256 for name, sha256 in manifest.files.items() if name.removesuffix(".parquet") not in manifest.rows
    }


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
    names = sorted({*old, *new})
    return {name: Change(before=old.get(name), after=new.get(name)) for name in names if old.get(name) != new.get(name)}


def _compare_table(
    diff: VersionDiff, old: Dataset, new: Dataset, name: str, examples: int, common: list[NDArray[np.uint64]]
) -> TableDiff:
    """Compare one table; documents also by class and in what moved, and their keys are added to `common`."""
    found = TableDiff(before=old.manifest.rows.get(name, 0), after=new.manifest.rows.get(name, 0))
    if not (old.has_table(name) and new.has_table(name)):
        found.removed, found.added = found.before, found.after
        return found
    key, columns = _compared(old, new, name)
    found.key = key if key != columns else []
    is_documents = name == DOCUMENTS and key == ["document_id"]
    is_same_file = old.manifest.files[f"{name}.parquet"] == new.manifest.files[f"{name}.parquet"]
    if is_same_file and not is_documents:
        return found
    moved = _Moves(examples)
    sides = [Rows(dataset=one, table=name, key=key, columns=columns) for one in (old, new)]
    for matches in join(*sides):
        found.added += len(matches.added)
        found.removed += len(matches.removed)
        found.changed += len(matches.changed[0])
        _name_examples(found, old, new, name, matches.added, matches.removed, examples)
        for before, after in _chunks(*matches.changed):
            _count_columns(found, rows_at(old, name, before, columns), rows_at(new, name, after, columns), moved, key)
        if is_documents:
            common.append(matches.keys)
            _count_classes(diff, new, matches.added, "added")
            _count_classes(diff, old, matches.removed, "removed")
    if is_documents:
        diff.moves = moved.found()
        _count_totals(diff, old, new)
    return found


def _compared(old: Dataset, new: Dataset, name: str) -> tuple[list[str], list[str]]:
    """Key and compared columns: what both versions have, bytes left out (their sha256 stands beside them)."""
    schemas = [one.scan(name).schema for one in (old, new)]
    columns = [
        field.name
        for field in schemas[0]
        if field.name in schemas[1].names and not any(check(field.type) for check in _BYTES)
    ]
    key = list(LOGICAL_KEY.get(name, ()))
    return (key if key and set(key) <= set(columns) else columns), columns


def _chunks(before: Positions, after: Positions) -> Iterator[tuple[Positions, Positions]]:
    for start in range(0, len(before), _CHUNK):
        yield before[start : start + _CHUNK], after[start : start + _CHUNK]


def _name_examples(
    found: TableDiff, old: Dataset, new: Dataset, name: str, added: Positions, removed: Positions, limit: int
) -> None:
    if not found.key:
        return
    for dataset, positions, names in ((new, added, found.added_examples), (old, removed, found.removed_examples)):
        wanted = positions[: limit - len(names)]
        if len(wanted):
            rows = rows_at(dataset, name, wanted, found.key).to_pylist()
            names.extend(" ".join(str(value) for value in row.values()) for row in rows)


class _Moves:
    """Counts changes of traced columns from one value to another."""

    def __init__(self, examples: int) -> None:
        self._limit = examples
        self._counts: dict[str, Counter[tuple[Any, Any]]] = {}
        self._examples: dict[tuple[str, Any, Any], list[str]] = {}

    def add(self, column: str, ids: Sequence[str], before: Sequence[Any], after: Sequence[Any]) -> None:
        """Take in changed values of one column."""
        counts = self._counts.setdefault(column, Counter())
        for document_id, was, now in zip(ids, before, after, strict=True):
            counts[was, now] += 1
            known = self._examples.setdefault((column, was, now), [])
            if len(known) < self._limit:
                known.append(document_id)

    def found(self) -> dict[str, list[Transition]]:
        """By column, most frequent first."""
        return {
            column: [
                Transition(before=was, after=now, documents=count, examples=self._examples[column, was, now])
                for (was, now), count in sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
            ]
            for column, counts in sorted(self._counts.items())
        }


def _count_columns(found: TableDiff, old: pa.Table, new: pa.Table, moved: _Moves, key: Sequence[str]) -> None:
    """Count by column how many of the paired rows differ in it."""
    for column in old.schema.names:
        differs = (row_hashes(old.select([column])) != row_hashes(new.select([column]))).any(axis=0)
        count = int(differs.sum())
        if count == 0:
            continue
        found.columns[column] = found.columns.get(column, 0) + count
        if list(key) == ["document_id"] and column in _TRACED:
            mask = pa.array(differs)
            ids, before, after = (
                table.column(name).filter(mask).to_pylist()
                for table, name in ((new, "document_id"), (old, column), (new, column))
            )
            moved.add(column, ids, before, after)


def _count_classes(diff: VersionDiff, dataset: Dataset, positions: Positions, kind: str) -> None:
    for start in range(0, len(positions), _CHUNK):
        chunk = positions[start : start + _CHUNK]
        types = rows_at(dataset, DOCUMENTS, chunk, ["document_type"]).column("document_type")
        for name, count in _tallied(types):
            entry = diff.classes.setdefault(name, Differing())
            setattr(entry, kind, getattr(entry, kind) + count)


def _count_totals(diff: VersionDiff, old: Dataset, new: Dataset) -> None:
    """Documents by class on both sides; classes in which nothing differs are left out."""
    relabelled = diff.moves.get("document_type", [])
    touched = {*diff.classes, *(str(value) for one in relabelled for value in (one.before, one.after))}
    for kind, dataset in (("before", old), ("after", new)):
        for name, count in _counts(dataset, DOCUMENTS, "document_type").items():
            if name in touched:
                setattr(diff.classes.setdefault(name, Differing()), kind, count)
    diff.classes = dict(sorted(diff.classes.items()))


def _counts(dataset: Dataset, table: str, column: str) -> dict[str, int]:
    if not dataset.has_table(table) or column not in dataset.scan(table).schema.names:
        return {}
    counts: Counter[str] = Counter()
    for batch in dataset.batches(table, columns=[column]):
        for name, count in _tallied(batch.column(column)):
            counts[name] += count
    return dict(counts)


def _tallied(values: Any) -> Iterable[tuple[str, int]]:
    return ((str(one["values"]), int(one["counts"])) for one in pc.value_counts(values).to_pylist())


def _annotated(store: DatasetStore, dataset: Dataset) -> Dataset | None:
    """The version that holds a version's labels: itself, or the annotated documents it was made from."""
    if dataset.has_table(ANNOTATIONS):
        return dataset
    for role, ref in dataset.manifest.inputs.items():
        found = store.find(ref)
        if found is not None and role.startswith(("annotated_docs", "corpus_release", "training_set")):
            return _annotated(store, found)
    return None
