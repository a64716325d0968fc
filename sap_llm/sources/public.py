"""The stage `public_docs`: public corpora of real documents as corpus tables, one dataset a corpus.

Belongs here: which reader reads which corpus, and what all readers share: joining truth to words, language, groups,
filters, the card. What is known of a corpus is `corpora.yaml`; how it lies on disk is its reader's module.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from sap_llm.reading.language import detect_language
from sap_llm.reading.near_duplicates import SIGNATURES, Signatures, signatures, write_signatures
from sap_llm.reading.sandbox import Sandbox
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.sources.alignment import align
from sap_llm.sources.card import PAGES, card, picture
from sap_llm.sources.catalogue import CorpusFacts, catalogue
from sap_llm.sources.corpus import Fault, SourceDocument, document_id, without_duplicates, write_corpus
from sap_llm.sources.einvoice_files import read_xml_folder
from sap_llm.sources.families import Member, families, hash_text, near_duplicate_groups
from sap_llm.sources.filters import DocumentFilters, refusal
from sap_llm.sources.funsd import read_funsd
from sap_llm.sources.hub import HUB_CORPORA, read_hub
from sap_llm.sources.invoice2data import read_invoice2data
from sap_llm.sources.reader import Read, Reader, ReaderContext
from sap_llm.sources.sroie import read_sroie
from sap_llm.sources.zugferd import read_zugferd
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "6"
REPORT = "report.md"
_PERCENT = 100

READERS: dict[str, Reader] = {
    "zugferd": read_zugferd,
    "order-x": read_zugferd,
    "invoice2data": read_invoice2data,
    "funsd": read_funsd,
    "sroie": read_sroie,
    "xrechnung": read_xml_folder,
    "en16931": read_xml_folder,
    "peppol-billing": read_xml_folder,
    "peppol-ordering": read_xml_folder,
    "peppol-logistics": read_xml_folder,
    **{name: read_hub(name) for name in HUB_CORPORA},
}
"""The reader of every corpus of the catalogue."""


class PublicDocsConfig(StageConfig):
    """Configuration of `public_docs`."""

    max_documents: int = 0  # of one corpus, 0 for all
    max_pages: int = 20  # read of one document
    timeout_seconds: float = 60.0  # for reading one file
    memory_bytes: int = 4 * 2**30  # of the reader process
    exclude_folders: tuple[str, ...] = ("fail",)
    develop_share: float = 0.2  # of the groups of a train corpus
    filters: DocumentFilters = Field(default=DocumentFilters())


def available_corpora(folder: Path) -> list[str]:
    """Corpora whose folder lies in `folder`, a collection such as the one that `make demo DOCUMENTS=` names."""
    return [name for name, facts in catalogue().items() if (folder / facts.folder).is_dir()]


def build_public_docs(
    context: StageContext, *, config: PublicDocsConfig, corpus: str, folder: Path | None
) -> BuildResult:
    """Read one corpus into the dataset `public_docs/<corpus>`.

    Args:
        context: Store, clock and progress.
        config: Limits and shares.
        corpus: Name of a corpus of the catalogue.
        folder: The corpus' folder, or the collection that holds it. None lets a hub corpus download itself.

    Raises:
        ConfigurationError: No such corpus.
        SourceError: The folder does not exist or holds no document.
    """
    facts = catalogue().get(corpus)
    if facts is None:
        raise ConfigurationError(f"no corpus {corpus!r}.", where="public_docs", remedy=f"Known: {', '.join(READERS)}.")
    place = _place(corpus, facts, folder)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        with Sandbox(timeout_seconds=config.timeout_seconds, memory_bytes=config.memory_bytes) as sandbox:
            reader = ReaderContext(
                folder=place, sandbox=sandbox, max_pages=config.max_pages, exclude_folders=config.exclude_folders
            )
            records = list(_limited(READERS[corpus](reader), config.max_documents, context, corpus))
        if not records:
            raise SourceError("no document found.", where=str(place), remedy=f"Check that it is the {corpus} corpus.")
        joined = list(without_duplicates(_joined(records, corpus, facts, config)))
        metrics = write_corpus(writer, joined, now=context.clock.now()).as_dict()
        documents = [record for record in joined if isinstance(record, SourceDocument)]
        _describe(writer, corpus, facts, documents, [record for record in joined if isinstance(record, Fault)])
        return {"read": len(joined), **metrics, "groups": len({document.split_group for document in documents})}

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


def _place(corpus: str, facts: CorpusFacts, folder: Path | None) -> Path:
    if folder is None:
        if corpus in HUB_CORPORA:
            return Path()
        raise SourceError(
            f"the corpus {corpus} needs a folder.", where="public_docs", remedy="Give DOCUMENTS=<folder>."
        )
    inner = folder / facts.folder
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
    records: list[Read | Fault], corpus: str, facts: CorpusFacts, config: PublicDocsConfig
) -> Iterable[SourceDocument | Fault]:
    """Documents with aligned truth and groups; those that a filter refuses become faults."""
    documents: list[SourceDocument] = []
    for record in records:
        if isinstance(record, Fault):
            yield record
            continue
        document = _document(record, corpus, facts)
        fault = refusal(document, config.filters)
        if fault is None:
            documents.append(document)
        else:
            yield fault
    members = [
        Member(
            name=document.name,
            vendor=document.vendor,
            page=document.pages[0] if document.pages else None,
        )
        for document in documents
    ]
    for document, family in zip(documents, families(members, _signatures(documents), prefix=corpus), strict=True):
        yield replace(
            document,
            layout=family.template,
            split_group=family.group,
            role=_role(facts.role, family.group, config.develop_share),
        )


def _document(read: Read, corpus: str, facts: CorpusFacts) -> SourceDocument:
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
        licence=facts.licence,
        event_time=read.event_time,
        blobs=read.blobs,
    )


def _signatures(documents: Iterable[SourceDocument]) -> Signatures:
    return signatures([document.pages[0].words if document.pages else [] for document in documents])


def _describe(
    writer: DatasetWriter, corpus: str, facts: CorpusFacts, documents: list[SourceDocument], faults: list[Fault]
) -> None:
    """What stands beside the tables: signatures for comparisons with other corpora, and the card with its picture."""
    ids = [document.document_id for document in documents]
    matrix = _signatures(documents)
    write_signatures(writer.path(SIGNATURES), ids, matrix)
    text = card(corpus, facts, documents, faults, near_duplicates=near_duplicate_groups(matrix))
    writer.path(REPORT).write_text(text, encoding="utf-8")
    if sheet := picture(documents):
        writer.path(PAGES).write_bytes(sheet)


def _role(role: str, group: str, develop_share: float) -> str:
    """A stable share of the groups of a training corpus is for development."""
    if role != "train" or hash_text(group) % _PERCENT >= develop_share * _PERCENT:
        return role
    return "develop"
