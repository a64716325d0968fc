"""E-invoice XML: every syntax to one truth, every document to its class; hostile or foreign XML is refused."""

from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from lxml import etree

from sap_llm.schema.errors import SourceError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.einvoice import choose_attachment, read_truth
from sap_llm.sources.einvoice_table import compiled, syntax_of
from sap_llm.sources.truth import Truth

_CII = """<rsm:CrossIndustryInvoice xmlns:rsm="urn:rsm" xmlns:ram="urn:ram" xmlns:udt="urn:udt">
<rsm:ExchangedDocument><ram:ID>R 1</ram:ID><ram:TypeCode>{code}</ram:TypeCode>
<ram:IssueDateTime><udt:DateTimeString format="102">20240305</udt:DateTimeString></ram:IssueDateTime>
</rsm:ExchangedDocument><rsm:SupplyChainTradeTransaction><ram:IncludedSupplyChainTradeLineItem>
<ram:AssociatedDocumentLineDocument><ram:LineID>1</ram:LineID></ram:AssociatedDocumentLineDocument>
<ram:SpecifiedTradeProduct><ram:Name>Bolt  M4</ram:Name></ram:SpecifiedTradeProduct>
<ram:SpecifiedLineTradeDelivery><ram:BilledQuantity unitCode="H87">5</ram:BilledQuantity>
</ram:SpecifiedLineTradeDelivery>
</ram:IncludedSupplyChainTradeLineItem><ram:ApplicableHeaderTradeAgreement><ram:SellerTradeParty>
<ram:Name>GLN 4333741000005
Nordwind
Handel GmbH</ram:Name><ram:SpecifiedTaxRegistration><ram:ID schemeID="FC">1/2</ram:ID></ram:SpecifiedTaxRegistration>
<ram:SpecifiedTaxRegistration><ram:ID schemeID="VA">DE1</ram:ID></ram:SpecifiedTaxRegistration></ram:SellerTradeParty>
<ram:BuyerOrderReferencedDocument><ram:IssuerAssignedID>PO9</ram:IssuerAssignedID></ram:BuyerOrderReferencedDocument>
</ram:ApplicableHeaderTradeAgreement><ram:ApplicableHeaderTradeSettlement>
<ram:ApplicableTradeTax><ram:RateApplicablePercent>19.00</ram:RateApplicablePercent></ram:ApplicableTradeTax>{tax}
</ram:ApplicableHeaderTradeSettlement></rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>"""
_SECOND_RATE = (
    "<ram:ApplicableTradeTax><ram:RateApplicablePercent>7</ram:RateApplicablePercent></ram:ApplicableTradeTax>"
)


def _truth(code: str = "380", tax: str = "") -> Truth:
    return read_truth(_CII.format(code=code, tax=tax).encode(), name="x.xml")


def test_header_lines_and_class_of_a_cii_invoice() -> None:
    truth = _truth()
    assert truth.document_type == "SUPPLIER_INVOICE"
    assert truth.header == {
        "document_number": "R 1",
        "document_type_code": "380",
        "document_date": "20240305",
        "order_reference": "PO9",
        "seller_name": "Nordwind Handel GmbH",
        "seller_vat_id": "DE1",
        "seller_tax_number": "1/2",
        "tax_rate": "19",
    }
    assert truth.lines == (
        {"line_number": "1", "line_description": "Bolt M4", "line_quantity": "5", "line_unit": "H87"},
    )


def test_several_tax_rates_are_no_single_truth() -> None:
    assert "tax_rate" not in _truth(tax=_SECOND_RATE).header


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("381", "CREDIT_NOTE"),
        ("383", "DEBIT_NOTE"),
        ("384", "SUPPLIER_INVOICE"),
        ("389", "SELF_BILLING_INVOICE"),
        ("326", "SUPPLIER_INVOICE"),
        ("386", "SUPPLIER_INVOICE"),
        ("220", "PURCHASE_ORDER"),
        ("230", "ORDER_CHANGE"),
        ("231", "ORDER_RESPONSE"),
        ("unheard of", "SUPPLIER_INVOICE"),
    ],
)
def test_type_codes_give_the_class(code: str, kind: str) -> None:
    truth = _truth(code)
    assert truth.document_type == kind
    assert ("order_reference" in truth.header) == (kind != "PURCHASE_ORDER")
    load_taxonomy().document_class(kind)


def test_other_xml_is_refused() -> None:
    with pytest.raises(SourceError, match="unknown XML root"):
        read_truth(b"<html/>", name="x.xml")
    with pytest.raises(SourceError, match="well-formed"):
        read_truth(b"<rsm:Invoice", name="x.xml")


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("PASSWORD")
    xml = _CII.format(code="380", tax="").replace("R 1", "&leak;")
    truth = read_truth(f'<!DOCTYPE r [<!ENTITY leak SYSTEM "file://{secret}">]>{xml}'.encode(), name="x.xml")
    assert "PASSWORD" not in str(truth)


def test_the_attachment_is_chosen_by_its_standard_name() -> None:
    assert choose_attachment({"drawing.xml": b"1", "ZUGFeRD-invoice.xml": b"2"}) == b"2"
    assert choose_attachment({"drawing.xml": b"1"}) is None


_UBL = """<{root} xmlns="urn:oasis:names:specification:ubl:schema:xsd:{root}-2" xmlns:c="urn:c" xmlns:a="urn:a">
<c:ID>7</c:ID>{body}</{root}>"""


@pytest.mark.parametrize(
    ("root", "body", "kind", "header", "line"),
    [
        (
            "Order",
            ("<a:OrderReference><c:ID>O1</c:ID></a:OrderReference>"
            "<a:SellerSupplierParty><a:Party><a:PartyName><c:Name>N</c:Name></a:PartyName></a:Party>"
            "</a:SellerSupplierParty>"
            "<a:AnticipatedMonetaryTotal><c:PayableAmount>9</c:PayableAmount></a:AnticipatedMonetaryTotal>"
            "<a:OrderLine><a:LineItem><c:ID>1</c:ID><c:Quantity unitCode='C62'>3</c:Quantity></a:LineItem>"
            "</a:OrderLine>"),
            "PURCHASE_ORDER",
            {"document_number": "7", "seller_name": "N", "total_amount": "9"},
            {"line_number": "1", "line_quantity": "3", "line_unit": "C62"},
        ),
        (
            "OrderResponse",
            ("<c:OrderResponseCode>AP</c:OrderResponseCode><a:OrderReference><c:ID>O1</c:ID></a:OrderReference>"
            "<a:OrderLine><a:LineItem><c:Quantity>3</c:Quantity></a:LineItem></a:OrderLine>"),
            "ORDER_RESPONSE",
            {"document_number": "7", "document_status": "AP", "order_reference": "O1"},
            {"line_quantity": "3", "line_confirmed_quantity": "3"},
        ),
        ("OrderCancellation", "", "ORDER_CHANGE", {"document_number": "7"}, None),
        (
            "DespatchAdvice",
            ("<a:DespatchSupplierParty><a:Party><a:PartyName><c:Name>N</c:Name></a:PartyName></a:Party>"
            "</a:DespatchSupplierParty><a:DespatchLine><c:DeliveredQuantity>3</c:DeliveredQuantity></a:DespatchLine>"),
            "DESPATCH_ADVICE",
            {"document_number": "7", "seller_name": "N", "ship_from_name": "N"},
            {"line_quantity": "3", "line_delivered_quantity": "3"},
        ),
        (
            "ReceiptAdvice",
            ("<a:DespatchDocumentReference><c:ID>D1</c:ID></a:DespatchDocumentReference>"
            "<a:ReceiptLine><c:ReceivedQuantity>3</c:ReceivedQuantity>"
            "<c:ShortQuantity>1</c:ShortQuantity></a:ReceiptLine>"),
            "GOODS_RECEIPT",
            {"document_number": "7", "delivery_note_number": "D1"},
            {"line_quantity": "3", "line_received_quantity": "3", "line_short_quantity": "1"},
        ),
        ("CreditNote", "<c:CreditNoteTypeCode>999</c:CreditNoteTypeCode>", "CREDIT_NOTE",
         {"document_number": "7", "document_type_code": "999"}, None),
    ],
)  # fmt: skip
def test_ubl_documents_by_their_root(
    root: str, body: str, kind: str, header: dict[str, str], line: dict[str, str] | None
) -> None:
    truth = read_truth(_UBL.format(root=root, body=body).encode(), name="x.xml")
    assert (truth.document_type, truth.header) == (kind, header)
    assert truth.lines == ((line,) if line else ())


def test_a_party_is_one_party_in_all_its_fields() -> None:
    """The seller has a name only; the sender's address is not the seller's."""
    city = "<a:PostalAddress><c:CityName>Leeds</c:CityName></a:PostalAddress>"
    sender, seller = (
        f"<a:{role}><a:Party><a:PartyName><c:Name>{name}</c:Name></a:PartyName>{address}</a:Party></a:{role}>"
        for role, name, address in (("DespatchSupplierParty", "Sender", city), ("SellerSupplierParty", "Seller", ""))
    )
    alone, both = (
        read_truth(_UBL.format(root="DespatchAdvice", body=body).encode(), name="x.xml").header
        for body in (sender, sender + seller)
    )
    assert (alone["seller_name"], alone["seller_city"]) == ("Sender", "Leeds")
    assert both["seller_name"] == "Seller"
    assert "seller_city" not in both
    assert both["ship_from_name"] == "Sender"


def test_an_account_that_is_no_iban_stays_an_account_number() -> None:
    body = (
        "<a:PaymentMeans><a:PayeeFinancialAccount><c:ID>{}</c:ID></a:PayeeFinancialAccount></a:PaymentMeans>"
        "<a:PartyTaxScheme/>"
    )
    truths = [
        read_truth(_UBL.format(root="Invoice", body=body.format(number)).encode(), name="x.xml").header
        for number in ("12-345", "DE89370400440532013000")
    ]
    assert [header.get("account_number") for header in truths] == ["12-345", None]
    assert [header.get("iban") for header in truths] == [None, "DE89370400440532013000"]


def test_the_path_table_names_fields_and_classes_of_the_taxonomy() -> None:
    table = yaml.safe_load(files("sap_llm.sources").joinpath("einvoice_paths.yaml").read_text(encoding="utf-8"))
    taxonomy = load_taxonomy()
    named = {name for entry in table["syntaxes"].values() for name in entry.get("more", {})}
    for name in named | set(table["codes"]):
        taxonomy.field(name)
    classes = table["classes"]
    for name in {*classes["roots"].values(), *classes["codes"].values(), classes["default"]}:
        taxonomy.document_class(name)


@pytest.mark.parametrize("column", ["cii", "ubl"])
def test_every_path_of_the_taxonomy_is_read(column: str) -> None:
    """A document that has an element on each path gives a value of each field: nothing of the table is left out."""
    root = etree.Element("CrossIndustryInvoice") if column == "cii" else etree.Element(
        "{urn:oasis:names:specification:ubl:schema:xsd:Invoice-2}Invoice"
    )  # fmt: skip
    syntax = syntax_of(root)
    assert syntax is not None
    stated = {field.name for field in load_taxonomy().fields if getattr(field, column)}
    assert stated <= syntax.header.keys() | syntax.lines.keys()
    for paths in (*syntax.header.values(), *syntax.lines.values()):
        for path in paths:
            compiled(path)
