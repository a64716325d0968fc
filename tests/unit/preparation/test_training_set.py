"""One Spark pass keeps, removes or quarantines every document, for the stated reason, and splits by group."""

import hashlib
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sap_llm.preparation.launch import PreparationJobError, check_contract, run_job, staging_location
from sap_llm.preparation.plan import Cleaning, JobPlan, SparkSettings
from sap_llm.preparation.splits import SplitShares, leaks, split_of
from sap_llm.preparation.stage import TrainingSetConfig, build_training_set
from sap_llm.reading.language import detect_language
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.tables import PAGES
from sap_llm.storage.build import StageContext
from tests.support.prepared import Prepared
from tests.support.toy_corpus import identifier, toy_document, write_corpus


def test_every_document_read_is_accounted_for(prepared: Prepared) -> None:
    metrics = prepared.training_set.manifest.metrics
    read = prepared.annotated.manifest.rows["documents"]
    parts = [metrics[f"documents_{name}"] for name in ("kept", "duplicate", "quarantined")]
    assert metrics["documents_read"] == read == sum(parts) == 76
    assert parts == [prepared.training_set.manifest.rows[table] for table in ("documents", "duplicates", "quarantine")]


def test_bad_documents_are_quarantined_with_their_reason(prepared: Prepared) -> None:
    reasons = {row["record"]: row["reason"] for row in prepared.rows("quarantine")}
    assert reasons == {
        identifier("short"): "short_text",
        identifier("blurred"): "low_quality",
        identifier("unreadable quality"): "low_quality",
        identifier("long"): "too_many_pages",
        identifier("pageless"): "no_pages",
        identifier("unknown to all"): "no_truth",
    }
    assert all(row["payload"] and row["detail"] for row in prepared.rows("quarantine"))


def test_of_equal_files_and_texts_one_stays(prepared: Prepared) -> None:
    found = {row["document_id"]: (row["reason"], row["kept_document_id"]) for row in prepared.rows("duplicates")}
    originals = {identifier("good 0"), identifier("copy"), identifier("reprint")}
    removed = originals & found.keys()
    (kept,) = originals - removed
    assert kept in {row["document_id"] for row in prepared.rows("documents")}
    assert {found[document_id][0] for document_id in removed} <= {"same_file", "same_text"}
    # The keeper of a file is the one that may only test, so that its double cannot be learned from.
    assert found[identifier("leak")] == ("same_file", identifier("real 0"))
    assert found.keys() == removed | {identifier("leak")}


def test_splits_follow_the_rule_and_share_nothing(prepared: Prepared) -> None:
    rows = prepared.rows("documents")
    shares, seed = SplitShares(), prepared.training_set.manifest.seed
    for row in rows:
        assert row["split"] == split_of(
            row["split_group"], role=row["role"], is_test_layout=row["is_test_layout"], seed=seed, shares=shares
        )
    assert leaks(prepared.training_set.dataset.table("documents")) == []
    assert {row["split"] for row in rows if row["source"] == "zugferd"} == {"test"}


def test_features_describe_the_normalised_text(prepared: Prepared) -> None:
    row = next(row for row in prepared.rows("documents") if row["document_id"] == identifier("good 3"))
    text = " ".join(unicodedata.normalize("NFKC", toy_document("good 3")["text"]).split())
    assert row["text_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert row["character_count"] == len(text)
    assert row["word_count"] == len(text.split())
    assert row["digit_share"] == pytest.approx(sum(map(str.isdigit, text)) / len(text.replace(" ", "")))
    assert row["detected_language"] == row["language"] == detect_language(text.split()), "one rule in both engines"
    assert row["amount_count"] == 7


def test_shards_hold_what_is_learned_from_and_nothing_that_tests(prepared: Prepared) -> None:
    shards = prepared.training_set.dataset.table("shards").to_pylist()
    learned = {row["document_id"] for row in prepared.rows("documents") if row["split"] != "test"}
    assert {row["document_id"] for row in shards} == learned
    assert {row["split"] for row in shards} <= {"train", "validation"}
    assert all(any(label > 0 for label in row["header_labels"]) for row in shards)


def test_a_second_build_is_reused(prepared: Prepared) -> None:
    again = build_training_set(
        prepared.context, config=TrainingSetConfig(), corpus_release=prepared.release.ref, release="r1"
    )
    assert again.is_reused
    assert again.ref == prepared.training_set.ref


def test_the_manifest_names_all_that_was_consumed(prepared: Prepared) -> None:
    inputs = prepared.training_set.manifest.inputs
    assert set(inputs) == {
        "corpus_release/r1",
        "annotated_docs/r1",
        "synthetic_docs/0000-0001",
        "public_docs/zugferd",
    }


def test_a_missing_column_is_named_before_spark_starts(context: StageContext) -> None:
    ref = write_corpus(context, "synthetic_docs/broken", [toy_document("whole")])
    dataset = context.store.open(ref)
    path = dataset.path("pages.parquet")
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["words"]).append_column("page", table.column("page_number")), path)
    with pytest.raises(SourceError, match="column words is missing"):
        check_contract(dataset, "pages", schema=PAGES, columns=("document_id", "words"))
    pq.write_table(table.set_column(1, "page_number", table.column("page_number").cast(pa.int64())), path)
    with pytest.raises(SourceError, match="page_number is int64 instead of int16"):
        check_contract(dataset, "pages", schema=PAGES, columns=("page_number",))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SourceError, match="not readable as Parquet"):
        check_contract(dataset, "pages", schema=PAGES, columns=("page_number",))


def test_executors_elsewhere_need_a_shared_place(tmp_path: Path) -> None:
    remote = SparkSettings(master="spark://master:7077")
    with pytest.raises(ConfigurationError, match="no staging place"):
        staging_location(tmp_path, is_shared=False, spark=remote)
    shared = SparkSettings(master="spark://master:7077", staging="s3://bucket/staging/")
    assert staging_location(tmp_path, is_shared=False, spark=shared).startswith("s3a://bucket/staging/")


def test_a_failed_job_says_why(tmp_path: Path) -> None:
    plan = JobPlan(
        documents=str(tmp_path / "nowhere.parquet"),
        pages=[],
        output=str(tmp_path / "out"),
        classes=[],
        cleaning=Cleaning(),
        shares=SplitShares(),
        seed=7,
        spark=SparkSettings(master="nonsense://"),
    )
    with pytest.raises(PreparationJobError, match="Master must either be yarn or start with spark"):
        run_job(plan)
