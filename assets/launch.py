"""The ops that train a model outside the Dagster process: plan -> launch -> collect.

Belongs here: what the graph assets of training share. The launched program is `sap_llm.training.program`; how it is
started on this machine is `sap_llm.training.launch`.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from resources.deployment import DeploymentResource
from resources.pipes import ProcessGroupPipesClient
from resources.results import metadata_of
from resources.retries import WHEN_PREEMPTED
from resources.stage_run import StageRunConfig
from sap_llm.schema.manifest import DatasetRef
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import commands
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import build_multitask_model, make_plan

MODEL, PROGRESS = "multitask_model", "training_progress"
_OBSERVE_SECONDS = 30.0
_HEADLINE = ("validation_f1", "validation_class_accuracy", "loss", "seconds", "parameters")


@dg.config_mapping
def plan_config(config: StageRunConfig) -> dict[str, Any]:
    """Profile and overrides of the asset are the plan's: what follows reads the plan."""
    return {"plan_training": {"config": {"profile": config.profile, "overrides": config.overrides}}}


@dg.op(ins={"training_set": dg.In(dg.Nothing)})
def plan_training(context: dg.OpExecutionContext, config: StageRunConfig, deployment: DeploymentResource) -> str:
    """Pass the door of the training set, then write down everything that the program needs; returns the plan's file."""
    with deployment.open(context, config, asset=MODEL) as stage:
        training_set = stage.ref("training_set", stage.release)
        stage.pass_door(training_set)
        plan = make_plan(
            stage.context,
            config=stage.config(MultitaskModelConfig),
            training_set=training_set,
            release=stage.release,
            work=stage.deployment.work_folder,
        )
        return str(plan.write())


@dg.op(out=dg.Out(dg.Nothing), pool="gpu", retry_policy=WHEN_PREEMPTED)
def launch_training(
    context: dg.OpExecutionContext, plan: str, deployment: DeploymentResource, pipes: ProcessGroupPipesClient
) -> Iterator[Any]:
    """Run the training program to its end, from its newest checkpoint; nothing to do where its result exists."""
    training = TrainingPlan.read(Path(plan))
    ref = DatasetRef(name=training.name, version=training.version)
    with deployment.open(context, asset=MODEL) as stage:
        if training.result.is_dir() or stage.deployment.store.find(ref) is not None:
            context.log.info("%s was trained before", ref)
            yield dg.Output(None)
            return
        context.log.info("training with %s (%s)", training.backend, training.backend_reason)
        pipes.run(
            context=context,
            commands=commands(training, Path(plan)),
            log_file=Path(training.work) / "training.log",
            on_message=ProgressObserver(context),
        )
    yield dg.Output(None)  # a step that opened a Pipes session has to say that it is done


@dg.op(ins={"trained": dg.In(dg.Nothing)})
def collect_model(context: dg.OpExecutionContext, plan: str, deployment: DeploymentResource) -> dg.Output[None]:
    """Turn the program's result into the dataset of the model."""
    training = TrainingPlan.read(Path(plan))
    with deployment.open(context, asset=MODEL) as stage:
        stage.note_overrides(training.training_set)
        built = build_multitask_model(
            stage.context,
            config=training.config,
            training_set=training.training_set,
            release=stage.release,
            work=stage.deployment.work_folder,
        )
        metadata = metadata_of(stage, built, headline=_HEADLINE)
    return dg.Output(None, metadata=metadata, data_version=dg.DataVersion(built.manifest.data_version))


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
