"""Vectors in Qdrant's local mode: kept on disk, replaced by id, filtered, one collection per embedding version."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient

from sap_llm.pmg.vectors import DocumentVectors

ROWS: list[dict[str, Any]] = [
    {
        "document_id": f"doc-{number}",
        "document_type": "RECEIPT" if number % 2 else "FORM",
        "document_subtype": None,
        "language": "de" if number < 5 else "en",
        "vendor": None if number == 0 else f"v{number % 3}",
    }
    for number in range(10)
]
VECTORS = np.random.default_rng(3).normal(size=(10, 6)).astype(np.float32)


def test_vectors_survive_and_are_replaced_by_document(tmp_path: Path) -> None:
    for _ in range(2):
        client = QdrantClient(path=str(tmp_path))
        memory = DocumentVectors(client, embedding_version="multitask_model/r1@ab")
        assert memory.upsert(ROWS, VECTORS.tolist(), batch_size=3) == 10
        client.close()
    client = QdrantClient(path=str(tmp_path))
    memory = DocumentVectors(client, embedding_version="multitask_model/r1@ab")
    assert memory.count() == 10
    assert [hit.document_id for hit in memory.similar(VECTORS[4].tolist(), limit=1)] == ["doc-4"]
    client.close()


def test_filters_narrow_the_hits() -> None:
    memory = DocumentVectors(QdrantClient(":memory:"), embedding_version="a")
    memory.upsert(ROWS, VECTORS.tolist())
    found = memory.similar(VECTORS[0].tolist(), limit=10, language="de", document_type="RECEIPT", vendor=None)
    assert {hit.document_id for hit in found} == {"doc-1", "doc-3"}
    assert sorted(found, key=lambda hit: -hit.score) == found
    with pytest.raises(ValueError, match="no filter colour"):
        memory.similar(VECTORS[0].tolist(), colour="red")


def test_embedding_versions_do_not_mix() -> None:
    client = QdrantClient(":memory:")
    old, new = (DocumentVectors(client, embedding_version=name) for name in ("model@1", "model@2"))
    old.upsert(ROWS, VECTORS.tolist())
    assert new.count() == 0
    assert new.similar(VECTORS[0].tolist()) == []
    assert old.upsert([], []) == 0
