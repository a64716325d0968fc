"""The endless stream of packs: which texts go together, in which order, and where a resumed run goes on.

Belongs here: order, windows and position. It depends on seed and lengths alone, never on the number of ranks: all ranks
know the whole plan, which costs a few lengths, and each builds the packs of its own pieces. How a pack is laid out is
`packing`, where tokens lie `text_shards`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sap_llm.training.packing import Pack, Sequenced, best_fit, build
from sap_llm.training.text_shards import TextShards

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Position:
    """The next pack: `pack` packs of `window` were taken, in this `epoch`. The generators follow from these numbers."""

    epoch: int = 0
    window: int = 0
    pack: int = 0

    def to_json(self) -> dict[str, int]:
        """For a checkpoint."""
        return asdict(self)


class PackStream:
    """Packs of every epoch, one after the other, without end.

    An epoch goes through the shards in an order of its own and through the texts of a shard in another. Of so many
    texts at a time, a window, packs are made by best fit; the packs of a window come in random order.
    """

    def __init__(
        self, shards: Sequence[int] | Numbers, lengths: Numbers, *, budget: int, window: int, seed: int
    ) -> None:
        """Plan; reads nothing.

        Args:
            shards: Shard of each text.
            lengths: Tokens of each text.
            budget: Tokens of a pack, at least those of the longest text.
            window: Texts that are packed together.
            seed: Of all orders.

        Raises:
            ValueError: There is no text, or one is longer than the budget.
        """
        if not len(lengths) or int(lengths.max()) > budget:
            raise ValueError(f"{len(lengths)} texts of up to {max(lengths, default=0)} tokens, budget {budget}")
        self._shards, self._lengths = np.asarray(shards), lengths
        self._budget, self._size, self._seed = budget, window, seed
        self._order = lru_cache(maxsize=1)(self._make_order)
        self._packs = lru_cache(maxsize=2)(self._make_packs)
        self.position = Position()

    def take(self, count: int) -> list[Numbers]:
        """The texts of the next packs; moves on."""
        taken = []
        for _ in range(count):
            here = self.position
            packs = self._packs(here.epoch, here.window)
            taken.append(packs[here.pack])
            if here.pack + 1 < len(packs):
                self.position = Position(epoch=here.epoch, window=here.window, pack=here.pack + 1)
            elif (here.window + 1) * self._size < len(self._lengths):
                self.position = Position(epoch=here.epoch, window=here.window + 1)
            else:
                self.position = Position(epoch=here.epoch + 1)
        return taken

    def targets(self, packs: Sequence[Numbers]) -> int:
        """Tokens that are learned from: all but the first of each text."""
        return sum(int(self._lengths[numbers].sum()) - len(numbers) for numbers in packs)

    def _make_order(self, epoch: int) -> Numbers:
        generator = np.random.default_rng([self._seed, epoch])
        rank = generator.permutation(int(self._shards.max()) + 1)
        return np.lexsort((generator.random(len(self._lengths)), rank[self._shards]))

    def _make_packs(self, epoch: int, window: int) -> list[Numbers]:
        texts = self._order(epoch)[window * self._size : (window + 1) * self._size]
        packs = best_fit(self._lengths[texts].tolist(), self._budget)
        generator = np.random.default_rng([self._seed, epoch, window])
        return [texts[packs[place]] for place in generator.permutation(len(packs))]


def halves(lengths: Sequence[int], pieces: int) -> list[list[int]]:
    """A pack's texts in so many parts of about equal size, the longest first; parts may be empty.

    For a run whose memory was too small for whole packs: the texts of an optimizer step stay the same.

    Returns:
        Indices of `lengths` by part.
    """
    parts: list[list[int]] = [[] for _ in range(pieces)]
    sizes = [0] * pieces
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        smallest = sizes.index(min(sizes))
        parts[smallest].append(index)
        sizes[smallest] += lengths[index]
    return parts


def load(texts: TextShards, numbers: Numbers, *, budget: int, filler: int, bounds_size: int | None = None) -> Pack:
    """The pack of these texts."""
    documents = [Sequenced(tokens=texts.tokens(number)) for number in numbers]
    return build(documents, budget, filler=filler, bounds_size=bounds_size)
