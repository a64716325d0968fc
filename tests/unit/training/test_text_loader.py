"""Token shards and the stream of packs: complete, the same on any number of ranks, resumable to the exact pack."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.training.shares import share
from sap_llm.training.text_loader import PackStream, Position, halves, load
from sap_llm.training.text_shards import INDEX, EncodedText, TextShards, write_shards

LENGTHS = np.random.default_rng(4).integers(2, 60, 157)


def written(folder: Path) -> list[EncodedText]:
    texts = [
        EncodedText(
            text_id=f"t{number}",
            source="sap:help_page",
            split="train" if number % 5 else "sap",
            tokens=list(range(number, number + int(length))),
        )
        for number, length in enumerate(LENGTHS)
    ]
    tables = list(write_shards(folder, texts, shard_tokens=900))
    pq.write_table(pa.concat_tables(tables), folder / "index.parquet")
    return texts


def test_shards_give_back_every_text_of_their_split(tmp_path: Path) -> None:
    texts = written(tmp_path)
    for split in ("train", "sap"):
        own = [one for one in texts if one.split == split]
        found = TextShards(tmp_path, split)
        assert [found.tokens(number).tolist() for number in range(len(found))] == [one.tokens for one in own]
        assert found.lengths.tolist() == [len(one.tokens) for one in own]
    assert len(set(TextShards(tmp_path, "train").shard.tolist())) > 2
    assert pq.read_schema(tmp_path / "index.parquet").equals(INDEX)
    assert len(TextShards(tmp_path, "general")) == 0


def stream(position: Position | None = None, *, seed: int = 7, window: int = 40) -> PackStream:
    found = PackStream(np.arange(len(LENGTHS)) // 30, LENGTHS, budget=128, window=window, seed=seed)
    if position is not None:
        found.position = position
    return found


def epoch_of(packs: list[Any]) -> int:
    """Packs until every text was taken once."""
    seen, count = 0, 0
    for pack in packs:
        seen, count = seen + len(pack), count + 1
        if seen >= len(LENGTHS):
            return count
    raise AssertionError("the packs end before the epoch")


def test_an_epoch_takes_every_text_once_and_the_next_in_another_order() -> None:
    packs = stream().take(200)
    first = epoch_of(packs)
    second = epoch_of(packs[first:])
    orders = [np.concatenate(packs[:first]), np.concatenate(packs[first : first + second])]
    assert [sorted(order.tolist()) for order in orders] == [list(range(len(LENGTHS)))] * 2
    assert orders[0].tolist() != orders[1].tolist()


def test_another_seed_gives_another_order() -> None:
    assert [one.tolist() for one in stream().take(5)] != [one.tolist() for one in stream(seed=8).take(5)]


@given(cuts=st.lists(st.integers(0, 60), max_size=6), window=st.integers(1, 200))
def test_any_interruption_gives_the_same_packs(cuts: list[int], window: int) -> None:
    whole = [one.tolist() for one in stream(window=window).take(sum(cuts))]
    position, pieces = Position(), []
    for cut in cuts:
        resumed = stream(Position(**position.to_json()), window=window)
        pieces += [one.tolist() for one in resumed.take(cut)]
        position = resumed.position
    assert pieces == whole


@pytest.mark.parametrize("ranks", [1, 2, 16])
def test_a_step_holds_the_same_texts_on_any_number_of_ranks(ranks: int) -> None:
    def step_of(ranks: int) -> list[int]:
        packs = stream().take(16)
        shares = share(16 * 128, ranks=ranks, micro_batch=128)
        assert shares.pieces == 16
        return sorted(text for rank in range(ranks) for piece in shares.of_rank(rank) for text in packs[piece])

    assert step_of(ranks) == step_of(1)


@given(lengths=st.lists(st.integers(1, 60), max_size=30), pieces=st.sampled_from([1, 2, 4]))
def test_halves_hold_every_text_once_and_are_about_equal(lengths: list[int], pieces: int) -> None:
    parts = halves(lengths, pieces)
    assert sorted(one for part in parts for one in part) == list(range(len(lengths)))
    sizes = [sum(lengths[one] for one in part) for part in parts]
    assert max(sizes) - min(sizes) <= max(lengths, default=0)


def test_a_pack_is_loaded_from_the_shards(tmp_path: Path) -> None:
    written(tmp_path)
    texts = TextShards(tmp_path, "train")
    numbers = PackStream(texts.shard, texts.lengths, budget=128, window=50, seed=1).take(1)[0]
    pack = load(texts, numbers, budget=128, filler=0)
    expected = np.concatenate([texts.tokens(number) for number in numbers])
    assert pack.tokens[: len(expected)].tolist() == expected.tolist()
    assert pack.targets == len(expected) - len(numbers)


def test_texts_longer_than_the_budget_are_refused() -> None:
    with pytest.raises(ValueError, match="budget 8"):
        PackStream([0], np.array([9]), budget=8, window=1, seed=1)
