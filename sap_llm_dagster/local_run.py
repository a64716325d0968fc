"""Runs jobs in this process against a persistent instance: for the demo, for tests, for a laptop without a daemon.

Belongs here: the order of the lineage in runs of one partition each, and what is said about every asset. The runs are
ordinary Dagster runs; the UI shows them. What the jobs select is `jobs`.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from jobs import lineage as names
from resources.partitions import DOCUMENT_STAGE, RELEASE, VARIANT, release
from sap_llm.schema.document_stages import document_stage_names
from sap_llm.storage.partitions import PartitionsConfig
from sap_llm_dagster.dead_runs import end_dead_runs, free_slots, owner_tags

Partition = str | Mapping[str, str | tuple[str, str]] | None
"""A key; keys by dimension, of which a pair is a range from the first to the last; or nothing."""


@dataclass(frozen=True, kw_only=True)
class AssetOutcome:
    """What one asset did in a run."""

    asset: str
    partition: str | None
    seconds: float
    is_reused: bool
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What one run did; `failure` is the sentence of the first failed step or check, empty on success."""

    job: str
    partition: str | None
    run_id: str
    assets: Sequence[AssetOutcome]
    failure: str = ""
    checks: Mapping[str, bool] = field(default_factory=dict)

    @property
    def is_success(self) -> bool:
        """Whether every step and every blocking check succeeded."""
        return not self.failure


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of the lineage."""

    job: str
    partition: Partition = None


def plan_sources(
    partitions: PartitionsConfig,
    *,
    corpora: Sequence[str] = (),
    months: Sequence[str] = (),
    has_sap_metadata: bool = False,
) -> list[PlannedRun]:
    """The runs that read and make: what is there to be read, seed ranges, months of QorSync."""
    return [
        *([PlannedRun(job=names.LEARN_SAP)] if has_sap_metadata else []),
        *(PlannedRun(job=names.READ_CORPORA, partition=corpus) for corpus in corpora),
        *(PlannedRun(job=names.MAKE_SYNTHETIC, partition=seeds) for seeds in partitions.seed_ranges),
        *(PlannedRun(job=names.EXPORT_SOURCES, partition=month) for month in months),
    ]


def plan_release(partitions: PartitionsConfig, release_name: str) -> list[PlannedRun]:
    """The runs that take a release from documents to memory, in order."""
    stages = document_stage_names()
    return [
        PlannedRun(job=names.BUILD_CORPUS, partition=release_name),
        PlannedRun(job=names.TRAIN_MODEL, partition=release_name),
        PlannedRun(job=names.INSTRUCT_MODEL, partition=release_name),
        PlannedRun(
            job=names.TRAIN_ADAPTERS, partition={RELEASE: release_name, DOCUMENT_STAGE: (stages[0], stages[-1])}
        ),
        *(
            PlannedRun(job=names.COMPRESS_MODEL, partition={RELEASE: release_name, VARIANT: variant})
            for variant in partitions.variants
        ),
        PlannedRun(job=names.RELEASE_MODEL, partition=release_name),
    ]


def run_all(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    plan: Sequence[PlannedRun],
    *,
    on_start: Callable[[PlannedRun], None] | None = None,
    is_quiet: bool = False,
) -> Iterator[RunOutcome]:
    """Run a plan in order and stop after the first run that fails."""
    for planned in plan:
        if on_start is not None:
            on_start(planned)
        outcome = run_job(instance, planned.job, planned.partition, defs=defs, is_quiet=is_quiet)
        yield outcome
        if not outcome.is_success:
            return


def run_job(
    instance: dg.DagsterInstance,
    job: str,
    partition: Partition = None,
    *,
    defs: dg.Definitions,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    is_quiet: bool = False,
) -> RunOutcome:
    """Run one job in this process.

    Args:
        instance: Persistent (`DagsterInstance.get()`) or ephemeral.
        job: Name of a job of `defs`.
        partition: Key, or keys by dimension; a release that does not exist yet is opened.
        defs: From `build_defs`.
        overrides: Asset -> dotted overrides of its configuration.
        is_quiet: Print nothing while it runs.
    """
    key, tags = _chosen(partition)
    open_release(instance, defs, job, partition)
    config: dict[str, Any] = {"loggers": {"progress": {"config": {"quiet": is_quiet}}}}
    config["ops"] = {asset: {"config": {"overrides": dict(values)}} for asset, values in (overrides or {}).items()}
    end_dead_runs(instance)
    run_id = str(uuid.uuid4())
    try:
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=config,
            instance=instance,
            partition_key=key,
            raise_on_error=False,
            run_id=run_id,
            tags={**owner_tags(), **tags},
        )
    finally:
        free_slots(instance, run_id)  # an interrupted step does not give its slot back
    return RunOutcome(
        job=job,
        partition=key,
        run_id=result.run_id,
        assets=_assets(instance, result.run_id),
        failure="" if result.success else failure_of(result),
        checks={
            f"{check.asset_key.path[-1]}.{check.check_name}": check.passed
            for check in result.get_asset_check_evaluations()
        },
    )


def _chosen(partition: Partition) -> tuple[str | None, dict[str, str]]:
    """Key of a run of one partition, or the tags of one that covers a range."""
    if not isinstance(partition, Mapping):
        return partition, {}
    ends = [
        dg.MultiPartitionKey(
            {name: value if isinstance(value, str) else value[end] for name, value in partition.items()}
        )
        for end in (0, 1)
    ]
    if ends[0] == ends[1]:
        return ends[0], {}
    start, stop = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
    return None, {start: str(ends[0]), stop: str(ends[1])}


def open_release(instance: dg.DagsterInstance, defs: dg.Definitions, job: str, partition: Partition) -> None:
    """Make the release known to Dagster where the job is partitioned by it."""
    definition = defs.resolve_job_def(job).partitions_def
    if isinstance(partition, Mapping):
        instance.add_dynamic_partitions(RELEASE, [str(partition[RELEASE])])
    elif definition == release and partition is not None:
        instance.add_dynamic_partitions(RELEASE, [partition])


def _assets(instance: dg.DagsterInstance, run_id: str) -> list[AssetOutcome]:
    entries = instance.all_logs(run_id)
    begun: dict[str | None, float] = {}
    outcomes = []
    for entry in entries:
        event = entry.get_dagster_event() if entry.is_dagster_event else None
        if event is not None and event.is_step_start:
            begun.setdefault((entry.step_key or "").partition(".")[0], entry.timestamp)
        if (made := entry.asset_materialization) is None:
            continue
        metadata = {name: value.value for name, value in made.metadata.items()}
        start = begun.get((entry.step_key or "").partition(".")[0], entry.timestamp)
        outcomes.append(
            AssetOutcome(
                asset=made.asset_key.path[-1],
                partition=made.partition,
                seconds=round(entry.timestamp - start, 1),
                is_reused=bool(metadata.get("reused")),
                metadata=metadata,
            )
        )
    return outcomes


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The explanation of the first failed blocking check, else the first failed step's own sentence."""
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed:
            return f"{check.asset_key.path[-1]}.{check.check_name}: {check.description}"
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            said = failure.user_failure_data.description if failure.user_failure_data else None
            return f"{event.step_key}: {said or _root(failure.error)}"
    return "the run failed"


def _root(error: Any) -> str:
    """The message of the innermost cause, without stacks."""
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message).strip() if error is not None else "failed"
