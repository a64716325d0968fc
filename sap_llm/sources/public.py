"""The stage `public_docs`: public corpora of real documents as corpus tables, one dataset a corpus.

Belongs here: which corpora there are, their roles, and what all readers share: joining truth to words, language,
groups. How a corpus lies on disk is its reader's module; the Hugging Face hub is `hub`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sap_llm.reading.language import detect_language
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.sources.alignment import align
from sap_llm.sources.corpus import Fault, SourceDocument, document_id, write_corpus
from sap_llm.sources.families import families, hash_text
from sap_llm.sources.funsd import read_funsd
from sap_llm.sources.hub import HUB_CORPORA, read_hub
from sap_llm.sources.invoice2data import read_invoice2data
from sap_llm.sources.reader import Read, Reader, ReaderContext
from sap_llm.sources.sroie import read_sroie
from sap_llm.sources.zugferd import read_zugferd
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "4"
_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus that the house knows.

    Attributes:
        reader: Yields its documents.
        role: train or test_only; of a train corpus a share of the groups becomes develop.
        folder: Name of its folder in a collection of corpora.
    """

    reader: Reader
    role: str
    folder: str


CORPORA: dict[str, Corpus] = {
    "zugferd": Corpus(reader=read_zugferd, role="test_only", folder="zugferd-corpus"),
    "order-x": Corpus(reader=read_zugferd, role="test_only", folder="order-x"),
    "invoice2data": Corpus(reader=read_invoice2data, role="test_only", folder="invoice2data"),
    "funsd": Corpus(reader=read_funsd, role="test_only", folder="funsd"),
    "sroie": Corpus(reader=read_sroie, role="train", folder="sroie"),
    **{name: Corpus(reader=read_hub(name), role=entry.role, folder=name) for name, entry in HUB_CORPORA.items()},
}
"""Every corpus by the name that its dataset and `documents.source` carry."""


class PublicDocsConfig(StageConfig):
    """Configuration of `public_docs`."""

    max_documents: int = 0  # of one corpus, 0 for all
    max_pages: int = 20
    timeout_seconds: float = 60.0  # for reading one file
    memory_bytes: int = 4 * 2**30  # of the reader process
    exclude_folders: tuple[str, ...] = ("fail",)
    min_printed_share: float = 0.5  # of header values; below, the truth is about another document
    develop_share: float = 0.2  # of the groups of a train corpus


def available_corpora(folder: Path) -> list[str]:
    """Corpora whose folder lies in `folder`, a collection such as the one that `make demo DOCUMENTS=` names."""
    return [name for name, corpus in CORPORA.items() if name not in HUB_CORPORA and (folder / corpus.folder).is_dir()]


def build_public_docs(
    context: StageContext, *, config: PublicDocsConfig, corpus: str, folder: Path | None
) -> BuildResult:
    """Read one corpus into the dataset `public_docs/<corpus>`.

    Args:
        context: Store, clock and progress.
        config: Limits and shares.
        corpus: A key of `CORPORA`.
        folder: The corpus' folder, or the collection that holds it. None lets a hub corpus download itself.

    Raises:
        ConfigurationError: No such corpus.
        SourceError: The folder does not exist or holds no document.
    """
    entry = CORPORA.get(corpus)
    if entry is None:
        raise ConfigurationError(f"no corpus {corpus!r}.", where="public_docs", remedy=f"Known: {', '.join(CORPORA)}.")
    place = _place(corpus, entry, folder)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        with Sandbox(timeout_seconds=config.timeout_seconds, memory_bytes=config.memory_bytes) as sandbox:
            reader = ReaderContext(
                folder=place, sandbox=sandbox, max_pages=config.max_pages, exclude_folders=config.exclude_folders
            )
            records = list(_limited(entry.reader(reader), config.max_documents, context, corpus))
        joined = _joined(records, corpus, entry.role, config)
        metrics = write_corpus(writer, joined, now=context.clock.now()).as_dict()
        if not metrics["documents"] and not metrics["quarantined"]:
            raise SourceError("no document found.", where=str(place), remedy=f"Check that it is the {corpus} corpus.")
        return metrics

    return build(
        context,
        name=f"public_docs/{corpus}",
        stage_version=STAGE_VERSION,
        config=config,
        fingerprint={"corpus": fingerprint(place) if place != Path() else corpus},
        produce=produce,
    )


def fingerprint(folder: Path) -> str:
    """Identity of a folder's files: names, sizes and content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0{content}\n".encode())
    return digest.hexdigest()


def _place(corpus: str, entry: Corpus, folder: Path | None) -> Path:
    if folder is None:
        if corpus in HUB_CORPORA:
            return Path()
        raise SourceError(
            f"the corpus {corpus} needs a folder.", where="public_docs", remedy="Give DOCUMENTS=<folder>."
        )
    inner = folder / entry.folder
    place = inner if inner.is_dir() else folder
    if not place.is_dir():
        raise SourceError("no such folder.", where=str(folder), remedy=f"Name the folder of the {corpus} corpus.")
    return place


def _limited(records: Iterator[Read | Fault], limit: int, context: StageContext, corpus: str) -> Iterator[Read | Fault]:
    documents = 0
    for record in records:
        documents += isinstance(record, Read)
        if limit and documents > limit:
            return
        if documents and documents % 50 == 0:
            context.progress(f"public_docs/{corpus}", done=documents)
        yield record


def _joined(
    records: list[Read | Fault], corpus: str, role: str, config: PublicDocsConfig
) -> Iterable[SourceDocument | Fault]:
    """Documents with aligned truth and groups; those that their truth does not describe become faults."""
    documents: list[SourceDocument] = []
    for record in records:
        if isinstance(record, Fault):
            yield record
            continue
        document = _document(record, corpus)
        fault = _mismatch(document, config.min_printed_share)
        if fault is None:
            documents.append(document)
        else:
            yield fault
    found = families([(item.name, item.vendor, item.pages[0]) for item in documents], prefix=corpus)
    for document, family in zip(documents, found, strict=True):
        yield replace(
            document,
            layout=family.template,
            split_group=family.group,
            role=_role(role, family.group, config.develop_share),
        )


def _document(read: Read, corpus: str) -> SourceDocument:
    language = read.language or detect_language(word for page in read.pages for word in page.words)
    return SourceDocument(
        document_id=document_id(corpus, read.key),
        name=read.name,
        source=corpus,
        role="",
        content=read.content,
        media_type=read.media_type,
        pages=read.pages,
        truth=read.truth,
        aligned=align(read.pages, read.truth, language=language),
        language=language,
        quality=read.quality,
        vendor=read.vendor or read.truth.header.get("seller_name"),
        licence=read.licence,
        event_time=read.event_time,
        blobs=read.blobs,
    )


def _mismatch(document: SourceDocument, share: float) -> Fault | None:
    fields = document.aligned.fields
    printed = sum(field["printed"] is not None for field in fields)
    if printed >= share * len(fields):
        return None
    return Fault(
        record=document.document_id,
        source=document.name,
        reason="truth_mismatch",
        detail=f"Only {printed} of {len(fields)} true header values are printed: the truth describes another document.",
        payload=document.truth.header,
    )


def _role(role: str, group: str, develop_share: float) -> str:
    """A stable share of the groups of a training corpus is for development."""
    if role != "train" or hash_text(group) % _PERCENT >= develop_share * _PERCENT:
        return role
    return "develop"
