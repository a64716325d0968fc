"""The loss: six tasks by their labels, weighted 0.3 / 0.4 / 0.2 / 0.1 and a little for the layout by default.

Belongs here: turning scores and labels into one number, with everything that a truth does not speak about left out.
The weights are configuration (`config.LossWeights`).

Each task is the mean over its labels on all ranks together. A mean on each rank would count a batch without any label
as one whose loss is zero, and so weaken the others; and the loss would depend on how many ranks share the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sap_llm.modeling.heads import Scores
from sap_llm.modeling.labels import BLOCK_START, CELL_START, IGNORED, OUTSIDE, TABLE_ROW_START, VALUE_START
from sap_llm.training.batches import Batch
from sap_llm.training.config import LossWeights


class Term(NamedTuple):
    """A part of a task, known from the labels alone but for its sum."""

    labels: Tensor  # how many, 0-d
    summed: Callable[[Scores], Tensor]  # loss over them


class Losses(NamedTuple):
    """What a piece of a batch loses."""

    total: Tensor
    parts: dict[str, Tensor]  # unweighted, by task; 0 where `labelled` is 0
    labelled: dict[str, Tensor]  # 1.0 where the step has labels of the task, else 0.0


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
    """Computes the weighted loss and its parts.

    Args:
        weights: Of the tasks.
        subtype_ranges: Class index -> half-open range of its subtypes.
        subtypes: How many there are.
        smoothing: Of the labels of classes.
    """

    def __init__(
        self,
        weights: LossWeights,
        *,
        subtype_ranges: dict[int, tuple[int, int]],
        subtypes: int,
        smoothing: float = 0.0,
    ) -> None:
        self.weights, self.smoothing = weights, smoothing
        rivals = torch.zeros(max(1, subtypes), max(1, subtypes), dtype=torch.bool)
        for start, stop in subtype_ranges.values():
            rivals[start:stop, start:stop] = True
        self.rivals = rivals  # row: subtypes of the same class

    def counts(self, targets: Targets) -> Tensor:
        """Labels of each part of each task, float32 [parts]: to be averaged over all pieces of a step."""
        return torch.stack([term.labels.float() for terms in self._terms(targets).values() for term in terms])

    def __call__(self, scores: Scores, targets: Targets, counts: Tensor) -> Losses:
        """What a piece loses.

        Args:
            scores: Of the network.
            targets: Labels of the piece.
            counts: As of `counts`, the mean over the pieces of the step on all ranks. Gradients are averaged over the
                pieces, so each task is the mean over all its labels of the step, however they are shared.
        """
        terms = self._terms(targets)
        sums = torch.stack([term.summed(scores) for task in terms for term in terms[task]])
        has_labels = counts > 0
        losses = torch.where(has_labels, sums / counts.clamp(min=torch.finfo(counts.dtype).tiny), 0.0)
        shares = [getattr(self.weights, WEIGHT_OF[task]) for task in terms for _ in terms[task]]
        total = (losses * torch.tensor(shares, device=losses.device)).sum()
        parts, labelled, place = {}, {}, 0
        for task in terms:
            own = slice(place, place + len(terms[task]))
            place = own.stop
            parts[task], labelled[task] = losses[own].detach().sum(), has_labels[own].any().float()
        return Losses(total, parts, labelled)

    def _terms(self, targets: Targets) -> dict[str, list[Term]]:
        header, line, rows = targets.header_labels, targets.line_labels, targets.row_starts
        in_table, blocks = targets.table_labels, targets.block_labels

        def begins(which: int, counted: Tensor) -> Term:
            """For each beginning: one word of fifteen begins a block, and its loss would vanish among the others."""
            is_first = (targets.starts >> which) & 1
            return Term(
                (counted & (is_first > 0)).sum(),
                lambda scores: _binary(scores.starts[..., which].float(), is_first, counted),
            )

        def each(labels: Tensor, summed: Callable[[Scores], Tensor]) -> Term:
            return Term((labels != IGNORED).sum(), summed)

        return {
            "classification": [
                each(
                    targets.class_ids,
                    lambda scores: _entropy(scores.document_class, targets.class_ids, smoothing=self.smoothing),
                )
            ],
            "extraction": [
                Term(
                    (_speaks(header, targets.known_fields) & (header > OUTSIDE)).sum(),
                    lambda scores: header_loss(scores.header.float(), header, targets.known_fields),
                ),
                begins(VALUE_START, (header > OUTSIDE) | (line > OUTSIDE)),
            ],
            "line_items": [
                each(
                    line, lambda scores: tag_loss(scores.line.float(), line, targets.known_line_fields, line != IGNORED)
                ),
                each(rows, lambda scores: _binary(scores.row_start.float(), rows, rows != IGNORED)),
            ],
            "table": [
                each(in_table, lambda scores: _binary(scores.table.float(), in_table, in_table != IGNORED)),
                begins(CELL_START, in_table > OUTSIDE),
                begins(TABLE_ROW_START, in_table > OUTSIDE),
            ],
            "subtype": [each(targets.subtype_ids, lambda scores: self._subtypes(scores.subtype, targets.subtype_ids))],
            "layout": [
                each(blocks, lambda scores: _entropy(scores.block.flatten(0, 1), blocks.flatten())),
                begins(BLOCK_START, blocks > OUTSIDE),
            ],
        }

    def _subtypes(self, logits: Tensor, labels: Tensor) -> Tensor:
        rivals = self.rivals.to(logits.device)[labels.clamp(min=0)]
        return _entropy(logits.float().masked_fill(~rivals, -1e4), labels)


def header_loss(logits: Tensor, labels: Tensor, known_fields: Tensor) -> Tensor:
    """Summed cross entropy of the header tags of documents whose truth speaks at all; arguments as of `tag_loss`.

    It is to be divided by the tagged words, not by all: nine words of ten are outside, and would make the values vanish
    beside the class.
    """
    return tag_loss(logits, labels, known_fields, _speaks(labels, known_fields))


def tag_loss(logits: Tensor, labels: Tensor, known: Tensor, counted: Tensor) -> Tensor:
    """Summed cross entropy of tags, where a truth may speak about some fields only, over the counted words.

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
    return torch.where(counted, -torch.where(labels == OUTSIDE, silent, own), 0.0).sum()


def _speaks(labels: Tensor, known_fields: Tensor) -> Tensor:
    """Words [batch, words] of whose header tag the truth says something."""
    return (labels != IGNORED) & known_fields.any(dim=-1)[:, None]


def _entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    return F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)


def _binary(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    loss = F.binary_cross_entropy_with_logits(logits, labels.clamp(min=0).float(), reduction="none")
    return torch.where(counted, loss, 0.0).sum()
