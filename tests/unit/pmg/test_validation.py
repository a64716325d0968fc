"""Business rules over an extraction: what they catch, what they let be, and when they do not apply."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.pmg.validation import Extracted, validate

REQUIRED = {"SUPPLIER_INVOICE": ["document_number", "total_amount"]}
INVOICE = {
    "document_number": "R-1",
    "document_date": "2026-01-05",
    "due_date": "2026-02-04",
    "net_amount": "100.00",
    "tax_amount": "19.00",
    "tax_rate": "19",
    "total_amount": "119.00",
    "currency": "EUR",
    "iban": "DE89370400440532013000",
}
LINES = (
    {"line_quantity": "3", "line_unit_price": "20.00", "line_net_amount": "60.00"},
    {"line_quantity": "2", "line_unit_price": "20.00", "line_net_amount": "40.00"},
)


def invoice(**changes: str | None) -> Extracted:
    header = {name: value for name, value in (INVOICE | changes).items() if value is not None}
    return Extracted(document_type="SUPPLIER_INVOICE", header=header, lines=LINES)


def test_consistent_invoice_passes_every_rule() -> None:
    found = validate(invoice(), required=REQUIRED)
    assert found.passed
    assert set(found.rules) == {
        "required_fields",
        "net_plus_tax_is_total",
        "tax_is_rate_of_net",
        "lines_sum_to_net",
        "quantity_times_price",
        "due_after_document_date",
        "iban_checksum",
        "currency_is_iso",
    }


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"document_number": None}, "required_fields: document_number is missing"),
        ({"total_amount": "118.00"}, "net_plus_tax_is_total: 100.00 + 19.00 is not 118.00"),
        ({"tax_rate": "7"}, "tax_is_rate_of_net: 7 % of 100.00 is not 19.00"),
        ({"due_date": "2025-12-31"}, "due_after_document_date: due 2025-12-31"),
        ({"iban": "DE89370400440532013001"}, "iban_checksum: DE89370400440532013001"),
        ({"currency": "Euro"}, "currency_is_iso: Euro"),
        ({"currency": "AWS"}, "currency_is_iso: AWS"),
    ],
)
def test_each_rule_says_what_is_wrong(changes: dict[str, str | None], error: str) -> None:
    found = validate(invoice(**changes), required=REQUIRED)
    assert len(found.errors) == 1
    assert found.errors[0].startswith(error)


def test_line_rules_name_the_line() -> None:
    lines = (LINES[0], LINES[1] | {"line_net_amount": "41.00"})
    found = validate(Extracted(document_type="X", header=INVOICE, lines=lines), required=REQUIRED)
    assert found.errors == (
        "lines_sum_to_net: the lines sum to 101.00, not to 100.00",
        "quantity_times_price: line 2: 2 x 20.00 is not 41.00",
    )


def test_rules_without_their_fields_do_not_apply() -> None:
    found = validate(Extracted(document_type="FORM", header={}, lines=()), required=REQUIRED)
    assert (found.rules, found.passed) == ((), True)


def test_unreadable_numbers_do_not_apply_instead_of_failing() -> None:
    found = validate(invoice(net_amount="about 100", total_amount="NaN"), required={})
    assert "net_plus_tax_is_total" not in found.rules
    assert found.passed


def test_a_row_is_read_with_the_more_confident_of_two_values() -> None:
    fields = [
        {"field": "currency", "value": "USD", "confidence": 0.9},
        {"field": "currency", "value": "EUR", "confidence": 0.4},
        {"field": "iban", "value": None, "confidence": 0.9},
    ]
    row = {"document_type": "FORM", "fields": fields, "line_items": [{"fields": fields[:1]}]}
    found = Extracted.from_row(row)
    assert found.header == {"currency": "USD"}
    assert found.lines == [{"currency": "USD"}]


@given(
    net=st.decimals(min_value=0, max_value=10**9, places=2),
    tax=st.decimals(min_value=0, max_value=10**8, places=2),
    off=st.decimals(min_value=-1000, max_value=1000, places=2),
)
def test_sums_hold_exactly_when_they_are_right_to_two_cents(net: Decimal, tax: Decimal, off: Decimal) -> None:
    header = {"net_amount": str(net), "tax_amount": str(tax), "total_amount": str(net + tax + off)}
    found = validate(Extracted(document_type="FORM", header=header, lines=()), required={})
    assert found.passed is (abs(off) <= Decimal("0.02"))
