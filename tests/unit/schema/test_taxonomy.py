"""The taxonomy file against its promises: counts, unique names, SAP names, XPaths, aliases, real files."""

import csv
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from sap_llm.schema.taxonomy import load_taxonomy, taxonomy_version

SHARED = Path(os.environ.get("SAP_LLM_SHARED", Path(__file__).parents[4] / "shared")) / "data"
NAMESPACES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
CII_ROOT = "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
THREAD = """
    document_number document_date due_date delivery_date order_reference delivery_note_number customer_number
    seller_name seller_vat_id buyer_name buyer_vat_id net_amount tax_amount tax_rate total_amount currency iban bic
    payment_terms
    line_number line_material_number line_description line_quantity line_unit line_unit_price line_net_amount
""".split()
TYPES = set("string date amount quantity integer percent currency unit vat_id iban bic country".split())


def test_counts_are_those_of_the_roadmap() -> None:
    taxonomy = load_taxonomy()
    assert len(taxonomy.classes) == 50
    assert len(taxonomy.document_class("PURCHASE_ORDER").subtypes) == 35
    assert len(taxonomy.document_class("SUPPLIER_INVOICE").subtypes) == 15
    assert len(taxonomy.fields) >= 205


def test_names_are_unique_and_well_formed() -> None:
    taxonomy = load_taxonomy()
    fields = [field.name for field in taxonomy.fields]
    classes = [entry.name for entry in taxonomy.classes]
    assert [name for name, count in Counter(fields + classes).items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in fields)
    for entry in taxonomy.classes:
        names = [entry.name, *(subtype.name for subtype in entry.subtypes)]
        assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in names)
        assert len(set(names)) == len(names)


def test_every_field_is_described_and_levels_follow_names() -> None:
    for field in load_taxonomy().fields:
        assert field.type in TYPES, field.name
        assert field.description
        assert field.level == ("line" if field.name.startswith("line_") else "header")


def test_fields_of_the_thread_exist_and_may_occur_everywhere() -> None:
    taxonomy = load_taxonomy()
    assert [name for name in THREAD if taxonomy.field(name).classes] == []
    with pytest.raises(KeyError):
        taxonomy.field("no_such_field")


def test_sap_names_look_like_table_and_field() -> None:
    taxonomy = load_taxonomy()
    subtypes = [subtype for entry in taxonomy.classes for subtype in entry.subtypes]
    for field in taxonomy.fields:
        assert field.sap is None or re.fullmatch(r"[A-Z][A-Z0-9_]{1,15}-[A-Z][A-Z0-9_]{1,15}", field.sap), field.name
    for entry in (*taxonomy.classes, *subtypes):
        assert entry.sap is None or re.fullmatch(r"[A-Z0-9_]+-[A-Z0-9_]+(=[A-Z0-9]+)?", entry.sap), entry.name


def test_classes_and_aliases_refer_to_classes_that_exist() -> None:
    taxonomy = load_taxonomy()
    known = {entry.name for entry in taxonomy.classes}
    for field in taxonomy.fields:
        assert set(field.classes) <= known, field.name
        assert set(field.aliases) <= known, field.name
        assert not field.classes or set(field.aliases) <= set(field.classes), field.name


def test_aliases_do_not_collide_within_a_class() -> None:
    taxonomy = load_taxonomy()
    for entry in taxonomy.classes:
        shown = [field.aliases.get(entry.name) for field in taxonomy.fields if entry.name in field.aliases]
        assert len(set(shown)) == len(shown), entry.name
    assert taxonomy.field("document_number").aliases["PURCHASE_ORDER"] == "po_number"
    assert taxonomy.field("document_number").aliases["SUPPLIER_INVOICE"] == "invoice_number"


def test_paths_compile_and_use_declared_prefixes() -> None:
    namespaces = NAMESPACES | {"rsm": CII_ROOT}
    for field in load_taxonomy().fields:
        for path, prefixes in ((field.ubl, {"cac", "cbc"}), (field.cii, {"rsm", "ram", "udt"})):
            if path:
                etree.XPath(path, namespaces=namespaces)
                assert set(re.findall(r"(\w+):", path)) <= prefixes, field.name


def test_version_is_declared_version_and_content_hash() -> None:
    assert re.fullmatch(re.escape(load_taxonomy().version) + r"\+[0-9a-f]{8}", taxonomy_version())


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}")
@pytest.mark.parametrize(
    ("syntax", "pattern", "line", "least"),
    [
        ("ubl", "xrechnung-testsuite/**/*_ubl.xml", "//cac:InvoiceLine | //cac:CreditNoteLine", 70),
        ("cii", "xrechnung-testsuite/**/*_uncefact.xml", "//ram:IncludedSupplyChainTradeLineItem", 70),
    ],
)
def test_paths_reach_values_in_real_invoices(syntax: str, pattern: str, line: str, least: int) -> None:
    namespaces = NAMESPACES | {"rsm": CII_ROOT}
    roots = [etree.parse(path).getroot() for path in sorted(SHARED.glob(pattern))]
    assert roots
    reached = set()
    for field in load_taxonomy().fields:
        path = getattr(field, syntax)
        for root in roots if path else ():
            starts = [root] if field.level == "header" else root.xpath(line, namespaces=namespaces)
            if any(start.xpath(path, namespaces=namespaces) for start in starts):
                reached.add(field.name)
    assert {"document_number", "total_amount", "seller_vat_id", "line_quantity", "line_unit_price"} <= reached
    assert len(reached) >= least, sorted(reached)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data at {SHARED}")
def test_purchasing_names_are_columns_of_real_exports() -> None:
    folder = SHARED / "sap-odata-payloads" / "vendor-selection-optimization"
    tables = {"EKKO": "PO_HEADER", "EKPO": "PO_ITEMS", "EKET": "PO_SCHEDULE_LINES"}
    for name in ("document_number", "document_date", "currency", "line_number", "line_quantity", "line_net_amount"):
        table, column = str(load_taxonomy().field(name).sap).split("-")
        with (folder / f"SAP_VLY_IL_{tables[table]}.csv").open(encoding="utf-8-sig") as stream:
            assert column in next(csv.reader(stream)), name
