"""Stage 09: what a release taught the memory, and the memory frozen as a dataset.

Belongs here: remembering the evaluated documents of a release in graph and vectors, and exporting the graph. Single
writes are `ingest`, `feedback` and `vectors`.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from sap_llm.graph.client import GraphClient
from sap_llm.pmg.feedback import last_sequence
from sap_llm.pmg.ingest import Processed, is_remembered, mark_remembered, remember, remember_model
from sap_llm.pmg.schema import LABELS, RELATIONSHIPS, migrate
from sap_llm.pmg.validation import Extracted, validate
from sap_llm.pmg.vectors import DocumentVectors
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

STAGE_VERSION = "1"

NODES = pa.schema(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("properties", pa.string(), nullable=False),  # JSON with sorted keys, times ISO 8601 in UTC
    ]
)
EDGES = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("from_id", pa.string(), nullable=False),
        pa.field("to_id", pa.string(), nullable=False),
    ]
)
VECTORS = pa.schema(
    [
        pa.field("collection", pa.string(), nullable=False),
        pa.field("points", pa.int64(), nullable=False),
        pa.field("dimension", pa.int32(), nullable=False),
    ]
)


class PmgSnapshotConfig(StageConfig):
    """`configs/<profile>/pmg_snapshot.yaml`: how a release is remembered."""

    batch_size: int = Field(ge=1, description="documents a graph transaction, rows an export page")
    required_fields: dict[str, list[str]] = Field(description="document class -> header fields that it must have")


def build_pmg_snapshot(
    context: StageContext,
    *,
    config: PmgSnapshotConfig,
    graph: GraphClient,
    vectors: "QdrantClient",
    model: DatasetRef,
    evaluation: DatasetRef,
    release: str,
) -> BuildResult:
    """Remember the evaluated documents of a release, then freeze the whole memory as `pmg_snapshot/<release>`.

    Remembering is repeated when the graph or the vectors lost it; the snapshot is made again when feedback was added.

    Args:
        context: Store, clock and progress.
        config: Batch size and required fields.
        graph: The memory; connects here.
        vectors: Qdrant client; stays open.
        model: `multitask_model/<release>`.
        evaluation: `model_evaluation/<release>` with tables `documents`, `predictions` and `embeddings`.
        release: Release name.

    Returns:
        Tables `nodes`, `edges` and `vectors`; metrics: documents, extractions, validations, feedback, models, datasets,
        vendors, edges, vectors, valid_share (share of validations that passed).

    Raises:
        SourceError: The graph cannot be reached.
        DatasetNotFoundError: An input is not complete.
    """
    migrate(graph, clock=context.clock)
    memory = DocumentVectors(vectors, embedding_version=str(model))
    evaluated = context.store.open(evaluation)
    if not is_remembered(graph, evaluation) or not memory.count():
        _remember_release(context, graph, memory, config=config, model=model, evaluated=evaluated)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        context.progress("exporting the process memory")
        writer.write_table("nodes", _nodes(graph, config.batch_size), NODES)
        writer.write_table("edges", _edges(graph, config.batch_size), EDGES)
        points = memory.count()
        dimension = _dimension(evaluated)
        row = {"collection": memory.collection, "points": points, "dimension": dimension}
        writer.write_table("vectors", pa.Table.from_pylist([row], schema=VECTORS), VECTORS)
        return _metrics(graph) | {"edges": writer.rows["edges"], "vectors": points}

    return build(
        context,
        name=f"pmg_snapshot/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={"multitask_model": model, "model_evaluation": evaluation},
        fingerprint={"feedback": str(last_sequence(graph))},
        produce=produce,
    )


def _remember_release(
    context: StageContext,
    graph: GraphClient,
    memory: DocumentVectors,
    *,
    config: PmgSnapshotConfig,
    model: DatasetRef,
    evaluated: Dataset,
) -> None:
    documents = {row["document_id"]: row for row in evaluated.table("documents").to_pylist()}
    remember_model(graph, context.store.open(model).manifest, clock=context.clock)
    total = evaluated.manifest.rows["predictions"]

    def processed() -> Iterator[Processed]:
        done = 0
        for batch in evaluated.batches("predictions"):
            for prediction in batch.to_pylist():
                done += 1
                if done % config.batch_size == 0:
                    context.progress("remembering documents", done=done, total=total)
                yield Processed(
                    document=documents[prediction["document_id"]],
                    prediction=prediction,
                    validation=validate(Extracted.from_row(prediction), required=config.required_fields),
                    model=model,
                )

    remember(graph, processed(), clock=context.clock, batch_size=config.batch_size)
    if evaluated.has_table("embeddings"):
        found = evaluated.table("embeddings").to_pylist()
        memory.upsert([documents[row["document_id"]] for row in found], [row["vector"] for row in found])
    mark_remembered(graph, model=model, evaluation=evaluated.ref)


def _dimension(evaluated: Dataset) -> int:
    if not evaluated.has_table("embeddings"):
        return 0
    first = evaluated.scan("embeddings").head(1).column("vector").to_pylist()
    return len(first[0]) if first else 0


def _nodes(graph: GraphClient, page_size: int) -> Iterator[pa.Table]:
    for label in LABELS:
        query = (
            f"MATCH (n:{label}) WHERE n.id > $after RETURN n.id AS id, properties(n) AS properties "
            "ORDER BY id LIMIT $limit"
        )
        after = ""
        while page := graph.read(query, after=after, limit=page_size):
            rows = [{"label": label, "id": row["id"], "properties": _json(row["properties"])} for row in page]
            yield pa.Table.from_pylist(rows, schema=NODES)
            after = page[-1]["id"]


def _edges(graph: GraphClient, page_size: int) -> Iterator[pa.Table]:
    for kind, (start, end) in RELATIONSHIPS.items():
        query = (
            f"MATCH (a:{start}) WHERE a.id > $after WITH a ORDER BY a.id LIMIT $limit "
            f"OPTIONAL MATCH (a)-[:{kind}]->(b:{end}) RETURN a.id AS from_id, b.id AS to_id ORDER BY from_id, to_id"
        )
        after = ""
        while page := graph.read(query, after=after, limit=page_size):
            rows = [{"kind": kind, **row} for row in page if row["to_id"] is not None]
            if rows:
                yield pa.Table.from_pylist(rows, schema=EDGES)
            after = page[-1]["from_id"]


def _metrics(graph: GraphClient) -> dict[str, Any]:
    names = {
        "documents": "Document",
        "extractions": "Extraction",
        "validations": "Validation",
        "feedback": "Feedback",
        "models": "ModelVersion",
        "datasets": "DatasetVersion",
        "vendors": "Vendor",
    }
    counts: dict[str, Any] = {
        name: graph.read(f"MATCH (n:{label}) RETURN count(n) AS n")[0]["n"] for name, label in names.items()
    }
    passed = graph.read("MATCH (v:Validation) WHERE v.passed RETURN count(v) AS n")[0]["n"]
    counts["valid_share"] = round(passed / counts["validations"], 4) if counts["validations"] else 0.0
    return counts


def _json(properties: Mapping[str, Any]) -> str:
    return json.dumps(properties, sort_keys=True, ensure_ascii=False, default=_moment)


def _moment(value: Any) -> str:
    assert isinstance(value, datetime), f"{type(value)} in a node"
    return value.isoformat(timespec="microseconds")
