"""The stage `corpus_release`: configuration and build function.

Belongs here: freezing the exact versions that go into a training set, and comparing their composition with the target.
Cleaning and splitting them is `stage`.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field

from sap_llm.schema.errors import SapLlmError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import RELEASE_DOCUMENTS
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

RELEASE_VERSION = "1"
OTHERS = "OTHERS"


class CorpusReleaseConfig(StageConfig):
    """`configs/<profile>/corpus_release.yaml`. Source of the targets: roadmap, month 2."""

    target_sources: dict[str, float] = Field(description="share by kind of input dataset; sums to 1")
    target_types: dict[str, float] = Field(description=f"share by class, {OTHERS} for the rest; sums to 1")


def build_corpus_release(
    context: StageContext,
    *,
    config: CorpusReleaseConfig,
    annotated: DatasetRef,
    corpora: Mapping[str, DatasetRef],
    release: str,
) -> BuildResult:
    """Freeze everything that goes into a training set, and compare its composition with the target.

    Args:
        context: Store, clock and progress.
        config: Targets.
        annotated: `annotated_docs/<release>`.
        corpora: Input datasets by name; they hold the pages and blobs of the annotated documents.
        release: Name such as `r1`.

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
        return composition(documents, config)

    return build(
        context,
        name=f"corpus_release/{release}",
        stage_version=RELEASE_VERSION,
        config=config,
        inputs={annotated.name: annotated, **corpora},
        produce=produce,
    )


def composition(documents: pa.Table, config: CorpusReleaseConfig) -> dict[str, Any]:
    """Actual shares beside the targets, and the largest difference (percentage points / 100)."""
    kinds = Counter(name.partition("/")[0] for name in documents.column("input").to_pylist())
    types = Counter(
        name if name in config.target_types else OTHERS for name in documents.column("document_type").to_pylist()
    )
    metrics: dict[str, Any] = {"documents": documents.num_rows}
    worst = 0.0
    for prefix, target, actual in (("source", config.target_sources, kinds), ("type", config.target_types, types)):
        for name in sorted(target.keys() | actual.keys()):
            share = actual[name] / max(1, documents.num_rows)
            metrics[f"{prefix}_share_{name}"] = round(share, 4)
            metrics[f"{prefix}_target_{name}"] = target.get(name, 0.0)
            worst = max(worst, abs(share - target.get(name, 0.0)))
    return metrics | {"largest_gap_to_target": round(worst, 4)}
