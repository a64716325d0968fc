"""Toy corpora with planted faults, and the chain of datasets up to their training set.

Belongs here: what unit and integration tests of the preparation share.
"""

from dataclasses import dataclass
from typing import Any, cast

from sap_llm.annotation.stage import AnnotatedDocsConfig, build_annotated_docs
from sap_llm.preparation.plan import SparkSettings
from sap_llm.preparation.release import CorpusReleaseConfig, build_corpus_release
from sap_llm.preparation.stage import TrainingSetConfig, build_training_set
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import Dataset
from tests.support.toy_corpus import toy_document, write_corpus

TARGETS = CorpusReleaseConfig(
    target_sources={"synthetic_docs": 5000, "public_docs": 5000},
    target_types={"PURCHASE_ORDER": 0.4, "SUPPLIER_INVOICE": 0.5, "OTHERS": 0.1},
)


@dataclass(frozen=True)
class Prepared:
    """The chain of datasets up to the training set."""

    context: StageContext
    annotated: Dataset
    release: Dataset
    training_set: BuildResult

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table of the training set."""
        return cast("list[dict[str, Any]]", self.training_set.dataset.table(table).to_pylist())


def write_corpora(context: StageContext) -> dict[str, DatasetRef]:
    """Two corpora: 60 synthetic documents with faults, 6 real ones that may only test."""
    good = [toy_document(f"good {number}") for number in range(60)]
    first = good[0]
    faulty = [
        toy_document("short", text="Invoice 12 of May"),
        toy_document("blurred", quality=0.79),
        toy_document("unreadable quality", quality=float("nan")),
        toy_document("long", page_count=51),
        toy_document("pageless", text=""),
        toy_document("unknown to all", truth=None),
        toy_document("copy", text=first["text"], sha256=first["sha256"], split_group=first["split_group"]),
        toy_document("reprint", text=first["text"].replace(" ", " \u00a0 "), sha256="b" * 64),
        toy_document("test layout", is_test_layout=True, layout="test-1", split_group="world-test"),
    ]
    real = [
        toy_document(
            f"real {number}", source="zugferd", role="test_only", split_group=f"vendor-{number % 2}", truth="xml"
        )
        for number in range(6)
    ]
    stolen = toy_document("leak", text=real[0]["text"], sha256=real[0]["sha256"])
    return {
        "synthetic_docs/0000-0001": write_corpus(context, "synthetic_docs/0000-0001", [*good, *faulty, stolen]),
        "public_docs/zugferd": write_corpus(context, "public_docs/zugferd", real),
    }


def prepare_all(
    context: StageContext, corpora: dict[str, DatasetRef], *, spark: SparkSettings | None = None
) -> Prepared:
    """Annotate, freeze and prepare (one Spark run)."""
    annotated = build_annotated_docs(context, config=AnnotatedDocsConfig(), corpora=corpora, release="r1")
    frozen = build_corpus_release(context, config=TARGETS, annotated=annotated.ref, corpora=corpora, release="r1")
    built = build_training_set(
        context, config=TrainingSetConfig(), corpus_release=frozen.ref, release="r1", spark=spark
    )
    return Prepared(context, annotated.dataset, frozen.dataset, built)
