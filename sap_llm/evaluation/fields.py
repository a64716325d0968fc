"""Field scores: which predicted header fields are right, missing or invented.

Belongs here: the comparison of one predicted with one true annotation, and sums of its outcomes by field, class,
language and source. Line items have rows to align first (`line_items`); averages over groups of near-duplicate
documents are `groups`.

Two modes. `normalised` compares canonical values by type (`schema.values.equal`). `strict` wants the same canonical or
printed string and a box that overlaps the true one.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import pyarrow as pa

from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import equal

Mode = Literal["normalised", "strict"]
Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]
Scopes = Mapping[str, Collection[str]]

STRICT_OVERLAP = 0.5  # intersection over union, as object detection counts a hit
ANNOTATED = "annotated"  # scope of a source whose truth names only some of what is printed

REPORTED_FIELDS: tuple[str, ...] = (
    "document_number",
    "document_date",
    "due_date",
    "delivery_date",
    "order_reference",
    "delivery_note_number",
    "customer_number",
    "seller_name",
    "seller_vat_id",
    "buyer_name",
    "buyer_vat_id",
    "net_amount",
    "tax_amount",
    "tax_rate",
    "total_amount",
    "currency",
    "iban",
    "bic",
    "payment_terms",
)
"""Header fields that are reported where nothing else is asked for: those that truths name wherever a page has them."""

REAL_FIELDS: tuple[str, ...] = (
    "document_number",
    "document_date",
    "seller_name",
    "buyer_name",
    "seller_vat_id",
    "order_reference",
    "net_amount",
    "tax_amount",
    "total_amount",
    "currency",
    "due_date",
    "iban",
)
"""The header fields that real e-invoices and orders are reported on."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Counts of right, invented and missed values; adds up."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            true_positives=self.true_positives + other.true_positives,
            false_positives=self.false_positives + other.false_positives,
            false_negatives=self.false_negatives + other.false_negatives,
        )

    @property
    def support(self) -> int:
        """How many true values there were."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        """Share of predicted values that are right; 0 when nothing was predicted."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of true values that were found; 0 when there were none."""
        return _ratio(self.true_positives, self.support)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        errors = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + errors)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one value: `hit` (right), `invented` or `missed`."""

    document_id: str
    field: str
    kind: Literal["hit", "invented", "missed"]
    truth: str | None
    predicted: str | None
    confidence: float | None  # of the prediction; None when missed

    @property
    def score(self) -> Score:
        """This outcome as counts."""
        return Score(
            true_positives=self.kind == "hit",
            false_positives=self.kind == "invented",
            false_negatives=self.kind == "missed",
        )


@dataclass(frozen=True, kw_only=True)
class FieldScores:
    """Scores of many documents, micro-averaged, with the outcomes that explain them."""

    mode: Mode
    overall: Score
    by_field: dict[str, Score]
    by_type: dict[str, Score]
    by_language: dict[str, Score]
    by_source: dict[str, Score]
    by_document: dict[str, Score]
    outcomes: tuple[Outcome, ...] = field(repr=False)

    @property
    def precision(self) -> float:
        """Micro precision over all values."""
        return self.overall.precision

    @property
    def recall(self) -> float:
        """Micro recall over all values."""
        return self.overall.recall

    @property
    def f1(self) -> float:
        """Micro F1 over all values."""
        return self.overall.f1


def score_fields(
    truth_rows: Rows,
    predicted_rows: Rows,
    *,
    fields: Sequence[str] = REPORTED_FIELDS,
    mode: Mode = "normalised",
    documents: Rows | None = None,
    scopes: Scopes | None = None,
) -> FieldScores:
    """Score predicted against true annotations.

    A document without a prediction misses all its values. A true value that is not printed (`printed` null) is not
    asked for; predicting it is neither right nor wrong, predicting another value there is invented.

    Args:
        truth_rows: Rows of `tables.ANNOTATIONS`, one document each (the highest revision counts).
        predicted_rows: The same for the predictions.
        fields: Header fields that count.
        mode: How values are compared, see the module.
        documents: Rows of `tables.DOCUMENTS`, for language and source; without them those two views are empty.
        scopes: By source, the fields that its truth covers, or `[ANNOTATED]`: only fields that the document's truth
            names. Other predictions on that source are not judged.

    Raises:
        ValueError: A prediction is of a document that has no truth.
    """
    truths, predictions = latest(truth_rows), latest(predicted_rows)
    if unknown := sorted(predictions.keys() - truths.keys()):
        raise ValueError(f"{len(unknown)} predicted documents have no truth, first {unknown[0]}")
    about = {row["document_id"]: row for row in rows_of(() if documents is None else documents)}
    outcomes: list[Outcome] = []
    for document_id, truth in truths.items():
        source = about.get(document_id, {}).get("source", "")
        scope = scope_of(fields, (scopes or {}).get(source), truth)
        predicted = predictions.get(document_id, {"fields": ()})
        for name in scope:
            outcomes.extend(
                compare_field(
                    document_id,
                    name,
                    truth=truth["fields"],
                    predicted=predicted["fields"],
                    mode=mode,
                )
            )

    def by(key: Callable[[Outcome], str | None]) -> dict[str, Score]:
        return _sums(outcomes, key)

    return FieldScores(
        mode=mode,
        overall=sum((outcome.score for outcome in outcomes), Score()),
        by_field=by(lambda outcome: outcome.field),
        by_type=by(lambda outcome: truths[outcome.document_id]["document_type"]),
        by_language=by(lambda outcome: about.get(outcome.document_id, {}).get("language")),
        by_source=by(lambda outcome: about.get(outcome.document_id, {}).get("source")),
        by_document=by(lambda outcome: outcome.document_id),
        outcomes=tuple(outcomes),
    )


def compare_field(
    document_id: str,
    name: str,
    *,
    truth: Iterable[Mapping[str, Any]],
    predicted: Iterable[Mapping[str, Any]],
    mode: Mode = "normalised",
) -> list[Outcome]:
    """Outcomes of one field of one document; repeated mentions of one value count once."""
    kind = load_taxonomy().field(name).type
    wanted = _mentions(truth, name, kind)
    printed = [mentions for mentions in wanted if any(mention["printed"] is not None for mention in mentions)]
    silent = [mentions for mentions in wanted if mentions not in printed]
    outcomes = []
    for mentions in _mentions(predicted, name, kind):
        best = max(mentions, key=lambda mention: mention["confidence"])
        found = next(
            (true for true in printed if _matches(best, true, kind=kind, mode=mode)),
            None,
        )
        if found is not None:
            printed.remove(found)
        elif any(_same(best, true[0], kind) for true in silent):
            continue
        outcomes.append(
            Outcome(
                document_id=document_id,
                field=name,
                kind="invented" if found is None else "hit",
                truth=found[0]["value"] if found else (printed[0][0]["value"] if printed else None),
                predicted=best["value"],
                confidence=float(best["confidence"]),
            )
        )
    outcomes.extend(
        Outcome(
            document_id=document_id,
            field=name,
            kind="missed",
            truth=true[0]["value"],
            predicted=None,
            confidence=None,
        )
        for true in printed
    )
    return outcomes


def scope_of(fields: Sequence[str], scope: Collection[str] | None, truth: Mapping[str, Any]) -> list[str]:
    """The fields that are judged on a document, by the scope of its source (see `score_fields`)."""
    if scope is None:
        return list(fields)
    if ANNOTATED in scope:
        scope = {entry["field"] for entry in truth["fields"]}
    return [name for name in fields if name in scope]


def rows_of(rows: Rows) -> Sequence[Mapping[str, Any]]:
    """The rows as mappings, from a table or as they are."""
    return cast("Sequence[Mapping[str, Any]]", rows.to_pylist() if isinstance(rows, pa.Table) else rows)


def latest(rows: Rows) -> dict[str, Mapping[str, Any]]:
    """The row of the highest revision by document id, in the order of first appearance."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows_of(rows):
        known = found.get(row["document_id"])
        if known is None or row.get("revision", 0) >= known.get("revision", 0):
            found[row["document_id"]] = row
    return found


def overlap(first: Sequence[float] | None, second: Sequence[float] | None) -> float:
    """Intersection over union of two boxes `[x0, y0, x1, y1]`; 0 when one is missing."""
    if first is None or second is None:
        return 0.0
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(first) + _area(second) - shared)


def _mentions(entries: Iterable[Mapping[str, Any]], name: str, kind: str) -> list[list[Mapping[str, Any]]]:
    """Entries of one field, those with equal values together."""
    groups: list[list[Mapping[str, Any]]] = []
    for entry in entries:
        if entry["field"] != name or entry["value"] is None:
            continue
        known = next((group for group in groups if _same(entry, group[0], kind)), None)
        if known is None:
            groups.append([entry])
        else:
            known.append(entry)
    return groups


def _same(first: Mapping[str, Any], second: Mapping[str, Any], kind: str) -> bool:
    return first["value"] == second["value"] or equal(first["value"], second["value"], kind)


def _matches(
    predicted: Mapping[str, Any],
    mentions: list[Mapping[str, Any]],
    *,
    kind: str,
    mode: Mode,
) -> bool:
    if mode == "normalised":
        return _same(predicted, mentions[0], kind)
    return any(_is_strictly(predicted, mention) for mention in mentions)


def _is_strictly(predicted: Mapping[str, Any], truth: Mapping[str, Any]) -> bool:
    same_value = predicted["value"] == truth["value"]
    same_text = predicted["printed"] is not None and predicted["printed"] == truth["printed"]
    if not (same_value or same_text):
        return False
    if truth["box"] is None:
        return True
    return predicted["page"] == truth["page"] and overlap(predicted["box"], truth["box"]) >= STRICT_OVERLAP


def _sums(outcomes: Iterable[Outcome], key: Callable[[Outcome], str | None]) -> dict[str, Score]:
    sums: dict[str, Score] = defaultdict(Score)
    for outcome in outcomes:
        name = key(outcome)
        if name is not None:
            sums[name] += outcome.score
    return dict(sorted(sums.items()))


def _area(box: Sequence[float]) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
