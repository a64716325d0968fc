"""The stage `business_facts`: facts of all documents of a range of worlds, as one Arrow table.

The table's schema, the stage's configuration and its build function belong here; how facts come about does not
(`worlds`, `chains`), nor pages (`stage`).
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import groupby
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator

from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.tables import TIMESTAMP, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter
from sap_llm.synthetic.chains import make_chains
from sap_llm.synthetic.classes import class_spec, trade_classes
from sap_llm.synthetic.papers import papers_of
from sap_llm.synthetic.papers_values import PAPER_TYPES
from sap_llm.synthetic.records import Fact
from sap_llm.synthetic.subtypes import subtype_spec, subtype_weights
from sap_llm.synthetic.worlds import make_world

STAGE_VERSION = "5"
_WORLDS_A_BATCH = 20
_MILL = Decimal("0.001")

FACTS = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("world", pa.string(), nullable=False),
        pa.field("world_number", pa.int32(), nullable=False),
        pa.field("vendor", pa.string(), nullable=False),
        pa.field("issuer", pa.string(), nullable=False),  # party of the world whose layout the document has
        pa.field("document_type", pa.string(), nullable=False),
        pa.field("document_subtype", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("event_time", TIMESTAMP, nullable=False),  # document date
        pa.field("document_number", pa.string(), nullable=False),
        pa.field("total_amount", pa.decimal128(18, 3), nullable=False),
        pa.field("payload", pa.string(), nullable=False),  # JSON: parties, references, lines, sums
    ]
)
"""One row per document."""


class BusinessFactsConfig(StageConfig):
    """Values of the stage `business_facts`."""

    chains_per_world: int = Field(ge=1)
    """Purchases of a world: an order with all that belongs to it."""
    sales_per_world: int = Field(default=2, ge=0)
    order_subtypes: dict[str, float] = Field(default_factory=dict)
    """How often each subtype of purchase orders is made; empty for the weights of data/subtypes.yaml."""
    invoice_subtypes: dict[str, float] = Field(default_factory=dict)
    """Likewise for supplier invoices."""
    lines_max: int = Field(ge=1, le=200)
    papers: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, description="chance by class that a chain has such a paper beside its trade documents"
    )

    @field_validator("papers")
    @classmethod
    def _known(cls, papers: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(papers) - set(PAPER_TYPES)):
            raise ValueError(f"{', '.join(unknown)} are no classes of papers; there are {', '.join(PAPER_TYPES)}")
        return papers

    @field_validator("order_subtypes", "invoice_subtypes")
    @classmethod
    def _made(cls, weights: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """Only subtypes that chains make, and some of them often."""
        made = subtype_weights("PURCHASE_ORDER" if info.field_name == "order_subtypes" else "SUPPLIER_INVOICE")
        if unknown := sorted(set(weights) - set(made)):
            raise ValueError(f"no chain makes {', '.join(unknown)}; choose from {', '.join(made)}")
        if weights and not any(weights.values()):
            raise ValueError("all weights are zero")
        return weights


def parse_range(seed_range: str) -> range:
    """World numbers of `0000-0049` (both ends included).

    Raises:
        ConfigurationError: The text is not two numbers in order.
    """
    first, separator, last = seed_range.partition("-")
    if not (separator and first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise ConfigurationError(
            f"{seed_range!r} is not a range of worlds", where="seed_range", remedy="Write it as 0000-0049."
        )
    return range(int(first), int(last) + 1)


def build_business_facts(context: StageContext, *, config: BusinessFactsConfig, seed_range: str) -> BuildResult:
    """Build `business_facts/<seed_range>`: the table `facts` (schema `FACTS`)."""
    worlds = parse_range(seed_range)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        counts: dict[str, int] = {}

        def batches() -> Iterator[pa.Table]:
            for start in range(worlds.start, worlds.stop, _WORLDS_A_BATCH):
                part = range(start, min(start + _WORLDS_A_BATCH, worlds.stop))
                rows = [row for number in part for row in fact_rows(number, config)]
                for row in rows:
                    counts[row["document_type"]] = counts.get(row["document_type"], 0) + 1
                context.progress("business facts", done=part.stop - worlds.start, total=len(worlds))
                yield conform(rows, FACTS)

        documents = writer.write_table("facts", batches(), FACTS)
        return {"documents": documents, "worlds": len(worlds)} | {
            f"documents_{key.lower()}": n for key, n in counts.items()
        }

    return build(
        context,
        name=f"business_facts/{seed_range}",
        stage_version=STAGE_VERSION,
        config=config,
        produce=produce,
    )


def fact_rows(number: int, config: BusinessFactsConfig) -> Iterator[dict[str, Any]]:
    """Rows of `FACTS` of one world."""
    world = make_world(config.seed, number)
    facts = list(make_chains(
        world, seed=config.seed, count=config.chains_per_world, lines_max=config.lines_max,
        sales=config.sales_per_world, order_subtypes=config.order_subtypes, invoice_subtypes=config.invoice_subtypes,
    ))  # fmt: skip
    for _, documents in groupby(facts, key=lambda fact: fact.chain):
        chain = list(documents)
        papers = papers_of(world, chain, others=facts, seed=config.seed, chances=config.papers)
        for fact in (*chain, *papers):
            yield _row(fact, number)


def _row(fact: Fact, number: int) -> dict[str, Any]:
    return {
        "document_id": fact.document_id,
        "chain": fact.chain,
        "world": fact.world,
        "world_number": number,
        "vendor": fact.vendor,
        "issuer": fact.issuer,
        "document_type": fact.document_type,
        "document_subtype": fact.document_subtype,
        "language": fact.language,
        "currency": fact.currency,
        "event_time": datetime.combine(fact.document_date, time(), tzinfo=UTC),
        "document_number": fact.payload["document_number"],
        "total_amount": Decimal(fact.payload["total_amount"]).quantize(_MILL),
        "payload": json.dumps(
            fact.payload | {"document_type_code": _type_code(fact)}, ensure_ascii=False, sort_keys=True
        ),
    }


def _type_code(fact: Fact) -> str:
    """Code of the document in UNTDID 1001: that of its subtype or its class; empty where the list has none."""
    if fact.document_type not in trade_classes():
        return ""
    return subtype_spec(fact.document_type, fact.document_subtype).type_code or class_spec(fact.document_type).type_code
