"""The label baseline reads plain documents in four languages and real files without any learning."""

import os
from pathlib import Path

import pytest

from sap_llm.evaluation.baseline import predict_with_labels
from sap_llm.schema.page import Page
from sap_llm.schema.values import canonical
from tests.support.toy_corpus import page as page_row
from tests.support.toy_corpus import toy_document

SHARED = Path(os.environ.get("SAP_LLM_SHARED", "../shared/data"))

FRENCH = """Moulin du Lac SARL\t\t
12 rue du Port
69001 Lyon
Facture N° FA-2025-0042
Date de facture 13/11/2025
Votre commande PO-7781
Date d'échéance 13/12/2025
N° TVA FR40303265045
Total HT 624,90 €
TVA 20,0% 124,98 €
Total TTC 749,88 €
IBAN FR14 2004 1010 0505 0001 3M02 606 BIC PSSTFRPPXXX"""
SPANISH = """Aceros del Norte S.L.
Pedido de compra
Número de pedido: PC-20931
Fecha de pedido: 5 de marzo de 2025
Proveedor: Tornillos Reunidos S.A.
Base imponible 1.000,00 EUR
IVA 21% 210,00 EUR
Total 1.210,00 EUR"""
SUMS_BY_RATE = """Kugel Handel GmbH
Rechnungsnummer: RE-1
Nettobetrag      MwSt-Betrag      Endbetrag
     100,00            19,00         119,00
      50,00             3,50          53,50
     150,00            22,50         172,50"""


def _values(text: str) -> dict[str, str]:
    row = predict_with_labels([Page.from_row(page_row(toy_document("any", text=text)))])
    return {field["field"]: field["value"] for field in row["fields"]} | {"class": row["document_type"]}


def test_a_french_invoice_is_read() -> None:
    assert _values(FRENCH) == {
        "class": "SUPPLIER_INVOICE",
        "document_number": "FA-2025-0042",
        "document_date": "2025-11-13",
        "order_reference": "PO-7781",
        "due_date": "2025-12-13",
        "seller_name": "Moulin du Lac SARL",
        "seller_vat_id": "FR40303265045",
        "net_amount": "624.90",
        "tax_amount": "124.98",
        "tax_rate": "20",
        "total_amount": "749.88",
        "currency": "EUR",
        "iban": "FR1420041010050500013M02606",
        "bic": canonical("PSSTFRPPXXX", "bic"),
    }


def test_on_an_order_the_letterhead_is_the_buyer() -> None:
    found = _values(SPANISH)
    assert found["class"] == "PURCHASE_ORDER"
    assert (found["buyer_name"], found["seller_name"]) == ("Aceros del Norte S.L.", "Tornillos Reunidos S.A.")
    assert (found["document_number"], found["document_date"]) == ("PC-20931", "2025-03-05")
    assert (found["net_amount"], found["tax_amount"], found["total_amount"]) == ("1000.00", "210.00", "1210.00")


def test_of_part_totals_the_whole_is_chosen() -> None:
    found = _values(SUMS_BY_RATE)
    assert (found["net_amount"], found["tax_amount"], found["total_amount"]) == ("150.00", "22.50", "172.50")


@pytest.mark.parametrize("name", ["good 0", "good 1", "good 2", "good 3"])
def test_toy_documents_are_read_right_with_their_words(name: str) -> None:
    document = toy_document(name)
    page = Page.from_row(page_row(document))
    row = predict_with_labels([page])
    found = {field["field"]: field for field in row["fields"]}
    assert row["document_type"] == document["document_type"]
    assert {key: found[key]["value"] for key in document["values"]} == document["values"]
    for field in row["fields"]:
        words = " ".join(page.words[word] for word in field["word_ids"])
        assert field["printed"] in words
        assert field["box"] == page.union(field["word_ids"])


def test_an_empty_document_is_no_error() -> None:
    for pages in ([], [Page.from_row(page_row(toy_document("blank", text="")))]):
        row = predict_with_labels(pages)
        assert (row["document_type"], row["fields"]) == ("OTHER", [])


REAL = {
    "zugferd-corpus/zugferdv2-correct-fnfe-factur-x-examples/Facture_FR_BASICWL.pdf": {
        "document_number": "FA-2017-0010",
        "document_date": "2017-11-13",
        "due_date": "2017-12-13",
        "order_reference": "PO445",
        "net_amount": "624.90",
        "tax_amount": "46.25",
        "total_amount": "671.15",
        "seller_vat_id": "FR11999999998",
        "buyer_vat_id": "FR19787878784",
    },
    "order-x/pdf/ORDER-X_EX02_CHANGE-BASIC.pdf": {
        "document_number": "PO123456789-C02",
        "order_reference": "PO123456789",
        "buyer_name": "BUYER_NAME",
        "seller_name": "SELLER_NAME",
        "seller_vat_id": "FR32123456789",
        "total_amount": "360.00",
    },
    "invoice2data/AzureInterior.pdf": {
        "document_number": "INV/2023/03/0008",
        "due_date": "2023-04-04",
        "currency": "USD",
    },
}


@pytest.mark.parametrize("file", REAL)
def test_real_documents_are_read(file: str) -> None:
    if not (SHARED / file).exists():
        pytest.skip(f"{SHARED / file} is not here; set SAP_LLM_SHARED to the folder of real documents")
    from sap_llm.reading.document import read_document

    row = predict_with_labels(read_document((SHARED / file).read_bytes(), name=file).pages)
    found = {field["field"]: field["value"] for field in row["fields"]}
    assert {name: found.get(name) for name in REAL[file]} == REAL[file]
