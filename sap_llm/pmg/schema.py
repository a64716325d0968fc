"""Labels, relationships, constraints and indexes of the process memory, by versioned migrations.

Belongs here: what the graph looks like and how an older graph becomes a newer one. Writing rows is `ingest` and
`feedback`.

Source: roadmap, month 7, "Neo4j Graph Schema", with ModelVersion, DatasetVersion and Vendor added. The memory is
append-only: nodes are created, never rewritten.
"""

from dataclasses import dataclass

from sap_llm.graph.client import GraphClient
from sap_llm.schema.clock import Clock
from sap_llm.schema.errors import ConfigurationError

DOCUMENT, EXTRACTION, VALIDATION, FEEDBACK = "Document", "Extraction", "Validation", "Feedback"
MODEL_VERSION, DATASET_VERSION, VENDOR = "ModelVersion", "DatasetVersion", "Vendor"

LABELS = (DOCUMENT, EXTRACTION, VALIDATION, FEEDBACK, MODEL_VERSION, DATASET_VERSION, VENDOR)
"""Every label of the memory; each node has exactly one, and a unique `id`."""

RELATIONSHIPS = {
    "EXTRACTED_TO": (DOCUMENT, EXTRACTION),
    "VALIDATED_BY": (EXTRACTION, VALIDATION),
    "HAS_FEEDBACK": (DOCUMENT, FEEDBACK),
    "CORRECTS": (FEEDBACK, EXTRACTION),
    "PRODUCED_BY": (EXTRACTION, MODEL_VERSION),
    "TRAINED_ON": (MODEL_VERSION, DATASET_VERSION),
    "EVALUATED_ON": (MODEL_VERSION, DATASET_VERSION),
    "FROM_VENDOR": (DOCUMENT, VENDOR),
}
"""Relationship type -> labels of its start and its end."""

_MIGRATION, _COUNTER = "PmgMigration", "PmgCounter"  # bookkeeping, no part of the memory
FEEDBACK_COUNTER = "feedback"


@dataclass(frozen=True)
class Migration:
    """One step of the schema; never edited once released, only followed by another."""

    version: int
    statements: tuple[str, ...]


def _unique(label: str) -> str:
    name = f"{label.lower()}_id"
    return f"CREATE CONSTRAINT {name} IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE"


MIGRATIONS = (
    Migration(1, tuple(_unique(label) for label in (*LABELS, _MIGRATION, _COUNTER))),
    Migration(
        2,
        (
            "CREATE INDEX feedback_sequence IF NOT EXISTS FOR (n:Feedback) ON (n.sequence)",
            "CREATE INDEX document_type IF NOT EXISTS FOR (n:Document) ON (n.type)",
        ),
    ),
)


def migrate(graph: GraphClient, *, clock: Clock) -> int:
    """Bring the graph to the newest schema and return its version; safe to repeat and to run from several processes.

    Raises:
        ConfigurationError: The graph is newer than this code, which does not know what it must keep true there.
    """
    found = graph.read(f"MATCH (m:{_MIGRATION}) RETURN max(m.version) AS version")
    current = int(found[0]["version"] or 0)
    if current > MIGRATIONS[-1].version:
        raise ConfigurationError(
            f"the process memory has schema {current}, this code knows {MIGRATIONS[-1].version}",
            where="graph",
            remedy="Use the sap_llm that migrated it, or a newer one; going back is not possible.",
        )
    for migration in MIGRATIONS:
        if migration.version <= current:
            continue
        for statement in migration.statements:
            graph.schema(statement)
        graph.write(
            f"MERGE (m:{_MIGRATION} {{id: $id}}) ON CREATE SET m.version = $version, m.applied_at = $now",
            id=str(migration.version),
            version=migration.version,
            now=clock.now(),
        )
    graph.write(f"MERGE (c:{_COUNTER} {{id: $id}}) ON CREATE SET c.value = 0", id=FEEDBACK_COUNTER)
    return MIGRATIONS[-1].version
