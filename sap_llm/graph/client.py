"""`GraphClient`: Cypher over Bolt, the same for Neo4j and for the local engine.

Belongs here: sessions, retries, batching and turning the driver's values into plain Python. Starting an engine is
`local_engine`; queries belong to the room that asks them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sap_llm.schema.errors import SourceError

if TYPE_CHECKING:
    from neo4j import Driver, ManagedTransaction

Result = TypeVar("Result")

_RETRY_SECONDS = 15.0  # lost connections and deadlocks are retried by the driver for this long


class GraphClient:
    """One connection pool to one graph database; a context manager, safe to share between threads.

    Connects at the first query, not at construction.
    """

    def __init__(
        self,
        uri: str,
        *,
        user: str = "neo4j",
        password: str = "",
        database: str | None = None,
    ) -> None:
        """Describe the connection.

        Args:
            uri: `bolt://host:port` or `neo4j://host:port`.
            user: Name to log in with.
            password: Its password.
            database: Database of the server; None is the server's default.
        """
        self.uri, self.user, self.database = uri, user, database
        self.retry_seconds = _RETRY_SECONDS
        self._password = password
        self._driver: Driver | None = None

    def read(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query that changes nothing and return its rows; nodes and relationships become dicts.

        Times in parameters must be in UTC: Neo4j keeps a zone and orders equal moments by it.

        Raises:
            SourceError: The server cannot be reached or refuses the login.
        """
        return self._run(query, parameters, is_write=False)

    def write(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query in one write transaction and return its rows.

        The driver may run it again after a lost connection, so it should be idempotent (MERGE on an id).

        Raises:
            SourceError: The server cannot be reached or refuses the login.
            neo4j.exceptions.ConstraintError: The write would break a constraint.
        """
        return self._run(query, parameters, is_write=True)

    def write_rows(
        self,
        query: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        batch_size: int = 1000,
        **parameters: Any,
    ) -> int:
        """Run `query` over batches of `rows`, one transaction a batch, and return the number of rows.

        Args:
            query: Cypher that starts with `UNWIND $rows AS row`.
            rows: Mappings of plain values.
            batch_size: Rows a transaction.
            parameters: Further parameters, the same in every batch.
        """
        count = 0
        for batch in _batches(rows, batch_size):
            self.write(query, rows=batch, **parameters)
            count += len(batch)
        return count

    def schema(self, statement: str) -> None:
        """Run one schema statement (CREATE CONSTRAINT, CREATE INDEX) in a transaction of its own."""

        def execute(driver: "Driver") -> None:
            with driver.session(database=self.database) as session:
                session.run(statement).consume()

        self._guarded(execute)

    def ping(self) -> None:
        """Reach the server and log in.

        Raises:
            SourceError: The server cannot be reached or refuses the login.
        """
        self.read("RETURN 1 AS one")

    def close(self) -> None:
        """Close all connections; a later query opens them again."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, query: str, parameters: Mapping[str, Any], *, is_write: bool) -> list[dict[str, Any]]:
        def work(transaction: "ManagedTransaction") -> list[dict[str, Any]]:
            result = transaction.run(query, dict(parameters))
            return [{key: plain(value) for key, value in record.items()} for record in result]

        def execute(driver: "Driver") -> list[dict[str, Any]]:
            with driver.session(database=self.database) as session:
                return session.execute_write(work) if is_write else session.execute_read(work)

        return self._guarded(execute)

    def _guarded(self, execute: "Callable[[Driver], Result]") -> Result:
        from neo4j.exceptions import AuthError, ServiceUnavailable, SessionExpired

        try:
            return execute(self._connected())
        except AuthError as error:
            raise SourceError(
                "the graph refuses the login",
                where=self.uri,
                remedy="Check graph_user and graph_password.",
            ) from error
        except (ServiceUnavailable, SessionExpired) as error:
            raise SourceError(
                f"the graph cannot be reached ({' '.join(str(error).split())})",
                where=self.uri,
                remedy="Is the server up and the URI right?",
            ) from error

    def _connected(self) -> "Driver":
        if self._driver is None:
            from neo4j import GraphDatabase

            self._driver = GraphDatabase.driver(
                self.uri,
                auth=(self.user, self._password),
                max_transaction_retry_time=self.retry_seconds,
                notifications_min_severity="OFF",  # hints about labels that do not exist yet are no news
                user_agent="sap-llm",
            )
        return self._driver


def plain(value: Any) -> Any:
    """Turn a driver's value into plain Python: nodes and relationships to dicts, times to aware `datetime` in UTC.

    The local engine keeps a moment and forgets its zone; so times without one are UTC.
    """
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if hasattr(value, "to_native"):  # neo4j.time
        native = value.to_native()
        if not isinstance(native, datetime):
            return native
        return native.replace(tzinfo=UTC) if native.tzinfo is None else native.astimezone(UTC)
    if hasattr(value, "element_id"):  # Node, Relationship
        return {key: plain(item) for key, item in value.items()}
    return value


def _batches(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(rows)
    while batch := [dict(row) for row in islice(iterator, size)]:
        yield batch
