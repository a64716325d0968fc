"""Annotated documents as the tasks of the document stages see them: first page, facts of the file, truth.

Belongs here: reading them from a training set and what it was made from. What is asked about them is `tasks`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.test_set import most_trusted
from sap_llm.pmg.validation import Extracted
from sap_llm.schema.page import Page
from sap_llm.storage.store import Dataset

_FACTS = ("document_id", "input", "language", "media_type", "page_count")


@dataclass(frozen=True, kw_only=True)
class StageDocument:
    """A document whose truth is known.

    Attributes:
        facts: Of the file: language (ISO 639-1 or None), media_type, page_count.
        page: Its first page.
        truth: Row of `tables.ANNOTATIONS`, the most trusted.
    """

    document_id: str
    facts: Mapping[str, Any]
    page: Page
    truth: Mapping[str, Any]

    @property
    def document_type(self) -> str:
        """Taxonomy class."""
        return str(self.truth["document_type"])

    @property
    def document_subtype(self) -> str | None:
        """Subtype within the class, where one is known."""
        return self.truth["document_subtype"] or None

    @cached_property
    def extracted(self) -> Extracted:
        """All values, wherever they are printed."""
        return Extracted.from_row(self.truth)

    def shown(self, words: int) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Header values and line items that stand, whole, among the first so many words of the first page."""
        header = _shown(self.truth["fields"], words)
        lines = [_shown(item["fields"], words) for item in self.truth["line_items"]]
        return header, [line for line in lines if line]


def read_documents(training_set: Dataset, *, split: str, most: int) -> Iterator[StageDocument]:
    """Documents of a split with truth and a first page; of more than `most`, those whose ids hash lowest.

    Columns that the training set lacks (its toy form in tests) count as unknown.
    """
    table = training_set.scan("documents")
    columns = [name for name in _FACTS if name in table.schema.names]
    rows = table.to_table(columns=columns, filter=(pc.field("split") == split) & pc.field("has_truth")).to_pylist()
    chosen = sorted(rows, key=lambda row: hashlib.sha256(row["document_id"].encode()).hexdigest())[:most]
    ids = pa.array(sorted(row["document_id"] for row in chosen), type=pa.string())
    inputs = training_set.manifest.inputs
    annotated = next(ref for role, ref in inputs.items() if role.startswith("annotated_docs/"))
    annotations = training_set.sibling(annotated).scan("annotations")
    truths = {
        row["document_id"]: row
        for row in most_trusted(annotations.to_table(filter=pc.field("document_id").isin(ids))).to_pylist()
    }
    pages = {}
    for name in sorted({row["input"] for row in chosen}):
        first = pc.field("document_id").isin(ids) & (pc.field("page_number") == 1)
        for row in training_set.sibling(inputs[name]).scan("pages").to_table(filter=first).to_pylist():
            pages[row["document_id"]] = row
    for row in sorted(chosen, key=lambda row: row["document_id"]):
        name = row["document_id"]
        if name in pages and name in truths:
            yield StageDocument(document_id=name, facts=row, page=Page.from_row(pages[name]), truth=truths[name])


def _shown(fields: Any, words: int) -> dict[str, str]:
    return {
        field["field"]: field["value"]
        for field in fields
        if field["value"] is not None and field["page"] == 1 and field["word_ids"] and max(field["word_ids"]) < words
    }
