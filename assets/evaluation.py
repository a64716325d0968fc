"""Stage 06, evaluation: what the model reaches on frozen test documents, and what candidates for its base cost.

Belongs here: the assets by release. Scores and the report are `sap_llm.evaluation`, the matrix of candidates is
`sap_llm.modeling.comparison`; the evaluation's gate is `assets.checks`.
"""

import dagster as dg

from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.stage_run import StageRunConfig
from sap_llm.evaluation.stage import ModelEvaluationConfig, build_model_evaluation
from sap_llm.modeling.comparison.candidates import evaluations_of
from sap_llm.modeling.comparison.stage import BaseComparisonConfig, build_base_comparison
from sap_llm.modeling.runtimes import load_predictor
from sap_llm.reading.sandbox import Sandbox


@dg.asset(partitions_def=release, deps=["multitask_model", "training_set"], kinds={"pytorch", "parquet"})
def model_evaluation(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Class accuracy, field F1 and calibration on layouts and real documents never seen in training."""
    with deployment.open(context, config) as stage, Sandbox() as sandbox:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_model_evaluation(
            stage.context,
            config=stage.config(ModelEvaluationConfig),
            model=stage.ref("multitask_model", stage.release),
            training_set=training_set,
            release=stage.release,
            load_predictor=load_predictor,
            render=sandbox.render,
        )
        headline = ("class_accuracy", "field_f1", "field_f1_baseline", "header_f1_real", "line_item_f1", "ece")
        return materialized(stage, built, headline=headline)


@dg.asset(partitions_def=release, deps=["model_evaluation", "training_set"], kinds={"pytorch", "parquet"})
def base_comparison(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Latency, memory, cost and languages of candidates on one sample; quality of those that were trained here."""
    with deployment.open(context, config) as stage, Sandbox() as sandbox:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        built = build_base_comparison(
            stage.context,
            config=stage.config(BaseComparisonConfig),
            training_set=training_set,
            evaluations=evaluations_of(stage.context.store, stage.release, training_set),
            release=stage.release,
            render=sandbox.render,
        )
        return materialized(stage, built, headline=("measured", "with_quality", "empty_cells"), rows_of="matrix")
