"""A few typeset PDF documents with exact truth as corpus tables, for tests of sources; needs no generator of ours.

Belongs here: pages made by Typst itself, read by the house's reader. Text-only corpora are `toy_corpus`.
"""

import hashlib
from datetime import UTC, datetime
from typing import Any

import typst

from sap_llm.reading.pdf import read_pdf
from sap_llm.schema.tables import CORPUS, conform
from sap_llm.sources.alignment import align
from sap_llm.sources.corpus import document_id
from sap_llm.sources.truth import Truth
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

_TEMPLATE = """
#set page(width: 210mm, height: 297mm, margin: 20mm)
#set text(size: 10pt)
Nordwind Handel GmbH \\
Hafenstraße 12, 20095 Hamburg
#v(1cm)
= Rechnung
Rechnungsnummer: RE-{number} \\
Rechnungsdatum: 14.03.2025 \\
Kundennummer: K-{number}77
#table(columns: (auto, 1fr, auto, auto, auto), [Pos], [Bezeichnung], [Menge], [Preis], [Gesamt],
  [1], [Kugellager 6204 mit Dichtung], [10], [12,50], [125,00],
  [2], [Dichtring NBR], [4], [25,00], [100,00])
Nettobetrag: 225,00 EUR \\
MwSt 19 %: 42,75 EUR \\
Gesamtbetrag: 267,75 EUR
"""
_LINES = (
    {"line_number": "1", "line_description": "Kugellager 6204 mit Dichtung", "line_quantity": "10",
     "line_unit_price": "12.50", "line_net_amount": "125.00"},
    {"line_number": "2", "line_description": "Dichtring NBR", "line_quantity": "4", "line_unit_price": "25.00",
     "line_net_amount": "100.00"},
)  # fmt: skip


def typeset_pdf(number: int) -> tuple[bytes, Truth]:
    """One German invoice as PDF, and what it says."""
    content = typst.compile(_TEMPLATE.format(number=number).encode())
    assert isinstance(content, bytes)
    header = {
        "document_number": f"RE-{number}",
        "document_date": "2025-03-14",
        "customer_number": f"K-{number}77",
        "seller_name": "Nordwind Handel GmbH",
        "net_amount": "225.00",
        "tax_amount": "42.75",
        "tax_rate": "19",
        "total_amount": "267.75",
        "currency": "EUR",
    }
    return content, Truth(document_type="SUPPLIER_INVOICE", header=header, lines=_LINES, source="synthetic")


def typeset_corpus(context: StageContext, *, documents: int = 6) -> Dataset:
    """A dataset `synthetic_docs/typeset` of that many invoices from two vendors of one world each."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in CORPUS}
        for number in range(documents):
            for name, row in _rows(number).items():
                rows[name].extend(row)
        for name, schema in CORPUS.items():
            writer.write_table(name, conform(rows[name], schema), schema)
        return {"documents": documents}

    return build(
        context,
        name="synthetic_docs/typeset",
        stage_version=f"test-{documents}",
        config=StageConfig(),
        produce=produce,
    ).dataset


def _rows(number: int) -> dict[str, list[dict[str, Any]]]:
    content, truth = typeset_pdf(4700 + number)
    identifier = document_id("typeset", str(number))
    pages, _ = read_pdf(content, name=identifier, reader="typeset")
    aligned = align(pages, truth, language="de")
    moment = datetime(2025, 3, 14, 8, number, tzinfo=UTC)
    digest = hashlib.sha256(content).hexdigest()
    world = f"world-{number % 2}"
    document = {
        "document_id": identifier, "source": "synthetic", "role": "train", "document_type": truth.document_type,
        "document_subtype": "STANDARD", "language": "de", "page_count": len(pages), "quality": 1.0, "sha256": digest,
        "media_type": "application/pdf", "world": world, "vendor": f"{world}-v0", "chain": f"{world}-c{number}",
        "layout": f"layout-{number % 2}", "is_test_layout": number % 2 == 1, "split_group": world,
        "licence": "Apache-2.0", "event_time": moment, "ingest_time": None,
    }  # fmt: skip
    annotation = {
        "document_id": identifier, "annotator": "truth", "revision": 1, "source": "synthetic", "created_at": moment,
        "document_type": truth.document_type, "document_subtype": "STANDARD", "type_confidence": 1.0,
        "fields": aligned.fields, "line_items": aligned.line_items, "tables": [], "layout_blocks": [],
    }  # fmt: skip
    return {
        "documents": [document],
        "pages": [page.to_row(identifier) for page in pages],
        "annotations": [annotation],
        "blobs": [{"sha256": digest, "media_type": "application/pdf", "content": content}],
    }
