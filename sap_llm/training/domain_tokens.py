"""The stage `domain_tokens`: SAP's texts and the words of training documents as token shards, and their tokenizer.

Belongs here: which texts are learned from, which are held out to measure, where they are cut, and the dataset's tables.
The form of the shards is `text_shards`; the stage that learns from them is `domain`. Loads no torch.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from sap_llm.evaluation.corpus import documents_with_pages
from sap_llm.modeling.qwen import PAD, QwenShape, build_processor
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import QUARANTINE, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter
from sap_llm.training.text_shards import INDEX, EncodedText, write_shards

STAGE_VERSION = "1"
PROCESSOR = "processor"
TRAIN, SAP, DOCUMENTS, GENERAL = "train", "sap", "documents", "general"
MEASURED = (SAP, DOCUMENTS, GENERAL)
"""Splits that are never learned from: texts of SAP, documents of the domain, and text that is not of the domain."""
_SAP_SOURCE = "sap:"


class DomainTokensConfig(StageConfig):
    """`configs/<profile>/domain_tokens.yaml`."""

    shape: QwenShape = Field(default=QwenShape(), description="of the decoder that learns; bounds the vocabulary")
    base: str = Field(
        default="", description="folder of a released checkpoint whose tokenizer is taken; empty: one is trained"
    )
    longest: int = Field(default=2048, ge=8, description="tokens of one sequence; longer texts are cut")
    held_out_share: float = Field(default=0.05, gt=0, lt=1, description="of SAP's texts, only measured")
    general_classes: tuple[str, ...] = Field(
        default=("OTHER",), description="classes of documents that stand for general text; only measured"
    )
    tokenizer_texts: int = Field(default=50_000, ge=1, description="the tokenizer is trained on so many at most")
    shard_tokens: int = Field(default=4_000_000, ge=1, description="of one file, about")


@dataclass(frozen=True, kw_only=True)
class _Text:
    text_id: str
    source: str
    split: str
    text: str


def build_domain_tokens(
    context: StageContext,
    *,
    config: DomainTokensConfig,
    training_set: DatasetRef,
    knowledge: DatasetRef | None,
    release: str,
) -> BuildResult:
    """Make the shards.

    Files `shards/` and `processor/`; tables `index` (`text_shards.INDEX`) and `quarantine` (documents without words).

    Args:
        context: Store, clock and progress.
        config: Tokenizer, cuts and what is held out.
        training_set: Its documents give their words; those of split validation and test are only measured.
        knowledge: `sap_knowledge`; without it the documents alone are learned from.
        release: Name such as `r1`.

    Raises:
        ConfigurationError: There is nothing to learn from, or `base` holds no tokenizer.
    """
    inputs = {ref.name: ref for ref in (training_set, knowledge) if ref is not None}

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        maker = _Maker(context, config, training_set, knowledge)
        texts = maker.texts()
        learned = [one.text for one in texts if one.split == TRAIN]
        if not learned:
            raise ConfigurationError(
                "there is no text to learn from",
                where=str(training_set),
                remedy="Build sap_knowledge, or a larger set.",
            )
        source = Path(config.base) if config.base else learned[: config.tokenizer_texts]
        processor = build_processor(source, config.shape)
        processor.save_pretrained(writer.path(PROCESSOR))
        encoded = _encoded(texts, processor.tokenizer, config)
        shards = write_shards(writer.scratch, encoded, shard_tokens=config.shard_tokens)
        writer.write_table("index", shards, INDEX)
        writer.write_table("quarantine", conform(maker.quarantine, QUARANTINE), QUARANTINE)
        index = pq.read_table(writer.scratch / "index.parquet", columns=["source", "split", "tokens"])
        return _metrics(index, texts) | {"vocabulary": len(processor.tokenizer)}

    return build(
        context,
        name=f"domain_tokens/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs=inputs,
        produce=produce,
    )


@dataclass
class _Maker:
    context: StageContext
    config: DomainTokensConfig
    training_set: DatasetRef
    knowledge: DatasetRef | None
    quarantine: list[dict[str, Any]] = field(default_factory=list)

    def texts(self) -> list[_Text]:
        """All texts, in an order that follows from the seed and their ids, so that shards are mixed."""
        found = [*self._of_sap(), *self._of_documents()]
        return sorted(found, key=lambda one: (_draw(self.config, one.text_id), one.text_id))

    def _of_sap(self) -> Iterator[_Text]:
        if self.knowledge is None:
            return
        rows = self.context.store.open(self.knowledge).table("corpus", columns=["text_id", "kind", "text"])
        for row in rows.to_pylist():
            is_held_out = _draw(self.config, f"held out:{row['text_id']}") < self.config.held_out_share
            split = SAP if is_held_out else TRAIN
            yield _Text(text_id=row["text_id"], source=_SAP_SOURCE + row["kind"], split=split, text=row["text"])

    def _of_documents(self) -> Iterator[_Text]:
        dataset = self.context.store.open(self.training_set)
        documents = dataset.table("documents")
        corpora = {role: ref for role, ref in dataset.manifest.inputs.items() if "annotated_docs/" not in role}
        done = 0
        for rows, pages in documents_with_pages(self.context.store, documents, corpora, size=256):
            for row, own in zip(rows, pages, strict=True):
                text = "\n\n".join(page.text() for page in own).strip()
                if not text:
                    self._set_aside(row)
                    continue
                yield _Text(text_id=row["document_id"], source=row["source"], split=self._split(row), text=text)
            done += len(rows)
            self.context.progress("reading documents", done=done, total=documents.num_rows)

    def _split(self, row: Mapping[str, Any]) -> str:
        if row.get("document_type") in self.config.general_classes:
            return GENERAL
        return TRAIN if row["split"] == TRAIN else DOCUMENTS

    def _set_aside(self, row: Mapping[str, Any]) -> None:
        self.quarantine.append(
            {
                "record": row["document_id"],
                "source": row["input"],
                "reason": "no_words",
                "detail": f"{row['document_id']}: no page of it has words; read the file again.",
            }
        )


def _encoded(texts: Iterable[_Text], tokenizer: Any, config: DomainTokensConfig) -> Iterator[EncodedText]:
    """Token ids with the end of text behind each text; what is longer comes in several sequences."""
    end = tokenizer.convert_tokens_to_ids(PAD)
    for one in texts:
        tokens = [*tokenizer(one.text, add_special_tokens=False).input_ids, end]
        for part, start in enumerate(range(0, len(tokens), config.longest)):
            piece = tokens[start : start + config.longest]
            if len(piece) > 1:  # a single token predicts nothing
                name = one.text_id if len(tokens) <= config.longest else f"{one.text_id}#{part}"
                yield EncodedText(text_id=name, source=one.source, split=one.split, tokens=piece)


def _draw(config: DomainTokensConfig, name: str) -> float:
    """A number in 0..1 that is the name's own under this seed."""
    return int.from_bytes(hashlib.sha256(f"{config.seed}:{name}".encode()).digest()[:8], "big") / 2**64


def _metrics(index: pa.Table, texts: list[_Text]) -> dict[str, Any]:
    tokens: Counter[str] = Counter()
    for row in index.to_pylist():
        tokens[row["split"]] += row["tokens"]
        if row["split"] == TRAIN:
            tokens["train_sap" if row["source"].startswith(_SAP_SOURCE) else "train_documents"] += row["tokens"]
    characters = sum(len(one.text) for one in texts)
    total = sum(tokens[split] for split in (TRAIN, *MEASURED))
    return {f"tokens_{split}": tokens[split] for split in (TRAIN, "train_sap", "train_documents", *MEASURED)} | {
        "texts": len(texts),
        "characters_per_token": round(characters / max(1, total), 3),
    }
