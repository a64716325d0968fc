"""Where the batches of a training run come from: the shards of a training set, or documents made on the way.

Belongs here: giving one rank its damaged batch of every step, and the position to go on from. The order of a shard's
rows is `batches`, damage is `augment` and `renaming`, making documents is `synthetic`.

A stream has workers in processes of their own. Each makes pools of worlds, cuts a pool into batches and damages them;
ranks take from their workers in turn, so the sequence of batches is the same however fast each of them is.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from sap_llm.modeling.folder import read_config
from sap_llm.modeling.labels import LabelSet, default_labels
from sap_llm.modeling.released_model import released_folder
from sap_llm.modeling.shards import Shard, encode_shard, for_training, read_shard, untaught
from sap_llm.synthetic.stream import documents_of_worlds
from sap_llm.training.augment import damage
from sap_llm.training.batches import Batch, BatchPlan, collate
from sap_llm.training.config import MultitaskModelConfig, StreamConfig
from sap_llm.training.renaming import Renamer
from sap_llm.training.shares import Shares

_AHEAD = 32  # batches that a worker may be ahead: while it makes a pool, the others and its own are learned from


class Source(Protocol):
    """Batches of one rank."""

    def batch(self, step: int, piece: int) -> Batch:
        """The damaged piece `piece` of the batch of optimizer step `step` (from 0), see `shares`; asked for in turn."""
        ...

    def state(self) -> dict[str, Any]:
        """What `resume` needs to go on after the batches given so far, as JSON."""
        ...

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where a source of the same configuration stood."""
        ...

    def close(self) -> None:
        """End what works for it."""
        ...


class ShardSource:
    """A training set's documents, epoch after epoch.

    Every draw follows from the numbers of step and piece, so a piece is the same on whatever rank.
    """

    def __init__(self, shard: Shard, config: MultitaskModelConfig, shares: Shares) -> None:
        self._shard, self._config = shard, config
        self._plan = BatchPlan(shard.lengths, words=config.batch_words, ranks=shares.pieces, seed=config.seed)
        self._renamer = Renamer(shard, common_share=config.augmentation.common_share)

    def batch(self, step: int, piece: int) -> Batch:
        """As in `Source`; any order will do."""
        generator = np.random.default_rng([self._config.seed, step, piece])
        return _damaged(self._shard, self._plan.rows(step, piece), self._renamer, self._config, generator)

    def state(self) -> dict[str, Any]:
        """Nothing: the step says it all."""
        return {}

    def resume(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Place(TypedDict):
    """Where a worker stands: the next batch is `index` of its pool number `pool`."""

    pool: int
    index: int


class StreamSource:
    """Documents of new worlds without end; each rank has worlds of its own, so their number is part of what is made."""

    def __init__(
        self, config: MultitaskModelConfig, stream: StreamConfig, labels: LabelSet, shares: Shares, *, rank: int
    ) -> None:
        self._config, self._stream, self._labels, self._shares, self._rank = config, stream, labels, shares, rank
        self._given = 0
        self._places = [Place(pool=0, index=0) for _ in range(stream.workers)]
        self._batches: Iterator[tuple[int, Batch, Place]] | None = None

    def batch(self, step: int, piece: int) -> Batch:
        """As in `Source`."""
        wanted = step * self._shares.accumulation + piece - self._shares.of_rank(self._rank).start
        assert wanted == self._given, f"the stream stands at batch {self._given}, not {wanted}"
        if self._batches is None:
            self._batches = self._start()
        worker, batch, place = next(self._batches)
        self._places[worker] = place
        self._given += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Batches given, how many of them are one step, and the place of every worker."""
        return {
            "given": self._given,
            "accumulation": self._shares.accumulation,
            "places": [dict(place) for place in self._places],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """As in `Source`; where a step has other pieces now (out of memory), at about the same place."""
        now, before = self._shares.accumulation, state["accumulation"]
        self._given, self._batches = state["given"] * now // before, None
        self._places = [Place(pool=place["pool"], index=place["index"] * now // before) for place in state["places"]]

    def close(self) -> None:
        """End the workers."""
        self._batches = None  # the loader's iterator ends them when it is collected

    def _start(self) -> Iterator[tuple[int, Batch, Place]]:
        workers = self._stream.workers
        # the loader begins with its worker 0: that one plays the part of whose turn it is
        turns = [(self._given + number) % workers for number in range(workers)]
        own = (self._config, self._stream, self._labels)
        pools = _Pools(*own, turns, self._places, self._shares, rank=self._rank)
        return iter(
            DataLoader(
                pools,
                batch_size=None,
                num_workers=workers,
                prefetch_factor=_AHEAD,
                collate_fn=_as_it_is,
                multiprocessing_context="spawn",
            )
        )


class _Pools(IterableDataset[tuple[int, Batch, Place]]):
    """One worker's batches: its pools are those whose number leaves its own as remainder."""

    def __init__(
        self,
        config: MultitaskModelConfig,
        stream: StreamConfig,
        labels: LabelSet,
        turns: list[int],
        places: list[Place],
        shares: Shares,
        *,
        rank: int,
    ) -> None:
        self.config, self.stream, self.labels, self.shares = config, stream, labels, shares
        self.turns, self.places = turns, places
        self.first, self.step = rank * stream.workers, shares.ranks * stream.workers

    def __iter__(self) -> Iterator[tuple[int, Batch, Place]]:
        info = get_worker_info()
        assert info is not None, "pools are made by workers of a loader"
        torch.set_num_threads(1)
        worker = self.turns[info.id]
        place = self.places[worker]
        start = place["index"]
        for pool in count(place["pool"]):
            for index, batch in self._batches(self.first + worker + pool * self.step, start=start):
                yield worker, batch, Place(pool=pool, index=index + 1)
            start = 0

    def _batches(self, number: int, *, start: int) -> Iterator[tuple[int, Batch]]:
        shard = for_training(pool_shard(self.stream, number), self.labels)
        plan = BatchPlan(shard.lengths, words=self.shares.micro_batch, ranks=1, seed=number)
        renamer = Renamer(shard, common_share=self.config.augmentation.common_share)
        for index in count(start):
            if plan.locate(index)[0] >= self.stream.repeats:
                return
            generator = np.random.default_rng([self.config.seed, number, index])
            yield index, _damaged(shard, plan.rows(index, 0), renamer, self.config, generator)


def pool_shard(stream: StreamConfig, number: int) -> Shard:
    """The documents of a pool, by its number among all workers of all ranks."""
    worlds = range(number * stream.pool_worlds, (number + 1) * stream.pool_worlds)
    tables = documents_of_worlds(worlds, stream.facts, stream.documents)
    return read_shard(encode_shard(tables["documents"], tables["pages"], tables["annotations"]))


def taught_labels(train: Shard, config: MultitaskModelConfig) -> LabelSet:
    """Labels of a training: untaught is what neither its documents (a stream: the first pool) nor its start show."""
    missing = untaught(pool_shard(config.stream, 0) if config.stream else train)
    if config.initial:
        missing &= read_config(released_folder(config.initial)).label_set.untaught
    return replace(default_labels(), untaught=missing)


def _damaged(
    shard: Shard, rows: Any, renamer: Renamer, config: MultitaskModelConfig, generator: np.random.Generator
) -> Batch:
    batch = collate(shard, rows)
    renamer.rename(batch, config.augmentation.renaming, generator)
    damage(batch, config.augmentation, generator)
    return batch


def _as_it_is(item: tuple[int, Batch, Place]) -> tuple[int, Batch, Place]:
    return item
