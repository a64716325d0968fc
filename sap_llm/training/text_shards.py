"""Token shards: texts as lists of token ids in Arrow files that are mapped into memory, with an index of all of them.

Belongs here: the form of shards and index, writing and reading them. Which texts there are is `domain_tokens`; who goes
with whom is `text_loader` and `packing`. The document model's shards hold words with boxes and are `modeling.shards`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

FOLDER = "shards"
INDEX = pa.schema(
    [
        pa.field("text_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # sap:entity_type, sap:help_page, or a document's source
        pa.field("split", pa.string(), nullable=False),  # train, or what is only measured: sap, documents, general
        pa.field("shard", pa.int32(), nullable=False),  # number of the file within the split
        pa.field("row", pa.int32(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
    ]
)
_TOKENS = pa.schema([pa.field("tokens", pa.large_list(pa.int32()), nullable=False)])


@dataclass(frozen=True, kw_only=True)
class EncodedText:
    """One text as token ids, its end included."""

    text_id: str
    source: str
    split: str
    tokens: list[int]


def shard_file(split: str, number: int) -> str:
    """Path of a shard below the dataset's folder."""
    return f"{FOLDER}/{split}-{number:05d}.arrow"


def write_shards(folder: Path, texts: Iterable[EncodedText], *, shard_tokens: int) -> Iterator[pa.Table]:
    """Write texts in their order to shards of about `shard_tokens`, split by split as they come.

    Yields:
        Rows of INDEX, one table a shard; a shard is complete when its rows are yielded.
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    open_texts: dict[str, list[EncodedText]] = {}
    sizes: dict[str, int] = {}
    numbers: dict[str, int] = {}

    def flush(split: str) -> pa.Table:
        own, number = open_texts.pop(split), numbers.get(split, 0)
        numbers[split], sizes[split] = number + 1, 0
        batch = pa.record_batch([pa.array([one.tokens for one in own], _TOKENS.field(0).type)], schema=_TOKENS)
        with pa.OSFile(str(folder / shard_file(split, number)), "wb") as sink, pa.ipc.new_file(sink, _TOKENS) as writer:
            writer.write_batch(batch)
        return pa.Table.from_pylist(
            [
                {
                    "text_id": one.text_id,
                    "source": one.source,
                    "split": split,
                    "shard": number,
                    "row": row,
                    "tokens": len(one.tokens),
                }
                for row, one in enumerate(own)
            ],
            schema=INDEX,
        )

    for text in texts:
        open_texts.setdefault(text.split, []).append(text)
        sizes[text.split] = sizes.get(text.split, 0) + len(text.tokens)
        if sizes[text.split] >= shard_tokens:
            yield flush(text.split)
    for split in sorted(open_texts):
        yield flush(split)


class TextShards:
    """The texts of one split; each has a number, in the order of the index."""

    def __init__(self, folder: Path, split: str) -> None:
        """Map the shards of a split.

        Args:
            folder: Of the dataset, with `index.parquet` and the shards.
            split: Whose texts; there may be none.
        """
        index = pq.read_table(folder / "index.parquet", columns=["split", "shard", "row", "tokens"])
        index = index.filter(pc.equal(index.column("split"), split)).sort_by(
            [("shard", "ascending"), ("row", "ascending")]
        )
        self.lengths: NDArray[np.int64] = index.column("tokens").to_numpy().astype(np.int64)
        self.shard: NDArray[np.int64] = index.column("shard").to_numpy().astype(np.int64)
        self._row: NDArray[np.int64] = index.column("row").to_numpy().astype(np.int64)
        count = int(self.shard.max()) + 1 if len(self.shard) else 0
        self._mapped = [_map(folder / shard_file(split, number)) for number in range(count)]

    def __len__(self) -> int:
        """Texts."""
        return len(self.lengths)

    def tokens(self, number: int) -> NDArray[np.int64]:
        """Token ids of a text."""
        offsets, values = self._mapped[self.shard[number]]
        row = self._row[number]
        found: NDArray[np.int64] = values[offsets[row] : offsets[row + 1]].astype(np.int64)
        return found


def _map(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and values of a shard's one batch, as views into the mapped file."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    column = batch.column(0)
    return column.offsets.to_numpy(), column.values.to_numpy()
