"""A training stage as an asset: a graph of ops, plan -> launch -> collect, around a program of its own.

Belongs here: what the graph assets of training share. What tells one stage from another is its `TrainingStage`; where
and how its program is run is `sap_llm.training.trainer`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.observers import TrainingObserver
from resources.partitions import release
from resources.pipes import failure_of_program
from resources.results import metadata_of
from resources.retries import WHEN_PREEMPTED
from resources.stage_run import StageRun, StageRunConfig
from resources.training_pipes import TrainingSession
from sap_llm.deployment import Deployment
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.training.exits import DIVERGED, OUT_OF_MEMORY
from sap_llm.training.monitor import as_metadata
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.preview import require_fit
from sap_llm.training.stage import TrainingStage, build_trained, make_plan
from sap_llm.training.together import is_done, lead
from sap_llm.training.trainer import Told, TrainingFailedError, run_to_end

PartitionsOf = Callable[[StageRun], Mapping[str, str]]


def release_of(stage: StageRun) -> Mapping[str, str]:
    """The dataset's partition where it is the release alone."""
    return {stage.partition: stage.release}


def training_asset(
    training: TrainingStage[Any],
    *,
    description: str,
    kinds: frozenset[str],
    partitions_def: dg.PartitionsDefinition[Any] = release,
    partitions_of: PartitionsOf = release_of,
    backfill_policy: dg.BackfillPolicy | None = None,
) -> dg.AssetsDefinition:
    """The graph asset of a training stage.

    Args:
        training: What is trained, from which assets, by which program.
        description: Shown in the UI.
        kinds: Shown in the UI, at most three.
        partitions_def: The release, or the release with another dimension.
        partitions_of: Partition key of the run -> partition of the dataset that it makes, e.g. `r1/extraction`.
        backfill_policy: Single run where one program trains several partitions and loads what they share once.
    """
    consumed = (*training.inputs, *training.shared)
    plan_op = plan_training(training, partitions_of)
    launch_op, collect_op = launch_training(training), collect_model(training, partitions_of)

    @dg.graph_asset(
        name=training.name,
        description=description,
        partitions_def=partitions_def,
        ins={asset: dg.AssetIn(asset, dagster_type=dg.Nothing) for asset in consumed},
        config=plan_config(training),
        kinds=set(kinds),
        backfill_policy=backfill_policy,
    )
    def trained(**inputs: Any) -> Any:
        plan = plan_op(**inputs)
        return collect_op(plan, launch_op(plan))

    return trained


def plan_config(training: TrainingStage[Any]) -> dg.ConfigMapping:
    """Profile and overrides of the asset are the plan's: what follows reads the plan."""

    @dg.config_mapping
    def to_plan(config: StageRunConfig) -> dict[str, Any]:
        values = {"profile": config.profile, "overrides": config.overrides}
        return {f"plan_{training.name}": {"config": values}}

    return to_plan


def plan_training(training: TrainingStage[Any], partitions_of: PartitionsOf = release_of) -> dg.OpDefinition:
    """The op that passes the doors of all inputs, then writes down what the program needs; yields the plan's file."""

    @dg.op(
        name=f"plan_{training.name}",
        ins={asset: dg.In(dg.Nothing) for asset in (*training.inputs, *training.shared)},
        description="Pass the doors of the inputs, then write down everything that the program needs.",
    )
    def plan(context: dg.OpExecutionContext, config: StageRunConfig, deployment: DeploymentResource) -> str:
        with deployment.open(context, config, asset=training.name) as stage:
            inputs = {asset: stage.ref(asset, stage.release) for asset in training.inputs}
            inputs |= {asset: stage.ref(asset) for asset in training.shared}
            stage.pass_door(*inputs.values())
            plans = [
                make_plan(
                    stage.context,
                    training,
                    config=stage.config(training.config),
                    inputs=inputs,
                    partition=partition,
                    work=stage.deployment.work_folder,
                )
                for partition in partitions_of(stage).values()
            ]
            return str(lead(plans, stage.deployment.store).write())

    return plan


def launch_training(training: TrainingStage[Any]) -> dg.OpDefinition:
    """The op that runs the program to its end, from its newest checkpoint; nothing to do where its result exists."""

    @dg.op(
        name=f"launch_{training.name}",
        out=dg.Out(dg.Nothing),
        pool="gpu",
        retry_policy=WHEN_PREEMPTED,
        description="Run the training program to its end, from its newest checkpoint.",
    )
    def launch(context: dg.OpExecutionContext, plan: str, deployment: DeploymentResource) -> Iterator[Any]:
        planned = TrainingPlan.read(Path(plan), training.config)
        ref = DatasetRef(name=planned.name, version=planned.version)
        with deployment.open(context, asset=training.name) as stage:
            if is_done(planned, stage.deployment.store):
                context.log.info("%s was trained before", ref)
                yield dg.Output(None)
                return
            if table := require_fit(training, planned, stage.deployment.trainer()):
                context.log.info("memory of a rank\n%s", table)
            run_program(context, planned, stage.deployment)
        yield dg.Output(None)  # a step that opened a Pipes session has to say that it is done

    return launch


def collect_model(training: TrainingStage[Any], partitions_of: PartitionsOf = release_of) -> dg.OpDefinition:
    """The op that turns the program's result into the dataset of the model."""

    @dg.op(
        name=f"collect_{training.name}",
        ins={"trained": dg.In(dg.Nothing)},
        description="Turn the program's result into a dataset version.",
    )
    def collect(context: dg.AssetExecutionContext, plan: str, deployment: DeploymentResource) -> dg.Output[None]:
        planned = TrainingPlan.read(Path(plan), training.config)
        versions = []
        with deployment.open(context, asset=training.name) as stage:
            stage.note_overrides(*planned.inputs.values())
            for key, partition in partitions_of(stage).items():
                built = build_trained(
                    stage.context,
                    training,
                    config=planned.config,
                    inputs=planned.inputs,
                    partition=partition,
                    work=stage.deployment.work_folder,
                    launch=_refuse,
                )
                context.add_asset_metadata(metadata_of(stage, built, headline=training.headline), partition_key=key)
                versions.append(built.manifest.data_version)
        return dg.Output(None, data_version=dg.DataVersion(_of_all(versions)))

    return collect


def _refuse(plan: TrainingPlan[Any]) -> None:
    """Instead of training in the step that collects, which has neither the pool nor the machine for it."""
    raise ConfigurationError(
        "the program's result is gone", where=str(plan.result), remedy="Materialise again: the launch makes it anew."
    )


def run_program(context: dg.OpExecutionContext, plan: TrainingPlan[Any], deployment: Deployment) -> None:
    """Run a plan's program under Pipes: observed, told to MLflow, ended when it stalls, explained when it fails.

    Raises:
        dg.Failure: It failed or stalled. What would fail again in the same way is not tried again.
    """
    log, trainer = context.log, deployment.trainer()
    log.info("training with %s (%s)", plan.backend, plan.backend_reason)
    options = deployment.settings.storage_options
    session = TrainingSession(context, messages=trainer.messages, storage_options=options)
    told = Told(hear=TrainingObserver(context, plan), say=log.info, warn=log.warning)
    try:
        run_to_end(trainer, plan, session=session, told=told, mlflow_uri=deployment.mlflow_uri)
    except TrainingFailedError as error:
        failure = failure_of_program(
            error.code,
            Path(error.where),
            error.log_end,
            command=trainer.describe(plan),
            what=f"{error.what}. {error.remedy}",
        )
        metadata = {**failure.metadata, **(as_metadata(error.alert) if error.alert else {})}
        may_retry = error.code not in {DIVERGED, OUT_OF_MEMORY}
        raise dg.Failure(failure.description, metadata=metadata, allow_retries=may_retry) from error


def _of_all(versions: Sequence[str]) -> str:
    """One data version for the output of an op, which Dagster puts on every partition of its run."""
    return versions[0] if len(versions) == 1 else hashlib.sha256(" ".join(versions).encode()).hexdigest()
