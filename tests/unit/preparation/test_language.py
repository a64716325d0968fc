"""Spark names the languages of a corpus as the reader names that of a document."""

import random

import pytest

from sap_llm.preparation import job
from sap_llm.reading.language import STOP_WORDS, detect_language


@pytest.mark.slow
def test_both_engines_apply_one_rule() -> None:
    from pyspark.sql import SparkSession

    chance = random.Random(1)
    words = [*sorted(frozenset().union(*STOP_WORDS.values())), "4711", "EUR", "x-y", "N°5", "ÉCHÉANCE", "Straße."]
    texts = [" ".join(chance.choices(words, k=chance.randrange(25))) for _ in range(400)]
    texts += [" ".join(chance.sample(sorted(known), 5)).upper() for known in STOP_WORDS.values() for _ in range(30)]
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "1"}
    spark = SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        frame = spark.createDataFrame([(text,) for text in texts], ["text"])
        rows = frame.select("text", job._language().alias("language")).collect()
    finally:
        spark.stop()
    assert [row["language"] for row in rows] == [detect_language(row["text"].split()) for row in rows]
    assert {row["language"] for row in rows} == {None, *STOP_WORDS}
