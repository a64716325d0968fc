"""One invoice in UBL and in CII gives one record: the official suites, pair by pair.

Where the two files state different things, the difference is listed here by file and field with its reason.
"""

import os
from pathlib import Path

import pytest

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical
from sap_llm.sources.einvoice import read_truth

_SHARED = Path(os.environ.get("SAP_LLM_SHARED", Path(__file__).parents[4] / "shared" / "data"))

_FILLER = "UBL demands an order number beside the sales order's, so the UBL file has a filler"
_ONE_ID = "the UBL file states the GLN only, the CII file a number beside it"
_NO_BASE = "the UBL file states the discounted price without its base"
_ZERO = "one file states a zero, the other nothing"
_TYPO = "the two files spell the text differently"
_OTHER = "the two files state different values"
_ONLY_ONE = "only one of the two files states it"

DIFFERENT: dict[tuple[str, str], str] = {
    **{(f"01.{number}a-INVOICE_ubl.xml", "order_reference"): _FILLER for number in ("02", "08", "09", "11", "13")},
    **{
        (f"EN16931_{name}.ubl.xml", "seller_number"): _ONE_ID
        for name in (
            "1_Teilrechnung", "2_Teilrechnung", "AbweichenderZahlungsempf", "Einfach", "Einfach_DueDate",
            "Einfach_negativePaymentDue", "Gutschrift", "Rechnungskorrektur", "SEPA_Prenotification",
            "Sachversicherung_berechneter_Steuersatz",
        )
    },
    **{
        (f"EN16931_{name}.ubl.xml", "line_gross_price"): _NO_BASE
        for name in (
            "1_Teilrechnung", "Kraftfahrversicherung_Bruttopreise", "Rabatte", "Rechnungskorrektur",
            "Sachversicherung_berechneter_Steuersatz",
        )
    },
    ("01.05_minimal_test_ubl.xml", "tax_amount"): _ZERO,
    ("01.21a-INVOICE_ubl.xml", "allowance_amount"): _ZERO,
    ("01.21a-INVOICE_ubl.xml", "seller_vat_id"): _OTHER,
    ("01.21a-INVOICE_ubl.xml", "tax_exemption_reason"): _OTHER,
    ("02.01a-INVOICE_ubl.xml", "rounding_amount"): _ZERO,
    ("02.01a-cvd_INVOICE_ubl.xml", "rounding_amount"): _ZERO,
    ("02.01a-cvd_INVOICE_ubl.xml", "seller_number"): _ONE_ID,
    ("02.01a-cvd_INVOICE_ubl.xml", "line_long_text"): _TYPO,
    ("ubl-tc434-example1.xml", "document_note"): _TYPO,
    ("ubl-tc434-example1.xml", "line_description"): _TYPO,
    ("ubl-tc434-example4.xml", "seller_email"): _OTHER,
    ("ubl-tc434-example5.xml", "payment_method"): "the UBL file is a direct debit (49), the CII file a transfer (58)",
    ("ubl-tc434-example5.xml", "debtor_iban"): "as above: the account is the buyer's in one, the seller's in the other",
    ("ubl-tc434-example5.xml", "iban"): "as above",
    ("ubl-tc434-example5.xml", "creditor_id"): _ONLY_ONE,
    ("ubl-tc434-example5.xml", "document_note"): _TYPO,
    ("ubl-tc434-example5.xml", "line_material_group"): _ONLY_ONE,
    ("ubl-tc434-example5.xml", "line_note"): _TYPO,
    ("ubl-tc434-example5.xml", "tax_point_date"): _ONLY_ONE,
    ("ubl-tc434-example5.xml", "tender_reference"): "the CII file gives the lot another type code than BT-17 has",
    ("ubl-tc434-example8.xml", "line_price_unit"): "the CII file repeats the price as its base quantity",
    ("ubl-tc434-example8.xml", "line_price_unit_of_measure"): _OTHER,
    ("ubl-tc434-example8.xml", "line_unit"): _OTHER,
    ("ubl-tc434-example8.xml", "tax_point_date"): _ONLY_ONE,
}  # fmt: skip
"""True differences of the files, by UBL file and field."""


def _pairs() -> list[tuple[Path, Path]]:
    """UBL and CII file of each invoice that lies here in both."""
    suite, corpus, examples = (
        _SHARED / name for name in ("xrechnung-testsuite", "zugferd-corpus/xml-rechnung-ubl", "en16931-examples/ubl")
    )
    found = [(path, path.with_name(path.name.replace("_ubl", "_uncefact"))) for path in suite.rglob("*_ubl.xml")]
    found += [
        (path, path.parents[1] / "xml-rechnung-cii" / path.name.replace(".ubl.", ".cii."))
        for path in corpus.glob("*.ubl.xml")
    ]
    found += [
        (path, path.parents[1] / "cii" / path.name.replace("ubl-tc434-", "CII_"))
        for path in examples.glob("ubl-tc434-*.xml")
    ]
    return sorted(pair for pair in found if pair[1].exists())


@pytest.mark.parametrize("pair", _pairs(), ids=lambda pair: pair[0].name)
def test_ubl_and_cii_give_one_record(pair: tuple[Path, Path]) -> None:
    ubl, cii = (read_truth(path.read_bytes(), name=path.name) for path in pair)
    assert ubl.document_type == cii.document_type
    assert len(ubl.lines) == len(cii.lines)
    records = zip((ubl.header, *ubl.lines), (cii.header, *cii.lines), strict=True)
    differences = {name for left, right in records for name in _differences(left, right)}
    assert differences == {field for file, field in DIFFERENT if file == pair[0].name}


def test_the_suites_have_their_pairs(shared_data: Path) -> None:
    assert shared_data.resolve() == _SHARED.resolve()
    assert len(_pairs()) == 41
    assert {file for file, _ in DIFFERENT} <= {ubl.name for ubl, _ in _pairs()}


def _differences(left: dict[str, str], right: dict[str, str]) -> set[str]:
    taxonomy = load_taxonomy()

    def normal(values: dict[str, str], name: str) -> str | None:
        text = values.get(name)
        return None if text is None else canonical(text, taxonomy.field(name).type) or text

    return {name for name in left.keys() | right.keys() if normal(left, name) != normal(right, name)}
