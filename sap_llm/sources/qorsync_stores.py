"""The other stores of a QorSync source: document extractions, graph patterns, files.

Belongs here: one reader a store, each with a local form (mongodump folder, folder of blobs) and a server form (MongoDB,
object storage) behind the same methods. The relational store is `qorsync_headers`, joining them `qorsync_join`, making
local ones `qorsync_seed`.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import fsspec

from sap_llm.schema.errors import SourceError
from sap_llm.sources.corpus import sha256

COLLECTION = "extractions"
DATABASE = "qorsync"
_STAT_THREADS = 16  # object stores answer one question a round trip

_PATTERNS = """
UNWIND $numbers AS number
MATCH (v:QorSyncVendor {number: number})-[s:SENDS]->(t:QorSyncTemplate)
RETURN v.number AS vendor_number, v.name AS vendor_name, v.company AS company, s.document_type AS document_type,
       t.template AS template, t.is_reserved AS is_reserved
ORDER BY vendor_number, document_type, template
"""


class SourceInterruptedError(SourceError):
    """A server went away in the middle; what was finished stays valid, so that another try is worth it."""


class Stamp(NamedTuple):
    """What is known of an extraction without reading it: its latest change (canonical JSON) and its template."""

    changed: str
    template: str


class GraphReader(Protocol):
    """What is needed of a graph client (`graph.client.GraphClient`)."""

    def read(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Rows of a Cypher query."""
        ...


class Extractions(Protocol):
    """Extraction records by document id."""

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents; those without one are left out."""
        ...

    def stamps(self, ids: Iterable[str]) -> dict[str, Stamp]:
        """Stamps of the given documents; those without a record are left out."""
        ...

    def changed_between(self, begin: datetime, end: datetime) -> Iterator[str]:
        """Ids of records that were last changed in a span of time (end excluded), in order."""
        ...

    def undated(self) -> Iterator[str]:
        """Ids of records that say no time of change, in order."""
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
        self._stamps: dict[str, Stamp] = {}
        self._moments: dict[str, datetime | None] = {}

    def __enter__(self) -> Self:
        import bson

        if not self._path.is_file():
            raise SourceError(
                "no such BSON file.", where=str(self._path), remedy="Give the folder that mongodump wrote, or seed one."
            )
        with self._path.open("rb") as stream:
            offset = 0
            try:
                for record in bson.decode_file_iter(stream, _codec()):
                    identifier = str(record["_id"])
                    if identifier not in self._offsets:
                        self._offsets[identifier] = offset
                        self._stamps[identifier] = _stamp(record)
                        self._moments[identifier] = _dated(record)
                    offset = stream.tell()
            except (bson.InvalidBSON, KeyError) as error:
                raise SourceError(
                    f"damaged BSON at byte {offset} ({error}).", where=str(self._path), remedy="Dump it again."
                ) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._offsets, self._stamps, self._moments = {}, {}, {}

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents."""
        import bson

        found: dict[str, dict[str, Any]] = {}
        with self._path.open("rb") as stream:
            for identifier in ids:
                if identifier in self._offsets:
                    stream.seek(self._offsets[identifier])
                    found[identifier] = next(iter(bson.decode_file_iter(stream, _codec())))
        return found

    def stamps(self, ids: Iterable[str]) -> dict[str, Stamp]:
        """Stamps of the given documents."""
        return {identifier: self._stamps[identifier] for identifier in ids if identifier in self._stamps}

    def changed_between(self, begin: datetime, end: datetime) -> Iterator[str]:
        """Ids of records that were last changed in a span of time."""
        return iter(sorted(name for name, moment in self._moments.items() if moment and begin <= moment < end))

    def undated(self) -> Iterator[str]:
        """Ids of records that say no time of change."""
        return iter(sorted(name for name, moment in self._moments.items() if moment is None))


class MongoExtractions:
    """Extractions in a MongoDB server: collection `extractions` of the URI's database (default `qorsync`).

    Each query is consistent by itself; there is no state that spans queries, so whoever reads checks stamps again.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: Any = None
        self._collection: Any = None

    def __enter__(self) -> Self:
        from pymongo import MongoClient

        with self._guarded():
            self._client = MongoClient(
                self._uri, serverSelectionTimeoutMS=10_000, tz_aware=True, datetime_conversion="DATETIME_AUTO"
            )
            self._client.admin.command("ping")
        self._collection = self._client.get_default_database(DATABASE)[COLLECTION]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def get(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Records of the given documents, in one query."""
        with self._guarded():
            return {str(record["_id"]): record for record in self._collection.find({"_id": {"$in": list(ids)}})}

    def stamps(self, ids: Iterable[str]) -> dict[str, Stamp]:
        """Stamps of the given documents, in one query."""
        with self._guarded():
            found = self._collection.find({"_id": {"$in": list(ids)}}, {"updated_at": 1, "template": 1})
            return {str(record["_id"]): _stamp(record) for record in found}

    def changed_between(self, begin: datetime, end: datetime) -> Iterator[str]:
        """Ids of records that were last changed in a span of time."""
        return self._ids({"updated_at": {"$gte": begin, "$lt": end}})

    def undated(self) -> Iterator[str]:
        """Ids of records that say no time of change: it is missing, or no date."""
        return self._ids({"updated_at": {"$not": {"$type": "date"}}})

    def _ids(self, query: Mapping[str, Any]) -> Iterator[str]:
        with self._guarded():
            for record in self._collection.find(query, {"_id": 1}).sort("_id", 1):
                yield str(record["_id"])

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        from pymongo.errors import AutoReconnect, PyMongoError

        try:
            yield
        except PyMongoError as error:
            kind = SourceInterruptedError if isinstance(error, AutoReconnect) else SourceError
            raise kind(
                f"the document store cannot be read ({type(error).__name__}).",
                where=without_password(self._uri),
                remedy="Is the server up and the URI right?",
            ) from error


def extended_json(record: Mapping[str, Any]) -> str:
    """A BSON record as canonical extended JSON, which keeps every type: Decimal128, dates, ObjectId, binary, int64."""
    from bson.json_util import CANONICAL_JSON_OPTIONS, dumps

    return str(dumps(record, json_options=CANONICAL_JSON_OPTIONS, ensure_ascii=False))


def _stamp(record: Mapping[str, Any]) -> Stamp:
    changed = record.get("updated_at")
    return Stamp(extended_json({"updated_at": changed}), str(record.get("template")))


def _dated(record: Mapping[str, Any]) -> datetime | None:
    changed = record.get("updated_at")
    return changed if isinstance(changed, datetime) else None


def _codec() -> Any:
    from bson.codec_options import CodecOptions, DatetimeConversion

    return CodecOptions(tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO)


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
        with self._guarded():
            try:
                content: bytes = self._filesystem.cat_file(self.path(digest))
            except FileNotFoundError:
                return None
            return content

    def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Bytes of those blobs that are there."""
        wanted = sorted({digest for digest in digests if digest})
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            return {name: size for name, size in zip(wanted, pool.map(self._size, wanted), strict=True) if size >= 0}

    def _size(self, digest: str) -> int:
        with self._guarded():
            try:
                return int(self._filesystem.info(self.path(digest))["size"])
            except FileNotFoundError:
                return -1

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceInterruptedError(
                f"the files cannot be read ({type(error).__name__}: {error}).",
                where=self._root,
                remedy="Is the storage up, and may it be read?",
            ) from error

    def put(self, content: bytes) -> str:
        """Store a blob under its sha256 and return it."""
        digest = sha256(content)
        self._filesystem.makedirs(self.path(digest).rpartition("/")[0], exist_ok=True)
        self._filesystem.pipe_file(self.path(digest), content)
        return digest


class Patterns:
    """What the graph knows of vendors and their templates, read for many vendors at a time and then kept."""

    def __init__(self, graph: GraphReader | None) -> None:
        self._graph = graph
        self._vendors: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}

    def load(self, vendor_numbers: Iterable[str]) -> None:
        """Ask for those vendors that were not asked for yet, in one query."""
        new = sorted(set(vendor_numbers) - self._vendors.keys())
        self._vendors |= {number: {} for number in new}
        if self._graph is None or not new:
            return
        for row in self._graph.read(_PATTERNS, numbers=new):
            self._vendors[row["vendor_number"]][row["document_type"], row["template"]] = row

    def get(self, vendor_number: str, document_type: str, template: str) -> dict[str, Any] | None:
        """Vendor's name, company, template and is_reserved; None if unknown, empty without a graph."""
        if self._graph is None:
            return {}
        return self._vendors.get(vendor_number, {}).get((document_type, template))


def without_password(location: str) -> str:
    """A URI for messages."""
    scheme, separator, rest = location.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else location
