"""The stage `corpus_release`: configuration and build function.

Belongs here: freezing the exact versions that go into a training set, comparing their composition with the target, and
having their labels looked through (`suspects`). Cleaning and splitting them is `stage`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field

from sap_llm.preparation.composition import CHART, Gap, chart, gaps, report
from sap_llm.preparation.suspects import find_suspects, said
from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import RELEASE_DOCUMENTS, SUSPECTS
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

RELEASE_VERSION = "3"
REPORT = "report.md"
TEXTS = "corpus"  # table of `sap_knowledge` with one text per entity type
OTHERS = "OTHERS"


class CorpusReleaseConfig(StageConfig):
    """`configs/<profile>/corpus_release.yaml`. Source of the targets: roadmap, month 2."""

    target_sources: dict[str, int] = Field(description="documents by kind of input dataset")
    target_texts: int = Field(default=0, description="SAP documentation texts; they are no documents", ge=0)
    target_types: dict[str, float] = Field(description=f"share by class, {OTHERS} for the rest; sums to 1")
    suspect_documents: int = Field(
        default=0, description="documents whose labels are looked through for errors, at most", ge=0
    )
    suspect_folds: int = Field(default=5, description="of the classifier that judges classes", ge=2)


def build_corpus_release(
    context: StageContext,
    *,
    config: CorpusReleaseConfig,
    annotated: DatasetRef,
    corpora: Mapping[str, DatasetRef],
    release: str,
    knowledge: DatasetRef | None = None,
) -> BuildResult:
    """Freeze what goes into a training set, compare its composition with the target, look through its labels.

    Tables: `documents` (`releases.RELEASE_DOCUMENTS`), `suspects` (`releases.SUSPECTS`).

    Args:
        context: Store, clock and progress.
        config: Targets.
        annotated: `annotated_docs/<release>`.
        corpora: Input datasets by name; they hold the pages and blobs of the annotated documents.
        release: Name such as `r1`.
        knowledge: `sap_knowledge`, whose texts are counted. It is part of the identity, but no input: nobody takes
            pages from it.

    Raises:
        SapLlmError: An annotated document comes from a dataset that is not among `corpora`.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        documents = context.store.open(annotated).table("documents", columns=RELEASE_DOCUMENTS.names)
        missing = set(documents.column("input").unique().to_pylist()) - corpora.keys()
        if missing:
            raise SapLlmError(
                f"documents come from {', '.join(sorted(missing))}, which the release does not hold",
                where=str(annotated),
                remedy="Pass the same corpora to annotated_docs and corpus_release.",
            )
        writer.write_table("documents", documents, RELEASE_DOCUMENTS)
        texts = context.store.open(knowledge).manifest.rows[TEXTS] if knowledge else 0
        suspects, found = find_suspects(
            context.store,
            annotated,
            corpora,
            most_documents=config.suspect_documents,
            folds=config.suspect_folds,
            seed=config.seed,
        )
        writer.write_table("suspects", suspects, SUSPECTS)
        return _compare(writer, documents, texts, config, release, said(suspects, found)) | found

    return build(
        context,
        name=f"corpus_release/{release}",
        stage_version=RELEASE_VERSION,
        config=config,
        inputs={annotated.name: annotated, **corpora},
        fingerprint={knowledge.name: str(knowledge)} if knowledge else None,
        produce=produce,
    )


def _compare(
    writer: DatasetWriter, documents: pa.Table, texts: int, config: CorpusReleaseConfig, release: str, suspects: str
) -> dict[str, Any]:
    """Numbers for the UI's plots, and the report with its chart."""
    sources, types = composition(documents, config)
    knowledge = gaps({"sap documentation text": config.target_texts}, {"sap documentation text": texts})
    parts = [
        ("Sources", sources, "documents"),
        ("SAP documentation", knowledge, "texts"),
        ("Classes", types, "documents"),
    ]
    text = f"{report(f'Composition of {release}', parts)}\n## Labels that are probably wrong\n\n{suspects}\n"
    writer.path(REPORT).write_text(text, encoding="utf-8")
    writer.path(CHART).write_text(chart([*sources, *types]), encoding="utf-8")
    metrics: dict[str, Any] = {"documents": documents.num_rows, "sap_texts": texts}
    for prefix, found in (("source", sources), ("type", types)):
        for gap in found:
            metrics[f"{prefix}_share_{gap.name}"] = round(gap.share, 4)
            metrics[f"{prefix}_target_{gap.name}"] = round(gap.target, 4)
    worst = max((abs(gap.share - gap.target) for gap in [*sources, *types]), default=0.0)
    lacking = {f"lacking_{gap.name}": gap.lacking for gap in [*sources, *types]}
    return metrics | {"largest_gap_to_target": round(worst, 4), **lacking}


def composition(documents: pa.Table, config: CorpusReleaseConfig) -> tuple[list[Gap], list[Gap]]:
    """The documents against the targets, by source and by class; a class' goal is its share of all target documents."""
    kinds = Counter(name.partition("/")[0] for name in documents.column("input").to_pylist())
    types = Counter(
        name if name in config.target_types else OTHERS for name in documents.column("document_type").to_pylist()
    )
    total = sum(config.target_sources.values())
    goals = {name: round(share * total) for name, share in config.target_types.items()}
    return gaps(config.target_sources, kinds), gaps(goals, types)
