"""Documents for the benchmark of the preparation: made by the million, with planted duplicates and one large vendor.

Belongs here: making the files, once in our tables and once with the columns of the roadmap's pipeline. What is measured
on them is `preparation`.

A text is half the words of its vendor and half its own, a fifth of these numbers. Of every hundred rows about three are
copies of a file, three near-duplicates (a few words changed) and twelve break a rule of cleaning.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WORDS = 60  # of a text, about 400 characters
BATCH = 50_000
INPUT = "raw_exports/2026-01"
VENDORS = 2_000
VOCABULARY, NUMBERS = 20_000, 200_000
CLASSES = {
    "SUPPLIER_INVOICE": 0.4,
    "PURCHASE_ORDER": 0.28,
    "SALES_ORDER": 0.1,
    "DELIVERY_NOTE": 0.1,
    "CREDIT_NOTE": 0.06,
    "CONTRACT": 0.06,
}
COPIES, NEAR = 0.03, 0.03
CHANGED = 2  # words of a near-duplicate: at least 0.8 of the triples are shared

Numbers = npt.NDArray[np.int64]


def write(folder: Path, rows: int, *, large_vendor: float = 0.0, seed: int = 1) -> None:
    """Write `documents.parquet`, `pages.parquet` and `roadmap.parquet`.

    Args:
        folder: Made if missing.
        rows: Documents.
        large_vendor: Share of the documents that one vendor has.
        seed: Of everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, pq.ParquetWriter] = {}
    for part in _batches(rows, large_vendor, np.random.default_rng(seed)):
        for name, table in part.items():
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", table.schema, compression="zstd")
            writers[name].write_table(table, row_group_size=BATCH)
    for writer in writers.values():
        writer.close()


def planted(folder: Path) -> list[tuple[str, str]]:
    """Ids of a document and of its near-duplicate, both good enough to be kept."""
    table = pq.read_table(folder / "roadmap.parquet", columns=["document_id", "near_of", "quality_score", "num_pages"])
    good = {
        row["document_id"]: row["near_of"]
        for row in table.to_pylist()
        if row["quality_score"] > 0.8 and row["num_pages"] <= 50
    }
    return [(original, name) for name, original in good.items() if original in good]


def _batches(rows: int, large_vendor: float, chance: np.random.Generator) -> Iterator[dict[str, pa.Table]]:
    words = [
        f"{'abcdefghijklmnopqrstuvwxyz'[index % 26]}{index * 7919 % 99991:x}wort"[: 4 + index % 9]
        for index in range(VOCABULARY)
    ]
    tokens = pa.array([*words, *(f"{index * 104729 % 1_000_003},{index % 100:02d}" for index in range(NUMBERS))])
    templates = chance.integers(0, VOCABULARY, (VENDORS, WORDS // 2))
    for start in range(0, rows, BATCH):
        yield _batch(start, min(BATCH, rows - start), large_vendor, chance, tokens, templates)


def _batch(
    start: int, count: int, large_vendor: float, chance: np.random.Generator, tokens: pa.Array, templates: Numbers
) -> dict[str, pa.Table]:
    vendors = chance.integers(1, VENDORS, count)
    vendors[chance.random(count) < large_vendor] = 0
    own = chance.integers(0, VOCABULARY, (count, WORDS - WORDS // 2))
    is_number = chance.random(own.shape) < 0.4
    own[is_number] = VOCABULARY + chance.integers(0, NUMBERS, int(is_number.sum()))
    indices = np.concatenate([templates[vendors], own], axis=1)
    numbers = np.arange(start, start + count)
    files, near_of = numbers.copy(), np.full(count, -1)
    kind = chance.random(count)
    copies = np.flatnonzero((kind < COPIES) & (np.arange(count) > 0))
    nears = np.flatnonzero((kind >= COPIES) & (kind < COPIES + NEAR) & (np.arange(count) > 0))
    originals = np.flatnonzero(kind >= COPIES + NEAR)
    for chosen, is_copy in ((copies, True), (nears, False)):
        sources = chance.choice(originals, len(chosen))
        indices[chosen], vendors[chosen] = indices[sources], vendors[sources]
        if is_copy:
            files[chosen] = numbers[sources]
        else:
            near_of[chosen] = numbers[sources]
            places = chance.integers(0, WORDS, (len(chosen), CHANGED))
            indices[chosen[:, None], places] = VOCABULARY + chance.integers(0, NUMBERS, places.shape)
    quality = chance.random(count).astype(np.float32) * np.float32(0.2) + np.float32(0.8)
    quality[chance.random(count) < 0.1] -= np.float32(0.3)
    pages = np.where(chance.random(count) < 0.02, 60, 1)
    lengths = np.full(count, WORDS)
    lengths[chance.random(count) < 0.01] = 4  # too little text
    return _tables(numbers, files, near_of, vendors, quality, pages, lengths, indices, tokens, chance)


def _tables(
    numbers: Numbers,
    files: Numbers,
    near_of: Numbers,
    vendors: Numbers,
    quality: npt.NDArray[np.float32],
    pages: Numbers,
    lengths: Numbers,
    indices: Numbers,
    tokens: pa.Array,
    chance: np.random.Generator,
) -> dict[str, pa.Table]:
    count = len(numbers)
    is_kept = np.arange(WORDS)[None, :] < lengths[:, None]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = tokens.take(pa.array(indices[is_kept]))
    words = pa.ListArray.from_arrays(offsets, flat)
    ids = _ids(numbers, "doc-%036d")
    hashes = _ids(files, "%064x")
    kinds = pa.array(list(CLASSES)).take(
        pa.array(chance.choice(len(CLASSES), count, p=list(CLASSES.values())).astype(np.int32))
    )
    vendor = _ids(vendors, "vendor-%05d")
    same = {
        name: pa.repeat(value, count)
        for name, value in (("input", INPUT), ("role", "train"), ("layout", "l"), ("source", "qorsync"))
    }
    documents = pa.table(
        {
            "document_id": ids,
            "input": same["input"],
            "source": same["source"],
            "role": same["role"],
            "document_type": kinds,
            "page_count": pa.array(pages.astype(np.int16)),
            "quality": pa.array(quality),
            "sha256": hashes,
            "is_test_layout": pa.repeat(False, count),
            "split_group": vendor,
            "has_truth": pa.repeat(True, count),
            "vendor": vendor,
            "layout": same["layout"],
        }
    )
    page = pa.table({"document_id": ids, "page_number": pa.array(np.ones(count, np.int16)), "words": words})
    spoken = pa.StructArray.from_arrays(
        [flat, pa.array(chance.random(len(flat)).astype(np.float64))], names=["text", "confidence"]
    )
    roadmap = pa.table(
        {
            "document_id": ids,
            "document_hash": hashes,
            "document_type": kinds,
            "document_subtype": pa.repeat("STANDARD", count),
            "source": same["source"],
            "language": pa.repeat("de", count),
            "vendor": vendor,
            "quality_score": pa.array(quality.astype(np.float64)),
            "num_pages": pa.array(pages.astype(np.int32)),
            "text": pc.binary_join(words, " "),
            "words": pa.ListArray.from_arrays(offsets, spoken),
            "tables": pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32)), pa.repeat("t", count)),
            "has_truth": pa.repeat(True, count),
            "total_amount": pa.array(chance.random(count) * 1000),
            "currency": pa.repeat("EUR", count),
            "created_at": pa.array(numbers * 1_000_000, type=pa.timestamp("us", tz="UTC")),
            "near_of": pc.if_else(pa.array(near_of >= 0), _ids(np.maximum(near_of, 0), "doc-%036d"), None),
        }
    )
    return {"documents": documents, "pages": page, "roadmap": roadmap}


def _ids(numbers: Numbers, form: str) -> pa.Array:
    return pa.array([form % number for number in numbers.tolist()])
