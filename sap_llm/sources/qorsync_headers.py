"""The relational store of a QorSync source: months, keys and rows of its headers, at one consistent state.

Belongs here: SQL for SQLite and PostgreSQL, connections and snapshots. The columns' contract is `qorsync_records`;
which rows are wanted is `qorsync_census`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sap_llm.schema.errors import SourceError
from sap_llm.schema.tables import TIMESTAMP
from sap_llm.sources.qorsync_records import CONTRACT, HEADER, REQUIRED, typed
from sap_llm.sources.qorsync_stores import SourceInterruptedError, without_password

TABLE = "qorsync_documents"
_TIMES = {"timestamp with time zone", "timestamp without time zone", "date"}
MOST_ROWS = 65_536
"""Of one range: SQLite's driver guesses types from the first batch, which must not end before a text comes."""
_COLUMNS = {
    True: "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'qorsync_documents' "
    "AND table_schema = ANY (current_schemas(false)) ORDER BY column_name",
    False: "SELECT name AS column_name, lower(type) AS data_type FROM pragma_table_info('qorsync_documents')",
}


@dataclass(frozen=True, kw_only=True)
class MonthState:
    """How many headers a month has, and its watermark: the latest change, as the source writes it."""

    month: str
    documents: int
    latest: str


class Headers:
    """Header rows in a SQLite file or behind a `postgresql://` URI, through ADBC."""

    def __init__(self, location: str, *, first_month: str) -> None:
        """Describe the store.

        Args:
            location: SQLite file or URI.
            first_month: Month (`2025-01`) that rows without any readable time count to, so that none is lost.
        """
        self.location, self.first_month = location, first_month
        self.is_server = location.startswith(("postgresql://", "postgres://"))

    @contextmanager
    def snapshot(self, identifier: str | None = None) -> Iterator["HeaderSnapshot"]:
        """A connection that sees one state of the store until it is closed.

        Args:
            identifier: `HeaderSnapshot.identifier` of another connection, to see the same state as that one.

        Raises:
            SourceError: The store cannot be reached, or lacks the table or a column that is indispensable.
            SourceInterruptedError: The server went away.
        """
        with self.guarded():
            connection = self._connect()
        try:
            with self.guarded():
                snapshot = HeaderSnapshot(self, connection, identifier)
            yield snapshot
        finally:
            with self.guarded(is_closing=True):
                connection.close()

    def _connect(self) -> Any:
        if self.is_server:
            from adbc_driver_postgresql import dbapi as postgresql

            return postgresql.connect(self.location)
        if not Path(self.location).is_file():
            raise SourceError(
                "no such SQLite file.", where=self.location, remedy="Seed a local source, or set the profile's URI."
            )
        from adbc_driver_sqlite import dbapi as sqlite

        return sqlite.connect(self.location)

    @contextmanager
    def guarded(self, *, is_closing: bool = False) -> Iterator[None]:
        """Turn the driver's errors into ours; a lost server is told apart, because it is worth another try."""
        from adbc_driver_manager import Error, OperationalError

        where = without_password(self.location)
        try:
            yield
        except (Error, OSError) as error:
            if is_closing:
                return
            is_lost = self.is_server and (
                isinstance(error, OperationalError | OSError) or "invalid snapshot identifier" in str(error)
            )
            kind = SourceInterruptedError if is_lost else SourceError
            raise kind(
                f"the relational store cannot be read ({str(error).strip()}).",
                where=where,
                remedy=f"Check the URI, and that the table {TABLE} exists.",
            ) from error


class HeaderSnapshot:
    """One connection at one state. Not for several threads at once: open one a thread with the same identifier."""

    def __init__(self, headers: Headers, connection: Any, identifier: str | None) -> None:
        self._headers, self._connection, self._is_server = headers, connection, headers.is_server
        self.identifier = self._begin(identifier) if self._is_server else None
        self.columns = {name: str(kind) for name, kind in self._values(_COLUMNS[self._is_server])}
        self._check()

    def another(self) -> Any:
        """A further connection that sees the same state (of SQLite: the state of the file)."""
        return self._headers.snapshot(self.identifier)

    def months(self, changed_after: str | None = None) -> list[MonthState]:
        """Months with headers in order; with a watermark only those with changes after it, counting only these."""
        where = f"WHERE updated_at > {self._time(changed_after)}" if changed_after else ""
        sql = (
            f"SELECT {self._month()} AS month, COUNT(*) AS documents, CAST(MAX(updated_at) AS TEXT) AS latest "
            f"FROM {TABLE} {where} GROUP BY 1 ORDER BY 1"
        )  # names are constants, the only value is quoted
        return [
            MonthState(month=month, documents=documents, latest=str(latest))
            for month, documents, latest in self._values(sql)
        ]

    def keys(self, month: str) -> Iterator[pa.RecordBatch]:
        """Keys of a month in the store's order, with what else the census needs; `changed` is updated_at as written."""
        names = ("file_sha256", "vendor_number", "document_type")
        columns = ", ".join(f"COALESCE({self._expression(name)}, '') AS {name}" for name in names)
        sql = (
            f"SELECT {self._expression('document_id')} AS document_id, "
            f"COALESCE(CAST(updated_at AS TEXT), '') AS changed, {columns} "
            f"FROM {TABLE} AS q WHERE {self._in_month(month)} ORDER BY q.document_id"
        )
        yield from self._batches(sql)

    def rows(self, month: str, *, first: str, last: str, changed_from: str | None = None) -> Iterator[pa.RecordBatch]:
        """Headers of a month from one key to another, both ends included, as batches of `HEADER`.

        Args:
            month: `2026-03`.
            first: Lowest document id, in the store's order.
            last: Highest.
            changed_from: Only rows whose updated_at is this or later, or missing.
        """
        columns = ", ".join(f"{self._expression(name)} AS {name}" for name in CONTRACT)
        newer = f"AND (updated_at >= {self._time(changed_from)} OR updated_at IS NULL)" if changed_from else ""
        sql = (
            f"SELECT {columns}, {self._extra()} AS extra FROM {TABLE} AS q "
            f"WHERE q.document_id >= {_quoted(first)} AND q.document_id <= {_quoted(last)} "
            f"AND {self._in_month(month)} {newer} ORDER BY q.document_id"
        )
        for batch in self._batches(sql):
            yield typed(batch)

    def unknown(self, ids: Iterable[str]) -> set[str]:
        """Those of the given ids that no header has, in any month."""
        wanted = set(ids)
        if not wanted:
            return set()
        listed = ", ".join(_quoted(identifier) for identifier in sorted(wanted))
        found = self._values(f"SELECT CAST(document_id AS TEXT) FROM {TABLE} WHERE document_id IN ({listed})")
        return wanted - {identifier for (identifier,) in found}

    def _begin(self, identifier: str | None) -> str:
        self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if identifier is not None:
            self._execute(f"SET TRANSACTION SNAPSHOT {_quoted(identifier)}")
        self._execute("SET LOCAL TIME ZONE 'UTC'")
        if identifier is not None:
            return identifier
        ((exported,),) = self._values("SELECT pg_export_snapshot()")
        return str(exported)

    def _check(self) -> None:
        where = without_password(self._headers.location)
        missing = [name for name in REQUIRED if name not in self.columns]
        if missing:
            raise SourceError(
                f"the table {TABLE} is missing or lacks {', '.join(missing)}.",
                where=where,
                remedy="Nothing can be dated or joined without them: bring them back, or name a view of that name.",
            )
        timeless = [name for name in ("processed_at", "updated_at") if self.columns[name] not in _TIMES]
        if self._is_server and timeless:
            raise SourceError(
                f"{', '.join(timeless)} of {TABLE} must be TIMESTAMPTZ, and is {self.columns[timeless[0]]}.",
                where=where,
                remedy="Change the column's type: text cannot be compared as time.",
            )

    def _expression(self, name: str) -> str:
        """SQL that gives a column of the contract in a form that Arrow can take on."""
        kind = self.columns.get(name)
        if kind is None:
            return "CAST(NULL AS TEXT)"
        if HEADER.field(name).type == TIMESTAMP and kind in _TIMES and self._is_server:
            if kind == "timestamp with time zone":
                return f"q.{name}"
            return f"(CAST(q.{name} AS timestamp) AT TIME ZONE 'UTC')"
        return f"CAST(q.{name} AS TEXT)"

    def _extra(self) -> str:
        names = sorted(self.columns.keys() - set(CONTRACT))
        if not names:
            return "CAST(NULL AS TEXT)"
        if self._is_server:
            pairs = ", ".join(f"{_quoted(name)}, q.{_name(name)}" for name in names)
            return f"CAST(json_build_object({pairs}) AS TEXT)"
        value = "CASE typeof(q.{0}) WHEN 'blob' THEN hex(q.{0}) ELSE q.{0} END"
        return f"json_object({', '.join(f'{_quoted(name)}, {value.format(_name(name))}' for name in names)})"

    def _month(self) -> str:
        first = _quoted(self._headers.first_month)
        if self._is_server:
            return f"COALESCE(to_char(COALESCE(processed_at, updated_at) AT TIME ZONE 'UTC', 'YYYY-MM'), {first})"
        return f"COALESCE(strftime('%Y-%m', processed_at), strftime('%Y-%m', updated_at), {first})"

    def _in_month(self, month: str) -> str:
        if not self._is_server:
            return f"{self._month()} = {_quoted(month)}"
        begin, end = month_bounds(month)
        within = f">= {_quoted(begin.isoformat())} AND {{0}} < {_quoted(end.isoformat())}"  # so that indexes are used
        undated = " OR (processed_at IS NULL AND updated_at IS NULL)" if month == self._headers.first_month else ""
        return (
            f"((processed_at {within.format('processed_at')}) "
            f"OR (processed_at IS NULL AND updated_at {within.format('updated_at')}){undated})"
        )

    def _time(self, text: str) -> str:
        return f"CAST({_quoted(text)} AS timestamptz)" if self._is_server else _quoted(text)

    def _execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def _values(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for batch in self._batches(sql) for row in batch.to_pylist()]

    def _batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self._headers.guarded(), self._connection.cursor() as cursor:
            if not self._is_server:
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(MOST_ROWS)})
            cursor.execute(sql)
            yield from cursor.fetch_record_batch()


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """First moment of a month and of the next, in UTC."""
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return begin, end


def months_from(first: str, count: int) -> list[str]:
    """That many months in order."""
    months = [first]
    while len(months) < count:
        months.append(f"{month_bounds(months[-1])[1]:%Y-%m}")
    return months


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
