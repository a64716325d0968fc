"""A training stage as an asset: a graph of ops, plan -> launch -> collect, around a program of its own.

Belongs here: what the graph assets of training share. What tells one stage from another is its `TrainingStage`; how
its program is started on this machine is `sap_llm.training.launch`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.partitions import release
from resources.pipes import ProcessGroupPipesClient
from resources.results import metadata_of
from resources.retries import WHEN_PREEMPTED
from resources.stage_run import StageRun, StageRunConfig
from sap_llm.schema.manifest import DatasetRef
from sap_llm.training.launch import commands
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import TrainingStage, build_trained, make_plan

PROGRESS = "training_progress"
PartitionOf = Callable[[StageRun], str]
_OBSERVE_SECONDS = 30.0


def release_of(stage: StageRun) -> str:
    """The dataset's partition where it is the release alone."""
    return stage.release


def training_asset(
    training: TrainingStage[Any],
    *,
    description: str,
    kinds: frozenset[str],
    partitions_def: dg.PartitionsDefinition[Any] = release,
    partition_of: PartitionOf = release_of,
) -> dg.AssetsDefinition:
    """The graph asset of a training stage.

    Args:
        training: What is trained, from which assets, by which program.
        description: Shown in the UI.
        kinds: Shown in the UI, at most three.
        partitions_def: The release, or the release with another dimension.
        partition_of: Partition of the dataset that a run makes, e.g. `r1/extraction`.
    """
    consumed = (*training.inputs, *training.shared)
    plan_op = plan_training(training, partition_of)
    launch_op, collect_op = launch_training(training), collect_model(training, partition_of)

    @dg.graph_asset(
        name=training.name,
        description=description,
        partitions_def=partitions_def,
        ins={asset: dg.AssetIn(asset, dagster_type=dg.Nothing) for asset in consumed},
        config=plan_config(training),
        kinds=set(kinds),
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


def plan_training(training: TrainingStage[Any], partition_of: PartitionOf = release_of) -> dg.OpDefinition:
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
            planned = make_plan(
                stage.context,
                training,
                config=stage.config(training.config),
                inputs=inputs,
                partition=partition_of(stage),
                work=stage.deployment.work_folder,
            )
            return str(planned.write())

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
    def launch(
        context: dg.OpExecutionContext, plan: str, deployment: DeploymentResource, pipes: ProcessGroupPipesClient
    ) -> Iterator[Any]:
        planned = TrainingPlan.read(Path(plan), training.config)
        ref = DatasetRef(name=planned.name, version=planned.version)
        with deployment.open(context, asset=training.name) as stage:
            if planned.result.is_dir() or stage.deployment.store.find(ref) is not None:
                context.log.info("%s was trained before", ref)
                yield dg.Output(None)
                return
            context.log.info("training with %s (%s)", planned.backend, planned.backend_reason)
            pipes.run(
                context=context,
                commands=commands(planned, Path(plan)),
                log_file=Path(planned.work) / "training.log",
                on_message=ProgressObserver(context),
            )
        yield dg.Output(None)  # a step that opened a Pipes session has to say that it is done

    return launch


def collect_model(training: TrainingStage[Any], partition_of: PartitionOf = release_of) -> dg.OpDefinition:
    """The op that turns the program's result into the dataset of the model."""

    @dg.op(
        name=f"collect_{training.name}",
        ins={"trained": dg.In(dg.Nothing)},
        description="Turn the program's result into a dataset version.",
    )
    def collect(context: dg.OpExecutionContext, plan: str, deployment: DeploymentResource) -> dg.Output[None]:
        planned = TrainingPlan.read(Path(plan), training.config)
        with deployment.open(context, asset=training.name) as stage:
            stage.note_overrides(*planned.inputs.values())
            built = build_trained(
                stage.context,
                training,
                config=planned.config,
                inputs=planned.inputs,
                partition=partition_of(stage),
                work=stage.deployment.work_folder,
            )
            metadata = metadata_of(stage, built, headline=training.headline)
        return dg.Output(None, metadata=metadata, data_version=dg.DataVersion(built.manifest.data_version))

    return collect


class ProgressObserver:
    """Observes `training_progress` while the program runs: a point at most every 30 seconds, and the last one."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._context, self._observed_at = context, 0.0

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Take one message of the program."""
        is_last = message.get("step") == message.get("steps")
        now = time.monotonic()
        if message.get("event") != "step" or (now - self._observed_at < _OBSERVE_SECONDS and not is_last):
            return
        self._observed_at = now
        numbers = {name: value for name, value in message.items() if isinstance(value, int | float)}
        self._context.log_event(
            dg.AssetObservation(PROGRESS, metadata=numbers, description=f"release {self._context.partition_key}")
        )
