"""Money of the worlds: decimals of currencies, rounding, sums, and the refusal of what does not balance.

Arithmetic of amounts belongs here; prices of goods do not (`goods`), nor how amounts are printed (`formats`). Amounts
in payloads are canonical texts: plain decimals with at least two places, whatever the currency.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.values import currency_decimals, format_decimal

_ZERO = Decimal(0)
FOR_A_EURO = {
    "EUR": Decimal(1), "USD": Decimal("1.1"), "GBP": Decimal("0.86"), "CHF": Decimal(1), "JPY": Decimal(150),
    "KRW": Decimal(1450), "CLP": Decimal(950), "HUF": Decimal(385), "KWD": Decimal("0.34"), "BHD": Decimal("0.41"),
    "TND": Decimal("3.35"), "MXN": Decimal(19), "PLN": Decimal("4.3"), "SEK": Decimal("10.8"),
}  # fmt: skip
"""About, over the years of the worlds."""

_UNITS = {0: Decimal(1), 2: Decimal("0.01"), 3: Decimal("0.001")}


class UnbalancedError(SapLlmError):
    """A record whose sums do not hold."""


def rounded(value: Decimal, currency: str) -> Decimal:
    """To the smallest unit of the currency, half up, as commerce does."""
    return value.quantize(_UNITS[currency_decimals(currency)], rounding=ROUND_HALF_UP)


def canonical(value: Decimal) -> str:
    """The text of an amount in payloads: `12345.00`, `1.234`."""
    return format_decimal(value, places=2)


def line_amount(quantity: Decimal, unit_price: Decimal, discount_percent: Decimal, currency: str) -> Decimal:
    """Net amount of a line."""
    if not discount_percent:
        return rounded(quantity * unit_price, currency)
    return rounded(quantity * unit_price * (100 - discount_percent) / 100, currency)


def sum_up(
    lines: Iterable[Mapping[str, Any]],
    currency: str,
    *,
    discount_percent: Decimal = _ZERO,
    freight: Decimal = _ZERO,
    prepaid: Decimal = _ZERO,
) -> dict[str, Any]:
    """Sums of lines for a payload: discount, freight, taxes by rate (the highest first), net, tax, total, prepaid.

    Discount and freight fall to the rate with the largest base.
    """
    bases: dict[str, Decimal] = {}
    for line in lines:
        bases[line["tax_rate"]] = bases.get(line["tax_rate"], _ZERO) + Decimal(line["net_amount"])
    gross = sum(bases.values(), _ZERO)
    discount = rounded(gross * discount_percent / 100, currency)
    main = max(bases, key=lambda rate: abs(bases[rate]))
    bases[main] += freight - discount
    taxes = [(rate, base, rounded(base * Decimal(rate) / 100, currency)) for rate, base in bases.items()]
    taxes.sort(key=lambda entry: -Decimal(entry[0]))
    net = gross + freight - discount
    tax = sum((amount for _, _, amount in taxes), _ZERO)
    return {
        "lines_amount": canonical(gross),
        "discount_percent": str(discount_percent),
        "discount_amount": canonical(discount),
        "freight_amount": canonical(freight),
        "taxes": [{"rate": rate, "base": canonical(base), "amount": canonical(amount)} for rate, base, amount in taxes],
        "net_amount": canonical(net),
        "tax_amount": canonical(tax),
        "total_amount": canonical(net + tax),
        "prepaid_amount": canonical(prepaid),
    }


def check_balance(payload: Mapping[str, Any], currency: str) -> None:
    """Check every line and every sum of a payload.

    Raises:
        UnbalancedError: A line is not quantity times price, or a sum is not that of its parts.
    """
    gross = _ZERO
    for line in payload["lines"]:
        net = Decimal(line["net_amount"])
        expected = line_amount(
            Decimal(line["quantity"]), Decimal(line["unit_price"]), Decimal(line["discount_percent"]), currency
        )
        _same(net, expected, f"line {line['number']}", payload)
        gross += net
    base = tax = _ZERO
    for entry in payload["taxes"]:
        amount = Decimal(entry["amount"])
        base += Decimal(entry["base"])
        tax += amount
        expected = rounded(Decimal(entry["base"]) * Decimal(entry["rate"]) / 100, currency)
        _same(amount, expected, f"tax of {entry['rate']} %", payload)
    net = Decimal(payload["net_amount"])
    _same(Decimal(payload["lines_amount"]), gross, "sum of lines", payload)
    _same(net, gross - Decimal(payload["discount_amount"]) + Decimal(payload["freight_amount"]), "net amount", payload)
    _same(net, base, "sum of tax bases", payload)
    _same(Decimal(payload["tax_amount"]), tax, "tax amount", payload)
    _same(Decimal(payload["total_amount"]), net + tax, "total amount", payload)
    _same(net, rounded(net, currency), f"precision of {currency}", payload)


def _same(given: Decimal, expected: Decimal, what: str, payload: Mapping[str, Any]) -> None:
    if given != expected:
        raise UnbalancedError(
            f"{what} is {given}, not {expected}",
            where=f"document {payload['document_number']}",
            remedy="Make amounts with sum_up and line_amount.",
        )
