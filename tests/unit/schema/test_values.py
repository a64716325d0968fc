"""Canonical values: real printings of four languages, and round trips over any value."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.schema.values import canonical, decimal, equal

AMOUNTS = st.decimals(min_value=Decimal("-99999999.99"), max_value=Decimal("99999999.99"), places=2)
DATES = st.dates(min_value=date(1970, 1, 1), max_value=date(2069, 12, 31))
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}


@pytest.mark.parametrize(
    ("printed", "language", "expected"),
    [
        ("1.234,56", "de", "1234.56"),
        ("1,234.56", "en", "1234.56"),
        ("1 234,56 €", "fr", "1234.56"),
        ("1\u202f234,56 €", "fr", "1234.56"),
        ("1'234.56", None, "1234.56"),
        ("CHF 1’234.50", None, "1234.50"),
        ("1.234", "de", "1234.00"),
        ("1.234", "en", "1.234"),
        ("1.234", None, "1.234"),
        ("1,234", "en", "1234.00"),
        ("1,234", "de", "1.234"),
        ("0,125", None, "0.125"),
        ("1.234.567", None, "1234567.00"),
        ("1,23,456.00", "en", "123456.00"),
        ("12,-- EUR", "de", "12.00"),
        ("12,-", "de", "12.00"),
        ("-5,00", "de", "-5.00"),
        ("5,00-", "de", "-5.00"),
        ("(5.00)", "en", "-5.00"),
        ("\u22125,00 €", "de", "-5.00"),
        ("$1,939.00", "en", "1939.00"),
        ("RM 80.90", None, "80.90"),
        ("EUR 100", None, "100.00"),
        ("12.293,83 :", "de", "12293.83"),
        ("-0.00", None, "0.00"),
        ("total", None, None),
        ("12.34.56", None, None),
        ("", None, None),
        ("1,2,3", None, None),
        ("5 x 3", None, None),
    ],
)
def test_amounts_of_many_countries(printed: str, language: str | None, expected: str | None) -> None:
    assert canonical(printed, "amount", language=language) == expected


@pytest.mark.parametrize(
    ("printed", "language", "expected"),
    [
        ("05.03.2018", "de", "2018-03-05"),
        ("5.3.18", "de", "2018-03-05"),
        ("2018-03-05", None, "2018-03-05"),
        ("20180305", None, "2018-03-05"),
        ("25032018", None, "2018-03-25"),
        ("202003311232", None, "2020-03-31"),
        ("2018-03-05T10:00:00Z", None, "2018-03-05"),
        ("31/03/2020 12:32", "fr", "2020-03-31"),
        ("03/31/2020", "en", "2020-03-31"),
        ("03/04/2020", "en", "2020-04-03"),
        ("03/04/2020", "en-us", "2020-03-04"),
        ("5. März 2018", "de", "2018-03-05"),
        ("5. Mrz. 2018", "de", "2018-03-05"),
        ("1er août 2019", "fr", "2019-08-01"),
        ("Freitag, 13. Dezember 2019", "de", "2019-12-13"),
        ("5 de marzo de 2018", "es", "2018-03-05"),
        ("March 5th, 2018", "en", "2018-03-05"),
        ("30 MAR 18", "en", "2018-03-30"),
        ("15-Jan-2019 8:13 PM", "en", "2019-01-15"),
        ("DATE: 15/01/2019", "en", "2019-01-15"),
        ("31.02.2018", "de", None),
        ("soon", "en", None),
    ],
)
def test_dates_in_four_languages(printed: str, language: str | None, expected: str | None) -> None:
    assert canonical(printed, "date", language=language) == expected


@pytest.mark.parametrize(
    ("printed", "type_name", "expected"),
    [
        ("19,00 %", "percent", "19"),
        ("5,5%", "percent", "5.5"),
        ("(8.25 %)", "percent", "8.25"),
        ("19%:", "percent", "19"),
        ("19 EUR", "percent", None),
        ("€.", "currency", "EUR"),
        ("Fr.", "currency", "CHF"),
        ("20 Unit(s)", "quantity", "20"),
        ("10,500 kg", "quantity", "10500"),
        ("3", "integer", "3"),
        ("0010", "integer", "10"),
        ("3.5", "integer", None),
        ("€", "currency", "EUR"),
        ("eur", "currency", "EUR"),
        ("US$", "currency", "USD"),
        ("RM", "currency", "MYR"),
        ("NOK", "currency", "NOK"),
        ("DEM", "currency", "DEM"),  # until 2002
        ("AWS", "currency", None),  # three capitals, but nobody's money
        ("XXX", "currency", None),
        ("Rp", "currency", "IDR"),
        ("Rp 74,250", "amount", "74250.00"),
        ("DE 123.456.789", "vat_id", "DE123456789"),
        ("FR20 1242 1242 1242 1242 1242 124", "iban", "FR2012421242124212421242124"),
        ("IBAN: DE02 1203 0000 0000 2020 51", "iban", "DE02120300000000202051"),
        ("FIDCFR21XXX", "bic", "FIDCFR21"),
        ("Stück", "unit", "PC"),
        ("H87", "unit", "PC"),
        ("Liter(s)", "unit", "L"),
        ("  Lieferant \u00a0 GmbH ", "string", "Lieferant GmbH"),
    ],
)
def test_other_types(printed: str, type_name: str, expected: str | None) -> None:
    assert canonical(printed, type_name) == expected


@given(AMOUNTS, st.sampled_from(["en", "de", "fr", "ch", "plain"]))
def test_amount_printed_and_read_is_the_same(amount: Decimal, style: str) -> None:
    english = f"{amount:,.2f}"
    group, mark = {"en": (",", "."), "de": (".", ","), "fr": ("\u202f", ","), "ch": ("'", "."), "plain": ("", ".")}[
        style
    ]
    printed = english.replace(",", "\0").replace(".", mark).replace("\0", group)
    language = {"plain": None, "ch": "de"}.get(style, style)
    assert decimal(printed, language=language) == amount
    assert decimal(f"{printed} EUR", language=language) == amount


@given(
    DATES, st.sampled_from(sorted(MONTHS)), st.sampled_from(["%d.%m.%Y", "%d/%m/%Y", "%d-%m-%y", "%Y-%m-%d", "named"])
)
def test_date_printed_and_read_is_the_same(day: date, language: str, form: str) -> None:
    name = MONTHS[language].split()[day.month - 1]
    printed = f"{day.day}. {name} {day.year}" if form == "named" else day.strftime(form)
    assert canonical(printed, "date", language=language) == day.isoformat()


@given(
    st.text(max_size=30),
    st.sampled_from("string date amount quantity integer percent currency vat_id iban bic".split()),
)
def test_canonical_is_idempotent_and_never_raises(text: str, type_name: str) -> None:
    once = canonical(text, type_name)
    if once is not None:
        assert canonical(once, type_name) == once


def test_equality_by_type() -> None:
    assert equal("1.234,50 €", "1234.50", "amount", language=None)
    assert equal("05.03.2018", "2018-03-05", "date")
    assert equal("lieferant  GmbH.", "Lieferant GmbH", "string")
    assert not equal("471102", "471103", "string")
    assert not equal("1.00", "1.01", "amount")
    assert equal("n/a", "N/A", "amount")
