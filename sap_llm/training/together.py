"""Several partitions of one training stage in one launch: the program loads what they share once.

Belongs here: which plans lead and which go along. One partition alone is `stage`; a program that can do this reads
`TrainingPlan.also`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.plan import Config, TrainingPlan
from sap_llm.training.stage import Launch, TrainingStage, build_trained, launch_training, make_plan


def lead(plans: Sequence[TrainingPlan[Config]], store: DatasetStore) -> TrainingPlan[Config]:
    """The plan to launch, with those of the others behind it that are not done; the first where all are done.

    All plans are of the same inputs; those that go along are written to their work folders.
    """
    missing = [plan for plan in plans if not is_done(plan, store)]
    first, *others = missing or plans[:1]
    return first.model_copy(update={"also": tuple(str(plan.write()) for plan in others)})


def is_done(plan: TrainingPlan[Any], store: DatasetStore) -> bool:
    """Whether the results of a plan and of all that go along are there, collected or not."""
    if not plan.result.is_dir() and store.find(DatasetRef(name=plan.name, version=plan.version)) is None:
        return False
    return all(is_done(TrainingPlan.read(Path(path), type(plan.config)), store) for path in plan.also)


def build_together(
    context: StageContext,
    stage: TrainingStage[Config],
    *,
    config: Config,
    inputs: Mapping[str, DatasetRef],
    partitions: Sequence[str],
    work: Path | None = None,
    launch: Launch | None = None,
) -> list[BuildResult]:
    """The stage's results of several partitions, in their order; arguments and errors as of `stage.build_trained`."""
    plans = [
        make_plan(context, stage, config=config, inputs=inputs, partition=partition, work=work)
        for partition in partitions
    ]
    leading = lead(plans, context.store)
    if not is_done(leading, context.store):
        context.progress(f"training {1 + len(leading.also)} of {len(plans)} with {leading.backend}")
        (launch or launch_training)(leading)
    return [
        build_trained(context, stage, config=config, inputs=inputs, partition=partition, work=work, launch=launch)
        for partition in partitions
    ]
