"""The frozen test documents of a training set: who is tested, in which tests, against which truth.

Belongs here: selection and truth. Comparing is `fields`, `line_items` and `classes`; numbers come from `measures`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.schema.errors import DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import TRUTH_SOURCES
from sap_llm.schema.tables import ANNOTATIONS
from sap_llm.storage.logical_hash import hash_rows
from sap_llm.storage.store import DatasetStore

UNSEEN, KNOWN, REAL = "unseen_layouts", "known_layouts", "real"
SYNTHETIC = "synthetic"
_IDENTITY = ("document_id", "source", "document_type", "language", "sha256", "layout", "split_group", "is_test_layout")


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Test documents with their truth.

    Attributes:
        documents: Rows of `releases.TRAINING_DOCUMENTS`, ordered by id.
        truths: One row of `tables.ANNOTATIONS` per document, the most trusted.
        tests: Document ids by test.
        corpora: Input datasets by name, where pages and blobs are.
        version: Data version of documents and truths; equal versions mean comparable scores.
    """

    __test__ = False  # pytest should not collect it

    documents: pa.Table
    truths: pa.Table
    tests: dict[str, list[str]]
    corpora: dict[str, DatasetRef]
    version: str

    def part(self, test: str) -> tuple[pa.Table, pa.Table]:
        """Documents and truths of one test."""
        ids = pa.array(self.tests[test], type=pa.string())
        return _where(self.documents, ids), _where(self.truths, ids)


def load_test_set(
    store: DatasetStore,
    training_set: DatasetRef,
    *,
    real_sources: Sequence[str],
    most_documents: Mapping[str, int],
    split: str = "test",
    most_others: int | None = None,
) -> TestSet:
    """Select the test documents of a training set, or those of another split that are to be looked at in the same way.

    Tests are `unseen_layouts` (synthetic, layouts that training never sees), `known_layouts` (synthetic, worlds that
    training never sees), `real` (e-invoices and orders of `real_sources`) and every other source by its name.

    Args:
        store: Where the datasets are.
        training_set: Its manifest names annotations and corpora.
        real_sources: Sources of the test `real`.
        most_documents: Upper bound by test; the choice depends on the document ids only.
        split: Split of the documents.
        most_others: Upper bound of each test that `most_documents` does not name.

    Raises:
        DatasetNotFoundError: The manifest names no annotated documents.
    """
    dataset = store.open(training_set)
    inputs = dict(dataset.manifest.inputs)
    annotated = next((ref for role, ref in inputs.items() if role.startswith("annotated_docs/")), None)
    if annotated is None:
        raise DatasetNotFoundError(
            "its manifest names no annotated_docs", where=str(training_set), remedy="Build the training set again."
        )
    documents = dataset.scan("documents").to_table(filter=pc.field("split") == split)
    tests: dict[str, list[str]] = {}
    for row in documents.select(["document_id", "source", "is_test_layout"]).to_pylist():
        tests.setdefault(_test_of(row, real_sources), []).append(row["document_id"])
    tests = {name: _sample(ids, most_documents.get(name, most_others)) for name, ids in sorted(tests.items())}
    chosen = pa.array(sorted(document_id for ids in tests.values() for document_id in ids), type=pa.string())
    documents = _where(documents, chosen).sort_by("document_id")
    about = store.open(annotated).scan("annotations").to_table(filter=pc.field("document_id").isin(chosen))
    truths = most_trusted(about)
    return TestSet(
        documents=documents,
        truths=truths,
        tests=tests,
        corpora={role: ref for role, ref in inputs.items() if "annotated_docs/" not in role},
        version=hash_rows([documents.select(_IDENTITY), truths]),
    )


def most_trusted(annotations: pa.Table) -> pa.Table:
    """One truth per document: the most trusted source, of it the highest revision."""
    best: dict[str, tuple[int, int, int]] = {}
    for index, row in enumerate(annotations.select(["document_id", "source", "revision"]).to_pylist()):
        if row["source"] not in TRUTH_SOURCES:
            continue
        rank = (-TRUTH_SOURCES.index(row["source"]), row["revision"], index)
        best[row["document_id"]] = max(rank, best.get(row["document_id"], rank))
    chosen = sorted(rank[2] for rank in best.values())
    return annotations.take(pa.array(chosen, type=pa.int64())).select(ANNOTATIONS.names)


def _test_of(row: Mapping[str, Any], real_sources: Sequence[str]) -> str:
    if row["is_test_layout"]:
        return UNSEEN
    if row["source"] == SYNTHETIC:
        return KNOWN
    return REAL if row["source"] in real_sources else str(row["source"])


def _sample(ids: list[str], most: int | None) -> list[str]:
    ordered = sorted(ids, key=lambda document_id: hashlib.sha256(document_id.encode()).hexdigest())
    return ordered if most is None else ordered[:most]


def _where(table: pa.Table, ids: pa.Array) -> pa.Table:
    return table.filter(pc.is_in(table.column("document_id"), value_set=ids))
