"""Line item scores: rows of a document are aligned in reading order, then compared cell by cell.

Belongs here: everything that needs the alignment of predicted to true rows. Header fields are `fields`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sap_llm.evaluation.fields import Rows, Score, latest
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import equal

LINE_FIELDS: tuple[str, ...] = (
    "line_material_number",
    "line_description",
    "line_quantity",
    "line_unit",
    "line_unit_price",
    "line_net_amount",
)
"""The line fields that count; `line_number` is the row's name, not its content."""

Cells = dict[str, str]


def score_line_items(
    truth_rows: Rows,
    predicted_rows: Rows,
    *,
    fields: Sequence[str] = LINE_FIELDS,
    documents: Iterable[str] | None = None,
) -> Score:
    """Micro counts over the cells of all line items.

    Rows are aligned in order, so that the number of equal cells is highest; cells of unmatched rows are missed or
    invented. Cells that are not printed do not count.

    Args:
        truth_rows: Rows of `tables.ANNOTATIONS`; a document without true line items is left out, because truths that
            carry no lines (receipts, minimal e-invoices) cannot show that there are none on the page.
        predicted_rows: The same for the predictions.
        fields: Line fields that count.
        documents: Ids to restrict to; all by default.
    """
    truths, predictions = latest(truth_rows), latest(predicted_rows)
    chosen = truths.keys() if documents is None else set(documents) & truths.keys()
    total = Score()
    for document_id in chosen:
        wanted = _rows(truths[document_id]["line_items"], fields)
        if any(wanted):
            predicted = predictions.get(document_id, {"line_items": ()})
            total += compare_rows(wanted, _rows(predicted["line_items"], fields))
    return total


def compare_rows(truth: Sequence[Cells], predicted: Sequence[Cells]) -> Score:
    """Counts over the cells of one document, after the best alignment that keeps the order."""
    equals = [[_equal_cells(wanted, found) for found in predicted] for wanted in truth]
    hits = _best_alignment(equals, len(predicted))
    wanted_cells, found_cells = sum(map(len, truth)), sum(map(len, predicted))
    return Score(
        true_positives=hits,
        false_positives=found_cells - hits,
        false_negatives=wanted_cells - hits,
    )


def _best_alignment(equals: Sequence[Sequence[int]], columns: int) -> int:
    """Highest sum of `equals` over pairs that both increase (longest common subsequence with weights)."""
    above = [0] * (columns + 1)
    for row in equals:
        current = [0]
        for column, gain in enumerate(row):
            current.append(max(above[column] + gain, above[column + 1], current[column]))
        above = current
    return above[-1]


def _equal_cells(truth: Cells, predicted: Cells) -> int:
    taxonomy = load_taxonomy()
    return sum(
        predicted.get(name) is not None
        and (predicted[name] == value or equal(predicted[name], value, taxonomy.field(name).type))
        for name, value in truth.items()
    )


def _rows(items: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> list[Cells]:
    return [
        {
            entry["field"]: entry["value"]
            for entry in item["fields"]
            if entry["field"] in fields and entry["value"] is not None and entry["printed"] is not None
        }
        for item in items
    ]
