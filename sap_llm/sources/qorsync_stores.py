"""The three stores of a QorSync source and its files: relational headers, document extractions, graph patterns, blobs.

Belongs here: one reader a store, each with a local form (SQLite file, mongodump folder, folder of blobs) and a server
form (PostgreSQL, MongoDB, object storage) behind the same methods. Joining them is `qorsync`, making a local one
`qorsync_seed`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import fsspec

from sap_llm.schema.errors import SourceError
from sap_llm.sources.corpus import sha256

COLLECTION = "extractions"
DATABASE = "qorsync"

_HEADERS = """
SELECT document_id, document_type, document_subtype, language, status, vendor_number, process_number, document_number,
       CAST(total_amount AS TEXT) AS total_amount, currency, file_sha256, media_type,
       CAST(received_at AS TEXT) AS received_at
FROM qorsync_documents ORDER BY document_id
"""
_WATERMARK = "SELECT COUNT(*) AS documents, CAST(MAX(updated_at) AS TEXT) AS latest FROM qorsync_documents"
_PATTERNS = """
MATCH (v:QorSyncVendor)-[s:SENDS]->(t:QorSyncTemplate)
RETURN v.number AS vendor_number, v.name AS vendor_name, v.company AS company, s.document_type AS document_type,
       t.template AS template, t.is_reserved AS is_reserved
ORDER BY vendor_number, document_type, template
"""


PatternKey = tuple[str, str, str]  # vendor number, document type, template


class GraphReader(Protocol):
    """What is needed of a graph client (`graph.client.GraphClient`)."""

    def read(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a Cypher query."""
        ...


class Headers:
    """Header rows: a SQLite file or a `postgresql://` URI, through ADBC with one SQL for both."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._is_server = location.startswith(("postgresql://", "postgres://"))

    def rows(self) -> Iterator[dict[str, Any]]:
        """All headers in order of document id, streamed in Arrow batches.

        Raises:
            SourceError: The database cannot be opened or has no such table.
        """
        for batch in self._query(_HEADERS):
            yield from batch.to_pylist()

    def fingerprint(self) -> str:
        """Hash of the SQLite file; of a server the row count and the latest change."""
        if not self._is_server and Path(self.location).is_file():
            with Path(self.location).open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        row = next(row for batch in self._query(_WATERMARK) for row in batch.to_pylist())
        return f"{row['documents']}@{row['latest']}"

    def _query(self, sql: str) -> Iterator[Any]:
        from adbc_driver_manager import Error

        try:
            with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(sql)
                yield from cursor.fetch_record_batch()
        except Error as error:
            raise SourceError(
                f"the relational store cannot be read ({error}).",
                where=_without_password(self.location),
                remedy="Check the URI and that the table qorsync_documents exists.",
            ) from error

    def _connect(self) -> Any:
        if self._is_server:
            from adbc_driver_postgresql import dbapi as postgresql

            return postgresql.connect(self.location)
        if not Path(self.location).is_file():
            raise SourceError(
                "no such SQLite file.", where=self.location, remedy="Seed a local source, or set the profile's URI."
            )
        from adbc_driver_sqlite import dbapi as sqlite

        return sqlite.connect(self.location)


class Extractions(Protocol):
    """Extraction records by document id."""

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents; those without one are left out."""
        ...

    def ids(self) -> Iterator[str]:
        """Ids of all records."""
        ...

    def fingerprint(self) -> str:
        """Changes when the records do."""
        ...

    def __enter__(self) -> Self:
        """Open."""
        ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        ...


def open_extractions(location: str) -> Extractions:
    """Extractions in a mongodump folder or behind a `mongodb://` URI."""
    if location.startswith(("mongodb://", "mongodb+srv://")):
        return MongoExtractions(location)
    return DumpedExtractions(Path(location))


class DumpedExtractions:
    """Extractions as `mongodump` writes them: `<folder>/qorsync/extractions.bson`. Read through an index of offsets."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / DATABASE / f"{COLLECTION}.bson"
        self._offsets: dict[str, int] = {}

    def __enter__(self) -> Self:
        import bson

        if not self._path.is_file():
            raise SourceError(
                "no such BSON file.", where=str(self._path), remedy="Give the folder that mongodump wrote, or seed one."
            )
        with self._path.open("rb") as stream:
            offset = 0
            try:
                for record in bson.decode_file_iter(stream):
                    self._offsets.setdefault(str(record["_id"]), offset)
                    offset = stream.tell()
            except (bson.InvalidBSON, KeyError) as error:
                raise SourceError(
                    f"damaged BSON at byte {offset} ({error}).", where=str(self._path), remedy="Dump it again."
                ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._offsets = {}

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents."""
        import bson

        found: dict[str, dict[str, Any]] = {}
        with self._path.open("rb") as stream:
            for identifier in ids:
                if identifier in self._offsets:
                    stream.seek(self._offsets[identifier])
                    found[identifier] = next(iter(bson.decode_file_iter(stream)))
        return found

    def ids(self) -> Iterator[str]:
        """Ids in the order of the dump."""
        yield from self._offsets

    def fingerprint(self) -> str:
        """Hash of the dump."""
        with self._path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


class MongoExtractions:
    """Extractions in a MongoDB server: collection `extractions` of the URI's database (default `qorsync`)."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: Any = None
        self._collection: Any = None

    def __enter__(self) -> Self:
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        try:
            self._client = MongoClient(self._uri, serverSelectionTimeoutMS=10_000, tz_aware=False)
            self._client.admin.command("ping")
        except PyMongoError as error:
            raise SourceError(
                f"the document store cannot be reached ({type(error).__name__}).",
                where=_without_password(self._uri),
                remedy="Is the server up and the URI right?",
            ) from error
        self._collection = self._client.get_default_database(DATABASE)[COLLECTION]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents, in one query."""
        return {str(record["_id"]): record for record in self._collection.find({"_id": {"$in": list(ids)}})}

    def ids(self) -> Iterator[str]:
        """Ids in order."""
        for record in self._collection.find({}, {"_id": 1}).sort("_id", 1):
            yield str(record["_id"])

    def fingerprint(self) -> str:
        """Record count and latest change."""
        newest = self._collection.find({}, {"updated_at": 1}).sort("updated_at", -1).limit(1)
        latest: dict[str, Any] = next(iter(newest), {})
        return f"{self._collection.count_documents({})}@{latest.get('updated_at')}"


class Blobs:
    """Files by sha256 in a folder or under an fsspec URL: `<root>/<first two digits>/<sha256>`."""

    def __init__(self, location: str) -> None:
        self._filesystem, root = fsspec.core.url_to_fs(location)
        self._root = root.rstrip("/")

    def path(self, digest: str) -> str:
        """Where a blob lies."""
        return f"{self._root}/{digest[:2]}/{digest}"

    def get(self, digest: str) -> bytes | None:
        """The blob, or None if it is missing; whether its bytes fit the name is the caller's check."""
        try:
            content: bytes = self._filesystem.cat_file(self.path(digest))
        except FileNotFoundError:
            return None
        return content

    def fingerprint(self) -> str:
        """Hash over names and sizes."""
        found = self._filesystem.find(self._root, detail=True) if self._filesystem.exists(self._root) else {}
        names = sorted((path.rpartition("/")[2], entry["size"]) for path, entry in found.items())
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def put(self, content: bytes) -> str:
        """Store a blob under its sha256 and return it."""
        digest = sha256(content)
        self._filesystem.makedirs(self.path(digest).rpartition("/")[0], exist_ok=True)
        self._filesystem.pipe_file(self.path(digest), content)
        return digest


def read_patterns(graph: GraphReader) -> dict[PatternKey, dict[str, Any]]:
    """What the graph knows by vendor number, document type and template: vendor's name, company, is_reserved."""
    return {(row["vendor_number"], row["document_type"], row["template"]): row for row in graph.read(_PATTERNS)}


def patterns_fingerprint(patterns: Mapping[PatternKey, Mapping[str, Any]]) -> str:
    """Hash over all patterns."""
    rows = [dict(row) for _, row in sorted(patterns.items())]
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()


def _without_password(location: str) -> str:
    scheme, separator, rest = location.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else location
