"""Which kinds of documents the model gets wrong: feedback counted by type and subtype.

Belongs here: aggregate questions over feedback, answered by the graph in one query each. Reading single feedback is
`feedback`; whether to retrain is `learning.retraining`.
"""

from dataclasses import dataclass

from sap_llm.graph.client import GraphClient


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Feedback about one type and subtype. Documents are counted, so feedback given twice counts once."""

    document_type: str
    document_subtype: str | None
    reviewed: int
    corrected: int

    @property
    def error_rate(self) -> float:
        """Corrected / reviewed documents (approved, corrected or rejected); silence is not approval."""
        return self.corrected / self.reviewed if self.reviewed else 0.0


_COUNTS = """
MATCH (f:Feedback) WHERE f.sequence > $after
MATCH (d:Document)-[:HAS_FEEDBACK]->(f)
RETURN d.type AS document_type, d.subtype AS document_subtype,
       count(DISTINCT d.id) AS reviewed,
       count(DISTINCT CASE WHEN f.kind = 'correction' THEN d.id END) AS corrected
ORDER BY corrected DESC, document_type, document_subtype
"""

_SAMPLE = """
MATCH (d:Document {type: $document_type})-[:HAS_FEEDBACK]->(f:Feedback)
WHERE f.kind = 'correction' AND coalesce(d.subtype, '') = $document_subtype
RETURN f.corrections AS corrections ORDER BY f.sequence DESC LIMIT $limit
"""


def feedback_counts(graph: GraphClient, *, after: int = 0) -> list[Candidate]:
    """Counts by type and subtype, most corrected first, of feedback with a sequence number above `after`."""
    return [Candidate(**row) for row in graph.read(_COUNTS, after=after)]


def retraining_candidates(
    graph: GraphClient, *, min_corrections: int = 100, min_error_rate: float = 0.05, after: int = 0
) -> list[Candidate]:
    """Types and subtypes with more corrected documents and a higher error rate than given.

    Source of the defaults: roadmap, month 7, "Automated model retraining triggers".
    """
    counts = feedback_counts(graph, after=after)
    return [found for found in counts if found.corrected > min_corrections and found.error_rate > min_error_rate]


def sample_corrections(
    graph: GraphClient, document_type: str, document_subtype: str | None, *, limit: int = 10
) -> list[str]:
    """The newest corrections of a type and subtype, as the JSON in which they were recorded."""
    rows = graph.read(_SAMPLE, document_type=document_type, document_subtype=document_subtype or "", limit=limit)
    return [row["corrections"] for row in rows]
