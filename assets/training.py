"""Stage 05, training: models by release, each trained by a program of its own, and the router that triages before them.

Belongs here: the assets, and those of tokens and instruction pairs, which only training reads. Planning, launching and
collecting are the ops of `assets.launch`; the stages and training itself are `sap_llm.training`.
"""

from collections.abc import Mapping

import dagster as dg

from assets.launch import training_asset
from resources.deployment import DeploymentResource
from resources.partitions import release, release_stage
from resources.results import materialized
from resources.stage_run import StageRun, StageRunConfig
from sap_llm.reading.sandbox import Sandbox
from sap_llm.training.adapters.stage import STAGE_ADAPTERS, partition_of
from sap_llm.training.doc_router import DocRouterConfig, build_doc_router
from sap_llm.training.domain import DOMAIN_MODEL
from sap_llm.training.domain_tokens import DomainTokensConfig, build_domain_tokens
from sap_llm.training.instructed import INSTRUCTED_MODEL
from sap_llm.training.instructions import InstructionPairsConfig, build_instruction_pairs
from sap_llm.training.multitask import MULTITASK_MODEL

_TOKENS_HEADLINE = (
    "tokens_train",
    "tokens_train_sap",
    "tokens_sap",
    "tokens_documents",
    "tokens_general",
    "vocabulary",
)
_PAIRS_HEADLINE = ("pairs", "pairs_train", "pairs_unanswerable", "documents", "documents_quarantined")

multitask_model = training_asset(
    MULTITASK_MODEL,
    description="Classes, fields and line items of a page by the profile's backbone, tables and layout blocks too.",
    kinds=frozenset({"pytorch", "deepspeed"}),
)

domain_model = training_asset(
    DOMAIN_MODEL,
    description="A decoder that went on reading: SAP's texts and the documents' words; what it forgot is measured.",
    kinds=frozenset({"pytorch", "deepspeed"}),
)

instructed_model = training_asset(
    INSTRUCTED_MODEL,
    description="The domain model taught to answer instructions about documents with JSON by a schema (SFT).",
    kinds=frozenset({"pytorch", "deepspeed"}),
)


@dg.asset(partitions_def=release, deps=["training_set", "sap_knowledge"], kinds={"arrow"})
def domain_tokens(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """SAP's texts, where they were read, and the documents' words as token shards, with a tokenizer; parts held out."""
    with deployment.open(context, config) as stage:
        training_set, knowledge = stage.ref("training_set", stage.release), stage.find("sap_knowledge")
        stage.pass_door(*(ref for ref in (training_set, knowledge) if ref is not None))
        built = build_domain_tokens(
            stage.context,
            config=stage.config(DomainTokensConfig),
            training_set=training_set,
            knowledge=knowledge,
            release=stage.release,
        )
        return materialized(stage, built, headline=_TOKENS_HEADLINE, rows_of="index")


@dg.asset(partitions_def=release, deps=["training_set"], kinds={"parquet"})
def instruction_pairs(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Instructions about documents of the training set with the right answers, and the pictures of their pages."""
    with deployment.open(context, config) as stage, Sandbox() as sandbox:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_instruction_pairs(
            stage.context,
            config=stage.config(InstructionPairsConfig),
            training_set=training_set,
            release=stage.release,
            render=sandbox.render,
        )
        return materialized(stage, built, headline=_PAIRS_HEADLINE, rows_of="pairs")


def _adapters_of(stage: StageRun) -> Mapping[str, str]:
    return {key: partition_of(stage.release, name) for key, name in stage.document_stages.items()}


stage_adapters = training_asset(
    STAGE_ADAPTERS,
    description="A low-rank adapter of the instructed model for each document stage, compared with no adapter.",
    kinds=frozenset({"pytorch", "peft"}),
    partitions_def=release_stage,
    partitions_of=_adapters_of,
    backfill_policy=dg.BackfillPolicy.single_run(),
)


@dg.asset(partitions_def=release, deps=["multitask_model", "training_set"], kinds={"sklearn"})
def doc_router(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Class and difficulty of a document from cheap features, in less than a millisecond, before a model reads it."""
    with deployment.open(context, config) as stage:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_doc_router(
            stage.context,
            config=stage.config(DocRouterConfig),
            model=stage.ref("multitask_model", stage.release),
            training_set=training_set,
            release=stage.release,
        )
        headline = ("class_accuracy", "difficulty_auc", "difficulty_ece", "cpu_milliseconds_per_document")
        return materialized(stage, built, headline=headline, rows_of="routes")
