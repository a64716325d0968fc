"""What it costs to say how two versions of 200,000 labelled documents differ, in CPU seconds and peak memory.

Ours: `storage.diff.compare`, joined by hashes in buckets. Rival: Polars, both versions read whole and joined; it counts
the same (rows, classes, values by class and field), and both must agree. Each side runs in a process of its own.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Measure, figure_of, lower_is_better
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS, DOCUMENTS, FIELD, LINE_ITEM
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.diff import compare
from sap_llm.storage.store import DatasetStore, DatasetWriter

RUNS = 3
COUNT, SMALL = 200_000, 50_000
NAME = "training_set/bench"
FIELDS = ("document_number", "document_date", "seller_name", "net_amount", "tax_amount", "total_amount", "currency")
LINES, LINE_FIELDS = 2, ("quantity", "unit_price", "line_amount")
CHANGED_EVERY = 20  # one document in so many has another total, one in ten times as many another class


def run() -> dict[str, Measure]:
    """CPU seconds of both, and the peak memory of ours against Polars' and against a quarter of the documents."""
    with tempfile.TemporaryDirectory(prefix="sap_llm_versions_") as folder:
        for count in (COUNT, SMALL):
            make(Path(folder) / str(count), count)
        ours, rival = [], []
        for _ in range(RUNS):
            ours.append(measured("ours", "cpu", folder, COUNT))
            rival.append(measured("polars", "cpu", folder, COUNT))
        memory = {side: measured(side, "memory", folder, COUNT) for side in ("ours", "polars")}
        small = measured("ours", "memory", folder, SMALL)
    name = "Polars, read whole and joined"
    return {
        "versions_diff": lower_is_better(
            ours=sorted(ours)[RUNS // 2], rival=sorted(rival)[RUNS // 2], rival_name=name, unit="CPU s", runs=RUNS
        ),
        "versions_diff_fastest": lower_is_better(
            ours=min(ours), rival=min(rival), rival_name=name, unit="CPU s", runs=RUNS
        ),
        "versions_diff_memory": lower_is_better(
            ours=memory["ours"], rival=memory["polars"], rival_name=name, unit="MiB at the peak", runs=1
        ),
        "versions_diff_memory_growth": lower_is_better(
            ours=memory["ours"], rival=small, rival_name=f"ours, {SMALL:,} documents", unit="MiB at the peak", runs=1
        ),
    }


def measured(side: str, what: str, folder: str, count: int) -> float:
    """One run of one side in a fresh process."""
    return figure_of([sys.executable, "-m", "benchmarks.versions", side, what, str(Path(folder) / str(count))])


def make(root: Path, count: int) -> None:
    """Two versions: 1 % of the documents removed and added, others with another class or total, rows reordered."""
    store = DatasetStore(root)
    for side, first in ((0, 0), (1, count // 100)):
        numbers = np.arange(first, first + count)
        if side:
            numbers = np.random.default_rng(7).permutation(numbers)
        build(
            StageContext(store=store),
            name=NAME,
            stage_version="1",
            config=StageConfig(seed=side),
            produce=partial(write, side=side, numbers=numbers),
        )


def write(writer: DatasetWriter, *, side: int, numbers: Any) -> Mapping[str, Any]:
    """Both tables, in parts."""
    parts = [numbers[start : start + 4096] for start in range(0, len(numbers), 4096)]
    writer.write_table("documents", (documents(part, side) for part in parts), DOCUMENTS)
    writer.write_table("annotations", (annotations(part, side) for part in parts), ANNOTATIONS)
    return {"side": side}


def documents(numbers: Any, side: int) -> pa.Table:
    """Rows of the documents."""
    ids, types = names(numbers), classes(numbers, side)
    constant: dict[str, Any] = {
        "source": "synthetic",
        "role": "train",
        "language": "de",
        "page_count": 1,
        "quality": 1.0,
        "media_type": "application/pdf",
        "is_test_layout": False,
        "split_group": "w1",
    }
    columns: dict[str, Any] = {"document_id": ids, "sha256": ids, "document_type": types}
    columns |= {
        name: pa.repeat(pa.scalar(value, DOCUMENTS.field(name).type), len(ids)) for name, value in constant.items()
    }
    return pa.table([columns.get(field.name, pa.nulls(len(ids), field.type)) for field in DOCUMENTS], schema=DOCUMENTS)


def annotations(numbers: Any, side: int) -> pa.Table:
    """One truth for each document: seven header fields, and two lines of three."""
    size = len(numbers)
    totals = (numbers * 7 + (side * (numbers % CHANGED_EVERY == 0))).astype(str)
    texts = np.char.add("value ", numbers.astype(str))
    header = np.stack([totals if name == "total_amount" else texts for name in FIELDS], axis=1).ravel()
    fields = listed(structs(list(FIELDS) * size, header), len(FIELDS), FIELD)
    inner = listed(
        structs(list(LINE_FIELDS) * (LINES * size), np.repeat(texts, LINES * len(LINE_FIELDS))), len(LINE_FIELDS), FIELD
    )
    lines = pa.array(np.tile(np.arange(1, LINES + 1, dtype=np.int32), size))
    members = {"line_number": lines, "page": pa.nulls(len(lines), pa.int16()), "fields": inner}
    items = pa.StructArray.from_arrays(
        [members.get(one.name, pa.nulls(len(lines), one.type)) for one in LINE_ITEM], fields=list(LINE_ITEM)
    )
    empty = {name: listed(pa.nulls(0, ANNOTATIONS.field(name).type.value_type), 0, None, size) for name in EMPTY}
    columns: dict[str, Any] = {
        "document_id": names(numbers),
        "annotator": pa.repeat("truth", size),
        "revision": pa.repeat(pa.scalar(0, pa.int32()), size),
        "source": pa.repeat("synthetic", size),
        "document_type": classes(numbers, side),
        "type_confidence": pa.repeat(pa.scalar(1.0, pa.float32()), size),
        "fields": fields,
        "line_items": listed(items, LINES, LINE_ITEM),
        **empty,
    }
    return pa.table([columns.get(one.name, pa.nulls(size, one.type)) for one in ANNOTATIONS], schema=ANNOTATIONS)


EMPTY = ("tables", "layout_blocks")


def names(numbers: Any) -> pa.Array:
    """Document ids."""
    return pa.array(np.char.add("doc-", np.char.zfill(numbers.astype(str), 8)))


def classes(numbers: Any, side: int) -> pa.Array:
    """Invoices, of which the later version calls a few orders."""
    is_other = (numbers % (10 * CHANGED_EVERY) == 0) & (side == 1)
    return pa.array(np.where(is_other, "PURCHASE_ORDER", "SUPPLIER_INVOICE"))


def structs(fields: list[str], values: Any) -> pa.Array:
    """Field structs with value and printed text."""
    size = len(fields)
    texts = pa.array(values, pa.string())
    known: dict[str, Any] = {
        "field": pa.array(fields),
        "value": texts,
        "printed": texts,
        "confidence": pa.repeat(pa.scalar(1.0, pa.float32()), size),
        "source": pa.repeat("synthetic", size),
    }
    return pa.StructArray.from_arrays(
        [known.get(one.name, pa.nulls(size, one.type)) for one in FIELD], fields=list(FIELD)
    )


def listed(values: pa.Array, length: int, kind: pa.DataType | None, rows: int | None = None) -> pa.Array:
    """Lists of equal length."""
    count = rows if rows is not None else len(values) // length
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * length)
    return pa.ListArray.from_arrays(offsets, values, type=None if kind is None else pa.list_(kind))


def ours(store: DatasetStore, refs: list[DatasetRef]) -> dict[str, Any]:
    """The figures that both sides must agree on."""
    found = compare(store, *refs)
    rows = found.tables["documents"]
    assert found.labels is not None
    values = {(one.document_type, one.field): one.total for one in found.labels.fields}
    return {
        "rows": [rows.added, rows.removed, rows.changed],
        "moves": [one.documents for one in found.moves["document_type"]],
        "values": sorted((kind, field, count) for (kind, field), count in values.items() if field != "document_type"),
    }


def polars(store: DatasetStore, refs: list[DatasetRef]) -> dict[str, Any]:
    """The same with Polars."""
    import polars as pl

    folders = [store.prefix(ref) for ref in refs]
    old, new = (pl.read_parquet(f"{folder}/documents.parquet") for folder in folders)
    both = old.join(new, on="document_id", suffix="_new")
    differs = pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in old.columns if name != "document_id"
    )
    moves = both.filter(pl.col("document_type") != pl.col("document_type_new"))
    sides = []
    for folder in folders:
        table = pl.read_parquet(
            f"{folder}/annotations.parquet", columns=["document_id", "document_type", "fields", "line_items"]
        )
        keys = ["document_id", "document_type"]
        header = table.select(*keys, pl.lit(0, pl.Int32).alias("line_number"), "fields")
        lines = table.select(*keys, "line_items").explode("line_items").unnest("line_items")
        lines = lines.select(*keys, "line_number", "fields")
        exploded = pl.concat([header, lines]).explode("fields").unnest("fields")
        sides.append(exploded.select(*keys, "line_number", "field", "value"))
    pairs = sides[0].join(sides[1], on=["document_id", "line_number", "field"], suffix="_new")
    counted = pairs.filter(pl.col("value") != pl.col("value_new")).group_by("document_type_new", "field").len()
    return {
        "rows": [new.height - both.height, old.height - both.height, both.filter(differs).height],
        "moves": moves.group_by("document_type", "document_type_new").len()["len"].to_list(),
        "values": sorted((kind, field, count) for kind, field, count in counted.rows()),
    }


def main(side: str, what: str, folder: str) -> None:
    """Run one side and print its figure; both sides' answers are checked where memory is measured."""
    store = DatasetStore(folder)
    refs = sorted(store.versions(NAME), key=lambda ref: store.open(ref).manifest.seed)
    call = ours if side == "ours" else polars
    for module in ("polars",) if side == "polars" else ("pandas", "pyarrow.dataset"):
        __import__(module)  # importing is not comparing
    started = time.process_time()
    found = call(store, refs)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer = Path(folder) / "answer.json"
    text = json.dumps(found)
    if answer.exists() and answer.read_text(encoding="utf-8") != text:
        raise AssertionError(f"the sides disagree: {text} and {answer.read_text(encoding='utf-8')}")
    answer.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{seconds if what == 'cpu' else peak}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
