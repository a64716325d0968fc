"""`preference_pairs/<release>`: what people said about extractions, as pairs to learn from.

Belongs here: reading a frozen process memory, splitting, quarantine, report. Which feedback makes a pair is `pairs`;
training on them is the reward model's and the optimisers' part.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from pydantic import Field

from sap_llm.preparation.splits import SPLITS, TEST, TEST_ONLY, SplitShares, split_of
from sap_llm.rlhf.answers import CorrectionError
from sap_llm.rlhf.pairs import MarginConfig, PreferencePair, Reviewed, pairs_of
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import QUARANTINE, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

STAGE_VERSION = "1"
REPORT = "report.md"

PREFERENCE_PAIRS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("extraction_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("split_group", pa.string(), nullable=False),
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # correction | approval
        pa.field("feedback_ids", pa.list_(pa.string()), nullable=False),
        pa.field("chosen", pa.string(), nullable=False),  # JSON: value by place
        pa.field("rejected", pa.string(), nullable=False),
        pa.field("places", pa.list_(pa.string()), nullable=False),  # at which they differ
        pa.field("margin", pa.float64(), nullable=False),
    ]
)


class PreferencePairsConfig(StageConfig):
    """`configs/<profile>/preference_pairs.yaml`: what makes a pair, and how much it weighs."""

    margins: MarginConfig
    damaged_copies: int = Field(ge=0, description="pairs that an approval makes at most; 0: approvals make none")
    shares: SplitShares = Field(description="of split groups; with the seed of training_set the same groups")


def build_preference_pairs(
    context: StageContext,
    *,
    config: PreferencePairsConfig,
    snapshot: DatasetRef,
    evaluation: DatasetRef,
    release: str,
) -> BuildResult:
    """Make `preference_pairs/<release>` of the feedback in a frozen process memory.

    Groups of which a document was evaluated for the release are in split test, whatever their hash: what is measured
    on is not learned from.

    Args:
        context: Store, clock and progress.
        config: Margins, damaged copies, shares of the splits.
        snapshot: `pmg_snapshot/<release>` with table `nodes`.
        evaluation: `model_evaluation/<release>` with table `documents`.
        release: Release name.

    Returns:
        Tables `pairs` and `quarantine`, `report.md`; metrics: pairs, pairs by split and kind, extractions_reviewed,
        extractions_without_pair (rejected, or nothing to damage), extractions_quarantined, mean_margin.

    Raises:
        DatasetNotFoundError: An input is not complete.
    """

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        memory = _Memory(context.store.open(snapshot))
        maker = _Maker(config, memory, context.store.open(evaluation), source=str(snapshot))
        rows = list(maker.rows())
        writer.write_table("pairs", conform(rows, PREFERENCE_PAIRS), PREFERENCE_PAIRS)
        writer.write_table("quarantine", conform(maker.quarantine, QUARANTINE), QUARANTINE)
        metrics = _metrics(rows, maker)
        writer.path(REPORT).write_text(_report(release, rows, maker, metrics), encoding="utf-8")
        return metrics

    return build(
        context,
        name=f"preference_pairs/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={"pmg_snapshot": snapshot, "model_evaluation": evaluation},
        produce=produce,
    )


class _Memory:
    """Documents, and extractions with their feedback, of a snapshot; only what was reviewed is kept."""

    def __init__(self, snapshot: Dataset) -> None:
        self.feedback: dict[str, list[dict[str, Any]]] = {}
        for node in _nodes(snapshot, "Feedback"):
            self.feedback.setdefault(node["extraction_id"], []).append(node)
        self.extractions = {node["id"]: node for node in _nodes(snapshot, "Extraction") if node["id"] in self.feedback}
        wanted = {node["document_id"] for node in self.extractions.values()}
        self.documents = {node["id"]: node for node in _nodes(snapshot, "Document") if node["id"] in wanted}

    def reviewed(self) -> Iterator[Reviewed]:
        for identifier, said in sorted(self.feedback.items()):
            extraction = self.extractions[identifier]  # feedback about unknown extractions is refused when recorded
            yield Reviewed(
                document_id=extraction["document_id"],
                extraction_id=identifier,
                content=extraction["content"],
                feedback=sorted(said, key=lambda entry: entry["sequence"]),
            )

    def group(self, document_id: str) -> str:
        return str(self.documents[document_id].get("split_group") or document_id)


class _Maker:
    def __init__(self, config: PreferencePairsConfig, memory: _Memory, evaluation: Dataset, *, source: str) -> None:
        self.config, self.memory, self.source = config, memory, source
        self.quarantine: list[dict[str, Any]] = []
        self.reviewed = self.without_pair = 0
        measured = evaluation.table("documents", columns=["document_id", "split_group"]).to_pylist()
        self._measured = {str(row["split_group"] or row["document_id"]) for row in measured}
        self._reserved = {  # a group moves whole, so one document that may only test takes its group along
            memory.group(identifier) for identifier, row in memory.documents.items() if row.get("role") == TEST_ONLY
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        for entry in self.memory.reviewed():
            self.reviewed += 1
            try:
                pairs = pairs_of(
                    entry,
                    margins=self.config.margins,
                    damaged_copies=self.config.damaged_copies,
                    seed=self.config.seed,
                )
            except ValueError as error:
                self._set_aside(entry, error)
                continue
            self.without_pair += not pairs
            for number, pair in enumerate(pairs):
                yield self._row(number, pair)

    def _row(self, number: int, pair: PreferencePair) -> dict[str, Any]:
        group = self.memory.group(pair.document_id)
        return vars(pair) | {
            "pair_id": f"{pair.extraction_id}#{number}",
            "split": self._split(group, str(self.memory.documents[pair.document_id].get("role") or "train")),
            "split_group": group,
            "feedback_ids": list(pair.feedback_ids),
            "places": list(pair.places),
        }

    def _split(self, group: str, role: str) -> str:
        if group in self._measured | self._reserved:
            return TEST
        return split_of(group, role=role, is_test_layout=False, seed=self.config.seed, shares=self.config.shares)

    def _set_aside(self, entry: Reviewed, error: ValueError) -> None:
        is_ours = isinstance(error, CorrectionError)
        place = error.place if isinstance(error, CorrectionError) else ""
        self.quarantine.append(
            {
                "record": entry.extraction_id,
                "source": self.source,
                "field": place or None,
                "reason": error.reason if isinstance(error, CorrectionError) else "bad_json",
                "detail": f"{entry.document_id}{f', {place}' if place else ''}: {error}. "
                + ("Let one person correct the document again." if is_ours else "Have the document read again."),
                "payload": json.dumps([dict(said) for said in entry.feedback], ensure_ascii=False, sort_keys=True),
            }
        )


def _nodes(snapshot: Dataset, label: str) -> Iterator[dict[str, Any]]:
    import pyarrow.compute as pc

    for batch in snapshot.scan("nodes").to_batches(filter=pc.field("label") == label, columns=["id", "properties"]):
        for row in batch.to_pylist():
            yield json.loads(row["properties"]) | {"id": row["id"]}


def _metrics(rows: list[dict[str, Any]], maker: _Maker) -> dict[str, Any]:
    splits, kinds = Counter(row["split"] for row in rows), Counter(row["kind"] for row in rows)
    return {
        "pairs": len(rows),
        **{f"pairs_{split}": splits[split] for split in SPLITS},
        **{f"pairs_of_{kind}s": kinds[kind] for kind in ("correction", "approval")},
        "extractions_reviewed": maker.reviewed,
        "extractions_without_pair": maker.without_pair,
        "extractions_quarantined": len(maker.quarantine),
        "mean_margin": round(sum(row["margin"] for row in rows) / len(rows), 4) if rows else 0.0,
    }


def _report(release: str, rows: list[dict[str, Any]], maker: _Maker, metrics: Mapping[str, Any]) -> str:
    places = Counter(place.rpartition(".")[2] for row in rows if row["kind"] == "correction" for place in row["places"])
    reasons = Counter(row["reason"] for row in maker.quarantine)
    lines = [f"# Preference pairs of {release}", "", "| what | number |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in metrics.items()]
    for title, counts in (("Corrected fields", places), ("Set aside", reasons)):
        if counts:
            lines += ["", f"## {title}", "", "| what | number |", "|---|---|"]
            lines += [
                f"| {name} | {count} |" for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
            ]
    if not metrics["pairs_train"]:
        lines += ["", "No pair may be learned from: nobody reviewed a document outside the evaluated groups yet."]
    return "\n".join(lines) + "\n"
