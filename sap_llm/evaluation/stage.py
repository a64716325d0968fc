"""The stage `model_evaluation`: configuration and build function.

Belongs here: running a model and the label baseline over the frozen test documents and writing what came of it. What
is measured is `measures`, how it is told `report`; whether it is enough is a gate's decision (`learning`).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from pydantic import Field

from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.fields import REAL_FIELDS, REPORTED_FIELDS, latest, scope_of
from sap_llm.evaluation.measures import Measures, document_rows, measure, score_rows
from sap_llm.evaluation.places import Located, locate, total
from sap_llm.evaluation.predictor import BASELINE_ANNOTATOR, BaselinePredictor, EmbeddingPredictor, ReadsPictures
from sap_llm.evaluation.report import Illustrator, write_report
from sap_llm.evaluation.test_set import KNOWN, REAL, UNSEEN, TestSet, load_test_set
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.releases import DOCUMENT_SCORES, EMBEDDINGS, SCORES, TRAINING_DOCUMENTS
from sap_llm.schema.tables import ANNOTATIONS, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "6"
MODEL, BASELINE = "model", "baseline"
MODEL_FOLDER = "model"

RenderPage = Callable[[bytes, int, float], bytes]
"""File content, page number from 1 and scale (1 is 72 dots per inch) to PNG bytes."""
DrawPage = Callable[[Mapping[str, Any], int, float], bytes | None]
"""Document row, page number and scale to PNG bytes, or None where the page cannot be drawn."""


class ModelEvaluationConfig(StageConfig):
    """`configs/<profile>/model_evaluation.yaml`."""

    fields: tuple[str, ...] = Field(default=REPORTED_FIELDS, description="header fields judged on synthetic documents")
    real_fields: tuple[str, ...] = Field(default=REAL_FIELDS, description="header fields judged on real documents")
    real_sources: tuple[str, ...] = Field(default=("zugferd", "order-x"), description="sources of the test 'real'")
    partial_sources: dict[str, list[str]] = Field(
        default={}, description="fields that the truth of a source covers; [annotated]: those that the document names"
    )
    most_documents: dict[str, int] = Field(default={}, description="upper bound of documents by test")
    class_support: int = Field(default=50, description="fewest test documents for a class to be reported", ge=1)
    batch_documents: int = Field(default=64, description="documents given to a predictor at a time", ge=1)
    pictures: int = Field(default=4, description="pages with predicted boxes in the report", ge=0)


class EmptyTestError(SapLlmError):
    """A training set holds no document to test on."""


def build_model_evaluation(
    context: StageContext,
    *,
    config: ModelEvaluationConfig,
    model: DatasetRef,
    training_set: DatasetRef,
    release: str,
    load_predictor: Callable[[Path], EmbeddingPredictor],
    render: RenderPage | None = None,
) -> BuildResult:
    """Measure a model and the label baseline on the frozen test documents of a training set.

    Tables: `documents` (tested), `predictions` (the model's, `tables.ANNOTATIONS`), `embeddings`, `document_scores`,
    `scores`. Files:
    `report.md` and `pictures/*.png`.

    Args:
        context: Store, clock and progress.
        config: Fields, sources, sizes.
        model: `multitask_model/<release>`; its files `model/` are loaded.
        training_set: Its test split is the test.
        release: Name such as `r1`.
        load_predictor: From a model folder to a predictor (`modeling.runtimes.load_predictor`).
        render: Draws the page itself behind the boxes of the report's pictures; words are drawn without it.

    Raises:
        EmptyTestError: The training set has no test document.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        test = load_test_set(
            context.store, training_set, real_sources=config.real_sources, most_documents=config.most_documents
        )
        if not test.documents.num_rows:
            raise EmptyTestError(
                "no document to test on", where=str(training_set), remedy="Add documents on test layouts."
            )
        predictor = load_predictor(context.store.open(model).path(MODEL_FOLDER))
        draw = page_background(context, test, render)
        annotator = f"model:{model.version}"
        run = run_predictors(context, test, predictor, size=config.batch_documents, annotator=annotator, draw=draw)
        places = locate_tests(context, test, run.predictions, config)
        measured = measure_tests(test, run.predictions, config, places=places)
        writer.write_table("documents", test.documents, TRAINING_DOCUMENTS)
        writer.write_table("predictions", conform(run.predictions[MODEL], ANNOTATIONS), ANNOTATIONS)
        writer.write_table("embeddings", conform(run.embeddings, EMBEDDINGS), EMBEDDINGS)
        now = context.clock.now()
        by_document = [
            row for name in test.tests for row in document_rows(name, *test.part(name), measured[MODEL, name].fields)
        ]
        writer.write_table("document_scores", conform(by_document, DOCUMENT_SCORES), DOCUMENT_SCORES)
        writer.write_table("scores", conform(score_rows(measured, evaluated_at=now), SCORES), SCORES)
        illustrator = Illustrator(
            test=test,
            predictions=run.predictions[MODEL],
            store=context.store,
            background=draw,
        )
        write_report(writer, measured, config=config, illustrator=illustrator, version=test.version, model=model)
        return metrics_of(measured, config) | {
            "documents": test.documents.num_rows,
            "test_version": test.version,
            "seconds_per_document": round(run.seconds / test.documents.num_rows, 5),
        }

    return build(
        context,
        name=f"model_evaluation/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={model.name: model, training_set.name: training_set},
        produce=produce,
    )


class PredictorRun:
    """What the predictors said about all test documents."""

    def __init__(self) -> None:
        self.predictions: dict[str, list[dict[str, Any]]] = {MODEL: [], BASELINE: []}
        self.embeddings: list[dict[str, Any]] = []
        self.seconds = 0.0  # of the model alone


def run_predictors(
    context: StageContext,
    test: TestSet,
    predictor: EmbeddingPredictor,
    *,
    size: int,
    annotator: str,
    draw: DrawPage | None = None,
) -> PredictorRun:
    """Let a model and the label baseline read all test documents, `size` at a time.

    Args:
        context: Store, clock and progress.
        test: Documents to be read.
        predictor: The model; one that reads pictures gets them.
        size: Documents in memory at once.
        annotator: Name of the model in its predictions.
        draw: Draws a page of a document; None where nothing can be drawn.
    """
    run, baseline, now = PredictorRun(), BaselinePredictor(), context.clock.now()
    for rows, pages in documents_with_pages(context.store, test.documents, test.corpora, size=size):
        if draw is not None and isinstance(predictor, ReadsPictures):
            pages = _with_pictures(rows, pages, predictor, draw)  # noqa: PLW2901
        started = time.perf_counter()
        found = predictor.predict_many(pages)
        run.seconds += time.perf_counter() - started
        for row, prediction in zip(rows, found, strict=True):
            run.predictions[MODEL].append(
                prediction.to_row(document_id=row["document_id"], annotator=annotator, created_at=now)
            )
        for row, guess in zip(rows, baseline.predict_many(pages), strict=True):
            run.predictions[BASELINE].append(
                guess.to_row(document_id=row["document_id"], annotator=BASELINE_ANNOTATOR, created_at=now)
            )
        run.embeddings += [
            {"document_id": row["document_id"], "vector": prediction.vector.tolist()}
            for row, document, prediction in zip(rows, pages, found, strict=True)
            if document
        ]
        context.progress("evaluating", done=len(run.predictions[MODEL]), total=test.documents.num_rows)
    return run


def _with_pictures(
    rows: Sequence[Mapping[str, Any]], documents: Sequence[Sequence[Page]], predictor: ReadsPictures, draw: DrawPage
) -> list[list[Page]]:
    return [
        [replace(page, picture=draw(row, page.page_number, predictor.picture_scale(page))) for page in pages]
        for row, pages in zip(rows, documents, strict=True)
    ]


def locate_tests(
    context: StageContext,
    test: TestSet,
    predictions: Mapping[str, list[dict[str, Any]]],
    config: ModelEvaluationConfig,
) -> dict[tuple[str, str], Located]:
    """Compare the places of the predictions with those of the truths; the key is predictor and test."""
    tests = {document_id: name for name, ids in test.tests.items() for document_id in ids}
    truths, found = latest(test.truths), {name: latest(rows) for name, rows in predictions.items()}
    parts: dict[tuple[str, str], list[Located]] = defaultdict(list)
    size = config.batch_documents
    for rows, documents in documents_with_pages(context.store, test.documents, test.corpora, size=size):
        for row, pages in zip(rows, documents, strict=True):
            name, truth = tests[row["document_id"]], truths[row["document_id"]]
            fields = scope_of(_fields_of(name, config), config.partial_sources.get(row["source"]), truth)
            for predictor, own in found.items():
                parts[predictor, name].append(locate(truth, own[row["document_id"]], pages, fields=fields))
    return {key: total(located) for key, located in parts.items()}


def _fields_of(test: str, config: ModelEvaluationConfig) -> tuple[str, ...]:
    return config.fields if test in (UNSEEN, KNOWN) else config.real_fields


def measure_tests(
    test: TestSet,
    predictions: Mapping[str, list[dict[str, Any]]],
    config: ModelEvaluationConfig,
    *,
    places: Mapping[tuple[str, str], Located] | None = None,
) -> dict[tuple[str, str], Measures]:
    """Compare the predictions, by predictor, with the truths of every test; the key is predictor and test."""
    measured = {}
    for name in test.tests:
        documents, truths = (table.to_pylist() for table in test.part(name))
        for predictor, rows in predictions.items():
            measured[predictor, name] = measure(
                documents,
                truths,
                rows,
                fields=_fields_of(name, config),
                scopes=config.partial_sources,
                seed=config.seed,
                places=(places or {}).get((predictor, name)),
            )
    return measured


def metrics_of(measured: Mapping[tuple[str, str], Measures], config: ModelEvaluationConfig) -> dict[str, Any]:
    """Flat numbers for manifest and plots. The headline is the test on unseen layouts, else the largest test."""
    tests = sorted({test for _, test in measured}, key=lambda test: measured[MODEL, test].documents)
    headline = UNSEEN if UNSEEN in tests else tests[-1]
    model, baseline = measured[MODEL, headline], measured[BASELINE, headline]
    metrics: dict[str, Any] = {
        "headline_test": headline,
        "class_accuracy": model.classes.accuracy,
        "class_accuracy_baseline": baseline.classes.accuracy,
        "subtype_accuracy": model.classes.subtype_accuracy,
        "field_f1": model.fields.f1,
        "field_f1_strict": model.strict.f1,
        "field_f1_baseline": baseline.fields.f1,
        "line_item_f1": model.line_items.f1 if model.line_items.support else None,
        "table_f1": model.tables.relations.f1 if model.tables.relations.support else None,
        "layout_f1": model.layout.overall.f1 if model.layout.overall.support else None,
        "ece": model.field_ece,
        "class_ece": model.class_ece,
    }
    for name, accuracy in model.classes.by_class(at_least=config.class_support).items():
        metrics[f"class_accuracy_{name}"] = accuracy
    for test in tests:
        metrics[f"documents_{test}"] = measured[MODEL, test].documents
        if not measured[MODEL, test].fields.overall.support:
            continue  # forms have classes but no fields
        metrics[f"field_f1_{test}"] = measured[MODEL, test].fields.f1
        metrics[f"field_f1_{test}_baseline"] = measured[BASELINE, test].fields.f1
        if (places := measured[MODEL, test].places) is not None:
            metrics |= {
                f"kile_ap_{test}": places.kile_ap,
                f"lir_f1_{test}": places.lines.f1 if places.lines.support else None,
            }
    metrics |= _real_metrics(measured) if REAL in tests else {}
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in metrics.items()
        if value is not None
    }


def _real_metrics(measured: Mapping[tuple[str, str], Measures]) -> dict[str, Any]:
    model, baseline = measured[MODEL, REAL], measured[BASELINE, REAL]
    metrics: dict[str, Any] = {"class_accuracy_real": model.classes.accuracy}
    if model.grouped is not None:
        metrics |= {
            "header_f1_real": model.grouped.mean,
            "header_f1_real_low": model.grouped.low,
            "header_f1_real_high": model.grouped.high,
            "groups_real": len(model.grouped.by_group),
        }
    if baseline.grouped is not None:
        metrics["header_f1_real_baseline"] = baseline.grouped.mean
    if model.line_items.support:
        metrics["line_item_f1_real"] = model.line_items.f1
    for source, score in model.fields.by_source.items():
        metrics[f"field_f1_{source}"] = score.f1
    return metrics


def page_background(context: StageContext, test: TestSet, render: RenderPage | None) -> DrawPage:
    """A function that gives the picture of a page of a document, or None where it cannot be drawn."""

    def draw(document: Mapping[str, Any], page_number: int, scale: float) -> bytes | None:
        if render is None or document["media_type"] != "application/pdf":
            return None
        blobs = context.store.open(test.corpora[document["input"]]).scan("blobs")
        found = blobs.to_table(columns=["content"], filter=pc.field("sha256") == document["sha256"])
        return render(found.column("content")[0].as_py(), page_number, scale) if found.num_rows else None

    return draw
