"""What the confidences of decoded values are worth: fitted on validation documents when a model has been trained.

Belongs here: reading validation documents with the new model, judging its values, and the calibration that goes into
its config.json. The training program cannot do this: it sees words as features, and no document. The regression is
`modeling.confidence`, the comparison `evaluation.fields`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.calibration import expected_calibration_error, risk_coverage
from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.fields import REPORTED_FIELDS, Outcome, score_fields
from sap_llm.evaluation.predictor import Predictor
from sap_llm.evaluation.test_set import most_trusted
from sap_llm.modeling.confidence import ValueCalibration, fit_values
from sap_llm.modeling.folder import read_config, write_config
from sap_llm.modeling.labels import has_line_truth
from sap_llm.modeling.runtimes import load_predictor
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore

FEWEST_DOCUMENTS, FEWEST_VALUES = 20, 200
"""Fewer documents or judged values tell nothing about fields: confidences stay as they are."""
_TARGET_ERROR = 0.02
_BATCH = 64
_READ_AT = datetime(2000, 1, 1, tzinfo=UTC)  # predictions are compared and thrown away

Claim = tuple[str, float, bool]


def calibrate_values(folder: Path, store: DatasetStore, training_set: DatasetRef, *, most: int) -> dict[str, float]:
    """Fit the calibration of a model folder's values on validation documents and write it into its config.json.

    Args:
        folder: Of the trained model; must hold none yet.
        store: Where the training set and the corpora that it names are.
        training_set: Its validation split is read, as far as truths cover whole documents.
        most: Documents to read, the first by id.

    Returns:
        Metrics: calibration error before and after on documents that the fit had not seen (halves by split group),
        the confidence from which on 2 % of values are wrong, and the share of values that reach it. Nothing where
        too few values could be judged.
    """
    outcomes, groups = judged_values(lambda: load_predictor(folder), store, training_set, most=most)
    claims = [(one.field, min(1.0, one.confidence or 0.0), one.kind == "hit") for one in outcomes]
    if len(claims) < FEWEST_VALUES or len({is_right for _, _, is_right in claims}) < 2:
        return {}
    config = read_config(folder)
    calibration = config.calibration.model_copy(update={"values": fit_values(claims)})
    write_config(folder, config.model_copy(update={"calibration": calibration}))
    return value_metrics(claims, [groups[one.document_id] for one in outcomes])


def judged_values(
    open_predictor: Callable[[], Predictor], store: DatasetStore, training_set: DatasetRef, *, most: int
) -> tuple[list[Outcome], dict[str, str]]:
    """Right and invented values on validation documents, and the split group of each document.

    Args:
        open_predictor: Called only where there are enough documents to read.
        store: As in `calibrate_values`, like the others.
        training_set: Its validation documents.
        most: How many at most.
    """
    dataset = store.open(training_set)
    inputs = dict(dataset.manifest.inputs)
    annotated = next((ref for role, ref in inputs.items() if role.startswith("annotated_docs/")), None)
    documents = dataset.scan("documents").to_table(filter=pc.field("split") == "validation")
    is_whole = [has_line_truth(source) for source in documents.column("source").to_pylist()]
    documents = documents.filter(pa.array(is_whole, pa.bool_())).sort_by("document_id").slice(0, most)
    if annotated is None or documents.num_rows < FEWEST_DOCUMENTS:
        return [], {}
    ids = documents.column("document_id").combine_chunks()
    truths = most_trusted(store.open(annotated).scan("annotations").to_table(filter=pc.field("document_id").isin(ids)))
    corpora = {role: ref for role, ref in inputs.items() if "annotated_docs/" not in role}
    predictor = open_predictor()
    rows: list[Mapping[str, Any]] = []
    for about, pages in documents_with_pages(store, documents, corpora, size=_BATCH):
        found = predictor.predict_many(pages)
        rows += [
            prediction.to_row(document_id=row["document_id"], annotator="", created_at=_READ_AT)
            for row, prediction in zip(about, found, strict=True)
        ]
    known = set(truths.column("document_id").to_pylist())
    scores = score_fields(truths, [row for row in rows if row["document_id"] in known], fields=REPORTED_FIELDS)
    groups = dict(zip(ids.to_pylist(), documents.column("split_group").to_pylist(), strict=True))
    return [one for one in scores.outcomes if one.confidence is not None], groups


def value_metrics(claims: Sequence[Claim], groups: Sequence[str]) -> dict[str, float]:
    """Calibration errors with each half of the groups judged by a fit on the other, and the derived threshold."""
    order = {group: index % 2 for index, group in enumerate(sorted(set(groups)))}
    halves = [[claim for claim, group in zip(claims, groups, strict=True) if order[group] == half] for half in (0, 1)]
    judged = [
        (fit.chance(name, confidence), is_right)
        for half, fit in enumerate(_fits(halves))
        for name, confidence, is_right in halves[half]
    ]
    chances, rights = [chance for chance, _ in judged], [is_right for _, is_right in judged]
    before = expected_calibration_error(*zip(*[(one[1], one[2]) for one in claims], strict=True))
    curve = risk_coverage(chances, [not is_right for is_right in rights])
    threshold = curve.threshold_for(_TARGET_ERROR)
    found = {
        "validation_value_ece_before": before,
        "validation_value_ece": expected_calibration_error(chances, rights),
        "validation_risk_coverage_area": curve.area,
        "confidence_at_2_percent_error": threshold,
        "coverage_at_2_percent_error": None if threshold is None else curve.at(threshold)[0],
    }
    return {name: round(value, 5) for name, value in found.items() if value is not None}


def _fits(halves: Sequence[Sequence[Claim]]) -> list[ValueCalibration]:
    """For each half the calibration that the other gives."""
    return [fit_values(halves[1 - half]) if halves[1 - half] else ValueCalibration() for half in (0, 1)]
