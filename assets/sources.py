"""Stage 01, sources: exports of QorSync, public corpora and SAP's API metadata, and the systems that they come from.

Belongs here: assets that read from outside the house. Readers and truth are `sap_llm.sources`.
"""

import dagster as dg

from resources.columns import CORPUS_COLUMNS, SERVICE_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import corpus, month
from resources.results import materialized
from resources.retries import WHEN_SERVERS_FAIL
from resources.stage_run import StageRunConfig
from sap_llm.sources.knowledge import SapKnowledgeConfig, build_sap_knowledge
from sap_llm.sources.knowledge_graph import write_knowledge_graph
from sap_llm.sources.public import PublicDocsConfig, build_public_docs
from sap_llm.sources.qorsync import RawExportsConfig, build_raw_exports

_KNOWLEDGE_HEADLINE = ("services", "entity_types", "properties", "labelled_share", "matched_share", "unmatched")

_EXPORT_HEADLINE = (
    *("documents", "quarantined", "duplicates", "late_rows", "rows_read", "rows_carried", "drift", "drift_since"),
    *("headers_without_extraction", "extractions_without_header", "headers_without_file"),
)

qorsync_headers = dg.AssetSpec(
    "qorsync_headers", description="Headers of processed documents in QorSync's relational store.", kinds={"postgres"}
)
qorsync_extracts = dg.AssetSpec(
    "qorsync_extracts", description="What QorSync extracted from each document, one record each.", kinds={"mongodb"}
)
qorsync_patterns = dg.AssetSpec(
    "qorsync_patterns", description="Vendor and layout patterns that QorSync learned, as a graph.", kinds={"neo4j"}
)
public_corpora = dg.AssetSpec(
    "public_corpora",
    description="Published document sets: e-invoices and e-orders (ZUGFeRD, Order-X, Peppol), receipts, forms.",
    kinds={"huggingface"},
)
sap_api_metadata = dg.AssetSpec(
    "sap_api_metadata",
    description="What SAP's OData services say about themselves: $metadata documents (EDMX), V2 and V4.",
    kinds={"sap"},
)


@dg.asset(
    deps=[qorsync_headers, qorsync_extracts, qorsync_patterns],
    partitions_def=month,
    kinds={"sap", "parquet"},
    metadata=CORPUS_COLUMNS,
    retry_policy=WHEN_SERVERS_FAIL,
)
def raw_exports(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """One month of QorSync's documents as corpus tables; what cannot be joined is quarantined and reported."""
    with deployment.open(context, config) as stage:
        with stage.deployment.qorsync() as source:
            built = build_raw_exports(
                stage.context, config=stage.config(RawExportsConfig), source=source, month=stage.partition
            )
        return materialized(stage, built, headline=_EXPORT_HEADLINE)


@dg.asset(deps=[public_corpora], partitions_def=corpus, kinds={"pdf", "parquet"}, metadata=CORPUS_COLUMNS)
def public_docs(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """One public corpus read into corpus tables, its truth aligned to the words on the page."""
    with deployment.open(context, config) as stage:
        built = build_public_docs(
            stage.context,
            config=stage.config(PublicDocsConfig),
            corpus=stage.partition,
            folder=stage.deployment.documents_folder,
        )
        return materialized(stage, built, headline=("documents", "quarantined", "alignment_rate"))


@dg.asset(deps=[sap_api_metadata], kinds={"sap", "neo4j"}, metadata=SERVICE_COLUMNS, retry_policy=WHEN_SERVERS_FAIL)
def sap_knowledge(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """SAP's entity types, fields and labels as tables, texts and a graph; taxonomy fields without an SAP field."""
    with deployment.open(context, config) as stage:
        built = build_sap_knowledge(
            stage.context,
            config=stage.config(SapKnowledgeConfig),
            home=stage.deployment.home,
            documents=stage.deployment.documents_folder,
            cache=stage.deployment.metadata_cache,
        )
        with stage.deployment.graph() as graph:
            write_knowledge_graph(graph, built.dataset, progress=stage.context.progress)
        return materialized(stage, built, headline=_KNOWLEDGE_HEADLINE, rows_of="services")
