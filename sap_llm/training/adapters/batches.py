"""Examples as token ids, and the order in which they are learned from.

Belongs here: encoding, padding, and the batch plan, which follows from the seed and the step alone: a resumed run and
any number of ranks learn from the same examples. Nothing of a model's weights is needed; `program` moves the batches
where the model is.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sap_llm.modeling.qwen import END
from sap_llm.training.adapters.tasks import Example
from sap_llm.training.packing import IGNORED


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example; from `answer_start` on they are what is learned."""

    ids: list[int]
    answer_start: int

    @property
    def targets(self) -> int:
        """Number of tokens that are learned."""
        return len(self.ids) - self.answer_start


@dataclass(frozen=True)
class Batch:
    """Padded on the right.

    Attributes:
        input_ids: int64 [rows, tokens].
        attention_mask: int64 [rows, tokens].
        labels: int64 [rows, tokens], the token that follows each place, `IGNORED` where nothing is learned.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor


def encode(examples: Iterable[Example], processor: Any, *, most_tokens: int) -> tuple[list[Encoded], int]:
    """Examples as the chat template writes them; returns those that fit, and how many were longer.

    Nothing is cut: an answer without its end, or to a question that is not shown whole, would teach a wrong thing.
    """
    encoded, too_long = [], 0
    for example in examples:
        prompt = processor.apply_chat_template(example.messages, tokenize=False, add_generation_prompt=True)
        ids = [
            processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, example.answer + END)
        ]
        if len(ids[0]) + len(ids[1]) > most_tokens:
            too_long += 1
        else:
            encoded.append(Encoded(ids=ids[0] + ids[1], answer_start=len(ids[0])))
    return encoded, too_long


class BatchPlan:
    """Which examples each step learns from: every epoch all of them once, in an order of its own."""

    def __init__(self, count: int, *, size: int, seed: int) -> None:
        self._count, self._size, self._seed = count, size, seed

    def rows(self, step: int) -> list[int]:
        """The examples of a step; with fewer examples than the batch has room for, some are in it again."""
        return [self._row(step * self._size + place) for place in range(self._size)]

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, self._count)
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._count)
        return int(self._order[place])


def micro_batches(encoded: Sequence[Encoded], *, size: int, pad: int) -> Iterator[Batch]:
    """The examples in batches of at most `size`, those of like length together."""
    ordered = sorted(encoded, key=lambda example: len(example.ids))
    for start in range(0, len(ordered), size):
        yield padded(ordered[start : start + size], pad=pad)


def padded(encoded: Sequence[Encoded], *, pad: int) -> Batch:
    """One batch of examples."""
    longest = max(len(example.ids) for example in encoded)
    ids = torch.full((len(encoded), longest), pad)
    mask = torch.zeros((len(encoded), longest), dtype=torch.int64)
    labels = torch.full((len(encoded), longest), IGNORED)
    for row, example in enumerate(encoded):
        length = len(example.ids)
        ids[row, :length] = torch.tensor(example.ids)
        mask[row, :length] = 1
        labels[row, example.answer_start - 1 : length - 1] = ids[row, example.answer_start : length]
    return Batch(ids, mask, labels)
