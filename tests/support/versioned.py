"""Two versions of a small labelled dataset whose differences are known, for tests of comparing, sharing and deleting.

Belongs here: making dataset versions by the real `build`. What is done with them is the tests' business.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import TRAINING_DOCUMENTS
from sap_llm.schema.tables import ANNOTATIONS, QUARANTINE, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Labelled:
    """A document and what is said about it."""

    number: int
    document_type: str = "SUPPLIER_INVOICE"
    split: str = "train"
    fields: Mapping[str, str] = field(default_factory=lambda: {"total_amount": "119.00", "currency": "EUR"})
    lines: Sequence[Mapping[str, str]] = ()
    revisions: Sequence[tuple[str, str, int, Mapping[str, str]]] = ()
    """Further annotations: annotator, source, revision, fields."""

    def but(self, **changes: Any) -> "Labelled":
        """The same document with other labels."""
        return replace(self, **changes)

    @property
    def document_id(self) -> str:
        """Its id."""
        return f"doc-{self.number:06d}"


class LabelledConfig(StageConfig):
    """Whatever makes one version another."""

    threshold: float = 0.5


def documents(count: int) -> list[Labelled]:
    """`count` invoices."""
    return [Labelled(number) for number in range(count)]


def context_at(store: DatasetStore, day: int) -> StageContext:
    """A context whose clock stands `day` days after the start."""
    return StageContext(store=store, clock=FrozenClock(START + timedelta(days=day)), built_by="tester")


def labelled(
    store: DatasetStore,
    found: Sequence[Labelled],
    *,
    name: str = "training_set/r1",
    day: int = 0,
    threshold: float = 0.5,
    inputs: Mapping[str, DatasetRef] | None = None,
    quarantined: Iterable[tuple[str, str]] = (),
    parts: Sequence[str] = ("documents", "annotations"),
) -> BuildResult:
    """A version with the given tables; `quarantined` are pairs of record and reason."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        if "documents" in parts:
            writer.write_table("documents", conform(map(_document, found), TRAINING_DOCUMENTS), TRAINING_DOCUMENTS)
        if "annotations" in parts:
            rows = [row for one in found for row in _annotations(one)]
            writer.write_table("annotations", conform(rows, ANNOTATIONS), ANNOTATIONS)
        rows = [
            {"record": record, "source": "test", "reason": reason, "detail": "see reason"}
            for record, reason in quarantined
        ]
        writer.write_table("quarantine", conform(rows, QUARANTINE), QUARANTINE)
        writer.path("report.md").write_text(f"{len(found)} documents")
        return {"documents": len(found), "threshold": threshold}

    return build(
        context_at(store, day),
        name=name,
        stage_version="1",
        config=LabelledConfig(threshold=threshold),
        inputs=inputs,
        fingerprint={"content": str(hash_of(found)), "quarantine": str(list(quarantined))},
        produce=produce,
    )


def hash_of(found: Sequence[Labelled]) -> str:
    """What tells one list of documents from another."""
    return repr([(one, dict(one.fields), one.lines, one.revisions) for one in found])


def small(
    store: DatasetStore, name: str, *, day: int = 0, inputs: Sequence[DatasetRef] = (), mark: str = ""
) -> DatasetRef:
    """A version with one tiny table, made from others."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        writer.write_table("rows", pa.table({"text": [name, mark]}), pa.schema([pa.field("text", pa.string())]))
        return {}

    return build(
        context_at(store, day),
        name=name,
        stage_version="1",
        config=LabelledConfig(),
        inputs={ref.name: ref for ref in inputs},
        fingerprint={"mark": mark},
        produce=produce,
    ).ref


def _document(one: Labelled) -> dict[str, Any]:
    return {
        "document_id": one.document_id,
        "source": "synthetic",
        "role": "train",
        "document_type": one.document_type,
        "page_count": 1,
        "quality": 1.0,
        "sha256": f"{one.number:064d}",
        "media_type": "application/pdf",
        "is_test_layout": False,
        "split_group": "w1",
        "input": "synthetic_docs/0000-0001",
        "has_truth": True,
        "truth_source": "synthetic",
        "is_flagged": False,
        "split": one.split,
        "text_sha256": f"{one.number:064d}",
        "word_count": 10,
        "character_count": 50,
        "digit_share": 0.1,
        "upper_share": 0.1,
        "amount_count": 1,
        "date_count": 1,
    }


def _annotations(one: Labelled) -> list[dict[str, Any]]:
    said = [("truth", "synthetic", 0, one.fields), *one.revisions]
    return [
        {
            "document_id": one.document_id,
            "annotator": annotator,
            "revision": revision,
            "source": source,
            "document_type": one.document_type,
            "type_confidence": 1.0,
            "fields": [_field(name, value) for name, value in fields.items()],
            "line_items": [
                {"line_number": number + 1, "fields": [_field(name, value) for name, value in line.items()]}
                for number, line in enumerate(one.lines)
            ],
            "tables": [],
            "layout_blocks": [],
        }
        for annotator, source, revision, fields in said
    ]


def _field(name: str, value: str) -> dict[str, Any]:
    return {"field": name, "value": value, "printed": value, "confidence": 1.0, "source": "synthetic"}
