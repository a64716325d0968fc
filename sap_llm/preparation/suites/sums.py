"""One row for each sum that a truth states: what the parts make, what the whole says, and the difference.

Belongs here: which amounts must add up (EN 16931-1, BR-CO-10, 13, 15 and 16), and by how many of the currency's
smallest units they do not. How large a difference may be is an expectation. A sum of which a part is not stated, or is
stated twice with different values, says nothing and is left out.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.schema.values import currency_decimals

_ABOUT = ("document_id", "source", "share_of", "annotator")
_LINES = "line_net_amount"
_AMOUNTS = (
    "net_amount tax_amount total_amount sum_of_line_amounts allowance_amount charge_amount freight_amount "
    "prepaid_amount rounding_amount payable_amount"
).split()
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"

Rule = tuple[str, np.ndarray, np.ndarray, str]  # name, sum of the parts, the whole, names of the parts


def flat_sums(truths: pa.Table) -> pa.Table:
    """Sums of annotations.

    Args:
        truths: Rows of `tables.ANNOTATIONS`, `source` replaced by the document's, and `share_of`.

    Returns:
        `_ABOUT`, rule (`expectations.SUM_RULES`), terms (what is added, as text), parts, whole, currency and
        difference_units.
    """
    truths = truths.combine_chunks()
    amounts, currencies = _headers(truths)
    amounts[_LINES] = _line_sums(truths)
    places = np.array([currency_decimals(code or "") for code in currencies], dtype=np.float64)
    tables = [_rows(truths, rule, currencies, places) for rule in _rules(amounts)]
    return pa.concat_tables(tables)


def _rules(amounts: dict[str, np.ndarray]) -> Iterator[Rule]:
    net, total, lines = amounts["net_amount"], amounts["total_amount"], amounts[_LINES]
    stated = amounts["sum_of_line_amounts"]
    allowed = np.nan_to_num(amounts["allowance_amount"])
    # freight is a charge: where no sum of charges is stated it may be all of them
    charge, freight = amounts["charge_amount"], amounts["freight_amount"]
    charged = np.nan_to_num(np.where(np.isnan(charge), freight, charge))
    prepaid, rounding = np.nan_to_num(amounts["prepaid_amount"]), np.nan_to_num(amounts["rounding_amount"])
    yield "net_and_tax", net + amounts["tax_amount"], total, "net_amount + tax_amount = total_amount"
    yield "lines", lines, stated, "line_net_amount of all lines = sum_of_line_amounts"
    yield (
        *("allowances_and_charges", stated - allowed + charged, net),
        "sum_of_line_amounts - allowance_amount + charge_amount (or freight_amount) = net_amount",
    )
    yield (
        *("lines_and_net", np.where(np.isnan(stated), lines - allowed + charged, np.nan), net),
        "line_net_amount of all lines - allowance_amount + charge_amount (or freight_amount) = net_amount",
    )
    yield (
        *("payable", total - prepaid + rounding, amounts["payable_amount"]),
        "total_amount - prepaid_amount + rounding_amount = payable_amount",
    )


def _rows(truths: pa.Table, rule: Rule, currencies: list[str | None], places: np.ndarray) -> pa.Table:
    name, parts, whole, terms = rule
    index = np.flatnonzero(np.isfinite(parts) & np.isfinite(whole))
    columns = {about: truths.column(about).take(pa.array(index)) for about in _ABOUT}
    # Units are whole numbers; what float64 adds to them is no difference.
    units = np.round((parts[index] - whole[index]) * 10.0 ** places[index], 3)
    return pa.table(
        {
            **columns,
            "rule": pa.array([name] * len(index), type=pa.string()),
            "terms": pa.array(
                [f"{terms}: {parts[i]:.3f} against {whole[i]:.3f}" for i in index.tolist()], type=pa.string()
            ),
            "currency": pa.array([currencies[i] for i in index.tolist()], type=pa.string()),
            "difference_units": pa.array(units, type=pa.float64()),
        }
    )


def _headers(truths: pa.Table) -> tuple[dict[str, np.ndarray], list[str | None]]:
    """By amount, a value for each annotation (NaN where it has none, or several); and its currency."""
    lists = truths.column("fields").combine_chunks()
    fields, owners = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    names, values = pc.struct_field(fields, "field"), pc.struct_field(fields, "value")
    size = truths.num_rows
    amounts = {}
    for name in _AMOUNTS:
        chosen = pc.equal(names, name).to_numpy(zero_copy_only=False)
        amounts[name] = _one_value(owners[chosen], _numbers(values.filter(pa.array(chosen))), size)
    currencies: list[str | None] = [None] * size
    chosen = pc.equal(names, "currency").to_numpy(zero_copy_only=False)
    for owner, code in zip(owners[chosen].tolist(), values.filter(pa.array(chosen)).to_pylist(), strict=True):
        currencies[owner] = currencies[owner] or code
    return amounts, currencies


def _one_value(owners: np.ndarray, numbers: np.ndarray, size: int) -> np.ndarray:
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    with np.errstate(invalid="ignore"):  # NaN stays NaN: an unreadable amount is no number
        np.minimum.at(low, owners, numbers)
        np.maximum.at(high, owners, numbers)
    return np.where(low == high, low, np.nan)


def _line_sums(truths: pa.Table) -> np.ndarray:
    """Sum of the lines' net amounts; NaN unless every line states exactly one."""
    size = truths.num_rows
    lists = truths.column("line_items").combine_chunks()
    lines, owners = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
    inner = pc.struct_field(lines, "fields")
    fields, of_line = pc.list_flatten(inner), pc.list_parent_indices(inner).to_numpy()
    chosen = pc.equal(pc.struct_field(fields, "field"), _LINES).to_numpy(zero_copy_only=False)
    numbers = _numbers(pc.struct_field(fields, "value").filter(pa.array(chosen)))
    by_line = _one_value(of_line[chosen], numbers, len(lines))
    sums = np.bincount(owners, weights=by_line, minlength=size)  # one NaN makes the sum NaN
    return np.where(np.bincount(owners, minlength=size) > 0, sums, np.nan)


def _numbers(values: pa.Array) -> np.ndarray:
    readable = pc.fill_null(pc.match_substring_regex(values, _NUMBER), False)
    numbers: np.ndarray = pc.cast(pc.if_else(readable, values, None), pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
