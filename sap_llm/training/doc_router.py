"""The stage `doc_router`: the triage model of a release, fitted on documents whose answers are known.

Belongs here: choosing the documents, fitting and measuring. The features and the fitted model are
`modeling.backbones.doc_router`. Importing this module loads neither torch nor sklearn.

The class is learned from the training split. Difficulty is defined by data: on validation documents, which did not
teach the small model, an answer is right when the class is and its header fields reach `right_f1` against the truth.
Two thirds of the groups of validation documents fit temperature and difficulty, the rest judge them.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.evaluation.calibration import expected_calibration_error
from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.fields import score_fields
from sap_llm.evaluation.test_set import most_trusted
from sap_llm.modeling.backbones.doc_router import FIGURES, DocRouter, RouterWeights, blank_weights, present, weight_of
from sap_llm.modeling.backbones.shapes import RouterShape
from sap_llm.modeling.confidence import fit_temperature
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.shards import Shard, read_shard
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.tables import conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "1"
ROUTES = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("is_judged", pa.bool_(), nullable=False),  # else it was fitted on
        pa.field("is_right", pa.bool_(), nullable=False),  # the small model's answer
        pa.field("difficulty", pa.float32(), nullable=False),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("type_confidence", pa.float32(), nullable=False),
        pa.field("is_class_right", pa.bool_(), nullable=False),  # the router's
        *(pa.field(name, pa.float32(), nullable=False) for name in FIGURES),
    ]
)
"""Table `routes`: the validation documents as the router sees them."""

_JUDGED_OF = 3  # one group of so many judges
_INVERSE_PENALTY = 30.0  # of the class weights: thousands of buckets, few of them decisive
_ITERATIONS = 80


class DocRouterConfig(StageConfig):
    """`configs/<profile>/doc_router.yaml`."""

    shape: RouterShape = RouterShape()
    train_documents: int = Field(default=20_000, description="at most so many teach the class", ge=1)
    validation_documents: int = Field(default=400, description="at most so many are read by the small model", ge=2)
    partial_sources: dict[str, list[str]] = Field(
        default={}, description="fields that the truth of a source covers, as in model_evaluation.yaml"
    )
    right_f1: float = Field(
        default=1.0, description="F1 of a document's header fields from which its answer counts as right", gt=0, le=1
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A validation document, and whether the small model's answer was right."""

    document_id: str
    pages: Sequence[Page]
    document_type: str
    is_right: bool
    is_judged: bool


def build_doc_router(
    context: StageContext, *, config: DocRouterConfig, model: DatasetRef, training_set: DatasetRef, release: str
) -> BuildResult:
    """The triage model of a release as a dataset: `model/`, the table `routes`, and what it reaches.

    Args:
        context: Store, clock and progress.
        config: Of the stage.
        model: `multitask_model/<release>`, the small model whose answers are easy or difficult to get right.
        training_set: Teaches and judges.
        release: Name of the release.

    Raises:
        ConfigurationError: The training set has no document with a class to train on, or none to validate on.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        from sap_llm.modeling.runtimes import load_predictor

        shard = read_shard(context.store.open(training_set).table("shards"), split="train")
        context.progress("fitting the router's classes")
        weights, bias = _fit_classes(shard, config, where=training_set)
        predictor = load_predictor(context.store.open(model).path("model"))
        known = _known_documents(context, training_set, predictor, config)
        fitted = [entry for entry in known if not entry.is_judged] or known
        router = _fitted(config, weights, bias, fitted)
        router.save(writer.path("model/router.json").parent)
        began = time.process_time()
        for entry in known:
            router.route(entry.pages)
        seconds = (time.process_time() - began) / len(known)
        rows = [_route(router, entry) for entry in known]
        writer.write_table("routes", conform(rows, ROUTES), ROUTES)
        return _measured(rows) | {
            "cpu_milliseconds_per_document": round(seconds * 1000.0, 4),
            "size_bytes": _size(writer),
        }

    return build(
        context,
        name=f"doc_router/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={model.name: model, training_set.name: training_set},
        produce=produce,
    )


def _fit_classes(
    shard: Shard, config: DocRouterConfig, *, where: DatasetRef
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Weights [buckets, classes] and bias [classes] of the class, by penalised maximum likelihood."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(shard.is_first & (shard.class_ids >= 0))[: config.train_documents]
    shape, classes = config.shape, len(default_labels().classes)
    labels = shard.class_ids[rows].astype(np.int64)
    if len(np.unique(labels)) < 2:
        raise ConfigurationError("fewer than two classes to tell apart", where=str(where), remedy="Add documents.")
    found = [
        present(shard.hashes[shard.offsets[row] : shard.offsets[row + 1]][: shape.words, 0], buckets=shape.buckets)
        for row in rows
    ]
    values = np.concatenate([np.full(len(own), weight_of(len(own)), dtype=np.float32) for own in found])
    starts = np.cumsum([0, *(len(own) for own in found)])
    matrix = csr_matrix((values, np.concatenate(found), starts), shape=(len(rows), shape.buckets))
    learned = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS, tol=1e-3).fit(matrix, labels)
    weights = np.zeros((shape.buckets, classes), dtype=np.float32)
    # a class that was never seen is as unlikely as one document in ten times as many would make it
    bias = np.full(classes, learned.intercept_.min() - np.log(10.0 * len(rows)), dtype=np.float32)
    both = len(learned.classes_) > 2
    coefficients = learned.coef_ if both else np.concatenate([-learned.coef_, learned.coef_]) / 2
    intercepts = learned.intercept_ if both else np.concatenate([-learned.intercept_, learned.intercept_]) / 2
    weights[:, learned.classes_], bias[learned.classes_] = coefficients.T, intercepts
    return weights, bias


def _known_documents(
    context: StageContext, training_set: DatasetRef, predictor: Any, config: DocRouterConfig
) -> list[_Known]:
    dataset = context.store.open(training_set)
    inputs = dict(dataset.manifest.inputs)
    annotated = next(ref for role, ref in inputs.items() if role.startswith("annotated_docs/"))
    wanted = (pc.field("split") == "validation") & pc.field("has_truth")
    documents = dataset.scan("documents").to_table(filter=wanted).sort_by("document_id")
    documents = documents.slice(0, config.validation_documents)
    if not documents.num_rows:
        raise ConfigurationError("no validation document", where=str(training_set), remedy="Raise its share.")
    among = pc.field("document_id").isin(documents.column("document_id").combine_chunks())
    truths = most_trusted(context.store.open(annotated).scan("annotations").to_table(filter=among)).to_pylist()
    by_id = {truth["document_id"]: truth for truth in truths}
    known: list[_Known] = []
    for rows, pages in documents_with_pages(context.store, documents, inputs, size=64):
        read = [(row, own) for row, own in zip(rows, pages, strict=True) if own and row["document_id"] in by_id]
        found = predictor.predict_many([own for _, own in read])
        now = context.clock.now()
        answers = [
            guess.to_row(document_id=row["document_id"], annotator="model", created_at=now)
            for (row, _), guess in zip(read, found, strict=True)
        ]
        scores = score_fields(
            [by_id[row["document_id"]] for row, _ in read],
            answers,
            documents=[row for row, _ in read],
            scopes=config.partial_sources,
        ).by_document
        for (row, own), answer in zip(read, answers, strict=True):
            truth, score = by_id[row["document_id"]], scores.get(row["document_id"])
            is_right = answer["document_type"] == truth["document_type"] and (
                score is None or score.f1 >= config.right_f1  # None: nothing to find, nothing found
            )
            known.append(
                _Known(
                    document_id=row["document_id"],
                    pages=own,
                    document_type=truth["document_type"],
                    is_right=is_right,
                    is_judged=_is_judged(row),
                )
            )
        context.progress("asking the small model", done=len(known), total=documents.num_rows)
    return known


def _is_judged(row: Mapping[str, Any]) -> bool:
    group = str(row.get("split_group") or row["document_id"])
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % _JUDGED_OF == 0


def _fitted(
    config: DocRouterConfig,
    weights: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    known: Sequence[_Known],
) -> DocRouter:
    """Temperature first, since the class's confidence is one of the figures that the difficulty is fitted on."""
    classes = default_labels().classes
    blank = vars(blank_weights(config.shape, classes=len(classes)))
    plain = RouterWeights(**blank | {"class_weights": weights, "class_bias": bias})
    logits = np.log(np.stack([DocRouter(config.shape, classes, plain).figures(own.pages)[1] for own in known]) + 1e-12)
    labels = np.array([classes.index(own.document_type) if own.document_type in classes else -1 for own in known])
    warm = RouterWeights(
        **vars(plain) | {"class_temperature": np.array([fit_temperature(logits, labels)], dtype=np.float32)}
    )
    router = DocRouter(config.shape, classes, warm)
    figures = np.stack([router.figures(own.pages)[0] for own in known])
    difficulty = _fit_difficulty(figures, np.array([not own.is_right for own in known]))
    return DocRouter(config.shape, classes, RouterWeights(**vars(warm) | difficulty))


def _fit_difficulty(
    figures: npt.NDArray[np.float32], is_wrong: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[np.float32]]:
    """Logistic regression on centred figures; the smoothed share alone where all answers are alike."""
    center, spread = figures.mean(axis=0), figures.std(axis=0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    if is_wrong.all() or not is_wrong.any():
        share = (is_wrong.sum() + 1.0) / (len(is_wrong) + 2.0)
        weights, bias = np.zeros(len(center)), np.log(share / (1.0 - share))
    else:
        from sklearn.linear_model import LogisticRegression

        learned = LogisticRegression(C=1.0).fit((figures - center) / spread, is_wrong)
        weights, bias = learned.coef_[0], learned.intercept_[0]
    return {
        "center": center.astype(np.float32),
        "spread": spread.astype(np.float32),
        "difficulty_weights": np.asarray(weights, dtype=np.float32),
        "difficulty_bias": np.array([bias], dtype=np.float32),
    }


def _route(router: DocRouter, known: _Known) -> dict[str, Any]:
    figures, chances = router.figures(known.pages)
    chosen = router.classes[int(chances.argmax())]
    return {
        "document_id": known.document_id,
        "is_judged": known.is_judged,
        "is_right": known.is_right,
        "difficulty": router.difficulty(figures),
        "document_type": chosen,
        "type_confidence": float(chances.max()),
        "is_class_right": chosen == known.document_type,
        **dict(zip(FIGURES, figures.tolist(), strict=True)),
    }


def _measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metrics on the judged documents; none where there are none."""
    judged = [row for row in rows if row["is_judged"]]
    metrics: dict[str, Any] = {"documents": len(rows), "judged_documents": len(judged)}
    metrics["small_model_right"] = round(float(np.mean([row["is_right"] for row in rows])), 4)
    if not judged:
        return metrics
    right = [bool(row["is_class_right"]) for row in judged]
    wrong = [not row["is_right"] for row in judged]
    difficulty = [float(row["difficulty"]) for row in judged]
    metrics |= {
        "class_accuracy": round(float(np.mean(right)), 4),
        "class_ece": expected_calibration_error([min(1.0, float(row["type_confidence"])) for row in judged], right),
        "difficulty_ece": expected_calibration_error(difficulty, wrong),
        "difficulty_brier": float(np.mean((np.array(difficulty) - np.array(wrong)) ** 2)),
    }
    if 0 < sum(wrong) < len(wrong):
        from sklearn.metrics import roc_auc_score

        metrics["difficulty_auc"] = float(roc_auc_score(wrong, difficulty))
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in metrics.items()}


def _size(writer: DatasetWriter) -> int:
    folder = Path(writer.scratch) / "model"
    return sum(path.stat().st_size for path in folder.iterdir())
