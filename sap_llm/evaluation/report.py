"""The evaluation told to a person: a Markdown report with tables, and pages with the predicted boxes drawn.

Belongs here: words, tables and the choice of pages. Drawing is `pictures`, numbers are `measures`. No times of the
clock and no durations: the report of equal results is equal, byte for byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.fields import Score
from sap_llm.evaluation.measures import Measures
from sap_llm.evaluation.test_set import REAL, UNSEEN, TestSet
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore, DatasetWriter

if TYPE_CHECKING:
    from sap_llm.evaluation.stage import ModelEvaluationConfig

Measured = Mapping[tuple[str, str], Measures]
_TITLES = {
    UNSEEN: "Synthetic documents on layouts never seen in training",
    "known_layouts": "Synthetic documents of worlds never seen in training",
    REAL: "Real e-invoices and orders",
}
_WORST = 12
_EXPLANATION = (
    "Field scores are micro-averaged; *normalised* compares values by type, *strict* wants the printed text and an "
    "overlapping box. Table F1 is that of adjacency relations between cells, layout F1 that of blocks whose boxes "
    "overlap by half. KILE and LIR are DocILE's measures of header fields and line items: by place alone, "
    "a box must cover exactly the letters of the true value. The baseline is label words and regular expressions."
)


@dataclass(frozen=True, kw_only=True)
class Illustrator:
    """All that is needed to draw pages of test documents."""

    test: TestSet
    predictions: Sequence[Mapping[str, Any]]
    store: DatasetStore
    background: Callable[[Mapping[str, Any], int, float], bytes | None]


def write_report(
    writer: DatasetWriter,
    measured: Measured,
    *,
    config: "ModelEvaluationConfig",
    illustrator: Illustrator,
    version: str,
    model: DatasetRef,
) -> None:
    """Write `report.md` and its pictures into the dataset."""
    parts = ["# Model evaluation", f"Model `{model}`, test version `{version}`."]
    parts += sections_by_test(writer, measured, config=config, illustrator=illustrator)
    writer.path("report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def sections_by_test(
    writer: DatasetWriter, measured: Measured, *, config: "ModelEvaluationConfig", illustrator: Illustrator
) -> list[str]:
    """The overview, a section for each test, and pages, whose pictures are written into the dataset."""
    tests = sorted({test for _, test in measured}, key=lambda test: (test not in _TITLES, test))
    parts = [_EXPLANATION, _overview(measured, tests)]
    for test in tests:
        parts += [f"## {_TITLES.get(test, f'Source {test}')}", *_section(measured, test, config)]
    pictures = _draw(writer, measured, tests, config.pictures, illustrator)
    if pictures:
        parts += ["## Pages", "Green: right. Red: wrong or not on the page. Amber: missed.", *pictures]
    return parts


def _overview(measured: Measured, tests: Sequence[str]) -> str:
    rows = []
    for test in tests:
        model, baseline = measured["model", test], measured["baseline", test]
        rows.append(
            [
                test,
                str(model.documents),
                _percent(model.classes.accuracy),
                _percent(model.fields.f1),
                _percent(model.strict.f1),
                _percent(baseline.fields.f1),
                _grouped(model),
                _grouped(baseline),
                *(
                    _percent(score.f1) if score.support else "-"
                    for score in (model.line_items, model.tables.relations, model.layout.overall)
                ),
                *_places(model),
                "-" if model.field_ece is None else f"{model.field_ece:.3f}",
            ]
        )
    head = ["Test", "Documents", "Class accuracy", "Field F1", "strict", "baseline", "Macro over groups", "baseline"]
    return _table([*head, "Line item F1", "Table F1", "Layout F1", "KILE AP", "LIR F1", "ECE"], rows)


def _section(measured: Measured, test: str, config: "ModelEvaluationConfig") -> list[str]:
    model, baseline = measured["model", test], measured["baseline", test]
    parts = [_field_table(model, baseline), _confusion(model)]
    by_class = model.classes.by_class(at_least=config.class_support)
    if by_class:
        rows = [[name, _percent(value)] for name, value in by_class.items()]
        parts.append(_table([f"Class (>= {config.class_support} documents)", "Accuracy"], rows))
    slices = [
        [view, name, str(score.support), _percent(score.f1)]
        for view, scores in (
            ("field F1 by class", model.fields.by_type),
            ("field F1 by language", model.fields.by_language),
            ("table F1 by class", model.tables.by_type),
            ("layout F1 by kind", model.layout.by_kind),
        )
        for name, score in scores.items()
    ]
    parts.append(_table(["Slice", "Value", "True values", "F1"], slices))
    parts.append(_errors(model))
    return [part for part in parts if part]


def _field_table(model: Measures, baseline: Measures) -> str:
    rows = []
    for name, score in model.fields.by_field.items():
        other = baseline.fields.by_field.get(name, Score())
        strict = model.strict.by_field.get(name, Score())
        numbers = [score.precision, score.recall, score.f1, strict.f1, other.f1]
        rows.append([f"`{name}`", str(score.support), *map(_percent, numbers)])
    return _table(["Field", "True values", "Precision", "Recall", "F1", "strict F1", "baseline F1"], rows)


def _confusion(model: Measures) -> str:
    counts = model.classes.confusion
    predicted = sorted({name for _, name in counts})
    rows = [
        [f"**{truth}**", *(str(counts.get((truth, name), 0) or "") for name in predicted)]
        for truth in sorted({truth for truth, _ in counts})
    ]
    return _table(["True class, predicted as", *predicted], rows)


def _errors(model: Measures) -> str:
    """The most confident inventions: the first place to look."""
    wrong = [outcome for outcome in model.fields.outcomes if outcome.kind == "invented"]
    wrong.sort(key=lambda outcome: (-(outcome.confidence or 0.0), outcome.document_id, outcome.field))
    rows = [
        [
            f"`{entry.field}`",
            _cell(entry.predicted),
            _cell(entry.truth),
            f"{entry.confidence or 0:.2f}",
            entry.document_id,
        ]
        for entry in wrong[:_WORST]
    ]
    return _table(["Most confident errors", "Predicted", "True", "Confidence", "Document"], rows) if rows else ""


def _draw(
    writer: DatasetWriter, measured: Measured, tests: Sequence[str], count: int, illustrator: Illustrator
) -> list[str]:
    """Pictures of the first pages of the worst and the median document of each test, at most `count`."""
    from sap_llm.evaluation.pictures import draw_page

    chosen = _interesting(measured, tests)[:count]
    if not chosen:
        return []
    ids = {document_id: f"{test}, {which}" for test, which, document_id in chosen}
    outcomes: dict[str, list[Any]] = {}
    for test in tests:
        for outcome in measured["model", test].fields.outcomes:
            outcomes.setdefault(outcome.document_id, []).append(outcome)
    predictions = {row["document_id"]: row for row in illustrator.predictions}
    truths = {row["document_id"]: row for row in illustrator.test.truths.to_pylist() if row["document_id"] in ids}
    wanted = illustrator.test.documents.filter(
        [document_id in ids for document_id in illustrator.test.documents.column("document_id").to_pylist()]
    )
    lines = []
    for rows, pages in documents_with_pages(illustrator.store, wanted, illustrator.test.corpora, size=len(ids)):
        for row, document in zip(rows, pages, strict=True):
            document_id = row["document_id"]
            if not document:
                continue
            picture = draw_page(
                document[0],
                predicted=predictions[document_id]["fields"],
                truth=truths[document_id]["fields"],
                outcomes=outcomes.get(document_id, []),
                background=partial(illustrator.background, row, 1),
            )
            name = f"pictures/{document_id}.png"
            writer.path(name).write_bytes(picture)
            lines.append(f"![{ids[document_id]}: {document_id}]({name})")
    return lines


def _interesting(measured: Measured, tests: Sequence[str]) -> list[tuple[str, str, str]]:
    found = []
    for which, place in (("median", 0.5), ("worst", 0.0)):
        for test in tests:
            scores = measured["model", test].fields.by_document
            ranked = sorted((score.f1, document_id) for document_id, score in scores.items() if score.support)
            if ranked:
                found.append((test, which, ranked[int(place * (len(ranked) - 1))][1]))
    return list({document_id: (test, which, document_id) for test, which, document_id in reversed(found)}.values())[
        ::-1
    ]


def _places(measures: Measures) -> tuple[str, str]:
    if measures.places is None:
        return "-", "-"
    precision, lines = measures.places.kile_ap, measures.places.lines
    return "-" if precision is None else _percent(precision), _percent(lines.f1) if lines.support else "-"


def _grouped(measures: Measures) -> str:
    if measures.grouped is None:
        return "-"
    grouped = measures.grouped
    return f"{_percent(grouped.mean)} [{_percent(grouped.low)}, {_percent(grouped.high)}] of {len(grouped.by_group)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str | None) -> str:
    return "" if text is None else text.replace("|", "\\|")[:60]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
