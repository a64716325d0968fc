"""Tokens per CPU second of the pack loader beside a torch DataLoader that pads, and beside what a training step needs.

Ours plans packs by best fit and lays texts out of mapped shards one behind the other; the rival is what a stock trainer
does with the same texts: random order, batches of eight, padded to the longest, with an attention mask. Both end with
torch tensors. The share of real tokens stands beside, for padding is paid for again in the model.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import Measure, higher_is_better
from sap_llm.training.packing import IGNORED
from sap_llm.training.text_loader import PackStream, load
from sap_llm.training.text_shards import EncodedText, TextShards, write_shards

RUNS = 3
TEXTS = 10_000
LONGEST, BUDGET, WINDOW, ROWS = 4096, 16_384, 4096, 8
STEP_TOKENS_PER_SECOND = 10_400
"""What a training step of the 7B shape eats on one H200 at 48 % MFU: 0.48 x 989e12 FLOP/s over 6 x 7.62e9 a token."""


class _Texts(Dataset[dict[str, torch.Tensor]]):
    """The texts for the rival, one by one from the same mapped shards."""

    def __init__(self, texts: TextShards) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.from_numpy(self.texts.tokens(number))}


def run() -> dict[str, Measure]:
    """Real tokens per CPU second of both, in turns; the share of real tokens; ours beside what a step needs."""
    with TemporaryDirectory() as folder:
        texts = _shards(Path(folder))
        sides = {"ours": lambda: _ours(texts), "padded": lambda: _padded(texts)}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        fills: dict[str, float] = {}
        for _ in range(RUNS):
            for name, side in sides.items():
                speed, fills[name] = _measured(side)
                speeds[name].append(speed)
    sys.stdout.writelines(
        f"{name}: {[round(one / 1e6, 2) for one in sorted(values)]} million real tokens per CPU second, "
        f"{100 * fills[name]:.2f} % real\n"
        for name, values in speeds.items()
    )
    ours, padded = min(speeds["ours"]), max(speeds["padded"])
    return {
        "loader_tokens_per_cpu_second": higher_is_better(
            ours=ours, rival=padded, rival_name="torch DataLoader, padded", unit="tokens/s", runs=RUNS
        ),
        "loader_real_tokens": higher_is_better(
            ours=fills["ours"], rival=fills["padded"], rival_name="torch DataLoader, padded", unit="share", runs=RUNS
        ),
        "loader_against_step": higher_is_better(
            ours=ours, rival=STEP_TOKENS_PER_SECOND, rival_name="7B step, one H200", unit="tokens/s", runs=RUNS
        ),
    }


def _measured(side: Callable[[], Iterator[tuple[int, int]]]) -> tuple[float, float]:
    """Real tokens per CPU second, and their share, over one epoch."""
    started, real, all_tokens = time.process_time(), 0, 0
    for own, total in side():
        real, all_tokens = real + own, all_tokens + total
    return real / (time.process_time() - started), real / all_tokens


def _ours(texts: TextShards) -> Iterator[tuple[int, int]]:
    stream = PackStream(texts.shard, texts.lengths, budget=BUDGET, window=WINDOW, seed=1)
    while stream.position.epoch == 0:
        pack = load(texts, stream.take(1)[0], budget=BUDGET, filler=0)
        tokens = torch.from_numpy(pack.tokens)
        torch.from_numpy(pack.labels), torch.from_numpy(pack.positions), torch.from_numpy(pack.bounds)
        yield pack.real_tokens, len(tokens)


def _padded(texts: TextShards) -> Iterator[tuple[int, int]]:
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(_Texts(texts), batch_size=ROWS, shuffle=True, collate_fn=_pad, generator=generator)
    for batch in loader:
        yield int(batch["attention_mask"].sum()), batch["input_ids"].numel()


def _pad(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """As transformers' collator for causal language models pads."""
    ids = [row["input_ids"] for row in rows]
    tokens = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
    return {"input_ids": tokens, "attention_mask": mask, "labels": tokens.masked_fill(mask == 0, IGNORED)}


def _shards(folder: Path) -> TextShards:
    random = np.random.default_rng(3)
    lengths = random.lognormal(np.log(1480) - 0.75**2 / 2, 0.75, TEXTS).clip(64, LONGEST).astype(int)
    texts = (
        EncodedText(text_id=str(number), source="sap:", split="train", tokens=random.integers(0, 50_000, one).tolist())
        for number, one in enumerate(lengths)
    )
    tables: list[Any] = list(write_shards(folder, texts, shard_tokens=4_000_000))
    with pq.ParquetWriter(folder / "index.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return TextShards(folder, "train")
