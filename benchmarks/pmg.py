"""How fast the process memory takes in documents, on both engines.

Ours: append-only UNWIND batches of `pmg.ingest`, rows made from tables included. Rival: the roadmap's way (month 7), a
transaction each for document, extraction and validation. Goals: 50 times on Neo4j, 10 times on the local engine.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, duel, higher_is_better
from sap_llm.graph.client import GraphClient
from sap_llm.graph.local_engine import open_local_graph
from sap_llm.pmg.ingest import Processed, remember
from sap_llm.pmg.schema import migrate
from sap_llm.pmg.validation import Extracted, validate
from sap_llm.schema.clock import SystemClock
from sap_llm.schema.manifest import DatasetRef
from tests.integration.servers.neo4j import neo4j_server

RUNS = 3
OUR_DOCUMENTS, THEIR_DOCUMENTS = 2000, 100  # a call; the rates are compared
MODEL = DatasetRef(name="multitask_model/bench", version="0")
VALUES = {
    "document_number": "R-2026-0815",
    "document_date": "2026-01-05",
    "seller_name": "Nordwind Handels GmbH",
    "net_amount": "100.00",
    "tax_amount": "19.00",
    "total_amount": "119.00",
    "currency": "EUR",
}
DOCUMENT = """MERGE (d:Document {id: $id})
SET d.type = $type, d.processed_at = datetime(), d.confidence_score = $confidence, d.status = 'processed'"""
EXTRACTION = """MERGE (e:Extraction {id: $extraction})
SET e.document_id = $id, e.fields_extracted = $fields, e.extraction_confidence = $confidence, e.timestamp = datetime()
WITH e MATCH (d:Document {id: $id}) MERGE (d)-[:EXTRACTED_TO]->(e)"""
VALIDATION = """MERGE (v:Validation {id: $validation})
SET v.extraction_id = $extraction, v.rules_applied = '[]', v.passed = true, v.errors = '[]', v.timestamp = datetime()
WITH v MATCH (e:Extraction {id: $extraction}) MERGE (e)-[:VALIDATED_BY]->(v)"""


def run() -> dict[str, Measure]:
    """Documents a second into an empty memory with its constraints."""
    with tempfile.TemporaryDirectory() as folder:
        with open_local_graph(Path(folder) / "graph", idle_seconds=2) as graph:
            local = compare(graph, "local engine")
            supervisor = graph.endpoint().supervisor_pid
        _end(supervisor)
        server = Path(folder) / "neo4j"
        server.mkdir()
        with neo4j_server(server) as uri, GraphClient(uri) as graph:
            graph.retry_seconds = 60.0
            return {"pmg_ingest_local_engine": local, "pmg_ingest_neo4j": compare(graph, "Neo4j")}


def compare(graph: GraphClient, name: str) -> Measure:
    """Both ways into one graph, in turns."""
    migrate(graph, clock=SystemClock())
    numbers = count()

    def ours() -> None:
        remember(graph, processed(numbers, OUR_DOCUMENTS), clock=SystemClock())

    def theirs() -> None:
        for _ in range(THEIR_DOCUMENTS):
            three_transactions(graph, next(numbers))

    our_time, their_time = duel(ours, theirs, runs=RUNS)
    our_rate, their_rate = OUR_DOCUMENTS / our_time.median, THEIR_DOCUMENTS / their_time.median
    sys.stdout.write(f"{name}: ours {our_rate:.0f} documents/s, three transactions {their_rate:.0f} documents/s\n")
    return higher_is_better(
        ours=round(our_rate, 1),
        rival=round(their_rate, 1),
        rival_name="the roadmap's three transactions a document",
        unit="documents/s",
        runs=RUNS,
    )


def processed(numbers: Iterator[int], documents: int) -> Iterator[Processed]:
    """Documents with seven fields, validated."""
    for _ in range(documents):
        identity = f"doc-{next(numbers)}"
        row = {"document_type": "SUPPLIER_INVOICE", "document_subtype": None, "type_confidence": 0.9}
        prediction: dict[str, Any] = row | {"fields": fields(), "line_items": []}
        yield Processed(
            document=row | {"document_id": identity, "vendor": VALUES["seller_name"], "event_time": datetime.now(UTC)},
            prediction=prediction,
            validation=validate(Extracted.from_row(prediction), required={}),
            model=MODEL,
        )


def fields() -> list[dict[str, Any]]:
    """Header fields as a model gives them."""
    rest = {"page": 1, "box": [1.0, 2.0, 3.0, 4.0], "confidence": 0.9}
    return [{"field": name, "value": value, "printed": value, **rest} for name, value in VALUES.items()]


def three_transactions(graph: GraphClient, number: int) -> None:
    """One document the roadmap's way; Document, Extraction and Validation keep their unique constraints."""
    identity = f"rival-{number}"
    keys = {"id": identity, "extraction": f"{identity}_extraction", "validation": f"{identity}_validation"}
    parameters = keys | {"type": "SUPPLIER_INVOICE", "confidence": 0.9, "fields": json.dumps(fields())}
    for query in (DOCUMENT, EXTRACTION, VALIDATION):
        graph.write(query, **parameters)


def _end(supervisor: int) -> None:
    """Wait for the idle end, so that the folder can go and Neo4j has the machine for itself."""
    import psutil

    try:
        psutil.Process(supervisor).wait(60)
    except psutil.NoSuchProcess:
        return
