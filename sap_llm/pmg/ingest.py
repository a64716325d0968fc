"""Remembering processed documents: append-only batches into the graph.

Belongs here: what a document, an extraction, its validation and a model look like as nodes, and writing them. Vectors
are `vectors`, feedback is `feedback`.

Ids come from the content, so writing the same thing again adds nothing, while another model's reading of the same
document adds an extraction beside the first.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sap_llm.graph.client import GraphClient
from sap_llm.pmg.validation import RULES_VERSION, Validation
from sap_llm.schema.clock import Clock
from sap_llm.schema.manifest import DatasetRef, Manifest

BATCH_SIZE = 1000
_DOCUMENT_PROPERTIES = ("language", "source", "role", "vendor", "sha256", "page_count", "split_group", "event_time")


@dataclass(frozen=True, kw_only=True)
class Processed:
    """One document with what a model extracted from it and what the rules said."""

    document: Mapping[str, Any]  # row of tables.DOCUMENTS
    prediction: Mapping[str, Any]  # row of tables.ANNOTATIONS
    validation: Validation
    model: DatasetRef


_REMEMBER = """
UNWIND $rows AS row
MERGE (d:Document {id: row.document_id}) ON CREATE SET d += row.document
MERGE (e:Extraction {id: row.extraction_id}) ON CREATE SET e += row.extraction
MERGE (v:Validation {id: row.validation_id}) ON CREATE SET v += row.validation
MERGE (m:ModelVersion {id: row.model})
MERGE (d)-[:EXTRACTED_TO]->(e)
MERGE (e)-[:VALIDATED_BY]->(v)
MERGE (e)-[:PRODUCED_BY]->(m)
"""

_VENDORS = """
UNWIND $rows AS row
MATCH (d:Document {id: row.document_id})
MERGE (n:Vendor {id: row.vendor})
MERGE (d)-[:FROM_VENDOR]->(n)
"""

_MODEL = """
MERGE (m:ModelVersion {id: $id}) ON CREATE SET m += $properties
WITH m
UNWIND $trained_on AS trained
MERGE (t:DatasetVersion {id: trained})
MERGE (m)-[:TRAINED_ON]->(t)
"""

_EVALUATED = """
MATCH (m:ModelVersion {id: $model})
MERGE (t:DatasetVersion {id: $evaluation})
MERGE (m)-[:EVALUATED_ON]->(t)
SET t.is_remembered = true
"""


def remember_model(graph: GraphClient, manifest: Manifest, *, clock: Clock) -> None:
    """Remember a model version and what it was trained on, before the documents that it read.

    Args:
        graph: The memory.
        manifest: Of the `multitask_model` dataset.
        clock: For the time of the node's creation.
    """
    properties = {
        "name": manifest.name,
        "release": manifest.name.partition("/")[2],
        "data_version": manifest.data_version,
        "code_version": manifest.code_version,
        "trained_at": manifest.created_at,
        "created_at": clock.now(),
    }
    trained_on = sorted(str(ref) for ref in manifest.inputs.values())
    graph.write(_MODEL, id=str(manifest.ref), properties=properties, trained_on=trained_on)


def remember(graph: GraphClient, processed: Iterable[Processed], *, clock: Clock, batch_size: int = BATCH_SIZE) -> int:
    """Append documents with their extractions and validations; return how many were given.

    Args:
        graph: The memory, migrated.
        processed: What to remember, streamed in batches.
        clock: For the time of the nodes' creation.
        batch_size: Documents a transaction.
    """
    now = clock.now()
    count, batch = 0, []
    for entry in processed:
        batch.append(_row(entry, now))
        if len(batch) == batch_size:
            count += _write(graph, batch)
            batch = []
    return count + (_write(graph, batch) if batch else 0)


def mark_remembered(graph: GraphClient, *, model: DatasetRef, evaluation: DatasetRef) -> None:
    """Note that every document of an evaluation is in the memory."""
    graph.write(_EVALUATED, model=str(model), evaluation=str(evaluation))


def is_remembered(graph: GraphClient, evaluation: DatasetRef) -> bool:
    """Whether `mark_remembered` was reached for an evaluation."""
    found = graph.read("MATCH (t:DatasetVersion {id: $id}) RETURN t.is_remembered AS is_remembered", id=str(evaluation))
    return bool(found and found[0]["is_remembered"])


def extraction_content(prediction: Mapping[str, Any]) -> str:
    """What a model extracted, as canonical JSON: class, header fields and lines with value, place and confidence."""
    return json.dumps(
        {
            "document_type": prediction["document_type"],
            "document_subtype": prediction["document_subtype"],
            "type_confidence": round(prediction["type_confidence"], 4),
            "fields": [_field(field) for field in prediction["fields"]],
            "line_items": [
                {"line_number": item["line_number"], "fields": [_field(field) for field in item["fields"]]}
                for item in prediction["line_items"]
            ],
        },
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )


def extraction_id(document_id: str, model: DatasetRef, content: str) -> str:
    """Id of what one model version extracted from one document."""
    return f"ex-{_digest(document_id, str(model), content)}"


def _write(graph: GraphClient, batch: list[dict[str, Any]]) -> int:
    graph.write(_REMEMBER, rows=batch)
    vendors = [
        {"document_id": row["document_id"], "vendor": row["document"]["vendor"]}
        for row in batch
        if row["document"].get("vendor")
    ]
    if vendors:
        graph.write(_VENDORS, rows=vendors)
    return len(batch)


def _row(entry: Processed, now: datetime) -> dict[str, Any]:
    document, prediction = entry.document, entry.prediction
    content = extraction_content(prediction)
    extraction = extraction_id(document["document_id"], entry.model, content)
    rules, errors = json.dumps(entry.validation.rules), json.dumps(entry.validation.errors, ensure_ascii=False)
    confidences = [field["confidence"] for field in prediction["fields"]]
    return {
        "document_id": document["document_id"],
        "document": {
            "type": document["document_type"],
            "subtype": document["document_subtype"],
            "created_at": now,
            **{name: _plain(document.get(name)) for name in _DOCUMENT_PROPERTIES},
        },
        "extraction_id": extraction,
        "extraction": {
            "document_id": document["document_id"],
            "document_type": prediction["document_type"],
            "document_subtype": prediction["document_subtype"],
            "type_confidence": round(prediction["type_confidence"], 4),
            "confidence": round(sum(confidences) / len(confidences), 4) if confidences else 0.0,
            "content": content,
            "created_at": now,
        },
        "validation_id": f"va-{_digest(extraction, RULES_VERSION, rules, errors)}",
        "validation": {
            "extraction_id": extraction,
            "rules_version": RULES_VERSION,
            "rules": rules,
            "errors": errors,
            "passed": entry.validation.passed,
            "created_at": now,
        },
        "model": str(entry.model),
    }


def _plain(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value  # Arrow names the zone, engines differ there


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    box = field["box"]
    return {
        "field": field["field"],
        "value": field["value"],
        "printed": field["printed"],
        "page": field["page"],
        "box": None if box is None else [round(edge, 1) for edge in box],
        "confidence": round(field["confidence"], 4),
    }


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
