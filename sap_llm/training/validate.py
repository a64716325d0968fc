"""Scores on the validation split after training: temperatures, class accuracy and word-level F1.

Belongs here: what the training run itself can know. Values, documents and rivals are judged by `evaluation`.
"""

from typing import Any

import numpy as np

from sap_llm.modeling.confidence import Calibration, fit_temperature
from sap_llm.modeling.labels import IGNORED, OUTSIDE, LabelSet
from sap_llm.modeling.predictor import Runtime
from sap_llm.modeling.shards import Shard
from sap_llm.training.batches import Batch, collate

_WORDS = 8192
_MOST_ROWS = 64
_CALIBRATION_WORDS = 200_000
_SILENCED = -1e3  # logits of fields that the model was not taught are below
_NEVER = np.float32(-1e4)


def validate(runtime: Runtime, shard: Shard, *, labels: LabelSet, most: int) -> tuple[dict[str, float], Calibration]:
    """Score the first `most` windows of `shard` and fit temperatures.

    Returns:
        Metrics (empty shard: none) and the calibration to store with the model.
    """
    if not len(shard):
        return {}, Calibration()
    gathered = gather_scores(runtime, shard, most=most)
    metrics = {
        "validation_windows": float(min(most, len(shard))),
        "validation_f1": word_f1(gathered["header_tags"], gathered["header_labels"]),
        "validation_class_accuracy": _accuracy(gathered["class_logits"], gathered["class_labels"]),
        "validation_subtype_accuracy": _accuracy(_masked_subtypes(gathered, labels), gathered["subtype_labels"]),
        "validation_line_f1": word_f1(gathered["line_tags"], gathered["line_labels"]),
        "validation_row_start_f1": word_f1(gathered["row_start_tags"], gathered["row_start_labels"]),
        "validation_table_f1": word_f1(gathered["table_tags"], gathered["table_labels"]),
        "validation_block_f1": word_f1(gathered["block_tags"], gathered["block_labels"]),
    }
    for which, name in enumerate(("value", "cell", "table_row", "block")):
        metrics[f"validation_{name}_start_f1"] = word_f1(
            gathered["starts_tags"][:, which], gathered["starts_labels"][:, which]
        )
    return {key: round(value, 5) for key, value in metrics.items()}, fit_calibration(gathered, labels)


def word_f1(predicted: Any, truth: Any) -> float:
    """Micro F1 over words that are tagged in either; 0 is outside, negative truths do not count."""
    known = truth >= 0
    predicted, truth = predicted[known], truth[known]
    hits = int(((predicted == truth) & (truth > 0)).sum())
    tagged = int((predicted > 0).sum()) + int((truth > 0).sum())
    return 2 * hits / tagged if tagged else 0.0


def gather_scores(runtime: Runtime, shard: Shard, *, most: int) -> dict[str, Any]:
    """Logits, tags and labels of the first `most` windows: by document (class, subtype) and by word.

    Returns:
        `<head>_logits` float32 and `<head>_labels` of class and subtype; `<head>_tags` and `<head>_labels` of header,
        line, row_start, starts, table and block; and `<head>_logits` of header and line of the first 200,000 words.
    """
    rows = np.arange(min(most, len(shard)))
    order = rows[np.argsort(shard.lengths[rows], kind="stable")]
    parts: dict[str, list[Any]] = {}
    start = words = 0
    while start < len(order):
        longest = int(shard.lengths[order[min(len(order) - 1, start + _MOST_ROWS - 1)]])
        size = max(1, min(_MOST_ROWS, _WORDS // max(1, longest)))
        batch = collate(shard, order[start : start + size])
        scores = _judgeable(runtime(batch), batch)
        real = batch.mask > 0
        values = {
            "class_logits": scores["document_class"],
            "subtype_logits": scores["subtype"],
            "class_labels": batch.class_ids,
            "subtype_labels": batch.subtype_ids,
            **_words_of(scores, batch, real),
        }
        if words < _CALIBRATION_WORDS:  # logits of all fields are large
            values |= {f"{name}_logits": scores[name][real] for name in ("header", "line")}
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
        start += size
        words += int(real.sum())
    return {name: np.concatenate(values) for name, values in parts.items()}


def _judgeable(scores: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """Scores in which no word can be a field that the truth of its document does not speak about.

    Such a field may well be on the page; said or not, nobody knows whether that is right. What a word is labelled with
    it can always be: a truth that names the core may say more.
    """
    judged = dict(scores)
    tasks = (
        ("header", batch.known_fields, batch.header_labels),
        ("line", batch.known_line_fields, batch.line_labels),
    )
    for name, known, labels in tasks:
        speaks = np.pad(known, ((0, 0), (1, 0)), constant_values=True)[:, None, :]  # of outside, then of the fields
        is_own = labels[..., None] == np.arange(scores[name].shape[-1])
        judged[name] = np.where(speaks | is_own, scores[name], _NEVER)
    return judged


def _words_of(scores: dict[str, Any], batch: Batch, real: Any) -> dict[str, Any]:
    starts = (batch.starts[..., None] >> np.arange(scores["starts"].shape[-1])) & 1
    is_tagged = (batch.header_labels > OUTSIDE) | (batch.line_labels > OUTSIDE)
    in_table = batch.table_labels > OUTSIDE
    counted = np.stack([is_tagged, in_table, in_table, batch.block_labels > OUTSIDE], axis=-1)
    return {
        "header_tags": scores["header"][real].argmax(-1),
        "header_labels": batch.header_labels[real],
        "line_tags": scores["line"][real].argmax(-1),
        "line_labels": batch.line_labels[real],
        "row_start_tags": scores["row_start"][real] > 0,
        "row_start_labels": batch.row_starts[real],
        "starts_tags": scores["starts"][real] > 0,
        "starts_labels": np.where(counted, starts.astype(np.int64), IGNORED)[real],
        "table_tags": scores["table"][real] > 0,
        "table_labels": batch.table_labels[real],
        "block_tags": scores["block"][real].argmax(-1),
        "block_labels": batch.block_labels[real],
    }


def fit_calibration(gathered: dict[str, Any], labels: LabelSet) -> Calibration:
    """Temperatures from what `gather_scores` returned; words beyond the first 200,000 do not count."""
    return Calibration(
        document_class=fit_temperature(gathered["class_logits"], gathered["class_labels"]),
        subtype=fit_temperature(_masked_subtypes(gathered, labels), gathered["subtype_labels"]),
        header=_word_temperature(gathered, "header"),
        line=_word_temperature(gathered, "line"),
    )


def _word_temperature(gathered: dict[str, Any], head: str) -> float:
    logits = gathered[f"{head}_logits"][:_CALIBRATION_WORDS]
    labels = gathered[f"{head}_labels"][: len(logits)]
    taught = np.flatnonzero(logits.max(axis=0, initial=-np.inf) > _SILENCED)
    places = np.full(logits.shape[1], IGNORED)
    places[taught] = np.arange(len(taught))
    return fit_temperature(logits[:, taught], np.where(labels >= 0, places[labels], IGNORED))


def _accuracy(logits: Any, labels: Any) -> float:
    known = labels != IGNORED
    return float((logits[known].argmax(-1) == labels[known]).mean()) if known.any() else 0.0


def _masked_subtypes(gathered: dict[str, Any], labels: LabelSet) -> Any:
    logits = np.full_like(gathered["subtype_logits"], -1e4)
    for row, kind in enumerate(gathered["class_labels"]):
        start, stop = labels.subtype_ranges().get(int(kind), (0, logits.shape[1]))
        logits[row, start:stop] = gathered["subtype_logits"][row, start:stop]
    return logits
