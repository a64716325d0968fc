"""The stage `sap_knowledge`: what SAP's services and documentation say about fields, as tables, texts and a report.

Belongs here: configuration, where documents are looked for, counting. Reading one document is `edmx` and `help_html`,
downloading `metadata_fetch`, matching with the taxonomy `taxonomy_match` and `help_pages`; the graph is written from
the finished dataset by `knowledge_graph`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.tables import QUARANTINE, conform
from sap_llm.schema.taxonomy import FieldSpec, load_taxonomy
from sap_llm.sources.corpus import Fault, sha256
from sap_llm.sources.edmx import EdmxError, parse_edmx
from sap_llm.sources.help_html import MAX_BYTES as MAX_PAGE_BYTES
from sap_llm.sources.help_html import PageError, parse_html
from sap_llm.sources.help_pages import HELP_FIELDS, HELP_PAGES, FieldLinks, page_rows
from sap_llm.sources.knowledge_tables import CORPUS_TEXTS, SERVICE_TABLES, UNMATCHED, service_tables
from sap_llm.sources.knowledge_text import report
from sap_llm.sources.metadata_cache import MetadataCache
from sap_llm.sources.metadata_fetch import METADATA, PAGES, FetchConfig, Outcome, Wanted, fetch_documents
from sap_llm.sources.taxonomy_match import RULES, TaxonomyIndex, column, names_text, released_names
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter

STAGE_VERSION = "2"
REPORT = "report.md"
DATASET = "sap_knowledge"
_SUFFIX = ".edmx"  # the only one looked for among other documents, where .xml is an invoice
_OWN_SUFFIXES = (_SUFFIX, ".xml")
_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
_PROGRESS_EVERY = 25


class SapKnowledgeConfig(StageConfig):
    """`configs/<profile>/sap_knowledge.yaml`: where the documents are, and how servers are asked."""

    folder: str | None = Field(
        default=None, description="folder of $metadata files (.edmx, .xml) and pages (.html), below home"
    )
    urls: tuple[str, ...] = Field(default=(), description="addresses of $metadata, http or https")
    pages: tuple[str, ...] = Field(default=(), description="addresses of documentation pages, http or https")
    fetch: FetchConfig = FetchConfig()


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One document to read: its name in the tables and its content on disk."""

    name: str
    path: Path
    sha256: str
    is_page: bool = False
    content_type: str = ""


@dataclass(kw_only=True)
class _Sources:
    documents: list[_Source] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Names and content of what is read, and what could not be had; never when it was fetched."""
        parts = [
            sorted((item.name, item.sha256, item.is_page, item.content_type) for item in self.documents),
            sorted((fault.record, fault.reason, fault.detail) for fault in self.faults),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def available_metadata(folder: Path) -> list[Path]:
    """`$metadata` files in a collection of documents such as the one that `make demo DOCUMENTS=` names."""
    return sorted(path for path in folder.rglob(f"*{_SUFFIX}") if path.is_file())


def build_sap_knowledge(
    context: StageContext, *, config: SapKnowledgeConfig, home: Path, documents: Path | None, cache: Path
) -> BuildResult:
    """Read `$metadata` documents and pages of documentation into the dataset `sap_knowledge`.

    Args:
        context: Store, clock and progress.
        config: Folder, addresses and manners of fetching.
        home: What a relative folder is below.
        documents: Collection of documents whose `.edmx` files are read where the configuration names nothing.
        cache: Folder of downloaded documents.

    Returns:
        Tables `services`, `entity_types`, `properties`, `navigation`, `value_lists`, `corpus` (one text for each entity
        type and each section of a page), `matched` and `unmatched` (taxonomy fields), `help_pages`, `help_fields`,
        `quarantine`; `report.md`; metrics: services, entity_types, properties, labelled_share, matched_share (of all
        taxonomy fields), matched_sap_share (of those with SAP name), help_pages, help_fields, help_linked.

    Raises:
        ConfigurationError: Neither folder nor addresses are named and no document is there.
        SourceError: No document could be read.
    """
    sources = _sources(context, config, home=home, documents=documents, cache=cache)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        return _Knowledge(sources, config.fetch.max_bytes).write(writer, context)

    return build(
        context,
        name=DATASET,
        stage_version=STAGE_VERSION,
        config=config,
        fingerprint={
            "documents": sources.fingerprint(),
            "names": hashlib.sha256(names_text().encode()).hexdigest(),
        },
        produce=produce,
    )


def _sources(
    context: StageContext, config: SapKnowledgeConfig, *, home: Path, documents: Path | None, cache: Path
) -> _Sources:
    sources = _Sources()
    if config.folder is not None:
        folder = home / config.folder
        if not folder.is_dir():
            raise ConfigurationError(
                "no such folder", where=str(folder), remedy="Correct folder in sap_knowledge.yaml."
            )
        suffixes = _OWN_SUFFIXES + _PAGE_SUFFIXES
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
        _add_files(sources, folder, found, config.fetch.max_bytes)
    elif documents is not None and not config.urls:
        _add_files(sources, documents, available_metadata(documents), config.fetch.max_bytes)
    for urls, wanted in ((config.urls, METADATA), (config.pages, PAGES)):
        outcomes = fetch_documents(
            urls,
            wanted=wanted,
            cache=MetadataCache(cache, suffix=wanted.suffix),
            config=config.fetch,
            clock=context.clock,
            progress=context.progress,
        )
        _add_outcomes(sources, outcomes, wanted)
    if not sources.documents:
        raise _nothing(config, sources.faults)
    sources.documents.sort(key=lambda item: item.name)  # the order of addresses says nothing
    sources.faults.sort(key=lambda fault: fault.record)
    return sources


def _add_outcomes(sources: _Sources, outcomes: Sequence[Outcome], wanted: Wanted) -> None:
    for outcome in outcomes:
        if (document := outcome.document) is not None:
            sources.documents.append(
                _Source(
                    name=outcome.url,
                    path=document.path,
                    sha256=document.sha256,
                    is_page=wanted is PAGES,
                    content_type=document.content_type,
                )
            )
        if outcome.fault is not None:
            sources.faults.append(outcome.fault)


def _add_files(sources: _Sources, folder: Path, paths: Sequence[Path], max_bytes: int) -> None:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.stat().st_size > max_bytes:
            detail = f"The document has more than {max_bytes:,} bytes. Raise fetch.max_bytes, or leave it out."
            sources.faults.append(Fault(record=name, source=name, reason="too_large", detail=detail))
        else:
            is_page = path.suffix.lower() in _PAGE_SUFFIXES
            sources.documents.append(_Source(name=name, path=path, sha256=sha256(path.read_bytes()), is_page=is_page))


def _nothing(config: SapKnowledgeConfig, faults: Sequence[Fault]) -> ConfigurationError | SourceError:
    """Why there is nothing to read; an empty dataset would empty the graph and look like an answer."""
    if faults:
        first = faults[0]
        return SourceError(f"none of {len(faults)} documents could be had: {first.detail}", where=first.source)
    if config.folder is not None:
        return SourceError("no $metadata file (.edmx, .xml) and no page (.html) in the folder", where=config.folder)
    return ConfigurationError(
        "no SAP metadata to read",
        where=DATASET,
        remedy="Name folder, urls or pages in configs/<profile>/sap_knowledge.yaml or as overrides of the run, or put "
        ".edmx files below SAP_LLM_DOCUMENTS.",
    )


class _Knowledge:
    """Tables growing service by service."""

    def __init__(self, sources: _Sources, max_bytes: int) -> None:
        self._sources, self._max_bytes = sources, max_bytes
        self._faults = list(sources.faults)
        self._index = TaxonomyIndex(load_taxonomy().fields)
        self._tables: dict[str, list[pa.Table]] = {name: [] for name in SERVICE_TABLES}
        self._best: dict[str, str] = {}  # field -> strongest rule
        self._pages: list[dict[str, Any]] = []
        self._help_fields: list[dict[str, Any]] = []

    def write(self, writer: DatasetWriter, context: StageContext) -> Mapping[str, Any]:
        """All tables and the report; the metrics."""
        seen: dict[str, str] = {}
        total = len(self._sources.documents)
        links: FieldLinks | None = None
        for done, source in enumerate(sorted(self._sources.documents, key=lambda item: item.is_page), start=1):
            if self._is_known(source, seen):
                continue
            if source.is_page:  # the services come first: pages are linked to their properties
                links = links or self._links()
                self._read_page(source, links)
            else:
                self._read(source)
            if done % _PROGRESS_EVERY == 0 or done == total:
                context.progress(DATASET, done=done, total=total)
        if not self._tables["services"] and not self._pages:
            first = self._faults[0]
            raise SourceError(f"none of {total} documents could be read: {first.detail}", where=first.source)
        for name, schema in SERVICE_TABLES.items():
            writer.write_table(name, self._tables[name], schema)
        writer.write_table("help_pages", conform(self._pages, HELP_PAGES), HELP_PAGES)
        writer.write_table("help_fields", conform(self._help_fields, HELP_FIELDS), HELP_FIELDS)
        unmatched = [_unmatched(spec) for spec in self._index.fields if spec.name not in self._best]
        writer.write_table("unmatched", conform(unmatched, UNMATCHED), UNMATCHED)
        faults = [fault.row() for fault in self._faults]
        writer.write_table("quarantine", conform(faults, QUARANTINE), QUARANTINE)
        services = [row for table in self._tables["services"] for row in table.to_pylist()]
        metrics = self._metrics(writer.rows, services)
        by_rule = Counter(self._best.values())
        text = report(
            metrics=metrics,
            by_rule={rule: by_rule[rule] for rule in RULES},
            services=services,
            unmatched=unmatched,
            faults=faults,
        )
        writer.path(REPORT).write_text(text, encoding="utf-8")
        return metrics

    def _is_known(self, source: _Source, seen: dict[str, str]) -> bool:
        if source.sha256 not in seen:
            seen[source.sha256] = source.name
            return False
        detail = f"The same document as {seen[source.sha256]}. Remove one of the two."
        self._faults.append(Fault(record=source.name, source=source.name, reason="duplicate", detail=detail))
        return True

    def _links(self) -> FieldLinks:
        properties = (row for table in self._tables["properties"] for row in table.to_pylist())
        return FieldLinks(self._index.fields, properties)

    def _read_page(self, source: _Source, links: FieldLinks) -> None:
        most = min(self._max_bytes, MAX_PAGE_BYTES)
        try:
            page = parse_html(source.path.read_bytes(), content_type=source.content_type, max_bytes=most)
        except PageError as error:
            self._faults.append(Fault(record=source.name, source=source.name, reason=error.reason, detail=str(error)))
            return
        about, texts, fields = page_rows(source.name, source.sha256, page, links)
        self._pages.append(about)
        self._tables["corpus"].append(conform(texts, CORPUS_TEXTS))
        self._help_fields += fields

    def _read(self, source: _Source) -> None:
        try:
            service = parse_edmx(source.path.read_bytes(), max_bytes=self._max_bytes)
        except EdmxError as error:
            self._faults.append(Fault(record=source.name, source=source.name, reason=error.reason, detail=str(error)))
            return
        tables = service_tables(source.name, source.sha256, service, self._index)
        for name, table in tables.items():
            self._tables[name].append(table)
        for row in tables["matched"].select(["field", "rule"]).to_pylist():
            known = self._best.get(row["field"], RULES[-1])
            self._best[row["field"]] = min(known, row["rule"], key=RULES.index)

    def _metrics(self, rows: Mapping[str, int], services: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        fields = self._index.fields
        named = [spec for spec in fields if spec.sap is not None]
        labelled = sum(row["labelled"] for row in services)
        texts = (text for table in self._tables["corpus"] for text in table["text"].to_pylist())
        return {
            "services": rows["services"],
            "entity_types": rows["entity_types"],
            "properties": rows["properties"],
            "navigation": rows["navigation"],
            "value_lists": rows["value_lists"],
            "labelled_share": round(labelled / max(1, rows["properties"]), 4),
            "taxonomy_fields": len(fields),
            "unmatched": rows["unmatched"],
            "matched_share": round(len(self._best) / len(fields), 4),
            "matched_sap_share": round(sum(spec.name in self._best for spec in named) / len(named), 4),
            "help_pages": rows["help_pages"],
            "help_fields": rows["help_fields"],
            "help_linked": sum(bool(row["taxonomy_fields"] or row["properties"]) for row in self._help_fields),
            "corpus_words": sum(len(text.split()) for text in texts),
            "quarantined": rows["quarantine"],
        }


def _unmatched(spec: FieldSpec) -> dict[str, Any]:
    sought = [] if spec.sap is None else [column(spec.sap), *released_names(spec.sap)]
    return {
        "field": spec.name,
        "level": spec.level,
        "sap": spec.sap,
        "reason": "no_sap_name" if spec.sap is None else "no_property",
        "sought": sought,
        "description": spec.description,
    }
