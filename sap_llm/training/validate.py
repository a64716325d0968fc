"""Scores on the validation split after training: temperatures, class accuracy and word-level F1.

Belongs here: what the training run itself can know. Values, documents and rivals are judged by `evaluation`.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from sap_llm.modeling.confidence import Calibration, fit_temperature
from sap_llm.modeling.heads import Scores
from sap_llm.modeling.labels import IGNORED, LabelSet
from sap_llm.modeling.shards import Shard
from sap_llm.modeling.torch_runtime import tensors
from sap_llm.training.batches import collate

_WORDS = 8192
_CALIBRATION_TOKENS = 200_000


def validate(model: nn.Module, shard: Shard, *, labels: LabelSet, most: int) -> tuple[dict[str, float], Calibration]:
    """Score the first `most` windows of `shard` and fit temperatures.

    Returns:
        Metrics (empty shard: none) and the calibration to store with the model.
    """
    if not len(shard):
        return {}, Calibration()
    rows = np.arange(min(most, len(shard)))
    gathered = _score(model, shard, rows)
    metrics = {
        "validation_windows": float(len(rows)),
        "validation_f1": word_f1(gathered["header_logits"].argmax(-1), gathered["header_labels"]),
        "validation_class_accuracy": _accuracy(gathered["class_logits"], gathered["class_ids"]),
        "validation_subtype_accuracy": _subtype_accuracy(gathered, labels),
        "validation_line_f1": word_f1(gathered["line_logits"].argmax(-1), gathered["line_labels"]),
    }
    calibration = Calibration(
        document_class=fit_temperature(gathered["class_logits"], gathered["class_ids"]),
        subtype=fit_temperature(_masked_subtypes(gathered, labels), gathered["subtype_ids"]),
        header=fit_temperature(gathered["header_logits"], gathered["header_labels"]),
        line=fit_temperature(gathered["line_logits"], gathered["line_labels"]),
    )
    return {key: round(value, 5) for key, value in metrics.items()}, calibration


def word_f1(predicted: Any, truth: Any) -> float:
    """Micro F1 over words that are tagged in either; 0 is outside, negative truths do not count."""
    known = truth >= 0
    predicted, truth = predicted[known], truth[known]
    hits = int(((predicted == truth) & (truth > 0)).sum())
    tagged = int((predicted > 0).sum()) + int((truth > 0).sum())
    return 2 * hits / tagged if tagged else 0.0


def _score(model: nn.Module, shard: Shard, rows: Any) -> dict[str, Any]:
    device = next(model.parameters()).device
    order = rows[np.argsort(shard.lengths[rows], kind="stable")]
    parts: dict[str, list[Any]] = {}
    model.eval()
    start = 0
    while start < len(order):
        size = max(1, _WORDS // max(1, int(shard.lengths[order[min(len(order) - 1, start + 63)]])))
        batch = collate(shard, order[start : start + size])
        with torch.inference_mode():
            scores: Scores = model(*tensors(batch, device=device))
        real = batch.mask > 0
        values = {
            "class_logits": scores.document_class,
            "subtype_logits": scores.subtype,
            "header_logits": scores.header[torch.from_numpy(real)],
            "line_logits": scores.line[torch.from_numpy(real)],
        }
        for name, value in values.items():
            parts.setdefault(name, []).append(value.float().cpu().numpy())
        parts.setdefault("class_ids", []).append(batch.class_ids)
        parts.setdefault("subtype_ids", []).append(batch.subtype_ids)
        parts.setdefault("header_labels", []).append(batch.header_labels[real])
        parts.setdefault("line_labels", []).append(batch.line_labels[real])
        start += size
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    for name in ("header_logits", "header_labels", "line_logits", "line_labels"):
        joined[name] = joined[name][:_CALIBRATION_TOKENS]
    return joined


def _accuracy(logits: Any, labels: Any) -> float:
    known = labels != IGNORED
    return float((logits[known].argmax(-1) == labels[known]).mean()) if known.any() else 0.0


def _masked_subtypes(gathered: dict[str, Any], labels: LabelSet) -> Any:
    logits = np.full_like(gathered["subtype_logits"], -1e4)
    for row, kind in enumerate(gathered["class_ids"]):
        start, stop = labels.subtype_ranges().get(int(kind), (0, logits.shape[1]))
        logits[row, start:stop] = gathered["subtype_logits"][row, start:stop]
    return logits


def _subtype_accuracy(gathered: dict[str, Any], labels: LabelSet) -> float:
    return _accuracy(_masked_subtypes(gathered, labels), gathered["subtype_ids"])
