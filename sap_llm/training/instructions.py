"""The stage `instruction_pairs`: instructions and right answers about the documents of a training set.

Belongs here: which documents are asked how often, their pictures, and the tables of the dataset. What can be asked is
`modeling.generative.instructions`; the stage that learns from them is `instructed`. Loads no torch.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.evaluation.test_set import most_trusted
from sap_llm.modeling.generative.answer_schema import KINDS, Kind
from sap_llm.modeling.generative.facts import Facts, to_json
from sap_llm.modeling.generative.frame import Frame, page_picture, rendering_scale
from sap_llm.modeling.generative.instructions import Pair, draw_pairs
from sap_llm.modeling.generative.prompts import PromptConfig
from sap_llm.modeling.labels import HEADER_FIELDS, known_header_fields
from sap_llm.modeling.qwen import QwenShape
from sap_llm.schema.errors import ConfigurationError, UnreadableDocumentError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, PAGES, QUARANTINE, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

STAGE_VERSION = "1"
SPLITS = ("train", "validation", "test")
RenderPage = Callable[[bytes, int, float], bytes]
"""File content, page number from 1 and scale (1 is 72 dots per inch) to PNG bytes."""

PAIRS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # train | validation | test
        pa.field("kind", pa.string(), nullable=False),  # classify | extract | extract_field | table | question
        pa.field("field", pa.string()),  # that extract_field asks for
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),  # JSON
        pa.field("is_unanswerable", pa.bool_(), nullable=False),
    ]
)
SHOWN_PAGES = pa.schema([*PAGES, pa.field("content", pa.large_binary(), nullable=False)])
"""Pages that are shown; `content` is the picture that the model sees (PNG), in row groups of blobs' size."""

_DETAILS = {
    "no_truth": "it has no truth; annotate it",
    "no_pages": "no page of it was read; read the file again",
    "too_many_pages": "it has more pages than are shown; raise prompt.most_pages, or split it",
    "unreadable": "its file cannot be rendered",
    "off_schema": "a value of its truth has not the form of its type; correct the truth",
    "nothing_to_ask": "nothing of the kinds wanted can be asked about it; see its truth",
}


class PairCounts(BaseModel):
    """Pairs wanted by split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(default=50_000, ge=0)
    validation: int = Field(default=500, ge=0)
    test: int = Field(default=500, ge=0)


class InstructionPairsConfig(StageConfig):
    """`configs/<profile>/instruction_pairs.yaml`."""

    pairs: PairCounts = PairCounts()
    pairs_per_document: int = Field(default=4, ge=1, description="more where there are too few documents")
    shares: dict[Kind, float] = Field(
        default={"classify": 0.15, "extract": 0.35, "extract_field": 0.2, "table": 0.15, "question": 0.15},
        description="weight of each kind; what a document cannot give goes to the other kinds",
    )
    absent_share: float = Field(default=0.2, ge=0, le=1, description="of fields and questions: right answer null")
    fields: tuple[str, ...] = Field(default=(), description="header fields asked for; empty: the taxonomy's")
    prompt: PromptConfig = PromptConfig()
    min_pixels: int = Field(default=56 * 56, description="of a page's picture")
    max_pixels: int = Field(default=1280 * 28 * 28, description="of a page's picture; 28 x 28 are one token")

    @property
    def shape(self) -> QwenShape:
        """The limits of pictures."""
        return QwenShape(min_pixels=self.min_pixels, max_pixels=self.max_pixels)


def build_instruction_pairs(
    context: StageContext,
    *,
    config: InstructionPairsConfig,
    training_set: DatasetRef,
    release: str,
    render: RenderPage | None = None,
) -> BuildResult:
    """Make the pairs of a training set.

    Tables: `pairs`, `pages` (`SHOWN_PAGES`), `documents` (of which there are pairs), `annotations` (their truths, for
    the splits that evaluate), `quarantine`. Documents of the split train are asked for training, others for evaluation.

    Args:
        context: Store, clock and progress.
        config: Counts, kinds, prompt and pictures.
        training_set: Its documents are asked about.
        release: Name such as `r1`.
        render: Draws a page of a file; without it, and where a document has no file, its words are drawn.

    Raises:
        ConfigurationError: No kind has a weight, or the training set has no document to ask about.
    """
    if not sum(config.shares.values()):
        raise ConfigurationError("every kind has weight 0", where="instruction_pairs: shares", remedy="Give one more.")

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        dataset = context.store.open(training_set)
        quotas = _quotas(dataset, config)
        if not quotas:
            raise ConfigurationError(
                "the training set has no document to ask about",
                where=str(training_set),
                remedy="See its quarantine and split tables.",
            )
        maker = _Maker(context, config, dataset, quotas, render)
        writer.write_table("pages", maker.pages(), SHOWN_PAGES)
        writer.write_table("pairs", conform(maker.pairs, PAIRS), PAIRS)
        used = pa.array(sorted({row["document_id"] for row in maker.pairs}), type=pa.string())
        documents = dataset.scan("documents").to_table(filter=pc.field("document_id").isin(used))
        writer.write_table("documents", documents, documents.schema)
        judged = documents.filter(pc.not_equal(documents.column("split"), "train")).column("document_id")
        truths = maker.truths.filter(pc.is_in(maker.truths.column("document_id"), value_set=judged.combine_chunks()))
        writer.write_table("annotations", truths.select(ANNOTATIONS.names), ANNOTATIONS)
        writer.write_table("quarantine", conform(maker.quarantine, QUARANTINE), QUARANTINE)
        return maker.metrics()

    return build(
        context,
        name=f"instruction_pairs/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={training_set.name: training_set},
        produce=produce,
    )


def _quotas(dataset: Dataset, config: InstructionPairsConfig) -> dict[str, int]:
    """Pairs wanted by document; which documents are taken depends on seed and ids only."""
    table = dataset.table("documents", columns=["document_id", "split"]).to_pylist()
    quotas: dict[str, int] = {}
    for split in SPLITS:
        wanted = getattr(config.pairs, split)
        ids = sorted((row["document_id"] for row in table if row["split"] == split), key=lambda one: _draw(config, one))
        ids = ids[: -(-wanted // config.pairs_per_document)]
        quotas |= {one: wanted // len(ids) + (place < wanted % len(ids)) for place, one in enumerate(ids)}
    return quotas


def _draw(config: InstructionPairsConfig, document_id: str) -> int:
    """A number that is the document's own under this seed."""
    return int.from_bytes(hashlib.sha256(f"{config.seed}:{document_id}".encode()).digest()[:8], "big")


@dataclass
class _Maker:
    """One pass over the documents; `pages` drives it and the rest is what it leaves."""

    context: StageContext
    config: InstructionPairsConfig
    dataset: Dataset
    quotas: Mapping[str, int]
    render: RenderPage | None
    pairs: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    truths: pa.Table = field(default_factory=ANNOTATIONS.empty_table)
    counts: Counter[str] = field(default_factory=Counter)

    def pages(self) -> Iterator[pa.Table]:
        """Rows of `SHOWN_PAGES`, some documents at a time."""
        chosen = pa.array(sorted(self.quotas), type=pa.string())
        documents = self.dataset.scan("documents").to_table(filter=pc.field("document_id").isin(chosen))
        inputs = dict(self.dataset.manifest.inputs)
        corpora = {role: ref for role, ref in inputs.items() if "annotated_docs/" not in role}
        annotated = next(ref for role, ref in inputs.items() if "annotated_docs/" in role)
        found = self.context.store.open(annotated).scan("annotations")
        self.truths = most_trusted(found.to_table(filter=pc.field("document_id").isin(chosen)))
        truths = {row["document_id"]: row for row in self.truths.to_pylist()}
        done = 0
        for rows, pages in documents_with_pages(self.context.store, documents, corpora, size=64):
            files = _files(self.context.store.open(corpora[rows[0]["input"]]), rows) if self.render else {}
            shown: list[dict[str, Any]] = []
            for row, own in zip(rows, pages, strict=True):
                content = files.get(row["sha256"]) if files else None
                shown += self._document(row, own, truths.get(row["document_id"]), content)
            yield conform(shown, SHOWN_PAGES)
            done += len(rows)
            self.context.progress("asking about documents", done=done, total=documents.num_rows)

    def metrics(self) -> dict[str, Any]:
        """Counts for the manifest."""
        splits = Counter(row["split"] for row in self.pairs)
        kinds = Counter(row["kind"] for row in self.pairs)
        return (
            {"pairs": len(self.pairs), "pairs_wanted": sum(self.quotas.values())}
            | {f"pairs_{split}": splits.get(split, 0) for split in SPLITS}
            | {f"pairs_{kind}": kinds.get(kind, 0) for kind in KINDS}
            | {
                "pairs_unanswerable": sum(row["is_unanswerable"] for row in self.pairs),
                "documents": len({row["document_id"] for row in self.pairs}),
                "documents_quarantined": len(self.quarantine),
                "pictures_rendered": self.counts["rendered"],
                "pictures_drawn": self.counts["drawn"],
            }
        )

    def _document(
        self, row: Mapping[str, Any], pages: Sequence[Page], truth: Mapping[str, Any] | None, content: bytes | None
    ) -> list[dict[str, Any]]:
        """Rows of its pages; empty where it was set aside."""
        covered = {HEADER_FIELDS[place] for place in known_header_fields(row["source"])}
        facts = None if truth is None else Facts.of(truth, covered=covered)
        reason, detail = self._objection(facts, pages), ""
        if reason is None and facts is not None:
            try:
                shown = [self._shown(page, content) for page in pages]
            except UnreadableDocumentError as error:
                reason, detail = "unreadable", str(error)
            else:
                drawn = self._drawn(row, facts, [Frame.of(page, picture) for page, picture, _ in shown])
                if drawn:
                    self.pairs += [_pair_row(row, number, pair) for number, pair in enumerate(drawn)]
                    return [page.to_row(row["document_id"]) | {"content": png} for page, _, png in shown]
                reason = "nothing_to_ask"
        detail = detail or (facts.misfit() or "" if facts and reason == "off_schema" else "")
        self._set_aside(row, reason or "no_truth", detail)
        return []

    def _objection(self, facts: Facts | None, pages: Sequence[Page]) -> str | None:
        if facts is None:
            return "no_truth"
        if not any(page.words for page in pages):
            return "no_pages"
        if len(pages) > self.config.prompt.most_pages:
            return "too_many_pages"
        return "off_schema" if facts.misfit() else None

    def _drawn(self, row: Mapping[str, Any], facts: Facts, frames: Sequence[Frame]) -> list[Pair]:
        return draw_pairs(
            facts,
            frames,
            count=self.quotas[row["document_id"]],
            shares=self.config.shares,
            absent_share=self.config.absent_share,
            fields=self.config.fields,
            generator=np.random.default_rng(_draw(self.config, row["document_id"])),
        )

    def _shown(self, page: Page, content: bytes | None) -> tuple[Page, Any, bytes]:
        """A page, its picture and that as PNG."""
        rendered = None
        if content is not None and self.render is not None:
            rendered = self.render(content, page.page_number, rendering_scale(page, self.config.shape))
        self.counts["drawn" if rendered is None else "rendered"] += 1
        picture = page_picture(page, self.config.shape, rendered)
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        return page, picture, stream.getvalue()

    def _set_aside(self, row: Mapping[str, Any], reason: str, detail: str) -> None:
        self.quarantine.append(
            {
                "record": row["document_id"],
                "source": row["input"],
                "field": detail if reason == "off_schema" else None,
                "reason": reason,
                "detail": f"{row['document_id']}: {_DETAILS[reason]}{f' ({detail})' if detail else ''}.",
                "payload": json.dumps({"document_id": row["document_id"], "split": row["split"]}),
            }
        )


def _pair_row(row: Mapping[str, Any], number: int, pair: Pair) -> dict[str, Any]:
    return {
        "pair_id": f"{row['document_id']}#{number}",
        "document_id": row["document_id"],
        "split": row["split"],
        "kind": pair.instruction.kind,
        "field": pair.instruction.field,
        "instruction": pair.instruction.text,
        "answer": to_json(pair.answer),
        "is_unanswerable": pair.is_unanswerable,
    }


def _files(corpus: Dataset, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Contents by sha256 of the documents' files that are there; only row groups that hold one are read."""
    wanted = pc.field("sha256").isin(pa.array(sorted({row["sha256"] for row in rows}), type=pa.string()))
    found: dict[str, bytes] = {}
    if not corpus.has_table("blobs"):
        return found
    for fragment in corpus.scan("blobs").get_fragments():
        for group in fragment.split_by_row_group():
            if group.count_rows(filter=wanted):
                table = group.to_table(columns=["sha256", "content"], filter=wanted)
                found |= dict(zip(*(table.column(name).to_pylist() for name in ("sha256", "content")), strict=True))
    return found
