"""The tables of a month, put together from an earlier export and the chunks that were read since.

Belongs here: what is taken over, which of equal files is kept, and streaming all of it into the dataset. Numbers about
it are `qorsync_quality`, reading chunks from the stores is `qorsync_chunks`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.schema.tables import CORPUS, conform
from sap_llm.sources.corpus import UNPRINTED, Fault, document_id
from sap_llm.sources.qorsync_census import RECORDS
from sap_llm.sources.qorsync_join import HEADERS, SOURCE, fault_of
from sap_llm.sources.qorsync_quality import Quality
from sap_llm.sources.qorsync_records import DUPLICATE, KEPT
from sap_llm.sources.qorsync_records import RECORDS as SCHEMA
from sap_llm.storage.store import Dataset, DatasetWriter

_OUTCOME = SCHEMA.get_field_index("outcome")
_ORDER = ("file_sha256", "processed_at", "document_id")
_IDENTITY = pa.schema([SCHEMA.field(name) for name in (*_ORDER, "outcome")])
_FAULTS_A_BATCH = 256
_OF_DOCUMENTS = ("documents", "pages", "annotations")

Part = Dataset | Path


class Assembly:
    """One month's tables from several parts: the earlier export, then the chunks in order of keys.

    Memory: a batch of one table, plus hash, time and id of every kept row as Arrow columns.
    """

    def __init__(self, previous: Dataset | None, dropped: Iterable[str], chunks: Sequence[Path]) -> None:
        """Name the parts.

        Args:
            previous: Earlier export of the month, or None.
            dropped: Its rows that are not taken over.
            chunks: Folders of `qorsync_chunks`.
        """
        self._dropped = pa.array(sorted(dropped), pa.string())
        self._parts: list[Part] = [*([previous] if previous is not None else []), *chunks]

    def write(self, writer: DatasetWriter, dangling: Iterable[Fault], quality: Quality) -> None:
        """Write `records` and all corpus tables, and count them on the way."""
        faults: list[Fault] = []
        writer.write_table(RECORDS, quality.of_records(self._records(faults)), SCHEMA)
        for table in _OF_DOCUMENTS:
            writer.write_table(table, quality.of_table(table, self._of_documents(table)), CORPUS[table])
        writer.write_table("blobs", self._blobs(), CORPUS["blobs"])
        quarantine = quality.of_table("quarantine", self._quarantine(chain(faults, dangling)))
        writer.write_table("quarantine", quarantine, CORPUS["quarantine"])
        writer.path(UNPRINTED).write_text("".join(sorted(self._unprinted())), encoding="utf-8")

    @cached_property
    def duplicates(self) -> dict[str, str]:
        """Header id -> id of the document with the same file that is kept: processed first, then the lowest id."""
        kept = [_kept(batch) for part in self._parts for batch in self._carried(part, RECORDS, _IDENTITY.names)]
        table = pa.Table.from_batches(kept, _IDENTITY).sort_by([(name, "ascending") for name in _ORDER])
        found: dict[str, str] = {}
        if pc.count_distinct(table.column("file_sha256")).as_py() == table.num_rows:
            return found
        before, first = "", ""
        for batch in table.to_batches():
            for digest, identifier in zip(
                batch.column("file_sha256").to_pylist(), batch.column("document_id").to_pylist(), strict=True
            ):
                if digest == before:
                    found[identifier] = first
                else:
                    before, first = digest, identifier
        return found

    @cached_property
    def _copies(self) -> pa.Array:
        return pa.array(sorted(self.duplicates), pa.string())

    @cached_property
    def _unused(self) -> dict[type, pa.Array]:
        """Kind of part -> ids of documents (not of headers) whose rows there are left out."""
        copies = [document_id(SOURCE, header) for header in self.duplicates]
        dropped = [document_id(SOURCE, header) for header in self._dropped.to_pylist()]
        return {Dataset: pa.array([*copies, *dropped], pa.string()), Path: pa.array(copies, pa.string())}

    def _unused_in(self, part: Part) -> pa.Array:
        return self._unused[Dataset if isinstance(part, Dataset) else Path]

    def _carried(self, part: Part, table: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of `records` or `quarantine`; of the earlier export only those that are taken over."""
        for batch in _batches(part, table, columns):
            key = "document_id" if table == RECORDS else "record"
            yield _without(batch, key, self._dropped) if isinstance(part, Dataset) else batch

    def _records(self, faults: list[Fault]) -> Iterator[pa.RecordBatch]:
        for part in self._parts:
            for batch in self._carried(part, RECORDS):
                is_copy = pc.is_in(batch.column("document_id"), value_set=self._copies)
                for row in batch.filter(is_copy).to_pylist():
                    first = self.duplicates[row["document_id"]]
                    faults.append(fault_of(row, DUPLICATE, f"Same file as {first}; the one processed first is kept."))
                outcome = pc.if_else(is_copy, DUPLICATE, batch.column("outcome"))
                yield batch.set_column(_OUTCOME, SCHEMA.field(_OUTCOME), outcome)

    def _of_documents(self, table: str) -> Iterator[pa.RecordBatch]:
        for part in self._parts:
            for batch in _batches(part, table):
                yield _without(batch, "document_id", self._unused_in(part))

    def _blobs(self) -> Iterator[pa.RecordBatch]:
        """Each file from the part that its kept document is in."""
        for part in self._parts:
            kept = [
                _without(_kept(batch), "document_id", self._copies).column("file_sha256")
                for batch in self._carried(part, RECORDS, _IDENTITY.names)
            ]
            wanted = pa.chunked_array(kept, pa.string())
            for batch in _batches(part, "blobs"):
                yield batch.filter(pc.is_in(batch.column("sha256"), value_set=wanted))

    def _quarantine(self, faults: Iterator[Fault]) -> Iterator[pa.RecordBatch]:
        for part in self._parts:
            for batch in self._carried(part, "quarantine"):
                yield batch.filter(pc.equal(batch.column("source"), HEADERS))  # the others are found anew each time
        while rows := [fault.row() for fault in islice(faults, _FAULTS_A_BATCH)]:
            yield from conform(rows, CORPUS["quarantine"]).to_batches()

    def _unprinted(self) -> Iterator[str]:
        for part in self._parts:
            unused = set(self._unused_in(part).to_pylist())
            path = part / UNPRINTED if isinstance(part, Path) else part.path(UNPRINTED)
            with path.open(encoding="utf-8") as stream:
                yield from (line for line in stream if json.loads(line)["document_id"] not in unused)


def _batches(part: Part, table: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    if isinstance(part, Dataset):
        yield from part.batches(table, columns)
        return
    import pyarrow.parquet as pq  # brings pandas, which finding a version does not need

    with pq.ParquetFile(part / f"{table}.parquet") as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns).to_batches()


def _kept(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.filter(pc.equal(batch.column("outcome"), KEPT)).select(_IDENTITY.names).cast(_IDENTITY)


def _without(batch: pa.RecordBatch, column: str, values: pa.Array) -> pa.RecordBatch:
    return batch.filter(pc.invert(pc.is_in(batch.column(column), value_set=values)))
