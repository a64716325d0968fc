"""Every PDF and XML of the real corpora is a document or is listed with its reason, and twins stay together."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sap_llm.reading.sandbox import Sandbox
from sap_llm.sources.catalogue import catalogue
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.public import READERS, PublicDocsConfig, build_public_docs
from sap_llm.sources.reader import ReaderContext
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore

_EXPECTED: dict[str, tuple[dict[str, int], dict[str, int]]] = {  # classes read, reasons of what is listed
    "zugferd": (
        {"SUPPLIER_INVOICE": 72, "CREDIT_NOTE": 2, "SELF_BILLING_INVOICE": 2},
        {"invalid_upstream": 10, "embedded": 15},
    ),
    "order-x": ({"ORDER_RESPONSE": 14, "PURCHASE_ORDER": 4, "ORDER_CHANGE": 2}, {"embedded": 20}),
    "xrechnung": ({"SUPPLIER_INVOICE": 44}, {}),
    "en16931": ({"SUPPLIER_INVOICE": 22}, {"no_mapping": 14}),
    "peppol-billing": ({"SUPPLIER_INVOICE": 6, "CREDIT_NOTE": 1}, {}),
    "peppol-ordering": (
        {"PURCHASE_ORDER": 6, "ORDER_CHANGE": 8, "ORDER_RESPONSE": 10, "DESPATCH_ADVICE": 4},
        {"no_mapping": 13},
    ),
    "peppol-logistics": ({"DESPATCH_ADVICE": 16, "GOODS_RECEIPT": 8}, {"no_mapping": 2}),
}


@pytest.mark.parametrize("corpus", sorted(_EXPECTED))
def test_every_file_loads_or_is_listed_with_its_reason(corpus: str, shared_data: Path) -> None:
    folder = shared_data / catalogue()[corpus].folder
    with Sandbox(timeout_seconds=60, memory_bytes=4 * 2**30) as sandbox:
        context = ReaderContext(folder=folder, sandbox=sandbox, max_pages=20, exclude_folders=("fail",))
        records = list(READERS[corpus](context))
    names = [record.source if isinstance(record, Fault) else record.name for record in records]
    files = (path for path in folder.rglob("*") if path.suffix.lower() in (".pdf", ".xml", ".txt"))
    assert sorted(names) == sorted(path.relative_to(folder).as_posix() for path in files)
    classes = Counter(record.truth.document_type for record in records if not isinstance(record, Fault))
    reasons = Counter(record.reason for record in records if isinstance(record, Fault))
    assert (classes, reasons) == _EXPECTED[corpus]
    assert all(record.detail for record in records if isinstance(record, Fault))
    for record in records:
        if not isinstance(record, Fault):
            assert {"document_number", "document_date", "seller_name"} <= record.truth.header.keys() | _absent(record)


def _absent(record: Any) -> set[str]:
    """What the standards let a document leave out."""
    return {"seller_name"} if record.truth.document_type in ("ORDER_RESPONSE", "GOODS_RECEIPT") else set()


def test_documents_without_pages_keep_their_truth_and_their_group(tmp_path: Path, shared_data: Path) -> None:
    context = StageContext(store=DatasetStore(tmp_path))
    built = build_public_docs(context, config=PublicDocsConfig(), corpus="zugferd", folder=shared_data)
    documents = built.dataset.table("documents").to_pylist()
    assert built.manifest.metrics["read"] == built.manifest.rows["documents"] + built.manifest.rows["quarantine"]
    assert built.manifest.metrics["documents_without_pages"] == sum(row["page_count"] == 0 for row in documents)
    groups = {row["sha256"]: row["split_group"] for row in documents}
    folder = shared_data / "zugferd-corpus"
    twins = 0
    for pdf in sorted((folder / "xml-rechnung-fx").glob("*.pdf")):
        ubl = folder / "xml-rechnung-ubl" / f"{pdf.stem}.ubl.xml"
        if ubl.exists() and sha256(pdf.read_bytes()) in groups:
            twins += 1
            assert groups[sha256(pdf.read_bytes())] == groups[sha256(ubl.read_bytes())]
    assert twins >= 15
    bare = {row["document_id"]: row for row in documents if row["page_count"] == 0}
    assert {row["media_type"] for row in bare.values()} == {"application/xml"}
    assert {row["role"] for row in documents} == {"test_only"}
    truths = [row for row in built.dataset.table("annotations").to_pylist() if row["document_id"] in bare]
    assert all(row["fields"] and not any(field["printed"] for field in row["fields"]) for row in truths)
