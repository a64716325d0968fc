"""Arrow schemas of the work of people: what they are asked about, and what they answered beside the annotation itself.

Belongs here: the tables that selection, desk, agreement and reports of `annotation` share. The annotation that an
answer brings is a row of `tables.ANNOTATIONS` with source `human`; both have the same key.
"""

import pyarrow as pa

from sap_llm.schema.tables import TIMESTAMP

QUEUES: tuple[str, ...] = ("annotators", "experts", "qa_lead", "seniors")
"""Who is asked. Seniors arbitrate where the others disagree."""

PURPOSES: tuple[str, ...] = ("flagged", "active", "qa_sample", "expert_sample", "disagreement")
"""Why a document was chosen: low confidence, most to learn from, random control, stratified review, arbitration."""

TASKS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),  # dataset that holds pages and blobs
        pa.field("queue", pa.string(), nullable=False),  # one of QUEUES
        pa.field("purpose", pa.string(), nullable=False),  # one of PURPOSES
        pa.field("annotators", pa.int8(), nullable=False),  # independent answers that are wanted
        pa.field("priority", pa.float64(), nullable=False),  # higher is asked first
    ]
)
"""Table `tasks` of `annotation_tasks`; key (document_id, queue)."""

ANSWERS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),  # person's id, as in the annotation
        pa.field("revision", pa.int32(), nullable=False),
        pa.field("queue", pa.string(), nullable=False),  # one of QUEUES
        pa.field("desk_id", pa.string(), nullable=False),  # of the answer where it was given
        pa.field("lead_seconds", pa.float64()),  # time spent; null where the desk does not tell
        pa.field("created_at", TIMESTAMP, nullable=False),
        pa.field("why", pa.string()),  # reason of an arbitration; null elsewhere
        pa.field("decides_on", pa.list_(pa.string()), nullable=False),  # desk ids that an arbitration decides on
    ]
)
"""Table `answers` of `human_annotations`, a row for each annotation; key (document_id, annotator, revision)."""

DISAGREEMENTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("differs_on", pa.list_(pa.string()), nullable=False),  # document_type, document_subtype, field names
        pa.field("annotators", pa.list_(pa.string()), nullable=False),  # who answered, in order of the desk ids
        pa.field("desk_ids", pa.list_(pa.string()), nullable=False),  # answers that an arbitration has to decide on
        pa.field("is_reopened", pa.bool_(), nullable=False),  # an arbitration stands, a later answer contradicts it
    ]
)
"""Documents that a senior has to decide, a row each; they become rows of `TASKS`."""

DESK_RECORDS = pa.schema(
    [
        pa.field("desk_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string()),  # null where the answer names no document of ours
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("email", pa.string()),
        pa.field("revision", pa.int32()),  # of the annotation that it became
        pa.field("outcome", pa.string(), nullable=False),  # taken | deleted | the reason in quarantine
        pa.field("lead_seconds", pa.float64()),
        pa.field("created_at", TIMESTAMP, nullable=False),  # first given, by the desk's clock
        pa.field("updated_at", TIMESTAMP, nullable=False),  # last changed, by the desk's clock
        pa.field("corpus", pa.string(), nullable=False),  # name@version that the task was made from
        pa.field("payload", pa.string(), nullable=False),  # the answer as it was given, canonical JSON
    ]
)
"""Table `records` of `human_annotations`: everything that the desk ever said, whatever became of it."""
