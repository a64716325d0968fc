"""Ends what a killed process left behind in Dagster's record: its run still 'started', its pool slots still taken.

Belongs here: runs of this process (`local_run`). Runs of the daemon are looked after by Dagster's own run monitoring
(`dagster.yaml`); without a daemon nobody would, and the next training would wait for a slot for ever.
"""

import os
import socket

import dagster as dg
import psutil

from resources.retries import LOCAL_PROCESS

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def owner_tags() -> dict[str, str]:
    """Tags that tell which process a run lives in."""
    return {LOCAL_PROCESS: f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"}


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail every unfinished run whose process is gone and free its slots; returns the runs' ids."""
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if LOCAL_PROCESS in run.tags and not _is_alive(run.tags[LOCAL_PROCESS]):
            instance.report_run_failed(run, "The process that ran it is gone.")
            free_slots(instance, run.run_id)
            ended.append(run.run_id)
    return ended


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back the pool slots of a run that has ended."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _is_alive(owner: str) -> bool:
    host, pid, created = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True  # another machine's process cannot be looked at from here
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == created
    except psutil.NoSuchProcess:
        return False
