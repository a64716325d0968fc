"""Stage 09, memory: what the process memory graph knows after a release, and what people preferred.

Belongs here: the assets by release. Graph, vectors and the snapshot are `sap_llm.pmg`, pairs are `sap_llm.rlhf`.
"""

from contextlib import closing

import dagster as dg

from resources.conditions import WHEN_GATES_PASS
from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.results import materialized
from resources.retries import WHEN_SERVERS_FAIL
from resources.stage_run import StageRunConfig
from sap_llm.pmg.snapshot import PmgSnapshotConfig, build_pmg_snapshot
from sap_llm.rlhf.stage import PreferencePairsConfig, build_preference_pairs


@dg.asset(
    partitions_def=release,
    deps=["multitask_model", "model_evaluation", "registered_model"],
    kinds={"neo4j", "parquet"},
    automation_condition=WHEN_GATES_PASS,
    retry_policy=WHEN_SERVERS_FAIL,
)
def pmg_snapshot(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Documents, extractions, validations and feedback in graph and vectors, frozen as a dataset."""
    with deployment.open(context, config) as stage:
        with stage.deployment.graph() as graph, closing(stage.deployment.vectors()) as vectors:
            built = build_pmg_snapshot(
                stage.context,
                config=stage.config(PmgSnapshotConfig),
                graph=graph,
                vectors=vectors,
                model=stage.ref("multitask_model", stage.release),
                evaluation=stage.ref("model_evaluation", stage.release),
                release=stage.release,
            )
        return materialized(
            stage,
            built,
            headline=("documents", "extractions", "validations", "feedback", "valid_share"),
            rows_of="nodes",
        )


@dg.asset(
    partitions_def=release,
    deps=["pmg_snapshot", "model_evaluation"],
    kinds={"parquet"},
    automation_condition=WHEN_GATES_PASS,
)
def preference_pairs(
    context: dg.AssetExecutionContext, config: StageRunConfig, deployment: DeploymentResource
) -> dg.MaterializeResult:
    """Of one document, the answer that people preferred and the one it beats, with a margin by business weight."""
    with deployment.open(context, config) as stage:
        built = build_preference_pairs(
            stage.context,
            config=stage.config(PreferencePairsConfig),
            snapshot=stage.ref("pmg_snapshot", stage.release),
            evaluation=stage.ref("model_evaluation", stage.release),
            release=stage.release,
        )
        return materialized(
            stage,
            built,
            headline=("pairs", "pairs_train", "extractions_reviewed", "extractions_quarantined", "mean_margin"),
            rows_of="pairs",
        )
