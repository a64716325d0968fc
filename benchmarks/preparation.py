"""What preparing a million documents costs in CPU seconds of all processes, beside the roadmap's Spark code.

Ours is the launched job, from its start to its decisions, with and without near-duplicates. The roadmap's code is its
own, as it stands, on the same texts (17 columns, words as structs). Polars and DuckDB do the roadmap's cleaning with
our rules of counting: every row gets a status, one keeper by file, a split by hash, lengths and counts, one write; they
neither normalise by NFKC, nor tell languages, nor look for near-duplicates. Near-duplicates alone are compared with
datasketch, recall on planted pairs beside it.

SAP_LLM_BENCHMARK_ROWS (1,000,000) and SAP_LLM_BENCHMARK_RUNS (3) say how much; a tenth of the rows shows if cost is
linear, and what one vendor with 30 % of all documents costs.
"""

import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Cost, Measure, cost_of, higher_is_better, lower_is_better
from benchmarks.preparation_data import CLASSES, INPUT, planted, write

ROWS = int(os.environ.get("SAP_LLM_BENCHMARK_ROWS", "1000000"))
RUNS = int(os.environ.get("SAP_LLM_BENCHMARK_RUNS", "3"))
NEAR_ROWS = min(ROWS, 100_000)
SIMILARITY = 0.8
LARGE_VENDOR = 0.3
PERMUTATIONS = 128  # of datasketch, its default
THREADS = 2
_BATCH = 4_000
_CHILD_SECONDS = 7_200.0
_UNIT = "CPU s"


def run() -> dict[str, Measure]:
    """All sides in turns, each in processes of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, tenth, skewed = (folder / part for part in ("whole", "tenth", "skewed"))
        write(whole, ROWS)
        write(tenth, ROWS // 10)
        write(skewed, ROWS // 10, large_vendor=LARGE_VENDOR)
        jobs = {side: (side, whole) for side in ("ours", "near", "roadmap", "polars", "duckdb")}
        jobs |= {"tenth": ("near", tenth), "skewed": ("near", skewed)}
        costs: dict[str, list[Cost]] = {job: [] for job in jobs}
        for _, (job, (side, data)) in itertools.product(range(RUNS), jobs.items()):
            command = [sys.executable, "-m", "benchmarks.preparation", side, str(data), str(folder / "out")]
            costs[job].append(cost_of(command, timeout_seconds=_CHILD_SECONDS))
            shutil.rmtree(folder / "out", ignore_errors=True)
            sys.stdout.write(f"{job}: {costs[job][-1]}\n")
        return compared(costs) | near_duplicates(tenth if ROWS // 10 >= NEAR_ROWS else whole)


def compared(costs: dict[str, list[Cost]]) -> dict[str, Measure]:
    """Medians of CPU seconds and peaks side by side."""
    cpu = {job: statistics.median(cost.cpu_seconds for cost in found) for job, found in costs.items()}
    peak = {job: max(cost.peak_bytes for cost in found) / 2**30 for job, found in costs.items()}

    def against(ours: str, rival: str, name: str) -> Measure:
        return lower_is_better(ours=cpu[ours], rival=cpu[rival], rival_name=name, unit=_UNIT, runs=RUNS)

    return {
        "preparation_vs_roadmap": against("ours", "roadmap", f"the roadmap's Spark code, {ROWS:,} rows"),
        "preparation_with_near_duplicates_vs_roadmap": against("near", "roadmap", "the roadmap's, which finds none"),
        "preparation_vs_polars": against("ours", "polars", "Polars, cleaning and counts alone"),
        "preparation_vs_duckdb": against("ours", "duckdb", "DuckDB, cleaning and counts alone"),
        "preparation_large_vendor": against("skewed", "tenth", "no vendor with 30 % of a tenth of the rows"),
        "preparation_linear": lower_is_better(
            ours=cpu["near"] / ROWS * 1e6,
            rival=cpu["tenth"] / (ROWS // 10) * 1e6,
            rival_name="a tenth of the rows",
            unit="CPU us a row",
            runs=RUNS,
        ),
        "preparation_peak_memory": lower_is_better(
            ours=peak["near"], rival=peak["roadmap"], rival_name="the roadmap's", unit="GiB", runs=RUNS
        ),
    }


def near_duplicates(folder: Path) -> dict[str, Measure]:
    """Near-duplicates alone, in this process: CPU seconds and recall of ours and of datasketch."""
    table = pq.read_table(folder / "roadmap.parquet", columns=["document_id", "text"]).slice(0, NEAR_ROWS)
    ids = table.column("document_id").to_pylist()
    texts = dict(zip(ids, table.column("text").to_pylist(), strict=True))
    pairs = [pair for pair in planted(folder) if texts.keys() >= set(pair) and texts[pair[0]] != texts[pair[1]]]
    pairs = [pair for pair in pairs if _similarity(texts[pair[0]], texts[pair[1]]) >= SIMILARITY]
    sides = {"ours": ours_near, "datasketch": datasketch_near}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    recall: dict[str, float] = {}
    for _, (side, find) in itertools.product(range(RUNS), sides.items()):
        started = time.process_time()
        group = find(texts)
        seconds[side].append(time.process_time() - started)
        recall[side] = sum(group.get(one, one) == group.get(other, other) for one, other in pairs) / len(pairs)
        sys.stdout.write(f"{side}: {seconds[side][-1]:.2f} s, recall {recall[side]:.4f} of {len(pairs)}\n")
    name = f"datasketch, {len(texts):,} texts"
    return {
        "near_duplicates_vs_datasketch": lower_is_better(
            ours=statistics.median(seconds["ours"]),
            rival=statistics.median(seconds["datasketch"]),
            rival_name=name,
            unit=_UNIT,
            runs=RUNS,
        ),
        "near_duplicates_recall": higher_is_better(
            ours=recall["ours"], rival=recall["datasketch"], rival_name=name, unit="of planted pairs", runs=RUNS
        ),
    }


def _triples(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[start : start + 3]) for start in range(max(1, len(words) - 2))}


def _similarity(one: str, other: str) -> float:
    left, right = _triples(one), _triples(other)
    return len(left & right) / len(left | right)


def ours_near(texts: dict[str, str]) -> dict[str, str]:
    """The keeper of each document that has one, by the functions of the job."""
    from sap_llm.preparation.similar import compare, keepers, meet, spread
    from sap_llm.preparation.texts import Batch, normalised, sketch

    values = pa.array(list(texts.values()))
    batches, triples = [], []
    for start in range(0, len(values), _BATCH):
        part = values.slice(start, _BATCH)
        bands, runs = sketch(Batch(normalised(part)), SIMILARITY)
        rows = pa.array(range(start, start + len(part)), type=pa.int64())
        batches.append(pa.RecordBatch.from_pydict({"text_key": rows, "bands": bands}))
        triples.append(runs)
    (met,) = meet(spread(1)(batches))
    ranks, runs = pa.array([f"11{document_id}" for document_id in texts]), pa.concat_arrays(triples)
    sides: dict[str, pa.Array] = {}
    for side in ("left", "right"):
        rows = met.column(f"{side}_key")
        sides |= {f"{side}_rank": ranks.take(rows), f"{side}_triples": runs.take(rows)}
    similar = pa.Table.from_batches(compare(SIMILARITY)([pa.RecordBatch.from_pydict(sides)]))
    return keepers(similar)


def datasketch_near(texts: dict[str, str]) -> dict[str, str]:
    """The first of each group that datasketch finds, by document."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS)
    group: dict[str, str] = {}
    for document_id, text in texts.items():
        minhash = MinHash(num_perm=PERMUTATIONS)
        minhash.update_batch([triple.encode() for triple in _triples(text)])
        near = index.query(minhash)
        if near:
            group[document_id] = min(group.get(name, name) for name in near)
        index.insert(document_id, minhash)
    return group


def ours(folder: Path, out: Path, similarity: float | None) -> None:
    """The job as the stage launches it."""
    from sap_llm.preparation.launch import run_job
    from sap_llm.preparation.plan import Cleaning, JobPlan, PagesInput, SparkSettings
    from sap_llm.preparation.splits import SplitShares

    run_job(
        JobPlan(
            documents=str(folder / "documents.parquet"),
            pages=[PagesInput(input=INPUT, path=str(folder / "pages.parquet"))],
            output=str(out),
            rows=pq.read_metadata(folder / "documents.parquet").num_rows,
            classes=list(CLASSES),
            cleaning=Cleaning(),
            near_duplicates_from=similarity,
            shares=SplitShares(),
            seed=7,
            spark=SparkSettings(master=f"local[{THREADS}]"),
        )
    )


def roadmap(folder: Path, out: Path) -> None:
    """The roadmap's pipeline: the same calls in the same order, one master, paths and shares of our classes."""
    import pyspark.sql.functions as fn
    from pyspark.sql import SparkSession

    options = {"spark.driver.memory": "4g", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false"}
    spark = SparkSession.builder.master(f"local[{THREADS}]").config(map=options).getOrCreate()
    frame = spark.read.parquet(str(folder / "roadmap.parquet"))
    clean = (
        frame.filter(fn.col("quality_score") > 0.8)
        .filter(fn.col("num_pages") <= 50)
        .filter(fn.length(fn.col("text")) > 100)
        .dropDuplicates(["document_hash"])
    )
    features = (
        clean.withColumn("text_clean", fn.regexp_replace(fn.col("text"), r"\s+", " "))
        .withColumn("text_lower", fn.lower(fn.col("text_clean")))
        .withColumn("doc_length", fn.length(fn.col("text")))
        .withColumn("num_tables", fn.size(fn.col("tables")))
        .withColumn("avg_confidence", fn.expr("aggregate(words, 0D, (acc, x) -> acc + x.confidence) / size(words)"))
    )
    fractions = {"PURCHASE_ORDER": 0.28, "SUPPLIER_INVOICE": 0.25, "SALES_ORDER": 0.10}
    sampled = features.sampleBy("document_type", fractions=fractions, seed=42)
    parts = sampled.randomSplit([0.7, 0.15, 0.15], seed=42)
    for part, name in zip(parts, ("train", "val", "test"), strict=True):
        part.write.parquet(f"{out}/{name}", mode="overwrite")
    sys.stdout.write(f"{[part.count() for part in parts]}\n")
    spark.stop()


def with_polars(folder: Path, out: Path) -> None:
    """Cleaning, one keeper by file, counts and a split by hash in one streaming pass of Polars."""
    import polars as pl

    text = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars()
    reason = (
        pl.when(pl.col("num_pages") > 50)
        .then(pl.lit("too_many_pages"))
        .when(~(pl.col("quality_score") > 0.8))
        .then(pl.lit("low_quality"))
        .when(pl.col("text").str.len_chars() <= 100)
        .then(pl.lit("short_text"))
    )
    frame = pl.scan_parquet(folder / "roadmap.parquet").with_columns(text, reason.alias("reason"))
    keepers = (
        frame.filter(pl.col("reason").is_null())
        .group_by("document_hash")
        .agg(pl.col("document_id").min().alias("keeper"))
    )
    position = pl.col("vendor").hash(7) % 1000
    counts = [
        pl.col("text").str.len_chars().alias("character_count"),
        pl.col("text").str.count_matches(r"\S+").alias("word_count"),
        pl.col("text").str.count_matches(r"\d").alias("digits"),
        pl.col("text").str.count_matches(r"\p{Lu}").alias("upper"),
        pl.col("text").str.count_matches(r"\d[.,]\d{2}").alias("amount_count"),
        pl.col("text").str.count_matches(r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}").alias("date_count"),
    ]
    split = pl.when(position < 700).then(pl.lit("train")).when(position < 850).then(pl.lit("validation"))
    out.mkdir()
    frame.join(keepers, on="document_hash", how="left").select(
        "document_id", "reason", (pl.col("keeper") != pl.col("document_id")).alias("is_duplicate"),
        split.otherwise(pl.lit("test")).alias("split"), *counts,
    ).sink_parquet(out / "decisions.parquet")  # fmt: skip


def with_duckdb(folder: Path, out: Path) -> None:
    """The same in one statement of DuckDB."""
    import duckdb

    out.mkdir()
    connection = duckdb.connect(config={"threads": THREADS})
    connection.execute(f"""
        COPY (
          WITH judged AS (
            SELECT document_id, document_hash, vendor, trim(regexp_replace(text, '\\s+', ' ', 'g')) AS text,
                   CASE WHEN num_pages > 50 THEN 'too_many_pages' WHEN NOT quality_score > 0.8 THEN 'low_quality'
                        WHEN length(text) <= 100 THEN 'short_text' END AS reason
            FROM read_parquet('{folder / "roadmap.parquet"}')),
          keepers AS (SELECT document_hash, min(document_id) AS keeper FROM judged WHERE reason IS NULL GROUP BY ALL)
          SELECT document_id, reason, keeper <> document_id AS is_duplicate,
                 CASE WHEN hash(vendor) % 1000 < 700 THEN 'train' WHEN hash(vendor) % 1000 < 850 THEN 'validation'
                      ELSE 'test' END AS split,
                 length(text) AS character_count, len(string_split(text, ' ')) AS word_count,
                 length(regexp_replace(text, '[^0-9]', '', 'g')) AS digits,
                 length(regexp_replace(text, '[^A-Z]', '', 'g')) AS upper,
                 len(regexp_extract_all(text, '\\d[.,]\\d{{2}}')) AS amount_count,
                 len(regexp_extract_all(text, '\\d{{1,4}}[./-]\\d{{1,2}}[./-]\\d{{2,4}}')) AS date_count
          FROM judged LEFT JOIN keepers USING (document_hash)
        ) TO '{out / "decisions.parquet"}' (FORMAT parquet, COMPRESSION zstd)
    """)


if __name__ == "__main__":
    _side, _folder, _out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    _sides: dict[str, Callable[[Path, Path], Any]] = {
        "ours": lambda folder, out: ours(folder, out, None),
        "near": lambda folder, out: ours(folder, out, SIMILARITY),
        "roadmap": roadmap,
        "polars": with_polars,
        "duckdb": with_duckdb,
    }
    _sides[_side](_folder, _out)
