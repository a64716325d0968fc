"""Ranges of keys, read in parallel into scratch folders that outlive a kill.

Belongs here: threads, scratch and its lock. A chunk is a small set of corpus tables and `records` that appears whole,
under a name that holds its range and the state of its rows; so a finished chunk is never read again, and never wrongly
kept. The join itself is `qorsync_join`, putting chunks together `qorsync_assembly`.
"""

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, Protocol

from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import SourceError
from sap_llm.schema.tables import conform
from sap_llm.sources.corpus import write_corpus
from sap_llm.sources.qorsync_census import RECORDS, KeyRange, Stores, digest_of
from sap_llm.sources.qorsync_headers import HeaderSnapshot
from sap_llm.sources.qorsync_join import Joiner
from sap_llm.sources.qorsync_records import RECORDS as SCHEMA
from sap_llm.sources.qorsync_stores import SourceInterruptedError
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetWriter


class ReadingConfig(Protocol):
    """What is needed of `qorsync.RawExportsConfig`."""

    max_pages: int
    timeout_seconds: float
    memory_bytes: int
    batch_rows: int
    readers: int
    licence: str


@contextmanager
def scratch_folder(work: Path, month: str, code: str) -> Iterator[Path]:
    """The month's scratch for one code version; one process at a time, removed when the block ends without an error."""
    home = work / "raw_exports" / month
    home.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the kernel, even after a kill
        folder = home / code
        folder.mkdir(parents=True, exist_ok=True)
        for half in folder.glob("*/.*"):  # of a killed process: nobody else is here
            shutil.rmtree(half)
        yield folder
        shutil.rmtree(home)


def finished_chunks(folder: Path) -> int:
    """How many chunks a scratch folder holds."""
    return sum(1 for _ in folder.glob("*/[!.]*"))


class ChunkReader:
    """Reads the ranges of one month that have no chunk yet, at one state of the source."""

    def __init__(
        self, folder: Path, snapshot: HeaderSnapshot, stores: Stores, config: ReadingConfig, context: StageContext
    ) -> None:
        self._snapshot, self._stores, self._config, self._context = snapshot, stores, config, context
        columns = hashlib.sha256(json.dumps(snapshot.columns, sort_keys=True).encode()).hexdigest()
        self._folder = folder / columns[:16]  # the same rows read from other columns are another chunk
        self._folder.mkdir(exist_ok=True)

    def finished(self, ranges: Iterable[KeyRange]) -> list[KeyRange]:
        """Ranges whose chunk is there."""
        return [one for one in ranges if (self._folder / one.name).is_dir()]

    def read(self, month: str, ranges: Sequence[KeyRange]) -> list[Path]:
        """Chunk folders of all ranges, in their order.

        Raises:
            SourceInterruptedError: A server went away, or the source changed between census and reading.
            SourceError: Another trouble of a store; both name the range.
        """
        done = {one.name for one in self.finished(ranges)}
        waiting: SimpleQueue[KeyRange] = SimpleQueue()
        for one in ranges:
            if one.name not in done:
                waiting.put(one)
        stop = Event()
        finished = count(len(done) + 1)
        workers = min(self._config.readers, waiting.qsize())
        if workers:
            with ThreadPoolExecutor(workers, thread_name_prefix="export") as pool:
                tasks = [pool.submit(self._work, month, waiting, stop, finished, len(ranges)) for _ in range(workers)]
                try:
                    for task in tasks:
                        task.result()
                finally:
                    stop.set()  # Ctrl-C is raised here, not in the workers
        return [self._folder / one.name for one in ranges]

    def _work(
        self, month: str, waiting: "SimpleQueue[KeyRange]", stop: Event, finished: Iterator[int], total: int
    ) -> None:
        config = self._config
        try:
            with (
                self._snapshot.another() as own,
                Sandbox(timeout_seconds=config.timeout_seconds, memory_bytes=config.memory_bytes) as sandbox,
            ):
                while not stop.is_set():
                    try:
                        one = waiting.get_nowait()
                    except Empty:
                        return
                    self._read_range(own, month, one, sandbox)
                    self._context.progress(f"raw_exports/{month}: ranges", done=next(finished), total=total)
        except BaseException:
            stop.set()
            raise

    def _read_range(self, snapshot: HeaderSnapshot, month: str, one: KeyRange, sandbox: Sandbox) -> None:
        config = self._config
        joiner = Joiner(
            self._stores, sandbox, max_pages=config.max_pages, batch_rows=config.batch_rows, licence=config.licence
        )
        half = self._folder / f".{one.name}.{uuid.uuid4().hex}"
        half.mkdir()
        writer = DatasetWriter(half)
        try:
            write_corpus(writer, joiner.join(_headers(snapshot, month, one)), now=self._context.clock.now())
        except SourceError as error:
            raise type(error)(
                f"{error.what} Met at documents {one.first} to {one.last}.", where=error.where, remedy=error.remedy
            ) from error
        if digest_of((row["document_id"], row["state"]) for row in joiner.records) != one.digest:
            raise SourceInterruptedError(
                f"the source changed while documents {one.first} to {one.last} were read.",
                where=f"raw_exports/{month}",
                remedy="Export again when it is quieter.",
            )
        writer.write_table(RECORDS, conform(joiner.records, SCHEMA), SCHEMA)
        half.rename(self._folder / one.name)


def _headers(snapshot: HeaderSnapshot, month: str, one: KeyRange) -> Iterator[dict[str, Any]]:
    batches = snapshot.rows(month, first=one.first, last=one.last, changed_from=one.changed_from)
    for batch in batches:
        for row in batch.to_pylist():
            if one.ids is None or row["document_id"] in one.ids:
                yield row
