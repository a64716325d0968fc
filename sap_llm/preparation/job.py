"""The Spark job that decides about every document once: kept, duplicate or quarantined, and in which split.

Belongs here: Spark expressions and the launched program (`python -m sap_llm.preparation.job --plan FILE`, or
spark-submit of `spark_jobs/prepare_training_set.py`). What becomes of the decisions is `stage`. Spark is imported by
functions only.

One pass: documents and page texts are read once, joined once and ranked; nothing is counted or written twice.
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from sap_llm.preparation.plan import (
    NEAR_DUPLICATE,
    PARTITION_ROWS,
    PREPARED,
    SAME_FILE,
    SAME_TEXT,
    STATUS_DUPLICATE,
    STATUS_KEPT,
    STATUS_QUARANTINED,
    Cleaning,
    JobPlan,
    PagesInput,
    SparkSettings,
)
from sap_llm.preparation.progress import listener, told
from sap_llm.preparation.similar import near_duplicates
from sap_llm.preparation.splits import HASH_DIGITS, TEST, TEST_ONLY, TRAIN, VALIDATION, SplitShares
from sap_llm.preparation.texts import DESCRIPTION
from sap_llm.schema.releases import TEXT_NUMBERS

if TYPE_CHECKING:
    from pyspark.accumulators import Accumulator
    from pyspark.sql import DataFrame, SparkSession

_DOCUMENT_TYPES = {
    "document_id": "string",
    "input": "string",
    "role": "string",
    "document_type": "string",
    "page_count": "smallint",
    "quality": "float",
    "sha256": "string",
    "is_test_layout": "boolean",
    "split_group": "string",
    "has_truth": "boolean",
}
"""Columns that the decisions need; named, because finding a file's schema out is a Spark job for every file."""
_PAGE_TYPES = {"document_id": "string", "page_number": "smallint", "words": "array<string>"}
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM of seconds: the optimising compiler costs more than it brings (measured: 41 % less CPU without it)."""


def main(arguments: list[str] | None = None) -> None:
    """Run the plan named on the command line."""
    parser = argparse.ArgumentParser(description="Clean, deduplicate, describe and split annotated documents.")
    parser.add_argument("--plan", required=True, help="JSON of a JobPlan")
    parser.add_argument("--watch-parent", action="store_true", help="end when the pipe on stdin closes")
    chosen = parser.parse_args(arguments)
    if chosen.watch_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    plan = JobPlan.model_validate_json(Path(chosen.plan).read_text(encoding="utf-8"))
    spark = open_session(plan.spark, rows=plan.rows)
    try:
        context = spark.sparkContext
        described = context.accumulator(0)
        with listener() as tell, told(context, described, total=plan.rows, tell=tell):
            prepare(spark, plan, described).write.mode("overwrite").parquet(plan.output)
    finally:
        spark.stop()


def _end_with_parent() -> None:
    """A stage that was killed cannot stop its job; the closed pipe does, and the JVM ends with this process."""
    sys.stdin.read()
    os._exit(1)


def open_session(settings: SparkSettings, *, rows: int) -> "SparkSession":
    """A session without web UI, as small as the settings and the rows allow."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("sap_llm prepare_training_set").master(settings.master)
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(settings.partitions(rows)),
        "spark.driver.memory": settings.driver_memory,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
        # Rows that lie together by document id lie together by document id and input.
        "spark.sql.requireAllClusterKeysForCoPartition": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "4000",
        "spark.sql.execution.arrow.maxBytesPerBatch": "64m",
    }
    if settings.master.startswith("local") and rows <= PARTITION_ROWS:
        options["spark.driver.extraJavaOptions"] = _SHORT_LIVED
    for key, value in (options | settings.options).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    for package in settings.packages:
        spark.sparkContext.addPyFile(_importable(Path(package)))
    return spark


def _importable(package: Path) -> str:
    """A wheel under the name of a zip file: Spark puts no other on the path of Python."""
    if package.suffix != ".whl":
        return str(package)
    copy = Path(tempfile.mkdtemp(prefix="sap_llm_wheel_")) / f"{package.stem}.zip"
    shutil.copyfile(package, copy)
    return str(copy)


def prepare(spark: "SparkSession", plan: JobPlan, described: "Accumulator[int] | None" = None) -> "DataFrame":
    """The decisions as a data frame with the columns of `PREPARED`, one row per row of the documents.

    Args:
        spark: The session.
        plan: What to read and by which rules to decide.
        described: Is raised by the number of documents whose text was described, for progress.
    """
    from pyspark.sql import functions as fn

    rows = spark.read.schema(_ddl(_DOCUMENT_TYPES)).parquet(plan.documents)
    documents = rows.withColumn("row", fn.col("_metadata.row_index"))
    pages = reduce(lambda one, other: one.unionByName(other), [_pages(spark, entry) for entry in plan.pages])
    judged = _judge(documents, _texts(pages, plan.near_duplicates_from, described), plan.cleaning, plan.classes)
    decided = _mark_copies(judged)
    if plan.near_duplicates_from is not None:
        decided = _mark_near_duplicates(spark, decided, plan)
    return _split(decided, plan.shares, plan.seed).select(*PREPARED.names)


def _ddl(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


def _pages(spark: "SparkSession", pages: PagesInput) -> "DataFrame":
    from pyspark.sql import functions as fn

    return (
        spark.read.schema(_ddl(_PAGE_TYPES))
        .parquet(pages.path)
        .select(
            "document_id",
            fn.lit(pages.input).alias("input"),
            "page_number",
            fn.coalesce(fn.array_join("words", " "), fn.lit("")).alias("text"),
        )
    )


def _texts(pages: "DataFrame", similarity: float | None, described: "Accumulator[int] | None") -> "DataFrame":
    """One row per document that has pages: what `texts.describe` says of its words in page order."""
    from pyspark.sql.pandas.types import from_arrow_schema

    def describe(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sap_llm.preparation import texts

        for documents in texts.documents_of(batches):
            about = texts.describe(documents.column("text"), similarity=similarity)
            if described is not None:
                described.add(about.num_rows)
            keys = documents.select(["document_id", "input"])
            yield pa.RecordBatch.from_arrays(
                [*keys.columns, *about.columns], names=[*keys.schema.names, *about.schema.names]
            )

    ordered = pages.repartition("document_id").sortWithinPartitions("document_id", "input", "page_number")
    schema = pa.schema([PREPARED.field("document_id"), PREPARED.field("input"), *DESCRIPTION])
    return ordered.mapInArrow(describe, from_arrow_schema(schema))


def _judge(documents: "DataFrame", texts: "DataFrame", cleaning: Cleaning, classes: list[str]) -> "DataFrame":
    """Put documents and texts together and add `reason`: the first rule that the document breaks, or null."""
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    # Before the join: the shuffle by id is used by both.
    same_id = Window.partitionBy("document_id").orderBy("input", "sha256", "row")
    numbered = documents.withColumn("number_of_id", fn.row_number().over(same_id))
    frame = numbered.join(texts, on=["document_id", "input"], how="left")
    counts = {name: fn.coalesce(name, fn.lit(0)).alias(name) for name in TEXT_NUMBERS}  # 0 where there is no text
    frame = frame.select(*(counts.get(name, fn.col(name)) for name in frame.columns))
    quality = fn.col("quality")
    # As the column: 0.8 as float is a little more than 0.8 as double.
    good = quality.isNotNull() & ~fn.isnan(quality) & (quality > fn.lit(cleaning.quality_above).cast("float"))
    reason = (
        fn.when(fn.col("number_of_id") > 1, "duplicate_id")
        .when(~fn.col("document_type").isin(classes), "unknown_class")
        .when(fn.col("text_sha256").isNull() | (fn.col("page_count") < 1), "no_pages")
        .when(fn.col("page_count") > cleaning.pages_at_most, "too_many_pages")
        .when(~good, "low_quality")
        .when(fn.col("character_count") <= cleaning.characters_above, "short_text")
        .when(~fn.col("has_truth"), "no_truth")
    )
    return frame.withColumn("reason", reason)


def _mark_copies(frame: "DataFrame") -> "DataFrame":
    """Add `status` and `kept_document_id`: of equal files, and of equal texts that may be learned from, one stays.

    The keeper is the same on every run: what may only test first (so that nothing equal to it is learned from), then
    the smallest document id. `is_comparable` marks one kept document of each text.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    is_bad = fn.col("reason").isNotNull()
    only_tests = fn.col("role") == TEST_ONLY
    order = [is_bad, ~only_tests, ~fn.col("is_test_layout"), "document_id", "input", "row"]
    frame = frame.withColumn("file_keeper", fn.first("document_id").over(Window.partitionBy("sha256").orderBy(*order)))
    # A text is compared among the keepers only; bad rows and pageless ones get a key of their own.
    is_second_file = fn.col("file_keeper") != fn.col("document_id")
    key = fn.when(is_bad | is_second_file, fn.concat("input", fn.lit("/"), "document_id")).otherwise(
        fn.col("text_sha256")
    )
    frame = frame.withColumn("same_text", key)
    frame = frame.withColumn(
        "text_keeper", fn.first("document_id").over(Window.partitionBy("same_text").orderBy(*order))
    )
    is_first_text = fn.col("text_keeper") == fn.col("document_id")
    is_second_text = ~is_first_text & ~only_tests
    status = (
        fn.when(is_bad, STATUS_QUARANTINED)
        .when(is_second_file | is_second_text, STATUS_DUPLICATE)
        .otherwise(STATUS_KEPT)
    )
    reason = fn.when(is_bad, fn.col("reason")).when(is_second_file, SAME_FILE).when(is_second_text, SAME_TEXT)
    keeper = fn.when(is_second_file, fn.col("file_keeper")).otherwise(fn.col("text_keeper"))
    return (
        frame.withColumn("status", status)
        .withColumn("kept_document_id", fn.when(fn.col("status") == STATUS_DUPLICATE, keeper))
        .withColumn("reason", reason)
        .withColumn("is_comparable", (fn.col("status") == STATUS_KEPT) & is_first_text)
    )


def _mark_near_duplicates(spark: "SparkSession", frame: "DataFrame", plan: JobPlan) -> "DataFrame":
    """Change `status`, `reason` and `kept_document_id` of those whose text is similar to that of another kept one."""
    from pyspark import StorageLevel
    from pyspark.sql import functions as fn

    assert plan.near_duplicates_from is not None
    # Kept, because what follows needs it two or three times; everything before runs once.
    frame = frame.persist(StorageLevel.DISK_ONLY)
    comparable = frame.filter("is_comparable").withColumn("is_test_only", fn.col("role") == TEST_ONLY)
    found = near_duplicates(
        spark,
        comparable,
        similarity=plan.near_duplicates_from,
        partitions=plan.spark.partitions(plan.rows),
    )
    frame = frame.join(found, on=fn.col("document_id") == fn.col("removed_document_id"), how="left")
    is_removed = fn.col("near_keeper").isNotNull() & (fn.col("status") == STATUS_KEPT)
    return (
        frame.withColumn(
            "kept_document_id", fn.when(is_removed, fn.col("near_keeper")).otherwise(fn.col("kept_document_id"))
        )
        .withColumn("reason", fn.when(is_removed, NEAR_DUPLICATE).otherwise(fn.col("reason")))
        .withColumn("status", fn.when(is_removed, STATUS_DUPLICATE).otherwise(fn.col("status")))
    )


def _split(frame: "DataFrame", shares: SplitShares, seed: int) -> "DataFrame":
    """Add `split` by the rule of `splits.split_of`."""
    from pyspark.sql import functions as fn

    digest = fn.sha2(fn.concat(fn.lit(f"{seed}:"), fn.col("split_group")), 256)
    position = fn.conv(fn.substring(digest, 1, HASH_DIGITS), 16, 10).cast("double") / fn.lit(float(16**HASH_DIGITS))
    split = (
        fn.when((fn.col("role") == TEST_ONLY) | fn.col("is_test_layout"), TEST)
        .when(fn.col("role") == "develop", VALIDATION)
        .when(position < shares.train, TRAIN)
        .when(position < shares.train + shares.validation, VALIDATION)
        .otherwise(TEST)
    )
    return frame.withColumn("split", fn.when(fn.col("status") == STATUS_KEPT, split))


if __name__ == "__main__":
    main()
