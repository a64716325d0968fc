"""Sensors on the outcome of runs: what follows a release, and who is told of a failure.

Belongs here: reactions to Dagster's own run status. Reactions to data are the other modules of this folder.
"""

import dagster as dg

from jobs.dvc import commit_to_dvc
from jobs.lineage import release_model


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[release_model],
    request_job=commit_to_dvc,
    description="After a release, tells DVC what was built.",
)
def dvc_follows_release(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """One commit per release run."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)


@dg.run_failure_sensor(description="Writes each failed run, its job, partition and reason to the log as one warning.")
def run_failures(context: dg.RunFailureSensorContext) -> None:
    """One line a person or a log collector can act upon."""
    run = context.dagster_run
    partition = run.tags.get("dagster/partition", "none")
    context.log.warning(
        "run %s of %s, partition %s, failed: %s", run.run_id, run.job_name, partition, context.failure_event.message
    )
