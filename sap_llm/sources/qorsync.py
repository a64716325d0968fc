"""The stage `raw_exports`: one month of a QorSync source as corpus tables, read incrementally and resumably.

Belongs here: the stage's configuration, its tries and the order of its steps. The steps are `qorsync_census` (what is
to be read), `qorsync_chunks` (reading it) and `qorsync_assembly` (putting it together).
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from sap_llm.schema.errors import SourceError
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.sources.corpus import Fault
from sap_llm.sources.qorsync_assembly import Assembly
from sap_llm.sources.qorsync_census import Plan, Stores, take_census
from sap_llm.sources.qorsync_chunks import ChunkReader, finished_chunks, scratch_folder
from sap_llm.sources.qorsync_headers import MOST_ROWS, Headers, HeaderSnapshot, MonthState, month_bounds
from sap_llm.sources.qorsync_join import dangling_fault
from sap_llm.sources.qorsync_quality import Quality
from sap_llm.sources.qorsync_records import drift_from_contract, drift_since
from sap_llm.sources.qorsync_stores import (
    Blobs,
    Extractions,
    GraphReader,
    Patterns,
    SourceInterruptedError,
    open_extractions,
)
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build, code_version
from sap_llm.storage.store import Dataset, DatasetWriter

STAGE_VERSION = "5"
NAME = "raw_exports"
REPORT = "report.md"


class RawExportsConfig(StageConfig):
    """Configuration of `raw_exports`."""

    max_pages: int = 50
    timeout_seconds: float = 60.0  # for reading one file
    memory_bytes: int = 4 * 2**30  # of a reader process
    batch_rows: int = 256  # headers joined at a time
    chunk_rows: int = Field(default=1024, ge=1, le=MOST_ROWS)  # headers of one range: what a kill costs a reader
    readers: int = Field(default=2, ge=1)  # threads, each with a connection and a reader process of its own
    tries: int = Field(default=5, ge=1)  # in a row without a finished range, when a server goes away
    backoff_seconds: float = 1.0  # before the second try; doubles
    licence: str = "proprietary"


@dataclass(frozen=True, kw_only=True)
class QorSync:
    """Where a QorSync source is.

    Attributes:
        relational: SQLite file or `postgresql://` URI.
        documents: mongodump folder or `mongodb://` URI.
        blobs: Folder or fsspec URL of the files by sha256.
        graph: Client of the graph with QorSync's patterns; None leaves vendors and templates unknown.
        first_month: Month that rows without a readable time count to.
        work: Local folder for finished ranges of an export that is not complete.
    """

    relational: str
    documents: str
    blobs: str
    graph: GraphReader | None
    first_month: str
    work: Path

    @property
    def headers(self) -> Headers:
        """The relational store."""
        return Headers(self.relational, first_month=self.first_month)


def build_raw_exports(context: StageContext, *, config: RawExportsConfig, source: QorSync, month: str) -> BuildResult:
    """Export a month of a QorSync source into the dataset `raw_exports/<month>`.

    A header becomes a document when its file is there and unharmed, its extraction can be read and its vendor is known
    to the graph; else it becomes a quarantine row, as do extractions without a header. Rows that the month's current
    version already has in their present state are taken over, unless code, configuration or columns changed.

    Args:
        context: Store, clock and progress.
        config: Limits.
        source: The stores.
        month: Month of processing, `2026-03`, in UTC.

    Raises:
        SourceError: A store cannot be reached or read as a whole, also after all tries; finished ranges are kept.
    """
    code = hashlib.sha256(f"{code_version(STAGE_VERSION, config)}/{taxonomy_version()}".encode()).hexdigest()[:16]
    with scratch_folder(source.work, month, code) as folder, open_extractions(source.documents) as extractions:
        troubles: list[SourceInterruptedError] = []  # since a range was finished
        while True:
            finished = finished_chunks(folder)
            try:
                return _Export(context, config, source, extractions, month, folder).run()
            except SourceInterruptedError as error:
                troubles = [error] if finished_chunks(folder) > finished else [*troubles, error]
                if len(troubles) >= config.tries:
                    raise _given_up(troubles, finished_chunks(folder)) from error
                pause = config.backoff_seconds * 2 ** (len(troubles) - 1)
                context.progress(f"{NAME}/{month}: {error} Try {len(troubles) + 1} of {config.tries} in {pause:g} s")
                time.sleep(pause)


def _given_up(troubles: Sequence[SourceInterruptedError], finished: int) -> SourceError:
    first, last = troubles[0], troubles[-1]
    repeated = f" The last one said: {last.what}" if last.what != first.what else ""
    return SourceError(
        f"{first.what} Given up after {len(troubles)} tries in a row.{repeated}",
        where=first.where,
        remedy=f"{last.remedy} Then export again: {finished} finished ranges are kept and not read again.",
    )


def late_months(changed: Iterable[MonthState], *, now: datetime, first_month: str) -> dict[str, str]:
    """Finished months among those that changed, with their watermark; months before the first are nobody's."""
    return {
        state.month: state.latest
        for state in changed
        if state.month >= first_month and month_bounds(state.month)[1] <= now
    }


class _Export:
    """One try at one month, at one state of the source."""

    def __init__(
        self,
        context: StageContext,
        config: RawExportsConfig,
        source: QorSync,
        extractions: Extractions,
        month: str,
        folder: Path,
    ) -> None:
        self._context, self._config, self._source, self._month = context, config, source, month
        self._stores = Stores(extractions, Blobs(source.blobs), Patterns(source.graph))
        self._folder = folder
        self._name = f"{NAME}/{month}"

    def run(self) -> BuildResult:
        with self._source.headers.snapshot() as snapshot:
            previous = self._previous(snapshot.columns)
            plan = take_census(
                snapshot,
                self._stores,
                month=self._month,
                first_month=self._source.first_month,
                previous=previous,
                chunk_rows=self._config.chunk_rows,
            )
            columns = json.dumps(snapshot.columns, sort_keys=True)
            return build(
                self._context,
                name=self._name,
                stage_version=STAGE_VERSION,
                config=self._config,
                fingerprint={"columns": hashlib.sha256(columns.encode()).hexdigest(), "rows": plan.fingerprint},
                produce=lambda writer: self._produce(writer, snapshot, plan, previous),
            )

    def _produce(
        self, writer: DatasetWriter, snapshot: HeaderSnapshot, plan: Plan, previous: Dataset | None
    ) -> Mapping[str, Any]:
        reader = ChunkReader(self._folder, snapshot, self._stores, self._config, self._context)
        resumed = len(reader.finished(plan.ranges))
        chunks = reader.read(self._month, plan.ranges)
        assembly = Assembly(previous, plan.dropped, chunks)
        quality = Quality(drift_from_contract(snapshot.columns))
        assembly.write(writer, self._dangling(plan), quality)
        assert quality.is_accounted, f"{self._name}: headers are neither kept nor quarantined: {quality.outcomes}"
        writer.path(REPORT).write_text(quality.report(self._month) + "\n", encoding="utf-8")
        before = self._latest()
        is_late = before is not None and before.manifest.created_at >= month_bounds(self._month)[1]
        return {
            **quality.metrics(),
            "drift_since": str(drift_since(_columns_of(before), snapshot.columns) if before else "") or "none",
            "late_rows": plan.new if is_late and previous is not None else 0,
            "rows_read": plan.rows,
            "rows_carried": plan.carried,
            "ranges_read": len(plan.ranges) - resumed,
            "ranges_resumed": resumed,
            "watermark": list(plan.watermark),
            "columns": snapshot.columns,
        }

    def _dangling(self, plan: Plan) -> Iterator[Fault]:
        for start in range(0, len(plan.dangling), self._config.batch_rows):
            batch = plan.dangling[start : start + self._config.batch_rows]
            found = self._stores.extractions.get(batch)
            for identifier in batch:
                yield dangling_fault(identifier, found.get(identifier))

    def _latest(self) -> Dataset | None:
        store = self._context.store
        return store.open(store.current(self._name)) if self._name in store.names() else None

    def _previous(self, columns: Mapping[str, str]) -> Dataset | None:
        """The month's current version, if the same code made it from a table with the same columns."""
        found = self._latest()
        if found is None:
            return None
        is_same = (
            found.manifest.code_version == code_version(STAGE_VERSION, self._config)
            and found.manifest.taxonomy_version == taxonomy_version()
            and _columns_of(found) == columns
        )
        return found if is_same else None


def _columns_of(dataset: Dataset | None) -> dict[str, str]:
    return dict(dataset.manifest.metrics.get("columns", {})) if dataset is not None else {}
