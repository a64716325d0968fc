"""What people answered, as truths of a release.

Belongs here: which batches may be used, and one truth a document out of them. Which of several answers counts is
`adjudication`; bringing truths of all sources together is `stage`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.annotation.adjudication import resolve
from sap_llm.registry.gates import require_gates
from sap_llm.schema.errors import GateClosedError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS
from sap_llm.storage.store import DatasetStore

if TYPE_CHECKING:
    from sap_llm.registry.verdicts import VerdictStore


def open_batches(
    store: DatasetStore, batches: Mapping[str, DatasetRef], *, verdicts: "VerdictStore", consumer: str
) -> tuple[dict[str, DatasetRef], dict[str, str]]:
    """Batches whose gates are open (or overridden), and the others with the sentence of the closed gate.

    Args:
        store: Where the batches are.
        batches: Versions of `human_annotations` by dataset name.
        verdicts: What the gates said.
        consumer: Who is about to use them.
    """
    usable: dict[str, DatasetRef] = {}
    held: dict[str, str] = {}
    for name, ref in sorted(batches.items()):
        try:
            require_gates(verdicts, store.open(ref), consumer=consumer)
            usable[name] = ref
        except GateClosedError as error:
            held[name] = str(error)
    return usable, held


def human_truths(store: DatasetStore, batches: Mapping[str, DatasetRef]) -> pa.Table:
    """One annotation a document: what the answers of each batch amount to, of several batches the latest.

    Args:
        store: Where the batches are.
        batches: Versions of `human_annotations` by dataset name.

    Returns:
        Rows of `tables.ANNOTATIONS`; documents on which people disagree are not there.
    """
    found = [ANNOTATIONS.empty_table()]
    for _, ref in sorted(batches.items()):
        dataset = store.open(ref)
        found.append(resolve(dataset.table("annotations"), dataset.table("answers")).truths)
    truths = pa.concat_tables(found)
    latest: dict[str, int] = {}
    moments = truths.column("created_at").to_pylist()
    for index, document_id in enumerate(truths.column("document_id").to_pylist()):
        if document_id not in latest or moments[latest[document_id]] <= moments[index]:
            latest[document_id] = index
    return truths.take(pa.array(sorted(latest.values()), pa.int64()))


def with_people(documents: pa.Table, truths: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Documents with the class and subtype that people gave them, and the truths that are about one of them.

    Args:
        documents: With `document_id`, `document_type`, `document_subtype`.
        truths: Of `human_truths`.
    """
    about = truths.filter(
        pc.is_in(truths.column("document_id"), value_set=documents.column("document_id").combine_chunks())
    )
    if not about.num_rows:
        return documents, about
    columns = ["document_id", "document_type", "document_subtype"]
    said = {row["document_id"]: row for row in about.select(columns).to_pylist()}
    rows = [said.get(row["document_id"], row) for row in documents.select(columns).to_pylist()]
    for name in columns[1:]:
        values = pa.array([row[name] for row in rows], pa.string())
        documents = documents.set_column(documents.schema.get_field_index(name), documents.schema.field(name), values)
    return documents, about
