"""Batches from a shard: which rows, in which order, and as padded arrays.

Belongs here: the order of rows, which depends on seed and epoch alone, so that the number of the next step is the whole
data position; and padding. Damaging the documents is `augment`; the shard itself is `modeling.shards`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.labels import IGNORED
from sap_llm.modeling.shards import Shard

Array = npt.NDArray[Any]
_LENGTH_NOISE = 0.05  # so that neighbours in length differ from epoch to epoch
_PAD_TO = 16


@dataclass
class Batch:
    """Padded arrays of b documents with at most n words.

    Attributes:
        characters: uint8 [b, n, 16].
        hashes: uint16 [b, n, 3].
        shapes: uint32 [b, n].
        boxes: float32 [b, n, 4].
        lines: float32 [b, n].
        above: int64 [b, n].
        mask: float32 [b, n].
        header_labels: int64 [b, n], `IGNORED` on padding; likewise line_labels, row_starts, table_labels and
            block_labels.
        starts: uint8 [b, n], bit sets as in `modeling.word_labels`.
        class_ids: int64 [b], `IGNORED` where unknown; likewise subtype_ids.
        known_fields: bool [b, header fields]; likewise known_line_fields.
    """

    characters: Array
    hashes: Array
    shapes: Array
    boxes: Array
    lines: Array
    above: Array
    mask: Array
    header_labels: Array
    line_labels: Array
    row_starts: Array
    table_labels: Array
    block_labels: Array
    starts: Array
    class_ids: Array
    subtype_ids: Array
    known_fields: Array
    known_line_fields: Array


class BatchPlan:
    """Deterministic batches of a shard for all ranks together."""

    def __init__(self, lengths: npt.NDArray[np.int64], *, words: int, ranks: int, seed: int) -> None:
        if not len(lengths):
            raise ValueError("an empty shard has no batches")
        self.lengths, self.words, self.ranks, self.seed = lengths, max(1, words // ranks), ranks, seed
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._starts = [0]

    def rows(self, step: int, rank: int) -> npt.NDArray[np.int64]:
        """Row numbers that `rank` works on in optimizer step `step` (from 0)."""
        epoch, index = self.locate(step)
        return self._epoch(epoch)[index * self.ranks + rank]

    def locate(self, step: int) -> tuple[int, int]:
        """Epoch of a step, and its index in the epoch."""
        while self._starts[-1] <= step:
            epoch = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(self._epoch(epoch)) // self.ranks)
        epoch = int(np.searchsorted(self._starts, step, side="right")) - 1
        return epoch, step - self._starts[epoch]

    def _make_epoch(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, epoch])
        noisy = self.lengths * np.exp(generator.normal(0.0, _LENGTH_NOISE, len(self.lengths)))
        order = np.argsort(noisy, kind="stable").astype(np.int64)
        batches: list[npt.NDArray[np.int64]] = []
        start, longest = 0, 0
        for place, row in enumerate(order):
            longest = max(longest, int(self.lengths[row]))
            if place > start and longest * (place + 1 - start) > self.words:
                batches.append(order[start:place])
                start, longest = place, int(self.lengths[row])
        batches.append(order[start:])
        while len(batches) % self.ranks:  # every rank takes part in every step
            batches.append(batches[int(generator.integers(len(batches)))])
        # ranks of one step get batches of like length, so that none waits long
        groups = [batches[index : index + self.ranks] for index in range(0, len(batches), self.ranks)]
        return [batch for index in generator.permutation(len(groups)) for batch in groups[index]]


def collate(shard: Shard, rows: npt.NDArray[np.int64]) -> Batch:
    """Pad the given rows of a shard into a batch."""
    lengths = shard.lengths[rows]
    longest = -(-max(1, int(lengths.max())) // _PAD_TO) * _PAD_TO
    mask = np.arange(longest) < lengths[:, None]
    places = np.where(mask, shard.offsets[rows][:, None] + np.arange(longest), 0)

    def take(values: Array, empty: int) -> Array:
        taken = values[places]
        taken[~mask] = empty
        return taken

    return Batch(
        characters=take(shard.characters, 0),
        hashes=take(shard.hashes, 0),
        shapes=take(shard.shapes, 0),
        boxes=take(shard.boxes, 0).astype(np.float32),
        lines=take(shard.lines, 0).astype(np.float32),
        above=take(shard.above, 0).astype(np.int64),
        mask=mask.astype(np.float32),
        header_labels=take(shard.header_labels, IGNORED).astype(np.int64),
        line_labels=take(shard.line_labels, IGNORED).astype(np.int64),
        row_starts=take(shard.row_starts, IGNORED).astype(np.int64),
        table_labels=take(shard.table_labels, IGNORED).astype(np.int64),
        block_labels=take(shard.block_labels, IGNORED).astype(np.int64),
        starts=take(shard.starts, 0),
        class_ids=shard.class_ids[rows].astype(np.int64),
        subtype_ids=shard.subtype_ids[rows].astype(np.int64),
        known_fields=shard.known_fields[rows],
        known_line_fields=shard.known_line_fields[rows],
    )
