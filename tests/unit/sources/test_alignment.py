"""Truth joined to words: the right place among several, wrapped names, rows of a table, values that are not there."""

from sap_llm.reading.pdf import read_pdf
from sap_llm.reading.text import read_text
from sap_llm.schema.page import Page
from sap_llm.sources.alignment import Aligned, align
from sap_llm.sources.truth import Truth
from tests.support.typeset_corpus import typeset_pdf


def _page(text: str) -> list[Page]:
    return read_text(text.encode(), name="page.txt", max_pages=1)[0]


def _one(aligned: Aligned, name: str) -> dict[str, object]:
    return next(field for field in aligned.fields if field["field"] == name)


def test_a_typeset_invoice_is_found_whole() -> None:
    content, truth = typeset_pdf(4711)
    pages, _ = read_pdf(content, name="i.pdf")
    aligned = align(pages, truth, language="de")
    assert all(printed == stated for printed, stated in aligned.found.values())
    shown = {field["field"]: field["printed"] for field in aligned.fields}
    assert shown["total_amount"] == "267,75"
    assert shown["document_date"] == "14.03.2025"
    assert shown["seller_name"] == "Nordwind Handel GmbH"
    for field in aligned.fields:
        assert field["printed"] == " ".join(pages[0].words[index] for index in field["word_ids"])
        assert field["box"] == pages[0].union(field["word_ids"])
    first, second = aligned.line_items
    assert [field["printed"] for field in first["fields"]] == [
        "1",
        "Kugellager 6204 mit Dichtung",
        "10",
        "12,50",
        "125,00",
    ]
    assert [field["printed"] for field in second["fields"]] == ["2", "Dichtring NBR", "4", "25,00", "100,00"]
    assert first["box"][3] < second["box"][1]


def test_the_label_decides_between_equal_values() -> None:
    pages = _page(
        "Lieferdatum: 01.02.2024\nRechnungsdatum: 01.02.2024\nZwischensumme 10,00\nGesamtbetrag 10,00\nSkonto 10,00\n"
    )
    truth = Truth(
        document_type="SUPPLIER_INVOICE",
        header={
            "delivery_date": "20240201",
            "document_date": "20240201",
            "due_date": "20240201",
            "net_amount": "10.00",
            "total_amount": "10.00",
        },
    )
    aligned = align(pages, truth, language="de")
    lines = {name: int(pages[0].lines[_one(aligned, name)["word_ids"][0]]) for name in truth.header}  # type: ignore[index]
    assert (lines["delivery_date"], lines["net_amount"], lines["total_amount"]) == (0, 2, 3)


def test_a_wrapped_name_is_one_field() -> None:
    pages = _page("Verkäufer:                 Käufer:\nNordwind Handels-          Südmilch AG\nGesellschaft mbH\n")
    truth = Truth(
        document_type="SUPPLIER_INVOICE",
        header={"seller_name": "Nordwind Handels- Gesellschaft mbH", "buyer_name": "Südmilch AG"},
    )
    aligned = align(pages, truth, language="de")
    assert _one(aligned, "seller_name")["printed"] == "Nordwind Handels- Gesellschaft mbH"
    assert _one(aligned, "buyer_name")["printed"] == "Südmilch AG"


def test_a_value_that_is_not_printed_stays_without_place() -> None:
    truth = Truth(document_type="SUPPLIER_INVOICE", header={"iban": "DE02120300000000202051", "total_amount": "5"})
    aligned = align(_page("Total 7,00\n"), truth, language="de")
    assert [(field["value"], field["printed"], field["box"]) for field in aligned.fields] == [
        ("DE02120300000000202051", None, None),
        ("5.00", None, None),
    ]
    assert aligned.found == {"iban": (0, 1), "total_amount": (0, 1)}


def test_identifiers_are_found_however_they_are_spaced() -> None:
    pages = _page("IBAN: DE02 1203 0000 0000 2020 51  BIC BYLADEM1XXX\nUSt-IdNr.:DE123456789\nNr:4711\n")
    truth = Truth(
        document_type="SUPPLIER_INVOICE",
        header={
            "iban": "DE02120300000000202051",
            "bic": "BYLADEM1XXX",
            "seller_vat_id": "DE 123 456 789",
            "document_number": "4711",
        },
    )
    aligned = align(pages, truth, language="de")
    assert {field["field"]: field["printed"] for field in aligned.fields} == {
        "iban": "DE02 1203 0000 0000 2020 51",
        "bic": "BYLADEM1XXX",
        "seller_vat_id": "USt-IdNr.:DE123456789",
        "document_number": "Nr:4711",
    }


def test_equal_rows_are_matched_in_order_and_never_twice() -> None:
    pages = _page(
        "1  Schraube M4   10  0,50   5,00\n2  Schraube M4   10  0,50   5,00\n3  Mutter M4     10  0,20   2,00\n"
    )
    line = {
        "line_description": "Schraube M4",
        "line_quantity": "10",
        "line_unit_price": "0.50",
        "line_net_amount": "5.00",
    }
    nut = {"line_description": "Mutter M4", "line_quantity": "10", "line_unit_price": "0.2", "line_net_amount": "2"}
    truth = Truth(document_type="SUPPLIER_INVOICE", lines=(line, line, nut))
    aligned = align(pages, truth, language="de")
    tops = [item["box"][1] for item in aligned.line_items]
    assert tops == sorted(set(tops))
    words = [word for item in aligned.line_items for field in item["fields"] for word in field["word_ids"]]
    assert len(words) == len(set(words))


def test_a_credit_note_counts_the_sign_that_is_printed() -> None:
    truth = Truth(document_type="CREDIT_NOTE", header={"total_amount": "233.47", "net_amount": "218.48"})
    aligned = align(_page("Total HT    218,48 €\nTotal TTC   -233,47 €\n"), truth, language="fr")
    assert [field["value"] for field in aligned.fields] == ["-233.47", "218.48"]


def _lines(text: str, *lines: dict[str, str]) -> list[dict[str, str | None]]:
    """What is printed of each field of each line item."""
    aligned = align(_page(text), Truth(document_type="SUPPLIER_INVOICE", lines=lines), language="de")
    return [{field["field"]: field["printed"] for field in item["fields"]} for item in aligned.line_items]


def test_items_in_another_order_than_the_page_find_their_rows() -> None:
    text = "1 Schraube M4 2,00 10,00\n1 Aufschlag 3,00 3,00\n2 Mutter M4 4,00 8,00\n"
    items = [
        {"line_description": "Schraube M4", "line_net_amount": "10.00"},
        {"line_description": "Mutter M4", "line_net_amount": "8.00"},
        {"line_description": "Aufschlag", "line_net_amount": "3.00"},
    ]
    shown = _lines(text, *items)
    assert [line["line_net_amount"] for line in shown] == ["10,00", "8,00", "3,00"]


def test_of_two_rows_alike_the_one_with_the_right_neighbours_is_the_item() -> None:
    text = "Ware 5,00 10,00\nArtikel A-1\n\nLeer\nLeer\nWare 5,00 10,00\nArtikel B-2\n"
    (shown,) = _lines(text, {"line_description": "Ware", "line_unit_price": "5.00", "line_material_number": "B-2"})
    assert shown == {"line_description": "Ware", "line_unit_price": "5,00", "line_material_number": "B-2"}


def test_a_number_printed_once_serves_both_names_of_it() -> None:
    line = {"line_material_number": "4012345001235", "line_gtin": "4012345001235", "line_description": "Blatt A4"}
    (shown,) = _lines("Blatt A4 4012345001235 9,90\n", line)
    assert shown["line_gtin"] == shown["line_material_number"] == "4012345001235"


def test_countries_are_found_by_name_and_deductions_with_their_minus() -> None:
    pages = _page("Frankreich\nNachlass -14,73\n")
    truth = Truth(document_type="SUPPLIER_INVOICE", header={"buyer_country": "FR", "allowance_amount": "14.73"})
    aligned = align(pages, truth, language="de")
    assert [(field["value"], field["printed"]) for field in aligned.fields] == [
        ("FR", "Frankreich"),
        ("14.73", "-14,73"),
    ]


def test_what_is_not_printed_has_a_reason() -> None:
    header = {
        "payment_method": "58",
        "seller_name": "Nordwind Handel und Transport",
        "net_amount": "-1.12",
        "buyer_name": "Niemand",
    }
    lines = ({"line_description": "Ware", "line_net_amount": "7.00"},)
    truth = Truth(document_type="SUPPLIER_INVOICE", header=header, lines=lines)
    pages = _page("58\nNordwind Handel\n1,12\n7,00\n")
    found = {(entry.line, entry.field): entry.reason for entry in align(pages, truth, language="de").unprinted()}
    assert found == {
        (None, "payment_method"): "code",
        (None, "seller_name"): "other_form",
        (None, "net_amount"): "other_form",
        (None, "buyer_name"): "not_printed",
        (1, "line_description"): "not_printed",
        (1, "line_net_amount"): "elsewhere",
    }
