"""The stage `training_set`: configuration and build function.

Belongs here: turning the Spark job's decisions into the tables of a training set. The decisions themselves are `job`,
the frozen release is `release`, the encoding of words is `modeling.shards`.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.preparation.plan import (
    STATUS_DUPLICATE,
    STATUS_KEPT,
    STATUS_LEFT_OUT,
    STATUS_QUARANTINED,
    STATUSES,
    Cleaning,
    JobPlan,
    PagesInput,
    SparkSettings,
)
from sap_llm.preparation.sampling import Sampling, sample
from sap_llm.preparation.splits import SPLITS, SplitShares, leaks
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import (
    ANNOTATED_DOCUMENTS,
    DUPLICATES,
    FIELD_TRUTH,
    LEFT_OUT,
    TEXT_FEATURES,
    TRAINING_DOCUMENTS,
)
from sap_llm.schema.tables import PAGES, QUARANTINE, conform
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import BuildResult, Progress, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

if TYPE_CHECKING:
    from sap_llm.modeling.shards import FieldTruth

TRAINING_VERSION = "4"
Launch = Callable[[JobPlan, Progress], None]

_DETAILS = {
    "duplicate_id": "another document has this id; give each document its own",
    "unknown_class": "the class is not in the taxonomy; map it to one of its classes",
    "no_pages": "no page of it was read; read the file again",
    "too_many_pages": "it has more pages than the configuration allows; split it or raise cleaning.pages_at_most",
    "low_quality": "the reading is too poor; scan or read it again, or lower cleaning.quality_above",
    "short_text": "there is too little text on it; check the reading, or lower cleaning.characters_above",
    "no_truth": "nobody has annotated it yet; annotate it",
}


class TrainingSetConfig(StageConfig):
    """`configs/<profile>/training_set.yaml`."""

    cleaning: Cleaning = Cleaning()
    near_duplicates_from: float | None = Field(
        default=0.9, gt=0, le=1, description="share of word triples in common (Jaccard); null: none are looked for"
    )
    shares: SplitShares = SplitShares()
    sampling: Sampling = Sampling()
    shard_documents: int = Field(default=256, description="documents encoded at a time", ge=1)


class SplitLeakError(SapLlmError):
    """The splits of a training set are not disjoint."""


def build_training_set(
    context: StageContext,
    *,
    config: TrainingSetConfig,
    corpus_release: DatasetRef,
    release: str,
    spark: SparkSettings | None = None,
    launch: Launch | None = None,
) -> BuildResult:
    """Clean, deduplicate, describe, split and encode the frozen documents.

    Tables: `documents` (kept, with split and features), `shards` (`modeling.shards.SHARD_SCHEMA`, train and validation
    documents only: what tests is never encoded for training), `field_truth` (which fields a model can learn),
    `duplicates`, `left_out` (by sampling), `quarantine`. Every document that was read is in exactly one of documents,
    duplicates, left_out and quarantine.

    Args:
        context: Store, clock and progress.
        config: Cleaning thresholds, duplicates, split shares, sampling.
        corpus_release: `corpus_release/<release>`; its manifest names the annotated documents and their inputs.
        release: Name such as `r1`.
        spark: Where the job runs; all cores of this machine by default. Not part of the version.
        launch: Runs the job's program and tells how far it is; `launch.run_job` by default.

    Raises:
        SourceError: An input table breaks the contract.
        PreparationJobError: The Spark job failed.
        SplitLeakError: The splits share a group, a file, a text or a test layout.
    """
    settings = spark or SparkSettings()
    inputs = dict(context.store.open(corpus_release).manifest.inputs)
    annotated = next(ref for role, ref in inputs.items() if role.startswith("annotated_docs/"))
    corpora = {role: ref for role, ref in inputs.items() if ref != annotated}

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        from sap_llm.modeling.shards import FieldTruth

        # Spark is only needed when the version is missing; the launcher stays unimported otherwise.
        prepared = _decide(
            context, writer, config=config, annotated=annotated, corpora=corpora, spark=settings, launch=launch
        )
        documents = context.store.open(annotated).table("documents")
        prepared = sample(prepared, config.sampling, seed=config.seed)
        kept = _kept(documents, prepared)
        found = leaks(kept)
        if found:
            raise SplitLeakError(
                "; ".join(found), where=f"training_set/{release}", remedy="Check split_group and role."
            )
        writer.write_table("documents", kept, TRAINING_DOCUMENTS)
        writer.write_table("duplicates", _duplicates(prepared), DUPLICATES)
        writer.write_table("left_out", _with(prepared, STATUS_LEFT_OUT).select(LEFT_OUT.names), LEFT_OUT)
        writer.write_table("quarantine", _quarantine(documents, prepared), QUARANTINE)
        shards = _encode(context, kept, annotated=annotated, corpora=corpora, size=config.shard_documents)
        first = next(shards)
        truth = FieldTruth()
        writer.write_table("shards", _counted(chain([first], shards), truth), first.schema)
        fields = truth.rows()
        writer.write_table("field_truth", conform(fields, FIELD_TRUTH), FIELD_TRUTH)
        return _metrics(prepared, kept) | {
            "shard_rows": writer.rows["shards"],
            "fields_with_truth": sum(row["train_documents"] > 0 for row in fields),
            "fields_without_truth": sum(row["train_documents"] == 0 for row in fields),
        }

    return build(
        context,
        name=f"training_set/{release}",
        stage_version=TRAINING_VERSION,
        config=config,
        inputs={corpus_release.name: corpus_release, **inputs},
        produce=produce,
    )


def _decide(
    context: StageContext,
    writer: DatasetWriter,
    *,
    config: TrainingSetConfig,
    annotated: DatasetRef,
    corpora: Mapping[str, DatasetRef],
    spark: SparkSettings,
    launch: Launch | None,
) -> pa.Table:
    from sap_llm.preparation.launch import check_contract, read_prepared, run_job, staging_location, table_location

    store = context.store
    check_contract(store.open(annotated), "documents", schema=ANNOTATED_DOCUMENTS, columns=ANNOTATED_DOCUMENTS.names)
    for ref in corpora.values():
        check_contract(store.open(ref), "pages", schema=PAGES, columns=("document_id", "page_number", "words"))
    scratch = writer.path("_spark/prepared")
    output = staging_location(scratch, is_shared=store.is_local, spark=spark)
    read = store.open(annotated).manifest.rows["documents"]
    context.progress(f"Spark decides about {read} documents on {spark.master}", total=read)
    (launch or run_job)(
        JobPlan(
            documents=table_location(store, annotated, "documents", spark=spark),
            pages=[
                PagesInput(input=name, path=table_location(store, ref, "pages", spark=spark))
                for name, ref in sorted(corpora.items())
            ],
            output=output,
            rows=read,
            classes=[entry.name for entry in load_taxonomy().classes],
            cleaning=config.cleaning,
            near_duplicates_from=config.near_duplicates_from,
            shares=config.shares,
            seed=config.seed,
            spark=spark,
        ),
        context.progress,
    )
    prepared = read_prepared(output)
    shutil.rmtree(scratch.parent, ignore_errors=True)
    if prepared.column("row").to_pylist() != list(range(read)):
        raise SapLlmError(
            f"{read} documents went into the Spark job, {prepared.num_rows} decisions came out, or not one for each",
            where=str(annotated),
            remedy="This is a fault of the job: please report it.",
        )
    context.progress("Spark is done", done=read, total=read)
    return prepared


def _with(prepared: pa.Table, status: str) -> pa.Table:
    return prepared.filter(pc.equal(prepared.column("status"), status))


def _kept(documents: pa.Table, prepared: pa.Table) -> pa.Table:
    """Documents of status kept with split and features, ordered by id."""
    chosen = _with(prepared, STATUS_KEPT)
    kept = documents.take(chosen.column("row"))
    for name in ("split", *(feature.name for feature in TEXT_FEATURES)):
        kept = kept.append_column(name, chosen.column(name))
    return kept.select(TRAINING_DOCUMENTS.names).cast(TRAINING_DOCUMENTS).sort_by("document_id")


def _duplicates(prepared: pa.Table) -> pa.Table:
    """Documents of status duplicate; each names one that is none itself."""
    chosen = _with(prepared, STATUS_DUPLICATE)
    keepers = dict(zip(*(chosen.column(name).to_pylist() for name in ("document_id", "kept_document_id")), strict=True))
    last = []
    for keeper in keepers.values():
        while keeper in keepers:  # an equal file has a keeper whose text another document has, too
            keeper = keepers[keeper]  # noqa: PLW2901
        last.append(keeper)
    chosen = chosen.drop_columns("kept_document_id").append_column("kept_document_id", pa.array(last, type=pa.string()))
    return chosen.select(DUPLICATES.names).cast(DUPLICATES)


def _quarantine(documents: pa.Table, prepared: pa.Table) -> pa.Table:
    chosen = _with(prepared, STATUS_QUARANTINED)
    payloads = documents.take(chosen.column("row")).to_pylist()
    rows = [
        {
            "record": row["document_id"],
            "source": row["input"],
            "reason": row["reason"],
            "detail": f"{row['document_id']}: {_DETAILS[row['reason']]}.",
            "payload": json.dumps(payload, default=str, sort_keys=True),
        }
        for row, payload in zip(chosen.select(["document_id", "input", "reason"]).to_pylist(), payloads, strict=True)
    ]
    return conform(rows, QUARANTINE)


def _encode(
    context: StageContext, kept: pa.Table, *, annotated: DatasetRef, corpora: Mapping[str, DatasetRef], size: int
) -> Iterator[pa.Table]:
    """Shards of the documents that train and validate, one input dataset in memory at a time."""
    from sap_llm.modeling.shards import encode_shard

    learned = kept.filter(pc.is_in(kept.column("split"), value_set=pa.array(["train", "validation"])))
    truths = context.store.open(annotated)
    done = 0
    yield encode_shard(learned.slice(0, 0), PAGES.empty_table(), truths.scan("annotations").head(0))
    for name, ref in sorted(corpora.items()):
        own = learned.filter(pc.equal(learned.column("input"), name)).combine_chunks()
        if not own.num_rows:
            continue
        pages = _of(context.store.open(ref), "pages", own)
        annotations = _of(truths, "annotations", own)
        for start in range(0, own.num_rows, size):
            part = own.slice(start, size)
            ids = part.column("document_id")
            yield encode_shard(part, _rows(pages, ids), _rows(annotations, ids))
            done += part.num_rows
            context.progress("encoding documents", done=done, total=learned.num_rows)


def _of(dataset: Dataset, table: str, documents: pa.Table) -> pa.Table:
    ids = pc.unique(documents.column("document_id"))
    return dataset.scan(table).to_table(filter=pc.field("document_id").isin(ids))


def _rows(table: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return table.filter(pc.is_in(table.column("document_id"), value_set=ids.combine_chunks()))


def _counted(tables: Iterable[pa.Table], truth: "FieldTruth") -> Iterator[pa.Table]:
    for table in tables:
        truth.add(table)
        yield table


def _metrics(prepared: pa.Table, kept: pa.Table) -> dict[str, Any]:
    statuses, reasons, splits = (
        {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}
        for column in (prepared.column("status"), prepared.column("reason").drop_null(), kept.column("split"))
    )
    return (
        {"documents_read": prepared.num_rows}
        | {f"documents_{status}": statuses.get(status, 0) for status in STATUSES}
        | {f"documents_{split}": splits.get(split, 0) for split in SPLITS}
        | {f"reason_{reason}": count for reason, count in sorted(reasons.items())}
    )
