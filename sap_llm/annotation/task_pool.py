"""What selection needs to know of each document: how much work it is, how unsure its pre-annotation, what it is like.

Belongs here: bringing that together from `annotated_docs` and the pages of its corpora. Choosing is `selection`, who is
asked is `tasks`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.annotation.confidence import uncertainty
from sap_llm.annotation.vectors import document_vectors, word_bag
from sap_llm.modeling.features import WordEncoder
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset

Bag = npt.NDArray[np.uint16]
_COLUMNS = ["document_id", "source", "type_confidence", "fields", "line_items"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A document of `annotated_docs`.

    Attributes:
        row: Its row of `releases.ANNOTATED_DOCUMENTS`.
        measures: What `selection.complexity` counts: pages, words, line items and fields.
        uncertainty: Of its pre-annotation, see `confidence.uncertainty`; None where it has none.
        bag: Hashed words.
    """

    row: Mapping[str, Any]
    measures: Mapping[str, float]
    uncertainty: float | None
    bag: Bag

    @property
    def document_id(self) -> str:
        """Id of the document."""
        return str(self.row["document_id"])


def read_candidates(context: StageContext, annotated: Dataset, documents: pa.Table) -> list[Candidate]:
    """The documents with all that selection looks at, in their order.

    Args:
        context: Its store holds the corpora that `annotated` was made from.
        annotated: A version of `annotated_docs`.
        documents: The wanted rows of its `documents`.
    """
    ids = documents.column("document_id").combine_chunks()
    counts, doubts = _counted(annotated, ids)
    words = _read_words(context, annotated.manifest.inputs, documents)
    found = []
    for row in documents.to_pylist():
        fields, items = counts.get(row["document_id"], (0, 0))
        bag, length = words.get(row["document_id"], (np.zeros(0, np.uint16), 0))
        measures = {"pages": row["page_count"], "words": length, "line_items": items, "fields": fields}
        doubt = doubts.get(row["document_id"])
        found.append(Candidate(row=row, measures=measures, uncertainty=doubt, bag=bag))
    return found


def vectors_of(candidates: Iterable[Candidate], *, seed: int) -> npt.NDArray[Any]:
    """float32 [n, d], see `vectors.document_vectors`."""
    return document_vectors([candidate.bag for candidate in candidates], seed=seed)


def _counted(annotated: Dataset, ids: pa.Array) -> tuple[dict[str, tuple[int, int]], dict[str, float]]:
    """Header fields and line items by document, the most that one annotation names; uncertainties."""
    counts: dict[str, tuple[int, int]] = {}
    doubts: dict[str, float] = {}
    for batch in annotated.scan("annotations").to_batches(columns=_COLUMNS, filter=pc.field("document_id").isin(ids)):
        lengths = [pc.list_value_length(batch.column(name)).to_pylist() for name in ("fields", "line_items")]
        for row, fields, items in zip(batch.drop_columns(["line_items"]).to_pylist(), *lengths, strict=True):
            name = row["document_id"]
            known = counts.get(name, (0, 0))
            counts[name] = (max(known[0], fields), max(known[1], items))
            if row["source"] == "model":
                doubts[name] = uncertainty(row)
    return counts, doubts


def _read_words(
    context: StageContext, corpora: Mapping[str, DatasetRef], documents: pa.Table
) -> dict[str, tuple[Bag, int]]:
    """Bag and number of words of each document, one input in memory at a time, page after page."""
    encoder = WordEncoder()
    found: dict[str, tuple[Bag, int]] = {}
    for name in sorted(set(documents.column("input").to_pylist())):
        own = documents.filter(pc.equal(documents.column("input"), name)).column("document_id").combine_chunks()
        pages = context.store.open(corpora[name]).scan("pages")
        for batch in pages.to_batches(columns=["document_id", "words"], filter=pc.field("document_id").isin(own)):
            for row in batch.to_pylist():
                bag, length = word_bag(row["words"], encoder), len(row["words"])
                if row["document_id"] in found:
                    before = found[row["document_id"]]
                    bag, length = np.union1d(before[0], bag), before[1] + length
                found[row["document_id"]] = (bag, length)
        context.progress("reading documents", done=len(found), total=documents.num_rows)
    return found
