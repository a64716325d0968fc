"""The loss: class, header fields, line items and subtype, weighted 0.3 / 0.4 / 0.2 / 0.1 by default.

Belongs here: turning scores and labels into one number, with everything that a truth does not speak about left out.
The weights are configuration (`config.LossWeights`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sap_llm.modeling.heads import Scores
from sap_llm.modeling.labels import IGNORED, OUTSIDE
from sap_llm.training.config import LossWeights


@dataclass(frozen=True)
class Targets:
    """Labels of a batch as tensors; see `batches.Batch`."""

    class_ids: Tensor
    subtype_ids: Tensor
    header_labels: Tensor
    line_labels: Tensor
    row_starts: Tensor
    known_fields: Tensor


class DocumentLoss:
    """Computes the weighted loss and its parts."""

    def __init__(
        self, weights: LossWeights, *, subtype_ranges: dict[int, tuple[int, int]], subtypes: int, smoothing: float = 0.0
    ) -> None:
        self.weights, self.smoothing = weights, smoothing
        rivals = torch.zeros(max(1, subtypes), max(1, subtypes), dtype=torch.bool)
        for start, stop in subtype_ranges.values():
            rivals[start:stop, start:stop] = True
        self.rivals = rivals  # row: subtypes of the same class

    def __call__(self, scores: Scores, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its unweighted parts (zero where a batch has no such label)."""
        parts = {
            "classification": self._classes(scores.document_class.float(), targets.class_ids),
            "extraction": header_loss(scores.header.float(), targets.header_labels, targets.known_fields),
            "table": _mean_entropy(scores.line.float(), targets.line_labels)
            + _row_loss(scores.row_start.float(), targets.row_starts),
            "subtype": self._subtypes(scores.subtype.float(), targets.subtype_ids),
        }
        total = torch.stack([getattr(self.weights, name) * part for name, part in parts.items()]).sum()
        return total, {name: part.detach() for name, part in parts.items()}

    def _classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        return _mean_entropy(logits, labels, smoothing=self.smoothing)

    def _subtypes(self, logits: Tensor, labels: Tensor) -> Tensor:
        known = labels != IGNORED
        if not bool(known.any()):
            return logits.sum() * 0.0
        chosen = labels[known]
        rivals = self.rivals.to(logits.device)[chosen]
        return F.cross_entropy(logits[known].masked_fill(~rivals, -1e4), chosen)


def header_loss(logits: Tensor, labels: Tensor, known_fields: Tensor) -> Tensor:
    """Cross entropy of the header tags, where a truth may speak about some fields only.

    On a word that the truth leaves untagged, "outside" and every field that the truth does not speak about are equally
    right: their probabilities are added. The sum is divided by the number of tagged words, not of all: nine words of
    ten are outside, and would make the values vanish beside the class.

    Args:
        logits: [batch, words, 1 + fields].
        labels: int64 [batch, words].
        known_fields: bool [batch, fields]; all False means that the document teaches nothing.
    """
    logs = F.log_softmax(logits, dim=-1)
    right = F.one_hot(labels.clamp(min=0), logits.shape[-1]).bool()
    unknown = F.pad(~known_fields, (1, 0), value=False)[:, None, :]
    right = right | (unknown & (labels == OUTSIDE)[..., None])
    loss = -torch.logsumexp(logs.masked_fill(~right, -1e4), dim=-1)
    counted = (labels != IGNORED) & known_fields.any(dim=-1)[:, None]
    return (loss * counted.float()).sum() / (counted & (labels > OUTSIDE)).sum().clamp(min=1)


def _mean_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    flat = labels.reshape(-1)
    total = F.cross_entropy(
        logits.reshape(len(flat), -1), flat, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing
    )
    return total / (flat != IGNORED).sum().clamp(min=1)


def _row_loss(logits: Tensor, labels: Tensor) -> Tensor:
    counted = (labels != IGNORED).float()
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    return (loss * counted).sum() / counted.sum().clamp(min=1.0)
