"""Stage 04, preparation: the frozen release of the corpus and the training set made from it.

Belongs here: the two assets by release. Cleaning, splits and shards are `sap_llm.preparation` and `spark_jobs`; gates
are `assets.checks`.
"""

import dagster as dg

from resources.columns import RELEASE_COLUMNS, TRAINING_COLUMNS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.preparation.plan import SparkSettings
from sap_llm.preparation.stage import CorpusReleaseConfig, TrainingSetConfig, build_corpus_release, build_training_set

_RELEASE_HEADLINE = ("documents", "sap_texts", "largest_gap_to_target", "suspects_class", "suspects_field")
_HEADLINE = ("documents_kept", "documents_train", "documents_validation", "documents_test", "documents_quarantined")


@dg.asset(partitions_def=release, deps=["annotated_docs"], kinds={"parquet"}, metadata=RELEASE_COLUMNS)
def corpus_release(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """The exact versions of what goes into training, composition against target, and labels that are probably wrong."""
    with deployment.open(context, config) as stage:
        annotated = stage.ref("annotated_docs", stage.release)
        stage.pass_door(annotated)
        built = build_corpus_release(
            stage.context,
            config=stage.config(CorpusReleaseConfig),
            annotated=annotated,
            corpora=stage.inputs_of(annotated),
            release=stage.release,
            knowledge=stage.find("sap_knowledge"),
        )
        return materialized(stage, built, headline=_RELEASE_HEADLINE)


@dg.asset(partitions_def=release, deps=["corpus_release"], kinds={"spark", "parquet"}, metadata=TRAINING_COLUMNS)
def training_set(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Cleaned, de-duplicated and split documents as token shards; every row is kept, a duplicate or in quarantine."""
    with deployment.open(context, config) as stage:
        consumed = stage.ref("corpus_release", stage.release)
        stage.pass_door(consumed)
        built = build_training_set(
            stage.context,
            config=stage.config(TrainingSetConfig),
            corpus_release=consumed,
            release=stage.release,
            spark=SparkSettings(master=stage.deployment.settings.spark_master),
        )
        return materialized(stage, built, headline=_HEADLINE)
