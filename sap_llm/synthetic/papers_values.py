"""What papers are made of, read from `data/papers.yaml`: sections of each class, and the type of every value.

Papers are the documents beside the trade documents of a chain: statements, transport papers, certificates, letters.
The description and its look-ups belong here; what a paper says does not (`papers_chain` and the modules of makers), nor
how it looks (`papers_blocks`, `papers_looks`).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.synthetic.pools import read_data

PAPER_TYPES: tuple[str, ...] = (
    "FREIGHT_INVOICE", "STATEMENT_OF_ACCOUNT", "REMITTANCE_ADVICE", "PAYMENT_ORDER", "BANK_STATEMENT",
    "EXPENSE_REPORT", "RECEIPT", "DUNNING_LETTER", "COMPLAINT", "BILL_OF_LADING", "WAYBILL", "FREIGHT_ORDER",
    "CUSTOMS_DECLARATION", "CERTIFICATE_OF_ORIGIN", "SAFETY_DATA_SHEET", "PRODUCTION_ORDER", "MAINTENANCE_ORDER",
    "TIMESHEET", "SERVICE_ENTRY_SHEET", "QUALITY_CERTIFICATE", "FORM", "OTHER",
)  # fmt: skip
"""Classes that papers make, in the order of the taxonomy's subjects."""


def description(kind: str) -> Mapping[str, Any]:
    """The sections of a class: looks, pairs with their chances, tables, totals, boxes."""
    found: Mapping[str, Any] = read_data("papers")["classes"][kind]
    return found


def column(name: str) -> Mapping[str, Any]:
    """A column of a paper's table: its field of the taxonomy, type, or the parts that share its cells."""
    found: Mapping[str, Any] = read_data("papers")["columns"][name]
    return found


@cache
def field_of(name: str, kind: str) -> str:
    """The field of the taxonomy with that name, or nothing where the class cannot have it."""
    for field in load_taxonomy().fields:
        if field.name == name:
            return name if not field.classes or kind in field.classes else ""
    return ""


@cache
def type_of(name: str) -> str:
    """The type of a header value: that of the taxonomy's field, else the declared one, else text."""
    for field in load_taxonomy().fields:
        if field.name == name:
            return field.type
    declared: str = read_data("papers")["types"].get(name, "string")
    return declared
