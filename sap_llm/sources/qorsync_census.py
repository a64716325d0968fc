"""What a month of a QorSync source holds, and what of it has to be read: keys and stamps, never contents.

Belongs here: the fingerprint of a month, the comparison with an earlier export, and cutting keys into ranges. Reading
the ranges is `qorsync_chunks`; a range's digest, made here, tells there whether the source stood still meanwhile.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sap_llm.sources.qorsync_headers import HeaderSnapshot, month_bounds
from sap_llm.sources.qorsync_records import DUPLICATE, moment
from sap_llm.sources.qorsync_stores import Blobs, Extractions, Patterns, Stamp
from sap_llm.storage.store import Dataset

RECORDS = "records"
_IDS_A_QUESTION = 1024


@dataclass(frozen=True, kw_only=True)
class KeyRange:
    """Rows that are read in one go.

    Attributes:
        first: Lowest document id, in the store's order.
        last: Highest.
        ids: The only rows that are wanted; None for all from first to last.
        changed_from: Their earliest change as the store writes it; None where the range is read whole.
        digest: Hash over ids and states of the wanted rows.
    """

    first: str
    last: str
    ids: frozenset[str] | None
    changed_from: str | None
    rows: int
    digest: str

    @property
    def name(self) -> str:
        """Name of the range and of exactly this state of its rows."""
        parts = json.dumps([self.first, self.last, self.digest])
        return hashlib.sha256(parts.encode()).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one month holds and what has to be read of it.

    Attributes:
        fingerprint: Hash over ids and states of all rows, and over extractions without header.
        ranges: What is read, in the store's order of keys.
        dropped: Rows of the earlier export that are changed or gone.
        carried: Rows taken over from the earlier export.
        dangling: Extractions of the month without header.
        watermark: Latest (updated_at, document id), the former as the source writes it.
        new: Ids that the earlier export did not have.
    """

    fingerprint: str
    ranges: tuple[KeyRange, ...]
    dropped: frozenset[str]
    carried: int
    dangling: tuple[str, ...]
    watermark: tuple[str, str]
    new: int

    @property
    def rows(self) -> int:
        """Rows that are read."""
        return sum(one.rows for one in self.ranges)


@dataclass
class Stores:
    """The three stores beside the relational one."""

    extractions: Extractions
    blobs: Blobs
    patterns: Patterns


@dataclass
class _Group:
    """Rows of one range while it grows."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)  # id, updated_at as written, state
    is_whole: bool = True

    def close(self) -> KeyRange:
        earliest = min(changed for _, changed, _ in self.rows)
        return KeyRange(
            first=self.rows[0][0],
            last=self.rows[-1][0],
            ids=None if self.is_whole else frozenset(identifier for identifier, _, _ in self.rows),
            changed_from=None if self.is_whole or not earliest else earliest,
            rows=len(self.rows),
            digest=digest_of((identifier, state) for identifier, _, state in self.rows),
        )


def take_census(
    snapshot: HeaderSnapshot, stores: Stores, *, month: str, first_month: str, previous: Dataset | None, chunk_rows: int
) -> Plan:
    """Compare a month with an earlier export of it.

    A row is taken over when all four stores say the same of it as they did then. So deletions, and rows that were
    committed after others with a later `updated_at`, are seen, which a bare watermark would miss. Duplicates are always
    read again, because what they are a copy of may be gone. Memory: one small entry for each row of the earlier export.
    """
    known = _states(previous)
    total = hashlib.sha256()
    ranges: list[KeyRange] = []
    dropped: set[str] = set()
    group = _Group()
    watermark, carried, new = ("", ""), 0, 0
    for identifier, changed, state in _rows(snapshot, stores, month):
        total.update(_line(identifier, state))
        watermark = max(watermark, (changed, identifier))
        before = known.pop(identifier, None)
        if before == state:
            carried += 1
            group.is_whole = group.is_whole and not group.rows
            continue
        if before is None:
            new += 1
        else:
            dropped.add(identifier)
        group.rows.append((identifier, changed, state))
        if len(group.rows) >= chunk_rows:
            ranges.append(group.close())
            group = _Group()
    if group.rows:
        ranges.append(group.close())
    dangling = tuple(_dangling(snapshot, stores.extractions, month, is_first=month == first_month))
    for identifier in dangling:
        total.update(_line(identifier, "no header"))
    return Plan(
        fingerprint=total.hexdigest(),
        ranges=tuple(ranges),
        dropped=frozenset(dropped | known.keys()),
        carried=carried,
        dangling=dangling,
        watermark=watermark,
        new=new,
    )


def state_of(changed: str, stamp: Stamp | None, size: int | None, pattern: Mapping[str, Any] | None) -> str:
    """Hash of what the four stores say of a document: header's and extraction's change, file's size, pattern."""
    with suppress(ValueError):  # a text that is no time is compared as it stands
        changed = moment(changed).isoformat()  # PostgreSQL and SQLite write equal times differently
    parts = json.dumps([changed, stamp, size, pattern], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def digest_of(states: Iterable[tuple[str, str]]) -> str:
    """Hash over ids and states, in order."""
    total = hashlib.sha256()
    for identifier, state in states:
        total.update(_line(identifier, state))
    return total.hexdigest()


def _line(identifier: str, state: str) -> bytes:
    return f"{identifier}\0{state}\n".encode()


def _rows(snapshot: HeaderSnapshot, stores: Stores, month: str) -> Iterator[tuple[str, str, str]]:
    for batch in snapshot.keys(month):
        for start in range(0, batch.num_rows, _IDS_A_QUESTION):
            rows = batch.slice(start, _IDS_A_QUESTION).to_pylist()
            stamps = stores.extractions.stamps([row["document_id"] for row in rows])
            sizes = stores.blobs.sizes(row["file_sha256"] for row in rows)
            stores.patterns.load(row["vendor_number"] for row in rows)
            for row in rows:
                stamp = stamps.get(row["document_id"])
                template = stamp.template if stamp else ""
                pattern = stores.patterns.get(row["vendor_number"], row["document_type"], template)
                state = state_of(row["changed"], stamp, sizes.get(row["file_sha256"]), pattern)
                yield row["document_id"], row["changed"], state


def _states(previous: Dataset | None) -> dict[str, str]:
    if previous is None:
        return {}
    return {
        row["document_id"]: "read again" if row["outcome"] == DUPLICATE else row["state"]
        for batch in previous.batches(RECORDS, columns=["document_id", "state", "outcome"])
        for row in batch.to_pylist()
    }


def _dangling(snapshot: HeaderSnapshot, extractions: Extractions, month: str, *, is_first: bool) -> Iterator[str]:
    """Extractions without header, in order: of the month by their own time, in the first month the undated too."""
    found = extractions.changed_between(*month_bounds(month))
    while batch := list(islice(found, _IDS_A_QUESTION)):
        yield from sorted(snapshot.unknown(batch))
    undated = extractions.undated() if is_first else iter(())
    while batch := list(islice(undated, _IDS_A_QUESTION)):
        yield from sorted(snapshot.unknown(batch))
