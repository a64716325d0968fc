"""The stage `annotated_docs`: truths of all corpora and pre-annotations beside them.

Belongs here: the configuration and build function of the stage. The label rules are `evaluation.baseline`, the model
is `modeling`; both come as a predictor.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sap_llm.annotation.confidence import Trust, calibrate, judge
from sap_llm.annotation.flags import Flags, choose_threshold, write_report
from sap_llm.annotation.groups import join_groups
from sap_llm.annotation.human_truths import human_truths, with_people
from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.fields import REPORTED_FIELDS, FieldScores, score_fields
from sap_llm.evaluation.predictor import BASELINE_ANNOTATOR, BaselinePredictor, Predictor
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import ANNOTATED_DOCUMENTS, TRUTH_SOURCES
from sap_llm.schema.tables import ANNOTATIONS, DOCUMENTS, QUARANTINE, conform
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "3"
_BUCKETS = 10_000


class AnnotatedDocsConfig(StageConfig):
    """`configs/<profile>/annotated_docs.yaml`."""

    target_error: float = Field(
        default=0.05, description="mean error (1 - F1) permitted among pre-annotations that are not flagged", ge=0, le=1
    )
    confidence_threshold: float | None = Field(
        default=None,
        description="pre-annotations below it are flagged for a person; without, it follows from target_error",
        ge=0,
        le=1,
    )
    pre_annotated_share: float = Field(
        default=1.0,
        description="of the documents that have a truth; those without are always pre-annotated",
        ge=0,
        le=1,
    )
    batch_documents: int = Field(default=128, description="documents read by the predictor at a time", ge=1)
    partial_sources: dict[str, list[str]] = Field(
        default={}, description="fields that the truth of a source covers; [annotated]: those that the document names"
    )


def build_annotated_docs(
    context: StageContext,
    *,
    config: AnnotatedDocsConfig,
    corpora: Mapping[str, DatasetRef],
    release: str,
    predictor: Predictor | None = None,
    predictor_version: str = "",
    human: Mapping[str, DatasetRef] | None = None,
    held: Mapping[str, str] | None = None,
) -> BuildResult:
    """Bring truths and pre-annotations of all corpora together.

    Documents without a page stay in their corpora. Near-duplicates of different corpora become one group. What people
    answered is the only truth of a document that they answered, also about its class; its corpus keeps the other one.

    Tables: `documents` (`releases.ANNOTATED_DOCUMENTS`), `annotations` (truths as they came, pre-annotations with
    source `model`), `quarantine`. Pages and blobs stay in the corpora.

    Args:
        context: Store, clock and progress.
        config: Threshold and share of pre-annotation.
        corpora: Corpus datasets by name (`synthetic_docs/0000-0049`).
        release: Name such as `r1`.
        predictor: The champion; the label rules pre-annotate where there is none.
        predictor_version: Identity of the champion; part of the version.
        human: Batches of `human_annotations` by dataset name whose gates are open.
        held: Batches that are held back, with the sentence of their closed gate.
    """
    reader: Predictor = predictor or BaselinePredictor()
    annotator = f"model:{predictor_version}" if predictor else BASELINE_ANNOTATOR

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        documents, quarantine = collect_documents(context, corpora)
        # An XML without a page has a truth, but nothing to learn from or to be tested on.
        paged = documents.filter(pc.greater(documents.column("page_count"), 0))
        without_pages = documents.num_rows - paged.num_rows
        documents, groups_joined = join_groups(context.store, corpora, paged)
        documents, said = with_people(documents, human_truths(context.store, human or {}))
        answered = pc.is_in(documents.column("document_id"), value_set=said.column("document_id").combine_chunks())
        truths = pa.concat_tables([_truths(context, corpora, documents.filter(pc.invert(answered))), said])
        documents = _with_truth(documents, truths)
        chosen = _to_pre_annotate(documents, config)
        created = context.clock.now()
        guesses: list[dict[str, Any]] = []
        for rows, pages in documents_with_pages(context.store, chosen, corpora, size=config.batch_documents):
            for row, prediction in zip(rows, reader.predict_many(pages), strict=True):
                guess = prediction.to_row(document_id=row["document_id"], annotator=annotator, created_at=created)
                # When it was guessed is the manifest's to say: the same guesses must give the same data version.
                guesses.append(guess | {"created_at": None})
            context.progress("pre-annotating", done=len(guesses), total=chosen.num_rows)
        trust = _trust(documents, truths, guesses, config, is_trained=predictor is not None)
        flags = choose_threshold(trust, target_error=config.target_error, override=config.confidence_threshold)
        guesses = trust.rows
        write_report(writer, trust, flags)
        writer.write_table("documents", _with_confidence(documents, trust, flags), ANNOTATED_DOCUMENTS)
        writer.write_table("annotations", _annotations(truths, guesses), ANNOTATIONS)
        writer.write_table("quarantine", conform(quarantine, QUARANTINE), QUARANTINE)
        return _metrics(documents, truths, trust, flags, config) | {
            "annotator": annotator,
            "documents_quarantined": len(quarantine),
            "documents_without_pages": without_pages,
            "groups_joined": groups_joined,
            "documents_by_people": said.num_rows,
            "batches_held": len(held or {}),
        }

    for name, reason in (held or {}).items():
        context.progress(f"{name} is held back: {reason}")

    return build(
        context,
        name=f"annotated_docs/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={**corpora, **(human or {})},
        fingerprint={"predictor": annotator},
        produce=produce,
    )


def collect_documents(
    context: StageContext, corpora: Mapping[str, DatasetRef]
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Documents of all corpora with their `input`, and quarantine rows for those that cannot be used.

    A document id that an earlier corpus (by name) already has, and a class outside the taxonomy, are quarantined.
    """
    classes = {entry.name for entry in load_taxonomy().classes}
    seen: dict[str, str] = {}
    kept, quarantine = [], []
    for name, ref in sorted(corpora.items()):
        table = context.store.open(ref).table("documents", columns=DOCUMENTS.names)
        flags = []
        for row in table.select(["document_id", "document_type"]).to_pylist():
            problem = _problem(row, seen, classes)
            flags.append(problem is None)
            if problem is None:
                seen[row["document_id"]] = name
            else:
                reason, detail = problem
                quarantine.append(
                    {
                        "record": row["document_id"],
                        "source": name,
                        "field": "document_id" if reason == "duplicate_id" else "document_type",
                        "reason": reason,
                        "detail": detail,
                        "payload": json.dumps(row, sort_keys=True),
                    }
                )
        table = table.filter(pa.array(flags, type=pa.bool_()))
        kept.append(table.append_column("input", pa.array([name] * table.num_rows, type=pa.string())))
    empty = pa.schema([*DOCUMENTS, ANNOTATED_DOCUMENTS.field("input")]).empty_table()
    return pa.concat_tables([empty, *[table.cast(empty.schema) for table in kept]]), quarantine


def _problem(row: Mapping[str, Any], seen: Mapping[str, str], classes: set[str]) -> tuple[str, str] | None:
    if row["document_id"] in seen:
        return (
            "duplicate_id",
            f"{row['document_id']} is already in {seen[row['document_id']]}; give it an id of its own.",
        )
    if row["document_type"] not in classes:
        return "unknown_class", f"{row['document_type']!r} is not in the taxonomy; map it to one of its classes."
    return None


def _truths(context: StageContext, corpora: Mapping[str, DatasetRef], documents: pa.Table) -> pa.Table:
    """Annotations of the kept documents, each from the document's own input."""
    parts = [ANNOTATIONS.empty_table()]
    for name, ref in sorted(corpora.items()):
        ids = documents.filter(pc.equal(documents.column("input"), name)).column("document_id").combine_chunks()
        wanted = pc.field("document_id").isin(ids) & pc.field("source").isin(list(TRUTH_SOURCES))
        found = context.store.open(ref).scan("annotations").to_table(columns=ANNOTATIONS.names, filter=wanted)
        parts.append(found.cast(ANNOTATIONS))
    return pa.concat_tables(parts)


def _with_truth(documents: pa.Table, truths: pa.Table) -> pa.Table:
    best: dict[str, str] = {}
    for row in truths.select(["document_id", "source"]).to_pylist():
        known = best.get(row["document_id"])
        if known is None or TRUTH_SOURCES.index(row["source"]) < TRUTH_SOURCES.index(known):
            best[row["document_id"]] = row["source"]
    sources = [best.get(document_id) for document_id in documents.column("document_id").to_pylist()]
    documents = documents.append_column("has_truth", pa.array([source is not None for source in sources], pa.bool_()))
    return documents.append_column("truth_source", pa.array(sources, type=pa.string()))


def _to_pre_annotate(documents: pa.Table, config: AnnotatedDocsConfig) -> pa.Table:
    """Every document without a truth, and a share of the others that depends on seed and document id only."""
    limit = config.pre_annotated_share * _BUCKETS
    flags = [
        not row["has_truth"] or _bucket(row["document_id"], config.seed) < limit
        for row in documents.select(["document_id", "has_truth"]).to_pylist()
    ]
    return documents.filter(pa.array(flags, type=pa.bool_()))


def _bucket(document_id: str, seed: int) -> int:
    return int(hashlib.sha256(f"{seed}:{document_id}".encode()).hexdigest()[:8], 16) % _BUCKETS


def _trust(
    documents: pa.Table,
    truths: pa.Table,
    guesses: Sequence[dict[str, Any]],
    config: AnnotatedDocsConfig,
    *,
    is_trained: bool,
) -> Trust:
    """Calibrated confidences, learnt from truths that neither test a model nor taught this one."""
    may_teach = pc.not_equal(documents.column("role"), "test_only")
    if is_trained:  # of what a model was trained on it is too sure
        is_held_out = pc.or_(documents.column("is_test_layout"), pc.equal(documents.column("role"), "develop"))
        may_teach = pc.and_(may_teach, is_held_out)
    teachers = documents.filter(pc.and_(may_teach, documents.column("has_truth")))
    return calibrate(guesses, judge(guesses, truths, teachers, scopes=config.partial_sources))


def _with_confidence(documents: pa.Table, trust: Trust, flags: Flags) -> pa.Table:
    values = [trust.confidence.get(document_id) for document_id in documents.column("document_id").to_pylist()]
    is_flagged = [value is not None and value < flags.threshold for value in values]
    documents = documents.append_column("confidence", pa.array(values, type=pa.float32()))
    return documents.append_column("is_flagged", pa.array(is_flagged, type=pa.bool_())).select(
        ANNOTATED_DOCUMENTS.names
    )


def _annotations(truths: pa.Table, guesses: Sequence[Mapping[str, Any]]) -> Iterator[pa.Table]:
    yield truths
    yield conform(guesses, ANNOTATIONS)


def _metrics(
    documents: pa.Table, truths: pa.Table, trust: Trust, flags: Flags, config: AnnotatedDocsConfig
) -> dict[str, Any]:
    guesses = trust.rows
    has_truth = sum(documents.column("has_truth").to_pylist())
    guessed = {row["document_id"] for row in guesses}
    known = set(documents.filter(documents.column("has_truth")).column("document_id").to_pylist())
    flagged = sum(value < flags.threshold for value in trust.confidence.values())
    total = max(1, documents.num_rows)
    metrics: dict[str, Any] = {
        "documents": documents.num_rows,
        "documents_with_truth": has_truth,
        "documents_pre_annotated": len(guessed),
        "documents_flagged": flagged,
        "coverage": round(len(known | guessed) / total, 4),
        "pre_annotation_coverage": round(len(guessed) / total, 4),
    } | flags.metrics()
    agreement = _agreement(documents, truths, guesses, guessed & known, config)
    if agreement is not None:
        metrics["agreement"] = round(agreement.f1, 4)
        metrics |= {f"agreement_{name}": round(score.f1, 4) for name, score in agreement.by_field.items()}
    return metrics


def _agreement(
    documents: pa.Table,
    truths: pa.Table,
    guesses: Sequence[Mapping[str, Any]],
    both: set[str],
    config: AnnotatedDocsConfig,
) -> FieldScores | None:
    """Pre-annotations against truths, on the documents that have both."""
    if not both:
        return None
    ids = pa.array(sorted(both))
    return score_fields(
        truths.filter(pc.is_in(truths.column("document_id"), value_set=ids)),
        [row for row in guesses if row["document_id"] in both],
        fields=REPORTED_FIELDS,
        documents=documents.filter(pc.is_in(documents.column("document_id"), value_set=ids)),
        scopes=config.partial_sources,
    )
