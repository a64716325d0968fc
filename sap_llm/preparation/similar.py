"""Near-duplicates among documents that are kept so far: who meets in a band, who is similar, who stands for whom.

Belongs here: three small functions over Arrow batches, the Spark frame that strings them together, and the keeper of a
group. Bands and triples of one text are `texts`; banding itself is `reading.near_duplicates`, shared with the sources.

Keys cross the network as blocks: every batch sends one row to each partition, with all keys that belong there as bytes.
Sixteen rows a document would cost Spark more than all else. Similar pairs go to the driver, which joins them into
groups: at most a few for each document that has a near-duplicate, 16 bytes each.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sap_llm.reading.near_duplicates import Union, distinct, meetings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BROADCAST_ROWS = 200_000  # removed documents, some 100 bytes each
_ONLY_TESTS = "0"

Batches = Iterable[pa.RecordBatch]


def near_duplicates(spark: "SparkSession", frame: "DataFrame", *, similarity: float, partitions: int) -> "DataFrame":
    """Document ids that are near-duplicates, and the id of the document that stands for each.

    Groups are closed: who is similar to a similar one belongs to it. What may only test comes first as keeper, then
    test layouts, then the smallest document id; what may only test is never removed.

    Args:
        spark: The session.
        frame: Documents to compare, each text once: document_id, text_key, bands, triples, is_test_only,
            is_test_layout. It is read twice, so it should be persisted.
        similarity: Share of triples of words in common (Jaccard) from which two texts are similar, 0..1.
        partitions: Over which the keys are spread.

    Returns:
        Columns removed_document_id and near_keeper.
    """
    from pyspark.sql import functions as fn

    met = (
        frame.select("text_key", "bands")
        .mapInArrow(spread(partitions), "target int, keys binary, members binary")
        .repartitionById(partitions, "target")
        .mapInArrow(meet, "left_key long, right_key long")
        .toArrow()
    )
    pairs = distinct(np.stack([met.column(name).to_numpy() for name in ("left_key", "right_key")], axis=1))
    removed: dict[str, str] = {}
    if len(pairs):
        rank = fn.concat(
            fn.when(fn.col("is_test_only"), _ONLY_TESTS).otherwise("1"),
            fn.when(fn.col("is_test_layout"), "0").otherwise("1"),
            "document_id",
        )
        sides = [
            frame.select(
                fn.col("text_key").alias(f"{side}_key"),
                rank.alias(f"{side}_rank"),
                fn.col("triples").alias(f"{side}_triples"),
            )
            for side in ("left", "right")
        ]
        table = pa.table({"left_key": pairs[:, 0], "right_key": pairs[:, 1]})
        compared = spark.createDataFrame(table).join(sides[0], on="left_key").join(sides[1], on="right_key")
        similar = compared.select("left_rank", "right_rank", "left_triples", "right_triples").mapInArrow(
            compare(similarity), "left_rank string, right_rank string"
        )
        removed = keepers(similar.toArrow())
    table = pa.table(
        {
            "removed_document_id": pa.array(removed.keys(), type=pa.string()),
            "near_keeper": pa.array(removed.values(), type=pa.string()),
        }
    )
    found = spark.createDataFrame(table)
    return fn.broadcast(found) if len(removed) <= _BROADCAST_ROWS else found


def spread(partitions: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """Turn rows of text_key and bands into blocks of keys and members for the partitions that they fall into."""

    def blocks(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            bands = batch.column("bands").to_pylist()
            if not bands:
                continue
            keys = np.frombuffer(b"".join(bands), dtype="<u8")
            members = np.repeat(batch.column("text_key").to_numpy(), len(keys) // len(bands))
            targets = (keys % np.uint64(partitions)).astype(np.int32)
            order = np.argsort(targets, kind="stable")
            used, starts = np.unique(targets[order], return_index=True)
            parts = np.split(order, starts[1:])
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(used),
                    pa.array([keys[part].tobytes() for part in parts], type=pa.binary()),
                    pa.array([members[part].tobytes() for part in parts], type=pa.binary()),
                ],
                names=["target", "keys", "members"],
            )

    return blocks


def meet(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The pairs of members that share a key of this partition."""
    keys, members = [], []
    for batch in batches:
        keys += batch.column("keys").to_pylist()
        members += batch.column("members").to_pylist()
    pairs = meetings(np.frombuffer(b"".join(keys), dtype="<u8"), np.frombuffer(b"".join(members), dtype="<i8"))
    yield pa.RecordBatch.from_arrays([pa.array(pairs[:, 0]), pa.array(pairs[:, 1])], names=["left_key", "right_key"])


def compare(similarity: float) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """Leave those pairs of texts whose triples are similar enough."""

    def similar(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            left, right = (batch.column(f"{side}_triples").to_pylist() for side in ("left", "right"))
            is_similar = [jaccard(one, other) >= similarity for one, other in zip(left, right, strict=True)]
            yield batch.select(["left_rank", "right_rank"]).filter(pa.array(is_similar, type=pa.bool_()))

    return similar


def jaccard(one: bytes, other: bytes) -> float:
    """Common share of two sets, given as uint32 numbers; 1 for two empty ones."""
    left, right = (set(np.frombuffer(side, dtype="<u4").tolist()) for side in (one, other))
    return len(left & right) / len(left | right) if left or right else 1.0


def keepers(similar: pa.Table) -> dict[str, str]:
    """Which documents go, and who stands for each: the first by rank of its group.

    Args:
        similar: left_rank and right_rank: what comes first as keeper has the smaller one; its id follows two letters.
    """
    ranks = sorted({*similar.column("left_rank").to_pylist(), *similar.column("right_rank").to_pylist()})
    numbers = {rank: number for number, rank in enumerate(ranks)}
    groups = Union(len(ranks))
    for left, right in zip(*(similar.column(name).to_pylist() for name in ("left_rank", "right_rank")), strict=True):
        groups.join(numbers[left], numbers[right])
    first = {rank: ranks[groups.find(number)] for rank, number in numbers.items()}
    return {
        rank[2:]: keeper[2:] for rank, keeper in first.items() if rank != keeper and not rank.startswith(_ONLY_TESTS)
    }
