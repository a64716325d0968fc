"""The arrow that returns: corrections that people make wake a retraining.

Belongs here: reading PMG feedback by cursor and turning the policy's answer into a run request or an explanation. The
policy is `sap_llm.learning.retraining`.
"""

import json
from pathlib import Path

import dagster as dg

from jobs.lineage import retrain
from resources.deployment import DeploymentResource
from resources.partitions import release
from sap_llm.deployment import Deployment
from sap_llm.learning.retraining import RetrainingConfig, RetrainingRun, look

CONFIG = "retraining"
_LOOK_EVERY_SECONDS = 600  # each look may start the local graph engine
_KEY_DIGITS = 8


@dg.sensor(
    job=retrain,
    minimum_interval_seconds=_LOOK_EVERY_SECONDS,
    description="Reads people's corrections since the cursor and opens a new release when they are worth a training: "
    "many at a high error rate, or any after two weeks. The same corrections never start two runs.",
)
def retraining_sensor(context: dg.SensorEvaluationContext, deployment: DeploymentResource) -> dg.SensorResult:
    """Ask the policy, then request one run or say what is missing."""
    house = deployment.load()
    if not _has_graph(house):
        return dg.SensorResult(skip_reason="The process memory graph is empty: no release was remembered yet.")
    with house.graph() as graph:
        config = house.config(RetrainingConfig, CONFIG)
        tick = look(graph, context.cursor, now=house.clock.now(), config=config)
    context.log.info(tick.explanation)
    cursor = tick.cursor.dump()
    if tick.run is None:
        return dg.SensorResult(skip_reason=tick.explanation, cursor=cursor)
    name = release_name(tick.run)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=tick.run.run_key, partition_key=name, tags=_tags(tick.run))],
        dynamic_partitions_requests=[release.build_add_request([name])],
        cursor=cursor,
    )


def release_name(run: RetrainingRun) -> str:
    """Name of the release that a retraining opens; the same corrections give the same name."""
    kind, _, digest = run.run_key.rpartition("-")
    return f"{kind}-{digest[:_KEY_DIGITS]}"


def _tags(run: RetrainingRun) -> dict[str, str]:
    return {
        "corrections": str(run.corrections),
        "reviewed": str(run.reviewed),
        "error_rate": f"{run.error_rate:.4f}",
        "feedback": f"{run.first_sequence + 1}-{run.last_sequence}",
        "subtypes": json.dumps(run.subtypes)[:250],
        "reason": run.reason[:250],
    }


def _has_graph(house: Deployment) -> bool:
    """False where the graph is local and was never written; looking would start its engine for nothing."""
    return "://" in house.settings.graph or Path(house.path(house.settings.graph)).is_dir()
