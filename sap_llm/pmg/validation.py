"""Business rules over one extraction: arithmetic, required fields, dates, checksums.

Belongs here: rules that need nothing but the extraction itself. Choosing values so that the rules hold is
`modeling.decoding`; what a failed rule leads to is decided by whoever reads the memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from sap_llm.schema.values import canonical

RULES_VERSION = "2"
_CENT = Decimal("0.01")
_HALF_CENT = Decimal("0.005")

Values = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """Values of an extraction by field name: the header, and one mapping a line."""

    document_type: str
    header: Values
    lines: Sequence[Values]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Extracted":
        """Read a row of `tables.ANNOTATIONS`; of a field found twice the more confident one counts."""
        return cls(
            document_type=row["document_type"],
            header=_values(row["fields"]),
            lines=[_values(item["fields"]) for item in row["line_items"]],
        )


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Which rules could be applied, and what those that failed found."""

    rules: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no applied rule failed."""
        return not self.errors


def validate(extracted: Extracted, *, required: Mapping[str, Sequence[str]]) -> Validation:
    """Apply every rule whose fields are there.

    Args:
        extracted: Canonical values.
        required: Document class -> fields that it must have.
    """
    rules, errors = [], []
    missing = [name for name in required.get(extracted.document_type, ()) if name not in extracted.header]
    if extracted.document_type in required:
        rules.append("required_fields")
        errors += [f"required_fields: {name} is missing" for name in missing]
    for name, rule in RULES.items():
        outcome = rule(extracted)
        if outcome is None:
            continue
        rules.append(name)
        errors += [f"{name}: {error}" for error in outcome]
    return Validation(rules=tuple(rules), errors=tuple(errors))


def _net_plus_tax(extracted: Extracted) -> list[str] | None:
    net, tax, total = (_number(extracted.header, name) for name in ("net_amount", "tax_amount", "total_amount"))
    if net is None or tax is None or total is None:
        return None
    return [] if abs(net + tax - total) <= 2 * _CENT else [f"{net} + {tax} is not {total}"]


def _tax_rate(extracted: Extracted) -> list[str] | None:
    net, tax, rate = (_number(extracted.header, name) for name in ("net_amount", "tax_amount", "tax_rate"))
    if net is None or tax is None or rate is None:
        return None
    # Tax may be rounded line by line: half a cent each.
    tolerance = 2 * _CENT + _HALF_CENT * len(extracted.lines)
    return [] if abs(net * rate / 100 - tax) <= tolerance else [f"{rate} % of {net} is not {tax}"]


def _lines_sum(extracted: Extracted) -> list[str] | None:
    net = _number(extracted.header, "net_amount")
    amounts = [amount for line in extracted.lines if (amount := _number(line, "line_net_amount")) is not None]
    if net is None or not amounts or len(amounts) < len(extracted.lines):
        return None
    total = sum(amounts, Decimal(0))
    return [] if abs(total - net) <= 2 * _CENT else [f"the lines sum to {total}, not to {net}"]


def _line_products(extracted: Extracted) -> list[str] | None:
    checked = list(_line_errors(extracted.lines))
    return [error for error in checked if error] if checked else None


def _line_errors(lines: Sequence[Values]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        quantity, price, net = (_number(line, name) for name in ("line_quantity", "line_unit_price", "line_net_amount"))
        if quantity is None or price is None or net is None:
            continue
        tolerance = 2 * _CENT + _HALF_CENT * abs(quantity)  # the printed price is rounded to a cent
        yield "" if abs(quantity * price - net) <= tolerance else f"line {number}: {quantity} x {price} is not {net}"


def _due_date(extracted: Extracted) -> list[str] | None:
    due, issued = extracted.header.get("due_date"), extracted.header.get("document_date")
    if due is None or issued is None:
        return None
    return [] if due >= issued else [f"due {due}, before the document's date {issued}"]


def _iban(extracted: Extracted) -> list[str] | None:
    value = extracted.header.get("iban")
    if value is None:
        return None
    from stdnum import iban

    return [] if iban.is_valid(value) else [f"{value} has a wrong checksum or length"]


def _currency(extracted: Extracted) -> list[str] | None:
    value = extracted.header.get("currency")
    if value is None:
        return None
    return [] if canonical(value, "currency") == value else [f"{value} is no ISO 4217 code"]


RULES: Mapping[str, Callable[[Extracted], list[str] | None]] = MappingProxyType(
    {
        "net_plus_tax_is_total": _net_plus_tax,
        "tax_is_rate_of_net": _tax_rate,
        "lines_sum_to_net": _lines_sum,
        "quantity_times_price": _line_products,
        "due_after_document_date": _due_date,
        "iban_checksum": _iban,
        "currency_is_iso": _currency,
    }
)
"""Rule name -> function that returns errors, or None where the rule does not apply."""


def _values(fields: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = sorted((field for field in fields if field["value"] is not None), key=lambda field: field["confidence"])
    return {field["field"]: field["value"] for field in found}


def _number(values: Values, name: str) -> Decimal | None:
    try:
        number = Decimal(values[name])
    except (KeyError, InvalidOperation):
        return None
    return number if number.is_finite() else None
