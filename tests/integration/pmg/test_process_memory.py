"""The process memory on both engines: append-only, counted right, frozen as a dataset."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from qdrant_client import QdrantClient

from sap_llm.graph.client import GraphClient
from sap_llm.learning.retraining import RetrainingConfig, look
from sap_llm.pmg.candidates import feedback_counts, retraining_candidates, sample_corrections
from sap_llm.pmg.feedback import Feedback, feedback_after, last_sequence, record_feedback
from sap_llm.pmg.ingest import Processed, remember
from sap_llm.pmg.schema import LABELS, MIGRATIONS, migrate
from sap_llm.pmg.snapshot import PmgSnapshotConfig, build_pmg_snapshot
from sap_llm.pmg.validation import Extracted, validate
from sap_llm.pmg.vectors import DocumentVectors
from sap_llm.rlhf.stage import PreferencePairsConfig, build_preference_pairs
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS, DOCUMENTS, conform
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[3] / "configs"
CLOCK = FrozenClock(datetime(2026, 11, 24, 12, 0, 0, 250000, tzinfo=UTC))
MODEL = DatasetRef(name="multitask_model/r1", version="aaaa")
OTHER_MODEL = DatasetRef(name="multitask_model/r2", version="bbbb")
CONFIG = PmgSnapshotConfig(batch_size=7, required_fields={"SUPPLIER_INVOICE": ["document_number", "total_amount"]})
EMBEDDINGS = pa.schema(
    [pa.field("document_id", pa.string(), nullable=False), pa.field("vector", pa.list_(pa.float32()))]
)
SUBTYPES = ("STANDARD", "FRAMEWORK", None)


def document(number: int) -> dict[str, Any]:
    return {
        "document_id": f"doc-{number:03}",
        "source": "synthetic",
        "role": "train",
        "document_type": "SUPPLIER_INVOICE" if number % 2 else "PURCHASE_ORDER",
        "document_subtype": SUBTYPES[number % 3],
        "language": "de",
        "page_count": 1,
        "quality": 1.0,
        "sha256": f"{number:064}",
        "media_type": "application/pdf",
        "vendor": f"vendor {number % 4}",
        "is_test_layout": True,
        "split_group": "w1",
        "event_time": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
    }


def prediction(number: int, total: str = "119.00") -> dict[str, Any]:
    values = {"document_number": f"R-{number}", "net_amount": "100.00", "tax_amount": "19.00", "total_amount": total}
    fields = [
        {
            "field": name,
            "value": value,
            "printed": value,
            "page": 1,
            "box": [1.0, 2.0, 3.0, 4.0],
            "word_ids": [1],
            "confidence": 0.9,
            "source": "model",
        }
        for name, value in values.items()
    ]
    return {
        "document_id": f"doc-{number:03}",
        "annotator": "model:r1",
        "revision": 0,
        "source": "model",
        "created_at": CLOCK.now(),
        "document_type": document(number)["document_type"],
        "document_subtype": document(number)["document_subtype"],
        "type_confidence": 0.95,
        "fields": fields,
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }


def processed(numbers: range, model: DatasetRef = MODEL, total: str = "119.00") -> Iterator[Processed]:
    for number in numbers:
        row = prediction(number, total)
        yield Processed(
            document=document(number),
            prediction=row,
            validation=validate(Extracted.from_row(row), required=CONFIG.required_fields),
            model=model,
        )


def correction(number: int, after: str = "120.00", user: str = "ana") -> Feedback:
    return Feedback(
        document_id=f"doc-{number:03}",
        kind="correction",
        user_id=user,
        corrections={"total_amount": {"before": "119.00", "after": after}},
        reason="freight missing",
    )


def count(graph: GraphClient, pattern: str) -> int:
    return int(graph.read(f"MATCH {pattern} RETURN count(*) AS n")[0]["n"])


@pytest.fixture
def memory(graph: GraphClient) -> GraphClient:
    migrate(graph, clock=CLOCK)
    return graph


def test_migrations_apply_once(memory: GraphClient) -> None:
    assert migrate(memory, clock=CLOCK) == MIGRATIONS[-1].version
    assert count(memory, "(m:PmgMigration)") == len(MIGRATIONS)
    assert count(memory, "(c:PmgCounter)") == 1


def test_a_graph_of_a_newer_version_is_refused(memory: GraphClient) -> None:
    """An older program would write without what the newer one keeps true."""
    memory.write("CREATE (:PmgMigration {id: '999', version: 999})")

    with pytest.raises(ConfigurationError, match="schema 999"):
        migrate(memory, clock=CLOCK)


def test_remembering_again_adds_nothing_and_another_model_adds_an_extraction(memory: GraphClient) -> None:
    for _ in range(2):
        assert remember(memory, processed(range(20)), clock=CLOCK, batch_size=6) == 20
    for label, expected in (("Document", 20), ("Extraction", 20), ("Validation", 20), ("Vendor", 4)):
        assert count(memory, f"(n:{label})") == expected
    remember(memory, processed(range(20), OTHER_MODEL), clock=CLOCK)
    remember(memory, processed(range(5), MODEL, total="118.00"), clock=CLOCK)
    assert count(memory, "(n:Document)") == 20
    assert count(memory, "(:Document)-[:EXTRACTED_TO]->(:Extraction)") == 45
    assert count(memory, "(:Extraction)-[:PRODUCED_BY]->(:ModelVersion)") == 45
    assert count(memory, "(:Document)-[:FROM_VENDOR]->(:Vendor)") == 20
    assert count(memory, "(v:Validation {passed: false})") == 5
    wrong = memory.read("MATCH (v:Validation {passed: false}) RETURN v.errors AS errors LIMIT 1")
    assert json.loads(wrong[0]["errors"]) == ["net_plus_tax_is_total: 100.00 + 19.00 is not 118.00"]


def test_feedback_is_appended_in_order_and_repeats_are_one(memory: GraphClient) -> None:
    remember(memory, processed(range(6)), clock=CLOCK)
    first = record_feedback(memory, [correction(0), correction(1)], clock=CLOCK)
    again = record_feedback(memory, [correction(0)], clock=CLOCK)
    assert again == first[:1]
    record_feedback(memory, [correction(0, after="121.00")], clock=CLOCK)
    record_feedback(memory, [Feedback(document_id="doc-002", kind="approval", user_id="bo")], clock=CLOCK)
    assert count(memory, "(f:Feedback)") == 4
    assert count(memory, "(:Document)-[:HAS_FEEDBACK]->(:Feedback)-[:CORRECTS]->(:Extraction)") == 4
    events = list(feedback_after(memory, 0, page_size=2))
    assert [event.document_id for event in events] == ["doc-000", "doc-001", "doc-000", "doc-002"]
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    assert events[0].recorded_at == CLOCK.now()
    assert events[1].document_type == "SUPPLIER_INVOICE"
    assert [event.id for event in feedback_after(memory, events[1].sequence)] == [events[2].id, events[3].id]
    assert last_sequence(memory) == events[-1].sequence


def test_feedback_on_an_unknown_document_is_refused_whole(memory: GraphClient) -> None:
    remember(memory, processed(range(2)), clock=CLOCK)
    with pytest.raises(SourceError, match="doc-404"):
        record_feedback(memory, [correction(0), correction(404)], clock=CLOCK)
    unknown = replace(correction(1), extraction_id="ex-none")
    with pytest.raises(SourceError, match="ex-none"):
        record_feedback(memory, [correction(0), unknown], clock=CLOCK)
    assert count(memory, "(f:Feedback)") == 0


def test_feedback_names_the_newest_extraction(memory: GraphClient) -> None:
    remember(memory, processed(range(1)), clock=CLOCK)
    later = FrozenClock(CLOCK.now() + timedelta(days=1))
    remember(memory, processed(range(1), OTHER_MODEL), clock=later)
    record_feedback(memory, [correction(0)], clock=later)
    found = memory.read("MATCH (:Feedback)-[:CORRECTS]->(:Extraction)-[:PRODUCED_BY]->(m) RETURN m.id AS model")
    assert found == [{"model": str(OTHER_MODEL)}]


def test_many_writers_leave_no_gap_that_a_reader_could_miss(memory: GraphClient) -> None:
    remember(memory, processed(range(60)), clock=CLOCK)
    seen: list[int] = []

    def write(worker: int) -> None:
        for number in range(worker, 60, 3):
            record_feedback(memory, [correction(number)], clock=CLOCK)

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, worker) for worker in range(3)]
        while not all(job.done() for job in writing):
            seen += [event.sequence for event in feedback_after(memory, seen[-1] if seen else 0)]
    for job in writing:
        job.result()
    seen += [event.sequence for event in feedback_after(memory, seen[-1] if seen else 0)]
    assert len(seen) == 60
    assert seen == sorted(set(seen))


def test_candidates_count_documents_by_type_and_subtype(memory: GraphClient) -> None:
    remember(memory, processed(range(30)), clock=CLOCK)
    record_feedback(memory, [correction(number) for number in range(0, 30, 2)], clock=CLOCK)
    record_feedback(memory, [correction(number, after="1.00", user="bo") for number in range(0, 30, 2)], clock=CLOCK)
    approvals = [Feedback(document_id=f"doc-{n:03}", kind="approval", user_id="bo") for n in range(0, 30, 3)]
    record_feedback(memory, approvals, clock=CLOCK)
    counts = {(found.document_type, found.document_subtype): found for found in feedback_counts(memory)}
    assert {key: (found.corrected, found.reviewed) for key, found in counts.items()} == {
        ("PURCHASE_ORDER", "STANDARD"): (5, 5),
        ("PURCHASE_ORDER", "FRAMEWORK"): (5, 5),
        ("PURCHASE_ORDER", None): (5, 5),
        ("SUPPLIER_INVOICE", "STANDARD"): (0, 5),
    }
    found = retraining_candidates(memory, min_corrections=4, min_error_rate=0.5)
    assert {candidate.document_type for candidate in found} == {"PURCHASE_ORDER"}
    assert retraining_candidates(memory) == []
    assert json.loads(sample_corrections(memory, "PURCHASE_ORDER", None, limit=1)[0])["total_amount"]["after"] == "1.00"
    assert feedback_counts(memory, after=last_sequence(memory)) == []


def test_policy_over_the_memory_asks_once_for_the_same_corrections(memory: GraphClient) -> None:
    config = RetrainingConfig(min_corrections=20, min_error_rate=0.1, max_days=14)
    remember(memory, processed(range(45)), clock=CLOCK)
    record_feedback(memory, [correction(number) for number in range(19)], clock=CLOCK)
    record_feedback(memory, [correction(number) for number in range(19)], clock=CLOCK)
    waiting = look(memory, None, now=CLOCK.now(), config=config)
    assert waiting.run is None
    record_feedback(memory, [correction(number) for number in range(19, 25)], clock=CLOCK)
    first = look(memory, waiting.cursor.dump(), now=CLOCK.now(), config=config)
    assert first.run is not None
    assert first.run.corrections == 20
    after = look(memory, first.cursor.dump(), now=CLOCK.now(), config=config)
    assert after.run is None
    reset = look(memory, None, now=CLOCK.now() + timedelta(days=1), config=config)
    assert reset.run is not None
    assert reset.run.run_key == first.run.run_key


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"), clock=CLOCK)


def evaluated(context: StageContext) -> tuple[DatasetRef, DatasetRef]:
    """A model and its evaluation of 25 documents, as datasets."""

    def make(name: str, tables: dict[str, pa.Table], **inputs: DatasetRef) -> DatasetRef:
        def produce(writer: DatasetWriter) -> dict[str, Any]:
            for table, data in tables.items():
                writer.write_table(table, data, data.schema)
            return {}

        return build(context, name=name, stage_version="1", config=StageConfig(), inputs=inputs, produce=produce).ref

    training = make("training_set/r1", {})
    model = make("multitask_model/r1", {}, training_set=training)
    vectors = np.random.default_rng(1).normal(size=(25, 8)).astype(np.float32)
    embeddings = [{"document_id": f"doc-{n:03}", "vector": vectors[n].tolist()} for n in range(24)]
    tables = {
        "documents": conform((document(number) for number in range(25)), DOCUMENTS),
        "predictions": conform((prediction(number) for number in range(25)), ANNOTATIONS),
        "embeddings": conform(embeddings, EMBEDDINGS),
    }
    return model, make("model_evaluation/r1", tables, multitask_model=model)


def test_snapshot_remembers_a_release_and_freezes_it(graph: GraphClient, context: StageContext) -> None:
    model, evaluation = evaluated(context)
    vectors = QdrantClient(":memory:")
    arguments: dict[str, Any] = {
        "config": CONFIG,
        "graph": graph,
        "vectors": vectors,
        "model": model,
        "evaluation": evaluation,
        "release": "r1",
    }
    first = build_pmg_snapshot(context, **arguments)
    metrics = first.manifest.metrics
    expected = {"documents": 25, "extractions": 25, "validations": 25, "feedback": 0, "models": 1, "datasets": 2}
    assert {name: metrics[name] for name in expected} == expected
    assert (metrics["vendors"], metrics["vectors"], metrics["valid_share"]) == (4, 24, 1.0)
    nodes = first.dataset.table("nodes").to_pylist()
    assert len({(row["label"], row["id"]) for row in nodes}) == len(nodes)
    assert {row["label"] for row in nodes} == set(LABELS) - {"Feedback"}
    one = next(row for row in nodes if row["id"] == "doc-003")
    assert json.loads(one["properties"])["event_time"] == "2026-01-01T03:00:00.000000+00:00"
    edges = first.dataset.table("edges").to_pylist()
    assert metrics["edges"] == len(edges) == 25 * 4 + 2
    assert {row["to_id"] for row in edges if row["kind"] == "TRAINED_ON"} == {
        str(ref) for ref in context.store.open(model).manifest.inputs.values()
    }
    assert build_pmg_snapshot(context, **arguments).is_reused

    record_feedback(graph, [correction(3)], clock=CLOCK)
    second = build_pmg_snapshot(context, **arguments)
    assert not second.is_reused
    assert second.manifest.metrics["feedback"] == 1
    values = yaml.safe_load((CONFIGS / "tiny" / "preference_pairs.yaml").read_text())
    pairs = build_preference_pairs(
        context,
        config=PreferencePairsConfig.model_validate(values),
        snapshot=second.ref,
        evaluation=evaluation,
        release="r1",
    )
    (pair,) = pairs.dataset.table("pairs").to_pylist()
    assert (pair["document_id"], pair["kind"], pair["split"]) == ("doc-003", "correction", "test")

    graph.write("MATCH (n) DETACH DELETE n")
    record = replace(context, clock=FrozenClock(CLOCK.now() + timedelta(days=1)))
    build_pmg_snapshot(record, **arguments)
    assert count(graph, "(d:Document)") == 25, "a lost memory is filled again"

    query = vectors_of(context, evaluation)["doc-005"]
    memory = DocumentVectors(vectors, embedding_version=str(model))
    hits = memory.similar(query, limit=3)
    assert hits[0].document_id == "doc-005"
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    filtered = memory.similar(query, limit=30, vendor="vendor 2", document_type="PURCHASE_ORDER")
    assert {hit.document_id for hit in filtered} == {f"doc-{number:03}" for number in range(2, 24, 4)}


def vectors_of(context: StageContext, evaluation: DatasetRef) -> dict[str, list[float]]:
    rows = context.store.open(evaluation).table("embeddings").to_pylist()
    return {row["document_id"]: row["vector"] for row in rows}
