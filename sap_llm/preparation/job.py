"""The Spark job that decides about every document once: kept, duplicate or quarantined, and in which split.

Belongs here: Spark expressions and the launched program (`python -m sap_llm.preparation.job --plan FILE`, or
spark-submit of `spark_jobs/prepare_training_set.py`). What becomes of the decisions is `stage`. Spark is imported by
functions only.

One pass: documents and page texts are read once, joined once and ranked; nothing is counted or written twice.
"""

import argparse
import os
import sys
import threading
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from sap_llm.preparation.plan import (
    PREPARED,
    STATUS_DUPLICATE,
    STATUS_KEPT,
    STATUS_QUARANTINED,
    Cleaning,
    JobPlan,
    PagesInput,
    SparkSettings,
)
from sap_llm.preparation.splits import HASH_DIGITS, TEST, TRAIN, VALIDATION, SplitShares
from sap_llm.reading.language import FEWEST_HITS, STOP_WORDS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

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
_DOCUMENT_COLUMNS = tuple(_DOCUMENT_TYPES)
_PAGE_TYPES = {"document_id": "string", "page_number": "smallint", "words": "array<string>"}
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM of seconds: the optimising compiler costs more than it brings (measured: 41 % less CPU without it)."""
_SPACE = r"[\s\p{Z}\p{Cc}\p{Cf}]+"
_AMOUNT = r"\d[.,]\d{2}(?!\d|[.,/-]\d)"
_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}"


def main(arguments: list[str] | None = None) -> None:
    """Run the plan named on the command line."""
    parser = argparse.ArgumentParser(description="Clean, deduplicate, describe and split annotated documents.")
    parser.add_argument("--plan", required=True, help="JSON of a JobPlan")
    parser.add_argument("--watch-parent", action="store_true", help="end when the pipe on stdin closes")
    chosen = parser.parse_args(arguments)
    if chosen.watch_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    plan = JobPlan.model_validate_json(Path(chosen.plan).read_text(encoding="utf-8"))
    spark = open_session(plan.spark)
    try:
        prepare(spark, plan).write.mode("overwrite").parquet(plan.output)
    finally:
        spark.stop()


def _end_with_parent() -> None:
    """A stage that was killed cannot stop its job; the closed pipe does, and the JVM ends with this process."""
    sys.stdin.read()
    os._exit(1)


def open_session(settings: SparkSettings) -> "SparkSession":
    """A session without web UI, as small as the settings allow."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("sap_llm prepare_training_set").master(settings.master)
    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.driver.memory": settings.driver_memory,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.compression.codec": "zstd",
    }
    if settings.master.startswith("local"):
        options["spark.driver.extraJavaOptions"] = _SHORT_LIVED
    for key, value in (options | settings.options).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def prepare(spark: "SparkSession", plan: JobPlan) -> "DataFrame":
    """The decisions as a data frame with the columns of `PREPARED`, one row per row of the documents."""
    documents = spark.read.schema(_ddl(_DOCUMENT_TYPES)).parquet(plan.documents)
    texts = reduce(lambda one, other: one.unionByName(other), [_texts(spark, pages) for pages in plan.pages])
    described = _describe(documents.join(texts, on=["document_id", "input"], how="left"))
    judged = _judge(described, plan.cleaning, plan.classes)
    ranked = _mark_duplicates(judged)
    return _split(ranked, plan.shares, plan.seed).select(*PREPARED.names)


def _ddl(types: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


def _texts(spark: "SparkSession", pages: PagesInput) -> "DataFrame":
    """One row per document: its words in page order, joined by spaces, and their number."""
    from pyspark.sql import functions as fn

    rows = (
        spark.read.schema(_ddl(_PAGE_TYPES))
        .parquet(pages.path)
        .select(
            "document_id",
            fn.struct("page_number", fn.array_join("words", " ").alias("text")).alias("page"),
            fn.size("words").alias("words"),
        )
    )
    grouped = rows.groupBy("document_id").agg(
        fn.array_sort(fn.collect_list("page")).alias("pages"), fn.sum("words").alias("word_count")
    )
    text = fn.array_join(fn.transform("pages", lambda page: page["text"]), " ")
    return grouped.select("document_id", fn.lit(pages.input).alias("input"), text.alias("raw_text"), "word_count")


def _describe(frame: "DataFrame") -> "DataFrame":
    """Normalise the text (NFKC, single spaces) and replace it by its features."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyspark.sql import functions as fn

    @fn.arrow_udf("string")
    def nfkc(text: pa.Array) -> pa.Array:
        return pc.utf8_normalize(text, form="NFKC")

    text = fn.trim(fn.regexp_replace(nfkc(fn.coalesce("raw_text", fn.lit(""))), _SPACE, " "))
    frame = frame.withColumn("text", text)
    letters = fn.regexp_count("text", fn.lit(r"\p{L}"))
    solid = fn.regexp_count("text", fn.lit(r"\S"))
    digits = fn.regexp_count("text", fn.lit(r"\p{Nd}"))
    upper = fn.regexp_count("text", fn.lit(r"\p{Lu}"))
    return frame.select(
        *_DOCUMENT_COLUMNS,
        fn.when(fn.col("raw_text").isNotNull(), fn.sha2("text", 256)).alias("text_sha256"),
        _language().alias("detected_language"),
        fn.coalesce("word_count", fn.lit(0)).cast("bigint").alias("word_count"),
        fn.length("text").cast("bigint").alias("character_count"),
        fn.coalesce(fn.try_divide(digits, solid), fn.lit(0.0)).alias("digit_share"),
        fn.coalesce(fn.try_divide(upper, letters), fn.lit(0.0)).alias("upper_share"),
        fn.regexp_count("text", fn.lit(_AMOUNT)).cast("bigint").alias("amount_count"),
        fn.regexp_count("text", fn.lit(_DATE)).cast("bigint").alias("date_count"),
    )


def _language() -> "Column":
    """`reading.language.detect_language` over a column of texts."""
    from pyspark.sql import functions as fn

    words = fn.array_distinct(fn.split(fn.lower("text"), r"[^\p{L}]+"))
    counts = [
        fn.struct(
            fn.size(fn.array_intersect(words, fn.array(*map(fn.lit, sorted(known))))).alias("hits"),
            fn.lit(code).alias("code"),
        )
        for code, known in STOP_WORDS.items()
    ]
    ranked = fn.array_sort(fn.array(*counts))
    second, best = fn.element_at(ranked, -2), fn.element_at(ranked, -1)
    return fn.when((best["hits"] >= FEWEST_HITS) & (best["hits"] > second["hits"]), best["code"])


def _judge(frame: "DataFrame", cleaning: Cleaning, classes: list[str]) -> "DataFrame":
    """Add `reason`: the first rule that the document breaks, or null."""
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    same_id = Window.partitionBy("document_id").orderBy("input", "sha256")
    quality = fn.col("quality")
    good = quality.isNotNull() & ~fn.isnan(quality) & (quality > cleaning.quality_above)
    reason = (
        fn.when(fn.row_number().over(same_id) > 1, "duplicate_id")
        .when(~fn.col("document_type").isin(classes), "unknown_class")
        .when(fn.col("text_sha256").isNull() | (fn.col("page_count") < 1), "no_pages")
        .when(fn.col("page_count") > cleaning.pages_at_most, "too_many_pages")
        .when(~good, "low_quality")
        .when(fn.col("character_count") <= cleaning.characters_above, "short_text")
        .when(~fn.col("has_truth"), "no_truth")
    )
    return frame.withColumn("reason", reason)


def _mark_duplicates(frame: "DataFrame") -> "DataFrame":
    """Add `status` and `kept_document_id`: of equal files, and of equal texts that may be learned from, one stays.

    The keeper is the same on every run: what may only test first (so that nothing equal to it is learned from), then
    the smallest document id.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as fn

    is_bad = fn.col("reason").isNotNull()
    only_tests = fn.col("role") == "test_only"
    order = [is_bad, ~only_tests, ~fn.col("is_test_layout"), "document_id", "input"]
    frame = frame.withColumn("file_keeper", fn.first("document_id").over(Window.partitionBy("sha256").orderBy(*order)))
    # A text is compared among the keepers only; bad rows and pageless ones get a key of their own.
    is_second_file = fn.col("file_keeper") != fn.col("document_id")
    key = fn.when(is_bad | is_second_file, fn.concat("input", fn.lit("/"), "document_id")).otherwise(
        fn.col("text_sha256")
    )
    frame = frame.withColumn("text_key", key)
    frame = frame.withColumn(
        "text_keeper", fn.first("document_id").over(Window.partitionBy("text_key").orderBy(*order))
    )
    is_second_text = (fn.col("text_keeper") != fn.col("document_id")) & ~only_tests
    status = (
        fn.when(is_bad, STATUS_QUARANTINED)
        .when(is_second_file | is_second_text, STATUS_DUPLICATE)
        .otherwise(STATUS_KEPT)
    )
    reason = fn.when(is_bad, fn.col("reason")).when(is_second_file, "same_file").when(is_second_text, "same_text")
    keeper = fn.when(is_second_file, fn.col("file_keeper")).otherwise(fn.col("text_keeper"))
    return (
        frame.withColumn("status", status)
        .withColumn("kept_document_id", fn.when(fn.col("status") == STATUS_DUPLICATE, keeper))
        .withColumn("reason", reason)
    )


def _split(frame: "DataFrame", shares: SplitShares, seed: int) -> "DataFrame":
    """Add `split` by the rule of `splits.split_of`."""
    from pyspark.sql import functions as fn

    digest = fn.sha2(fn.concat(fn.lit(f"{seed}:"), fn.col("split_group")), 256)
    position = fn.conv(fn.substring(digest, 1, HASH_DIGITS), 16, 10).cast("double") / fn.lit(float(16**HASH_DIGITS))
    split = (
        fn.when((fn.col("role") == "test_only") | fn.col("is_test_layout"), TEST)
        .when(fn.col("role") == "develop", VALIDATION)
        .when(position < shares.train, TRAIN)
        .when(position < shares.train + shares.validation, VALIDATION)
        .otherwise(TEST)
    )
    return frame.withColumn("split", fn.when(fn.col("status") == STATUS_KEPT, split))


if __name__ == "__main__":
    main()
