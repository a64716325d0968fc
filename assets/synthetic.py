"""Stage 02, synthetic: closed worlds of business facts and the documents typeset from them.

Belongs here: the two assets by seed range. Facts, layouts and typesetting are `sap_llm.synthetic`.
"""

import dagster as dg

from resources.columns import CORPUS_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import seed_range
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.synthetic.facts import BusinessFactsConfig, build_business_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, build_synthetic_docs


@dg.asset(partitions_def=seed_range, kinds={"python", "parquet"})
def business_facts(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Orders, confirmations, goods receipts and invoices as linked facts in closed worlds of buyers and vendors."""
    with deployment.open(context, config) as stage:
        built = build_business_facts(
            stage.context, config=stage.config(BusinessFactsConfig), seed_range=stage.partition
        )
        return materialized(stage, built, headline=("documents", "chains", "worlds"), rows_of="facts")


@dg.asset(partitions_def=seed_range, deps=["business_facts"], kinds={"pdf", "parquet"}, metadata=CORPUS_COLUMNS)
def synthetic_docs(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Typeset pages of those facts, with the true place of every word and field."""
    with deployment.open(context, config) as stage:
        built = build_synthetic_docs(
            stage.context,
            config=stage.config(SyntheticDocsConfig),
            facts=stage.ref("business_facts", stage.partition),
            seed_range=stage.partition,
        )
        return materialized(stage, built, headline=("documents", "layouts", "documents_per_second"))
