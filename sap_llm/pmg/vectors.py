"""Vectors of remembered documents in Qdrant, local mode or server: which past documents look like this one.

Belongs here: one collection per version of the embedding, with type, language and vendor for filtering. Computing
vectors is `modeling`; what happened to a document is in the graph.
"""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

_PREFIX = "documents"
_FILTERS = ("document_type", "document_subtype", "language", "vendor")
_NAMESPACE = uuid.UUID("6f6d5b0c-7f0e-4d7e-9c59-2f1f0c8d3a11")
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Similar:
    """One hit: a remembered document and its cosine similarity, 1 is the same direction."""

    document_id: str
    score: float
    document_type: str | None
    vendor: str | None


class DocumentVectors:
    """The vectors of one embedding version. Vectors of different versions are never compared."""

    def __init__(self, client: "QdrantClient", *, embedding_version: str) -> None:
        self.client = client
        self.collection = f"{_PREFIX}_{re.sub(r'[^A-Za-z0-9_-]', '-', embedding_version)}"

    def upsert(
        self, rows: Iterable[Mapping[str, Any]], vectors: Sequence[Sequence[float]], *, batch_size: int = _BATCH
    ) -> int:
        """Store vectors; the same document again replaces its point. Returns the number of rows.

        Args:
            rows: Rows of `tables.DOCUMENTS`, one for each vector.
            vectors: Equally long vectors in the same order.
            batch_size: Points a request.
        """
        from qdrant_client.models import Distance, PointStruct, VectorParams

        points = [
            PointStruct(id=_point(row["document_id"]), vector=list(vector), payload=_payload(row))
            for row, vector in zip(rows, vectors, strict=True)
        ]
        if not points:
            return 0
        if not self.client.collection_exists(self.collection):
            size = len(vectors[0])
            self.client.create_collection(
                self.collection, vectors_config=VectorParams(size=size, distance=Distance.COSINE)
            )
        for start in range(0, len(points), batch_size):
            self.client.upsert(self.collection, points[start : start + batch_size], wait=True)
        return len(points)

    def similar(self, vector: Sequence[float], *, limit: int = 5, **filters: str | None) -> list[Similar]:
        """The nearest remembered documents, best first.

        Args:
            vector: Query of the collection's dimension.
            limit: Most hits to return.
            filters: `document_type`, `document_subtype`, `language`, `vendor`; None filters nothing.
        """
        if not self.client.collection_exists(self.collection):
            return []
        found = self.client.query_points(
            self.collection, query=list(vector), query_filter=_filter(filters), limit=limit, with_payload=True
        )
        return [_hit(point.payload or {}, point.score) for point in found.points]

    def count(self) -> int:
        """Number of documents with a vector."""
        if not self.client.collection_exists(self.collection):
            return 0
        return int(self.client.count(self.collection, exact=True).count)


def _filter(wanted: Mapping[str, str | None]) -> Any:
    from qdrant_client.models import FieldCondition, Filter, MatchValue

    unknown = set(wanted) - set(_FILTERS)
    if unknown:
        raise ValueError(f"no filter {', '.join(sorted(unknown))}; known: {', '.join(_FILTERS)}")
    conditions = [
        FieldCondition(key=name, match=MatchValue(value=value)) for name, value in wanted.items() if value is not None
    ]
    return Filter(must=list(conditions)) if conditions else None


def _payload(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"document_id": row["document_id"], **{name: row.get(name) for name in _FILTERS}}


def _hit(payload: Mapping[str, Any], score: float) -> Similar:
    return Similar(
        document_id=payload["document_id"],
        score=score,
        document_type=payload.get("document_type"),
        vendor=payload.get("vendor"),
    )


def _point(document_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, document_id))
