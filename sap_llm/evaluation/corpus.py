"""Documents together with their pages, one input dataset in memory at a time.

Belongs here: joining what the tables of several datasets hold about a document, for readers that go document by
document. Training reads shards instead (`modeling.shards`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.storage.store import DatasetStore

Document = dict[str, Any]
_PAGE_COLUMNS = ["document_id", "page_number", "width", "height", "words", "boxes", "lines", "reader", "quality"]


def documents_with_pages(
    store: DatasetStore, documents: pa.Table, corpora: Mapping[str, DatasetRef], *, size: int
) -> Iterator[tuple[list[Document], list[list[Page]]]]:
    """Chunks of at most `size` documents with their pages in page order.

    Args:
        store: Where the corpora are.
        documents: Rows with document_id and `input`, the name of the corpus that holds the pages.
        corpora: Input datasets by name.
        size: Documents per chunk.

    Yields:
        Document rows and, parallel to them, their pages (empty when none was read).
    """
    for name in sorted(set(documents.column("input").to_pylist())):
        own = documents.filter(pc.equal(documents.column("input"), name)).sort_by("document_id")
        ids = own.column("document_id").combine_chunks()
        wanted = pc.field("document_id").isin(ids)
        pages = store.open(corpora[name]).scan("pages").to_table(columns=_PAGE_COLUMNS, filter=wanted)
        pages = pages.sort_by([("document_id", "ascending"), ("page_number", "ascending")])
        for start in range(0, own.num_rows, size):
            part = own.slice(start, size)
            yield part.to_pylist(), _grouped(pages, part.column("document_id"))


def _grouped(pages: pa.Table, ids: pa.ChunkedArray) -> list[list[Page]]:
    chosen = pages.filter(pc.is_in(pages.column("document_id"), value_set=ids.combine_chunks()))
    by_document: dict[str, list[Page]] = {}
    for row in chosen.to_pylist():
        by_document.setdefault(row["document_id"], []).append(Page.from_row(row))
    return [by_document.get(document_id, []) for document_id in ids.to_pylist()]
