"""E-invoice XML: four syntaxes to one truth, and the official test suites agree with themselves."""

from pathlib import Path

import pytest

from sap_llm.schema.errors import SourceError
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.sources.einvoice import choose_attachment, read_truth
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
        "document_date": "20240305",
        "order_reference": "PO9",
        "seller_name": "Nordwind Handel GmbH",
        "seller_vat_id": "DE1",
        "tax_rate": "19",
    }
    assert truth.lines == (
        {"line_number": "1", "line_description": "Bolt M4", "line_quantity": "5", "line_unit": "H87"},
    )


def test_several_tax_rates_are_no_single_truth() -> None:
    assert "tax_rate" not in _truth(tax=_SECOND_RATE).header


@pytest.mark.parametrize(
    ("code", "kind"),
    [("381", "CREDIT_NOTE"), ("220", "PURCHASE_ORDER"), ("230", "ORDER_CHANGE"), ("231", "ORDER_RESPONSE")],
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


_COMPARED = ("document_number", "seller_vat_id", "buyer_vat_id", "total_amount", "net_amount", "currency", "iban")
_DIFFER_UPSTREAM = {("01.21a-INVOICE_ubl.xml", "seller_vat_id")}  # the suite's two files state different numbers


def test_ubl_and_cii_of_the_xrechnung_suite_are_one_truth(shared_data: Path) -> None:
    pairs, differences = 0, set()
    for ubl in sorted((shared_data / "xrechnung-testsuite").rglob("*_ubl.xml")):
        cii = ubl.with_name(ubl.name.replace("_ubl.xml", "_uncefact.xml"))
        if not cii.exists():
            continue
        left, right = (read_truth(path.read_bytes(), name=path.name) for path in (ubl, cii))
        pairs += 1
        differences |= {
            (ubl.name, name) for name in _COMPARED if _number(left.header.get(name)) != _number(right.header.get(name))
        }
        assert left.header["document_date"].replace("-", "") == right.header["document_date"]
        assert len(left.lines) == len(right.lines)
    assert pairs >= 10
    assert differences == _DIFFER_UPSTREAM


def _number(text: str | None) -> float | str | None:
    try:
        return float(text) if text else text
    except ValueError:
        return text
