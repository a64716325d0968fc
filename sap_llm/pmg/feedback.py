"""What people said about extractions: corrections, approvals, rejections.

Belongs here: recording feedback and reading it in the order in which it was recorded. Counting it is `candidates`,
acting upon it is `learning`.

Every feedback gets a sequence number from a counter that the same transaction raises, so a reader who remembers the
last number that it saw misses nothing and sees nothing twice, however many write at once.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sap_llm.graph.client import GraphClient
from sap_llm.pmg.schema import FEEDBACK_COUNTER
from sap_llm.schema.clock import Clock
from sap_llm.schema.errors import SourceError

Kind = Literal["correction", "approval", "rejection"]
KINDS: tuple[Kind, ...] = ("correction", "approval", "rejection")
_PAGE = 2000


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """One person's word about one document's extraction.

    `corrections` maps a field (`total_amount`, `line_items[2].line_quantity`) to `{"before": ..., "after": ...}`;
    a class is corrected under the name `document_type`. `extraction_id` None means the document's newest extraction.
    """

    document_id: str
    kind: Kind
    user_id: str
    corrections: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    reason: str = ""
    extraction_id: str | None = None

    def __post_init__(self) -> None:
        """Check that what is said fits the kind; raises ValueError."""
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if (self.kind == "correction") != bool(self.corrections):
            raise ValueError("a correction names the corrected fields, other feedback does not")


@dataclass(frozen=True, kw_only=True)
class FeedbackEvent:
    """A recorded feedback as the learning loop reads it."""

    sequence: int
    id: str
    kind: Kind
    document_id: str
    document_type: str
    document_subtype: str | None
    recorded_at: datetime


_RECORD = f"""
MATCH (c:PmgCounter {{id: '{FEEDBACK_COUNTER}'}})
SET c.value = c.value + $count
WITH c.value - $count AS base
UNWIND $rows AS row
MATCH (d:Document {{id: row.document_id}})-[:EXTRACTED_TO]->(e:Extraction {{id: row.extraction_id}})
MERGE (f:Feedback {{id: row.id}})
ON CREATE SET f += row.properties, f.sequence = base + row.number
MERGE (d)-[:HAS_FEEDBACK]->(f)
MERGE (f)-[:CORRECTS]->(e)
"""

_KNOWN = """
UNWIND $rows AS row
MATCH (:Document {id: row.document_id})-[:EXTRACTED_TO]->(:Extraction {id: row.extraction_id})
RETURN DISTINCT row.id AS id
"""

_NEWEST = """
UNWIND $ids AS id
MATCH (d:Document {id: id})-[:EXTRACTED_TO]->(e:Extraction)
RETURN id, e.id AS extraction_id, e.created_at AS created_at
ORDER BY id, created_at, extraction_id
"""

_AFTER = """
MATCH (f:Feedback) WHERE f.sequence > $after
WITH f ORDER BY f.sequence LIMIT $limit
MATCH (d:Document)-[:HAS_FEEDBACK]->(f)
RETURN f.sequence AS sequence, f.id AS id, f.kind AS kind, f.recorded_at AS recorded_at,
       d.id AS document_id, d.type AS document_type, d.subtype AS document_subtype
ORDER BY sequence
"""


def record_feedback(
    graph: GraphClient, feedback: Iterable[Feedback], *, clock: Clock, batch_size: int = 500
) -> list[str]:
    """Append feedback and return its ids, in order.

    The id is derived from the content: the same person saying the same about the same extraction twice is one
    feedback, a different correction of the same document is another.

    Raises:
        SourceError: A document or extraction is not in the memory; then nothing was recorded.
    """
    entries = list(feedback)
    newest = _newest_extractions(graph, {entry.document_id for entry in entries if entry.extraction_id is None})
    now = clock.now()
    rows = [_row(entry, entry.extraction_id or newest.get(entry.document_id, ""), now) for entry in entries]
    _refuse_unknown(graph, rows)
    for start in range(0, len(rows), batch_size):
        batch = [row | {"number": number} for number, row in enumerate(rows[start : start + batch_size], start=1)]
        graph.write(_RECORD, rows=batch, count=len(batch))
    return [row["id"] for row in rows]


def feedback_after(graph: GraphClient, sequence: int, *, page_size: int = _PAGE) -> Iterator[FeedbackEvent]:
    """Every feedback with a higher sequence number, in order, fetched page by page as it is consumed."""
    while page := graph.read(_AFTER, after=sequence, limit=page_size):
        for row in page:
            yield FeedbackEvent(**row)
        sequence = page[-1]["sequence"]


def last_sequence(graph: GraphClient) -> int:
    """The sequence number of the newest feedback, 0 if there is none."""
    found = graph.read("MATCH (f:Feedback) RETURN max(f.sequence) AS sequence")
    return int(found[0]["sequence"] or 0)


def feedback_id(entry: Feedback, extraction_id: str) -> str:
    """Id of a feedback: a hash of what was said, by whom, about which extraction."""
    said = [entry.document_id, extraction_id, entry.kind, entry.user_id, entry.reason, _canonical(entry.corrections)]
    return f"fb-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]}"


def _newest_extractions(graph: GraphClient, document_ids: set[str]) -> dict[str, str]:
    if not document_ids:
        return {}
    rows = graph.read(_NEWEST, ids=sorted(document_ids))
    return {row["id"]: row["extraction_id"] for row in rows}  # the last of each document wins


def _refuse_unknown(graph: GraphClient, rows: list[dict[str, Any]]) -> None:
    asked = [{key: row[key] for key in ("id", "document_id", "extraction_id")} for row in rows]
    known = {row["id"] for row in graph.read(_KNOWN, rows=asked)}
    lost = [row for row in asked if row["id"] not in known]
    if lost:
        raise SourceError(
            f"no such document or extraction in the process memory ({len(lost)} of {len(rows)})",
            where=f"document {lost[0]['document_id']}, extraction {lost[0]['extraction_id'] or 'newest'}",
            remedy="Only processed documents can get feedback; materialise pmg_snapshot, or check the id.",
        )


def _row(entry: Feedback, extraction_id: str, now: datetime) -> dict[str, Any]:
    return {
        "id": feedback_id(entry, extraction_id),
        "document_id": entry.document_id,
        "extraction_id": extraction_id,
        "properties": {
            "kind": entry.kind,
            "user_id": entry.user_id,
            "reason": entry.reason,
            "corrections": _canonical(entry.corrections),
            "fields": sorted(entry.corrections),
            "document_id": entry.document_id,
            "extraction_id": extraction_id,
            "recorded_at": now,
        },
    }


def _canonical(corrections: Mapping[str, Mapping[str, str | None]]) -> str:
    return json.dumps({name: dict(change) for name, change in corrections.items()}, sort_keys=True, ensure_ascii=False)
