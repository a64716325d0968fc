"""Money: what balances can be made, what does not cannot, in currencies of 0, 2 and 3 decimals."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.schema.values import canonical as canonical_value
from sap_llm.schema.values import currency_decimals
from sap_llm.synthetic import formats
from sap_llm.synthetic.amounts import UnbalancedError, canonical, check_balance, line_amount, rounded, sum_up
from sap_llm.synthetic.chains import make_chains
from sap_llm.synthetic.classes import trade_classes
from sap_llm.synthetic.style import TEST_STYLES, Style
from sap_llm.synthetic.worlds import make_world

CURRENCIES = ("EUR", "USD", "JPY", "KRW", "HUF", "CLP", "KWD", "BHD", "TND")
LANGUAGES = ("de", "en", "fr", "es")

quantities = st.decimals(min_value=-2000, max_value=2000, places=2).filter(bool)
prices = st.decimals(min_value=0, max_value=30_000, places=4)
percents = st.sampled_from([Decimal(value) for value in ("0", "2", "3.5", "10")])
rates = st.sampled_from(["0", "5.5", "7", "8.25", "19", "20"])


def made_line(number: int, parts: tuple[Decimal, Decimal, Decimal, str], currency: str) -> dict[str, Any]:
    quantity, price, percent, rate = parts
    net = line_amount(quantity, price, percent, currency)
    return {
        "number": number, "quantity": str(quantity), "unit_price": str(price), "discount_percent": str(percent),
        "tax_rate": rate, "net_amount": canonical(net),
    }  # fmt: skip


@given(
    parts=st.lists(st.tuples(quantities, prices, percents, rates), min_size=1, max_size=12),
    currency=st.sampled_from(CURRENCIES),
    discount=percents,
    freight=st.decimals(min_value=0, max_value=90, places=0),
)
@settings(max_examples=200, deadline=None)
def test_sums_of_any_lines_balance_to_the_smallest_unit(
    parts: list[tuple[Decimal, Decimal, Decimal, str]], currency: str, discount: Decimal, freight: Decimal
) -> None:
    lines = [made_line(index, entry, currency) for index, entry in enumerate(parts)]
    payload: dict[str, Any] = {"document_number": "1", "lines": lines}
    payload |= sum_up(lines, currency, discount_percent=discount, freight=freight)
    check_balance(payload, currency)
    for name in ("net_amount", "tax_amount", "total_amount", "lines_amount"):
        value = Decimal(payload[name])
        assert value == rounded(value, currency)
        assert payload[name] == canonical_value(payload[name], "amount")


AMOUNTS = ("lines_amount", "discount_amount", "freight_amount", "net_amount", "tax_amount", "total_amount")


@given(world=st.integers(0, 3000), name=st.sampled_from(AMOUNTS), off=st.sampled_from(("0.01", "-0.01", "100")))
@settings(max_examples=25, deadline=None)
def test_a_record_that_is_off_by_a_cent_cannot_be_made(world: int, name: str, off: str) -> None:
    fact = next(iter(make_chains(make_world(7, world), seed=7, count=1, lines_max=4)))
    wrong = fact.payload | {name: canonical(Decimal(fact.payload[name]) + Decimal(off))}
    with pytest.raises(UnbalancedError, match=str(fact.payload["document_number"])):
        replace(fact, payload=wrong)


@pytest.mark.parametrize("key", ["quantity", "unit_price", "net_amount"])
def test_a_line_that_is_not_quantity_times_price_cannot_be_made(key: str) -> None:
    fact = next(iter(make_chains(make_world(7, 3), seed=7, count=1, lines_max=4)))
    line = fact.payload["lines"][0] | {key: str(Decimal(fact.payload["lines"][0][key]) + 1)}
    with pytest.raises(UnbalancedError):
        replace(fact, payload=fact.payload | {"lines": [line, *fact.payload["lines"][1:]]})


@given(world=st.integers(0, 5000), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_all_documents_of_all_worlds_balance(world: int, seed: int) -> None:
    met = set()
    for fact in make_chains(make_world(seed, world), seed=seed, count=3, sales=2, lines_max=12):
        assert fact.document_type in trade_classes()
        check_balance(fact.payload, fact.currency)
        met.add(fact.currency)
        for tax in fact.payload["taxes"]:
            assert Decimal(tax["amount"]) == rounded(Decimal(tax["base"]) * Decimal(tax["rate"]) / 100, fact.currency)
    assert met


def test_worlds_have_currencies_of_0_2_and_3_decimals() -> None:
    facts = [
        fact for world in range(60) for fact in make_chains(make_world(7, world), seed=7, count=1, sales=1, lines_max=3)
    ]
    assert {currency_decimals(fact.currency) for fact in facts} == {0, 2, 3}


@given(
    value=st.decimals(min_value=-9_999_999, max_value=9_999_999, places=3),
    currency=st.sampled_from(CURRENCIES),
    language=st.sampled_from(LANGUAGES),
    country=st.sampled_from(("DE", "GB", "FR", "ES", "CH", "KW", "JP")),
    seed=st.integers(0, 159),
)
@settings(max_examples=300, deadline=None)
def test_printed_amounts_mean_what_was_printed(
    value: Decimal, currency: str, language: str, country: str, seed: int
) -> None:
    amount = canonical(rounded(value, currency))
    style = Style(seed=TEST_STYLES[seed], language=language, country=country, is_test=True)
    places = currency_decimals(currency)
    printed = style.amount(amount, places=places, by_language=places != 2)
    assert canonical_value(printed, "amount", language=language) == canonical_value(amount, "amount")
    if places != 2:
        decimal_mark = style.pick("language_shape", formats.NUMBER_SHAPES[language])[1]
        assert (decimal_mark in printed and len(printed.strip("-").rsplit(decimal_mark, 1)[1]) == 3) == (places == 3)
