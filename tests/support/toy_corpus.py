"""A corpus of plain text pages with planted properties, for tests of annotation, preparation and evaluation.

Belongs here: rows that conform to the corpus schemas without any generator. Tests of real documents read real files.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS, CORPUS, DOCUMENTS, PAGES, conform
from sap_llm.storage.build import StageConfig, StageContext, build

INVOICE = """Nordwind Handel GmbH
Hafenstraße 12, 20095 Hamburg
Rechnung
Rechnungsnummer: RE-{number}
Rechnungsdatum: 14.03.2025
Pos Bezeichnung Menge Einzelpreis Gesamt
1 Kugellager 6204 10 12,50 125,00
2 Dichtung NBR 4 25,00 100,00
Nettobetrag: 225,00 EUR
MwSt 19%: 42,75 EUR
Gesamtbetrag: 267,75 EUR
Zahlbar innerhalb 30 Tage ohne Abzug bis zum 13.04.2025"""
ORDER = """Acme Industrial Ltd
4 Mill Lane, Leeds
Purchase Order
Order number: PO-{number}
Order date: 2025-03-02
Item Description Quantity Price Total
1 Ball bearing 6204 10 12.50 125.00
2 Seal NBR 4 25.00 100.00
Net total: 225.00 GBP
VAT 20%: 45.00 GBP
Total amount: 270.00 GBP
Please deliver to the plant within 10 days of your confirmation"""


def identifier(name: str) -> str:
    """A document id of the contract's form."""
    return f"doc-{uuid.uuid5(uuid.NAMESPACE_URL, name)}"


def toy_document(name: str, *, text: str | None = None, **changes: Any) -> dict[str, Any]:
    """One document: a row of DOCUMENTS with `text` and `fields` beside it, changed as asked.

    Even names of numbers are German invoices, odd ones English purchase orders.
    """
    number = int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)
    is_order = number % 2 == 1
    body = (ORDER if is_order else INVOICE).format(number=number) if text is None else text
    values = {
        "document_number": f"{'PO' if is_order else 'RE'}-{number}",
        "total_amount": "270.00" if is_order else "267.75",
        "net_amount": "225.00",
        "document_date": "2025-03-02" if is_order else "2025-03-14",
    }
    return {
        "document_id": identifier(name),
        "source": "synthetic",
        "role": "train",
        "document_type": "PURCHASE_ORDER" if is_order else "SUPPLIER_INVOICE",
        "document_subtype": "STANDARD",
        "language": "en" if is_order else "de",
        "page_count": 1,
        "quality": 0.98,
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
        "media_type": "application/pdf",
        "world": f"world-{number % 40}",
        "split_group": f"world-{number % 40}",
        "layout": f"layout-{number % 7}",
        "is_test_layout": False,
        "text": body,
        "values": values,
        "truth": "synthetic",
        "revision": 1,
    } | changes


def write_corpus(context: StageContext, name: str, documents: Iterable[Mapping[str, Any]]) -> DatasetRef:
    """Write the documents as a corpus dataset and return its version."""
    rows = list(documents)

    def produce(writer: Any) -> dict[str, Any]:
        writer.write_table("documents", conform([_only(row, DOCUMENTS.names) for row in rows], DOCUMENTS), DOCUMENTS)
        writer.write_table("pages", conform([page(row) for row in rows if row["text"]], PAGES), PAGES)
        truths = [annotation(row) for row in rows if row["truth"]]
        writer.write_table("annotations", conform(truths, ANNOTATIONS), ANNOTATIONS)
        for table in ("blobs", "quarantine"):
            writer.write_table(table, conform([], CORPUS[table]), CORPUS[table])
        return {}

    digest = hashlib.sha256(repr(rows).encode()).hexdigest()
    return build(
        context, name=name, stage_version="1", config=StageConfig(), fingerprint={"rows": digest}, produce=produce
    ).ref


def page(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document's text as one page of words, 6 points a character, spaces included."""
    words, boxes, lines = [], [], []
    for line, text in enumerate(row["text"].split("\n")):
        for match in re.finditer(r"\S+", text):
            start, end = 8 + match.start(), 8 + match.end()
            words.append(match.group())
            boxes.append([start * 6.0, 40.0 + line * 14, end * 6.0, 51.0 + line * 14])
            lines.append(line)
    return {
        "document_id": row["document_id"],
        "page_number": 1,
        "width": 595.0,
        "height": 842.0,
        "words": words,
        "boxes": boxes,
        "lines": lines,
        "reader": "typeset",
        "quality": 1.0,
    }


def annotation(row: Mapping[str, Any]) -> dict[str, Any]:
    """The document's truth."""
    words = page(row)
    fields = []
    for name, value in row["values"].items():
        found = next((index for index, word in enumerate(words["words"]) if _plain(word) == _plain(value)), None)
        fields.append(
            {
                "field": name,
                "value": value,
                "printed": None if found is None else words["words"][found],
                "page": None if found is None else 1,
                "box": None if found is None else words["boxes"][found],
                "word_ids": None if found is None else [found],
                "confidence": 1.0,
                "source": row["truth"],
            }
        )
    return {
        "document_id": row["document_id"],
        "annotator": "truth",
        "revision": row["revision"],
        "source": row["truth"],
        "document_type": row["document_type"],
        "document_subtype": row["document_subtype"],
        "type_confidence": 1.0,
        "fields": fields,
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }


def _plain(text: str) -> str:
    if text.count(".") == 2:  # 14.03.2025
        text = "-".join(reversed(text.split(".")))
    return text.replace(",", ".").strip(":")


def _only(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row.get(name) for name in names}
