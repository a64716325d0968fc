"""The stage `synthetic_docs`: business facts to documents as corpus tables, by one of two tiers.

Configuration, the choice of the tier, the worker processes and the build function belong here; composing and
typesetting do not (`layouts`, `typeset`), nor writing PDF content directly (`volume`). The result does not depend on
the number of workers.
"""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pyarrow import feather
from pydantic import Field, field_validator
from pydantic_core import from_json

from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import CORPUS, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter
from sap_llm.synthetic.card import PAGES, REPORT, card, picture
from sap_llm.synthetic.classes import trade_classes
from sap_llm.synthetic.composition import composed, known_names
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.layouts import compose
from sap_llm.synthetic.papers_draft import PaperDraft
from sap_llm.synthetic.papers_values import PAPER_TYPES
from sap_llm.synthetic.rows import corpus_rows
from sap_llm.synthetic.style import TEST_STYLES, Style
from sap_llm.synthetic.typeset import overprinted, typeset
from sap_llm.synthetic.volume.document import Job, draw_facts
from sap_llm.synthetic.workers import in_order, rare_collections

STAGE_VERSION = "11"
_DOCUMENTS_A_PART = 64
_TIERS = "tiers.json"  # of a part: its documents by tier
_SCALES = (1.0, 0.86, 0.74)  # a page that is overprinted is set smaller before it is given up


class SyntheticDocsConfig(StageConfig):
    """Values of the stage `synthetic_docs`."""

    workers: int = Field(ge=1)
    test_layout_share: float = Field(ge=0, le=1)
    untitled_share: float = Field(ge=0, le=1)
    """Share of documents whose title is missing or misleading."""
    foreign_language_share: float = Field(ge=0, le=1)
    """Share of layouts that speak English although the issuer's language is another."""
    tier: Literal["typeset", "volume", "mixed"] = "typeset"
    """Typst for real typesetting, direct PDF content for volume, or a share of layouts by each."""
    volume_share: float = Field(default=0.5, ge=0, le=1)
    """Share of layouts that the volume tier sets where the tier is `mixed`."""
    documents_per_world: dict[str, float] = Field(default_factory=dict)
    """Documents a world by class or `CLASS.SUBTYPE`, of the facts that there are; empty: all of them."""

    @field_validator("documents_per_world")
    @classmethod
    def _known(cls, composition: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(composition) - known_names()):
            raise ValueError(f"the taxonomy has no {', '.join(unknown)}")
        return composition


def is_test_world(number: int, share: float) -> bool:
    """Whether all issuers of a world use reserved test layouts; spread evenly over the numbers."""
    return int((number + 1) * share + 0.5) > int(number * share + 0.5)


def build_synthetic_docs(
    context: StageContext, *, config: SyntheticDocsConfig, facts: DatasetRef, seed_range: str
) -> BuildResult:
    """Build `synthetic_docs/<seed_range>`: the corpus tables of all documents in `facts`."""

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        order = [(name, "ascending") for name in ("world_number", "issuer", "document_type", "document_id")]
        rows = composed(context.store.open(facts).table("facts"), config.documents_per_world)
        rows = rows.sort_by(order)  # documents of a layout are near each other
        parts = [rows.slice(start, _DOCUMENTS_A_PART) for start in range(0, rows.num_rows, _DOCUMENTS_A_PART)]
        with tempfile.TemporaryDirectory(prefix="sap_llm_typeset_") as folder:
            for done in _run(parts, config, Path(folder)):
                context.progress(
                    "synthetic documents", done=min(done * _DOCUMENTS_A_PART, rows.num_rows), total=rows.num_rows
                )
            counts = {
                name: writer.write_table(name, _read(Path(folder), name), schema) for name, schema in CORPUS.items()
            }
            documents = pa.concat_tables([*_read(Path(folder), "documents")])
            _describe(writer, f"synthetic_docs/{seed_range}", documents, Path(folder))
        return _metrics(documents, counts)

    return build(
        context,
        name=f"synthetic_docs/{seed_range}",
        stage_version=STAGE_VERSION,
        config=config.model_copy(update={"workers": 1}),  # how many work is no part of what is made
        inputs={"facts": facts},
        produce=produce,
    )


def _describe(writer: DatasetWriter, name: str, documents: pa.Table, folder: Path) -> None:
    """The card of the dataset and its picture."""
    reasons: Counter[str] = Counter()
    for part in _read(folder, "quarantine"):
        reasons.update(part.column("reason").to_pylist())
    tiers: Counter[str] = Counter()
    for path in folder.glob(f"*.{_TIERS}"):
        tiers.update(json.loads(path.read_text(encoding="utf-8")))
    writer.path(REPORT).write_text(card(name, documents, reasons, tiers), encoding="utf-8")
    if sheet := picture(documents, partial(_read, folder)):
        writer.path(PAGES).write_bytes(sheet)


def _metrics(documents: pa.Table, counts: Mapping[str, int]) -> dict[str, Any]:
    layouts = set(documents.column("layout").to_pylist())
    tested = documents.column("is_test_layout").to_pylist()
    metrics: dict[str, Any] = {
        "documents": counts["documents"],
        "pages": counts["pages"],
        "quarantined": counts["quarantine"],
        "layouts": len(layouts),
        "test_layout_share": round(sum(tested) / max(1, len(tested)), 4),
    }
    for column in ("language", "document_type"):
        for entry in documents.column(column).value_counts().to_pylist():
            metrics[f"documents_{entry['values'].lower()}"] = entry["counts"]
    return metrics


def _run(parts: list[pa.Table], config: SyntheticDocsConfig, folder: Path) -> Iterator[int]:
    """Typeset all parts into files of `folder`; yields the number of finished parts."""
    work = partial(typeset_part, config=config, folder=folder)
    numbered = ((index, part.to_pylist()) for index, part in enumerate(parts))
    with closing(in_order(work, numbered, workers=min(config.workers, max(1, len(parts))))) as finished:
        for done, _ in enumerate(finished, start=1):
            yield done


def _read(folder: Path, name: str) -> Iterator[pa.Table]:
    for path in sorted(folder.glob(f"*.{name}.arrow")):
        yield feather.read_table(path, memory_map=False)


def typeset_part(part: tuple[int, list[dict[str, Any]]], *, config: SyntheticDocsConfig, folder: Path) -> None:
    """Typeset the facts of a numbered part into one file a table (runs in a worker process)."""
    index, facts = part
    tables, tiers = make_documents(facts, config)
    (folder / f"{index:07d}.{_TIERS}").write_text(json.dumps(tiers), encoding="utf-8")
    for name, table in tables.items():
        feather.write_feather(table, folder / f"{index:07d}.{name}.arrow", compression="uncompressed")


def make_documents(
    facts: Sequence[Mapping[str, Any]], config: SyntheticDocsConfig
) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """Corpus tables of facts, each by the tier of its layout, and how many documents either tier made.

    What the volume tier cannot draw (special papers, values without room in the layout) is typeset and stands behind
    what it can; a document that cannot be made becomes a quarantine row.
    """
    tables, rest = _drawn(facts, config)
    count = tables["documents"].num_rows
    if rest:
        made = [typeset_fact(fact, config) for fact in rest]
        for name, schema in CORPUS.items():
            more = conform([row for rows in made for row in rows.get(name, ())], schema)
            tables[name] = pa.concat_tables([tables[name], more])
    return tables, {"volume": count, "typeset": tables["documents"].num_rows - count}


@rare_collections()
def _drawn(
    facts: Sequence[Mapping[str, Any]], config: SyntheticDocsConfig
) -> tuple[dict[str, pa.Table], list[Mapping[str, Any]]]:
    """Corpus tables of what the volume tier draws of some facts, and the facts that it leaves."""
    jobs = [_job(fact, config) for fact in facts]
    drawn, refused = draw_facts([job for job in jobs if job])
    return drawn, [fact for fact, job in zip(facts, jobs, strict=True) if job is None or job in refused]


def make_document(fact: Mapping[str, Any], config: SyntheticDocsConfig) -> dict[str, list[dict[str, Any]]]:
    """Corpus rows of one fact by the tier of its layout; a document that cannot be made becomes a quarantine row."""
    job = _job(fact, config)
    if job:
        tables, refused = draw_facts([job])
        if not refused:
            return {name: table.to_pylist() for name, table in tables.items()}
    return typeset_fact(fact, config)


def _job(fact: Mapping[str, Any], config: SyntheticDocsConfig) -> Job | None:
    """The document for the volume tier, where that is its layout's and knows its class."""
    if config.tier == "typeset" or fact["document_type"] not in trade_classes():
        return None
    payload = from_json(fact["payload"])
    style = issuer_style(fact, payload, config)
    if config.tier == "mixed" and not _is_volume(config.seed, style.seed, config.volume_share):
        return None
    return Job(fact, payload, style, seed=config.seed, untitled_share=config.untitled_share)


@lru_cache(maxsize=4096)
def _is_volume(seed: int, layout: str, share: float) -> bool:
    """Whether the volume tier sets a layout: all its documents come by one tier."""
    return random.Random(f"tier/{seed}/{layout}").random() < share


def typeset_fact(fact: Mapping[str, Any], config: SyntheticDocsConfig) -> dict[str, list[dict[str, Any]]]:
    """Corpus rows of one fact; a document that cannot be typeset becomes a quarantine row."""
    faults: list[str] = []
    for scale in _SCALES:
        draft = make_draft(fact, config, scale=scale)
        try:
            done = typeset(compose(draft))
        except RuntimeError as error:  # typst.TypstError; one bad document must not stop the run
            return {"quarantine": [_quarantined(fact, "typesetting_failed", str(error)[:500])]}
        faults = overprinted(draft.sheet.marks, done)
        if not faults:
            break
    else:
        return {
            "quarantine": [
                _quarantined(fact, "overprinted", f"Values are illegible in layout {draft.style.seed}: {faults[:3]}.")
            ]
        }
    return corpus_rows(
        fact, lines=draft.facts["lines"], marks=draft.sheet.marks, done=done, layout=draft.style.seed,
        is_test=draft.style.is_test, language=draft.style.language,
    )  # fmt: skip


def make_draft(fact: Mapping[str, Any], config: SyntheticDocsConfig, *, scale: float = 1.0) -> Draft:
    """The empty draft of a fact: its style by issuer, its random stream by document."""
    rng = random.Random(f"document/{config.seed}/{fact['document_id']}")
    payload = json.loads(fact["payload"])
    draft = (PaperDraft if fact["document_type"] in PAPER_TYPES else Draft)(
        kind=fact["document_type"],
        subtype=fact["document_subtype"],
        facts=payload,
        currency=fact["currency"],
        style=issuer_style(fact, payload, config),
        rng=rng,
        issuer_role="seller" if payload["seller"]["key"] == fact["issuer"] else "buyer",
        scale=scale,
    )
    draft.is_titled = rng.random() >= config.untitled_share
    return draft


def issuer_style(fact: Mapping[str, Any], payload: Mapping[str, Any], config: SyntheticDocsConfig) -> Style:
    """The style of the party that wrote the document; its kinds of document come from different systems."""
    roles = ("seller", "buyer", *([payload["issuer_role"]] if "issuer_role" in payload else []))
    party = next(party for role in roles if (party := payload[role])["key"] == fact["issuer"])
    return _style(
        f"{config.seed}/{fact['world']}/{fact['issuer']}/{fact['document_type']}",
        fact["language"],
        party["country"],
        is_test_world(fact["world_number"], config.test_layout_share),
        config.foreign_language_share,
    )


@lru_cache(maxsize=1024)
def _style(key: str, language: str, country: str, is_test: bool, foreign_language_share: float) -> Style:
    """One for each class: a choice may have other options there, and must not depend on which class asked first."""
    rng = random.Random(f"issuer/{key}")
    if rng.random() < foreign_language_share:
        language = "en"
    seed = rng.choice(TEST_STYLES) if is_test else f"train-{key}"
    return Style(seed=seed, language=language, country=country, is_test=is_test)


def _quarantined(fact: Mapping[str, Any], reason: str, detail: str) -> dict[str, Any]:
    return {
        "record": fact["document_id"],
        "source": f"business_facts {fact['world']}",
        "field": None,
        "reason": reason,
        "detail": f"{detail} The document was left out; its facts are in the payload.",
        "payload": fact["payload"],
    }
