"""The loss: six tasks by their labels, weighted 0.3 / 0.4 / 0.2 / 0.1 and a little for the layout by default.

Belongs here: turning scores and labels into one number, with everything that a truth does not speak about left out.
The weights are configuration (`config.LossWeights`).

Each task is the mean over its labels on all ranks together. A mean on each rank would count a batch without any label
as one whose loss is zero, and so weaken the others; and the loss would depend on how many ranks share the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from sap_llm.modeling.heads import Scores
from sap_llm.modeling.labels import BLOCK_START, CELL_START, IGNORED, OUTSIDE, TABLE_ROW_START, VALUE_START
from sap_llm.training.batches import Batch
from sap_llm.training.config import LossWeights

Term = tuple[Tensor, Tensor]
"""Summed loss, and how many labels it is of."""

WEIGHT_OF = {
    "classification": "classification",
    "extraction": "extraction",
    "line_items": "table",
    "table": "table",
    "subtype": "subtype",
    "layout": "layout",
}
"""Weight of each task; line items and tables share the roadmap's one."""


@dataclass(frozen=True)
class Targets:
    """Labels of a batch as tensors; see `batches.Batch`."""

    class_ids: Tensor
    subtype_ids: Tensor
    header_labels: Tensor
    line_labels: Tensor
    row_starts: Tensor
    table_labels: Tensor
    block_labels: Tensor
    starts: Tensor
    known_fields: Tensor
    known_line_fields: Tensor

    @classmethod
    def of(cls, batch: Batch, *, device: torch.device | str = "cpu") -> "Targets":
        """The labels of a batch on `device`."""
        return cls(**{own.name: torch.from_numpy(getattr(batch, own.name)).to(device) for own in fields(cls)})


class DocumentLoss:
    """Computes the weighted loss and its parts, and remembers the parts for the log.

    Args:
        weights: Of the tasks.
        subtype_ranges: Class index -> half-open range of its subtypes.
        subtypes: How many there are.
        smoothing: Of the labels of classes.
        over_ranks: Averages a tensor over the ranks (`torch.distributed`); one rank by default.
    """

    def __init__(
        self,
        weights: LossWeights,
        *,
        subtype_ranges: dict[int, tuple[int, int]],
        subtypes: int,
        smoothing: float = 0.0,
        over_ranks: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self.weights, self.smoothing, self._over_ranks = weights, smoothing, over_ranks
        rivals = torch.zeros(max(1, subtypes), max(1, subtypes), dtype=torch.bool)
        for start, stop in subtype_ranges.values():
            rivals[start:stop, start:stop] = True
        self.rivals = rivals  # row: subtypes of the same class
        self._sums: dict[str, Tensor] = {}

    def __call__(self, scores: Scores, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its unweighted parts, by task; of a task without labels there is none (NaN)."""
        terms = self._terms(scores, targets)
        flat = [term for task in WEIGHT_OF for term in terms[task]]
        sums = torch.stack([value for value, _ in flat])
        counts = torch.stack([count.float() for _, count in flat])
        shared_sums, shared_counts = self._over_ranks(torch.stack([sums.detach(), counts]))
        has_labels = shared_counts > 0
        divisors = torch.where(has_labels, shared_counts, 1.0)
        losses = torch.where(has_labels, sums / divisors, 0.0)
        means = torch.where(has_labels, shared_sums / divisors, 0.0)
        shares = [getattr(self.weights, WEIGHT_OF[task]) for task in WEIGHT_OF for _ in terms[task]]
        total = (losses * torch.tensor(shares, device=losses.device)).sum()
        parts: dict[str, Tensor] = {}
        place = 0
        for task in WEIGHT_OF:
            own = slice(place, place + len(terms[task]))
            place = own.stop
            parts[task] = torch.where(has_labels[own].any(), means[own].sum(), torch.nan)
        self._remember(parts)
        return total, parts

    def drain(self) -> dict[str, float]:
        """Means of the parts over the batches since the last call, each over those that had labels of it."""
        means = {name: float(pair[0] / pair[1]) for name, pair in self._sums.items() if float(pair[1])}
        self._sums = {}
        return means

    def _remember(self, parts: dict[str, Tensor]) -> None:
        for name, value in parts.items():
            pair = torch.stack([value.nan_to_num(), (~value.isnan()).float()])
            self._sums[name] = self._sums.get(name, 0.0) + pair

    def _terms(self, scores: Scores, targets: Targets) -> dict[str, list[Term]]:
        header, line = targets.header_labels, targets.line_labels
        starts, in_table = scores.starts.float(), targets.table_labels
        block = scores.block.float()

        def begins(which: int, counted: Tensor) -> Term:
            """For each beginning: one word of fifteen begins a block, and its loss would vanish among the others."""
            is_first = (targets.starts >> which) & 1
            total, _ = _binary(starts[..., which], is_first, counted)
            return total, (counted & (is_first > 0)).sum()

        return {
            "classification": [
                _entropy(scores.document_class.float(), targets.class_ids, smoothing=self.smoothing),
            ],
            "extraction": [
                header_loss(scores.header.float(), header, targets.known_fields),
                begins(VALUE_START, (header > OUTSIDE) | (line > OUTSIDE)),
            ],
            "line_items": [
                tag_loss(scores.line.float(), line, targets.known_line_fields, line != IGNORED),
                _binary(scores.row_start.float(), targets.row_starts, targets.row_starts != IGNORED),
            ],
            "table": [
                _binary(scores.table.float(), in_table, in_table != IGNORED),
                begins(CELL_START, in_table > OUTSIDE),
                begins(TABLE_ROW_START, in_table > OUTSIDE),
            ],
            "subtype": [self._subtypes(scores.subtype.float(), targets.subtype_ids)],
            "layout": [
                _entropy(block.flatten(0, 1), targets.block_labels.flatten()),
                begins(BLOCK_START, targets.block_labels > OUTSIDE),
            ],
        }

    def _subtypes(self, logits: Tensor, labels: Tensor) -> Term:
        rivals = self.rivals.to(logits.device)[labels.clamp(min=0)]
        return _entropy(logits.masked_fill(~rivals, -1e4), labels)


def header_loss(logits: Tensor, labels: Tensor, known_fields: Tensor) -> Term:
    """Cross entropy of the header tags, for each tagged word; arguments as of `tag_loss`.

    It is not for each word: nine words of ten are outside, and would make the values vanish beside the class.
    """
    counted = (labels != IGNORED) & known_fields.any(dim=-1)[:, None]
    total, _ = tag_loss(logits, labels, known_fields, counted)
    return total, (counted & (labels > OUTSIDE)).sum()


def tag_loss(logits: Tensor, labels: Tensor, known: Tensor, counted: Tensor) -> Term:
    """Cross entropy of tags, where a truth may speak about some fields only, for each counted word.

    On a word that the truth leaves untagged, "outside" and every field that the truth does not speak about are equally
    right: their probabilities are added.

    Args:
        logits: [batch, words, 1 + fields].
        labels: int64 [batch, words].
        known: bool [batch, fields], what the truth speaks about.
        counted: bool [batch, words].
    """
    logs = F.log_softmax(logits, dim=-1)
    own = logs.gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)
    silent = torch.logsumexp(logs.masked_fill(F.pad(known, (1, 0), value=False)[:, None, :], -1e4), dim=-1)
    loss = -torch.where(labels == OUTSIDE, silent, own)
    return torch.where(counted, loss, 0.0).sum(), counted.sum()


def _entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Term:
    total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total, (labels != IGNORED).sum()


def _binary(logits: Tensor, labels: Tensor, counted: Tensor) -> Term:
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    return torch.where(counted, loss, 0.0).sum(), counted.sum()
