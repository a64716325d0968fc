"""Reader of the invoice2data samples: supplier invoices (PDF or text) with the expected extraction beside them.

Belongs here: their JSON's names. A key that is missing there was not asked for; it says nothing about the paper.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sap_llm.schema.errors import SapLlmError
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.reader import Read, ReaderContext
from sap_llm.sources.truth import Truth

_HEADER = {
    "issuer": "seller_name",
    "invoice_number": "document_number",
    "date": "document_date",
    "date_due": "due_date",
    "amount": "total_amount",
    "amount_untaxed": "net_amount",
    "amount_tax": "tax_amount",
    "currency": "currency",
    "vat": "seller_vat_id",
    "iban": "iban",
    "bic": "bic",
    "order_id": "order_reference",
    "purchase_order_id": "order_reference",
}
_LINES = {
    "code": "line_material_number",
    "name": "line_description",
    "qty": "line_quantity",
    "uom": "line_unit",
    "price_unit": "line_unit_price",
    "price_subtotal": "line_net_amount",
}
_MIN_IDENTIFIER = 2  # one sample calls its number "F"


def read_invoice2data(context: ReaderContext) -> Iterator[Read | Fault]:
    """Every expected extraction that has a PDF or text beside it, in order of name."""
    for path in sorted(context.folder.glob("*.json")):
        found = [path.with_suffix(suffix) for suffix in (".pdf", ".txt") if path.with_suffix(suffix).exists()]
        yield _read(context, path, found[0]) if found else _missing(context, path)


def _read(context: ReaderContext, path: Path, document: Path) -> Read | Fault:
    name = context.name(document)
    content = document.read_bytes()
    try:
        expected = json.loads(path.read_text(encoding="utf-8"))[0]
        read = context.sandbox.read(content, name=name, max_pages=context.max_pages)
    except (ValueError, LookupError) as error:
        return Fault(
            record=name, source=context.name(path), reason="bad_json", detail=f"Expected extraction: {error!r}"
        )
    except SapLlmError as error:
        return Fault(record=name, source=name, reason="unreadable", detail=str(error))
    header = _values(expected, _HEADER)
    if len(header.get("document_number", "")) < _MIN_IDENTIFIER:
        header.pop("document_number", None)
    lines = [_values(line, _LINES) for line in expected.get("lines", [])]
    return Read(
        key=sha256(content),
        name=name,
        content=content,
        media_type=read.media_type,
        pages=read.pages,
        truth=Truth(
            document_type="SUPPLIER_INVOICE", header=header, lines=tuple(line for line in lines if line), source="human"
        ),
        quality=read.quality,
    )


def _values(record: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    return {
        field: " ".join(str(record[key]).split()) for key, field in names.items() if record.get(key) not in (None, "")
    }


def _missing(context: ReaderContext, path: Path) -> Fault:
    name = context.name(path)
    return Fault(record=name, source=name, reason="missing_file", detail="Neither PDF nor text lies beside it.")
