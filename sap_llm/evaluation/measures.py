"""The numbers of an evaluation: one `Measures` per predictor and test, its metrics and its rows of `scores`.

Belongs here: which comparisons an evaluation makes. How each compares is `fields`, `line_items`, `tables`,
`layout`, `places`, `classes`, `calibration`, `groups`; how they are told is `report`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sap_llm.evaluation.calibration import expected_calibration_error
from sap_llm.evaluation.classes import ClassScores, score_classes
from sap_llm.evaluation.fields import FieldScores, Rows, Score, rows_of, score_fields
from sap_llm.evaluation.groups import GroupedF1, macro_f1
from sap_llm.evaluation.layout import LayoutScores, score_layout
from sap_llm.evaluation.line_items import score_line_items
from sap_llm.evaluation.places import Located
from sap_llm.evaluation.tables import TableScores, score_tables

Scopes = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One predictor on one test."""

    documents: int
    fields: FieldScores
    strict: FieldScores
    classes: ClassScores
    line_items: Score
    tables: TableScores
    layout: LayoutScores
    grouped: GroupedF1 | None
    field_ece: float | None
    class_ece: float | None
    places: Located | None = None


def measure(
    documents: Rows,
    truths: Rows,
    predictions: Sequence[Mapping[str, Any]],
    *,
    fields: Sequence[str],
    scopes: Scopes,
    seed: int,
    places: Located | None = None,
) -> Measures:
    """Compare the predictions of one test with its truths; `places` is for those who have the pages."""
    documents, truths = rows_of(documents), rows_of(truths)  # once for all comparisons
    groups = {row["document_id"]: row["split_group"] for row in documents}
    kinds = {row["document_id"]: row["document_type"] for row in truths}
    rows = [row for row in predictions if row["document_id"] in groups]
    normalised = score_fields(truths, rows, fields=fields, documents=documents, scopes=scopes)
    strict = score_fields(truths, rows, fields=fields, documents=documents, scopes=scopes, mode="strict")
    predicted = [outcome for outcome in normalised.outcomes if outcome.confidence is not None]
    return Measures(
        documents=len(documents),
        fields=normalised,
        strict=strict,
        classes=score_classes(truths, rows),
        line_items=score_line_items(truths, rows),
        tables=score_tables(truths, rows),
        layout=score_layout(truths, rows),
        grouped=macro_f1(normalised.by_document, groups, seed=seed),
        field_ece=expected_calibration_error(
            [min(1.0, outcome.confidence or 0.0) for outcome in predicted],
            [outcome.kind == "hit" for outcome in predicted],
        ),
        class_ece=expected_calibration_error(
            [min(1.0, float(row["type_confidence"])) for row in rows],
            [row["document_type"] == kinds.get(row["document_id"]) for row in rows],
        ),
        places=places,
    )


def score_rows(measured: Mapping[tuple[str, str], Measures], *, evaluated_at: datetime) -> list[dict[str, Any]]:
    """Rows of `releases.SCORES` for all predictors and tests."""
    return [
        {
            "predictor": predictor,
            "test": test,
            "mode": mode,
            "slice": part,
            "name": name,
            "precision": score.precision,
            "recall": score.recall,
            "f1": score.f1,
            "support": score.support,
            "evaluated_at": evaluated_at,
        }
        for (predictor, test), measures in sorted(measured.items())
        for mode, part, name, score in _slices(measures)
    ]


def document_rows(test: str, documents: Rows, truths: Rows, fields: FieldScores) -> Iterator[dict[str, Any]]:
    """Rows of `releases.DOCUMENT_SCORES` for the documents of one test, those without a judged value included."""
    kinds = {row["document_id"]: row["document_type"] for row in rows_of(truths)}
    for row in rows_of(documents):
        score = fields.by_document.get(row["document_id"], Score())
        yield {
            "document_id": row["document_id"],
            "test": test,
            "split_group": row["split_group"],
            "document_type": kinds[row["document_id"]],
            "language": row["language"],
            **asdict(score),
        }


def _slices(measures: Measures) -> Iterator[tuple[str, str, str, Score]]:
    for scores in (measures.fields, measures.strict):
        yield scores.mode, "all", "all", scores.overall
        views = {"field": scores.by_field, "type": scores.by_type}
        views |= {"language": scores.by_language, "source": scores.by_source}
        for view, entries in views.items():
            for name, score in entries.items():
                yield scores.mode, view, name, score
    yield "normalised", "line_items", "all", measures.line_items
    yield "strict", "table_relations", "all", measures.tables.relations
    yield "strict", "table_cells", "all", measures.tables.cells
    yield "strict", "layout", "all", measures.layout.overall
    if measures.places is not None:
        yield "place", "kile", "all", measures.places.kile
        yield "place", "lir", "all", measures.places.lines
    for view, entries in (("table_relations_type", measures.tables.by_type), ("layout_kind", measures.layout.by_kind)):
        for name, score in entries.items():
            yield "strict", view, name, score
    if measures.grouped is not None:
        for name, score in measures.grouped.by_group.items():
            yield "normalised", "group", name, score
