"""The `multitask_model` stage: plan, launch, collect.

Belongs here: turning a training set into a plan for the program, and the program's result into a dataset version. The
three steps can be called apart (Dagster runs them as ops) or at once by `build_multitask_model`. Importing this module
loads neither torch nor deepspeed.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.storage.build import BuildResult, StageContext, build, code_version, version_id
from sap_llm.storage.store import DatasetStore, DatasetWriter
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import choose_backend, run
from sap_llm.training.plan import TrainingPlan

STAGE_VERSION = "4"
Launch = Callable[[TrainingPlan], None]


def make_plan(
    context: StageContext,
    *,
    config: MultitaskModelConfig,
    training_set: DatasetRef,
    release: str,
    work: Path | None = None,
) -> TrainingPlan:
    """Write down everything that the training program needs; starts nothing.

    Args:
        context: Store that holds the training set.
        config: Of the stage.
        training_set: Version whose `shards` table is learned from.
        release: Name of the release, e.g. `r1`.
        work: Scratch folder, by default `work` beside a local store's root. The plan's own folder below it is named
            by the model's version, so a later run of the same version resumes there.

    Raises:
        DatasetNotFoundError: The training set is not complete.
        ConfigurationError: It has no document to train on, or the store is remote and `work` is missing.
        MissingToolError: The configured launcher cannot run here.
    """
    dataset = context.store.open(training_set)
    if not dataset.manifest.rows.get("shards"):
        raise ConfigurationError(
            "the training set has no document to train on",
            where=str(training_set),
            remedy="See its quarantine and split tables.",
        )
    name = f"multitask_model/{release}"
    code = code_version(STAGE_VERSION, config)
    version = version_id(name, code, {training_set.name: dataset.manifest.data_version})
    backend, reason = choose_backend(config.launch)
    folder = (work or _scratch_beside(context.store)) / name / version
    return TrainingPlan(
        name=name,
        version=version,
        training_set=training_set,
        shards=str(dataset.path("shards.parquet")),
        work=str(folder.resolve()),
        backend=backend,
        backend_reason=reason,
        taxonomy_version=taxonomy_version(),
        config=config,
    )


def launch_training(
    plan: TrainingPlan, *, environment: Mapping[str, str] | None = None, is_quiet: bool = False
) -> None:
    """Run the training program to its end; a result that is already there is kept.

    Raises:
        TrainingFailedError: The program ended without a result; its checkpoints stay, the next launch resumes.
    """
    if not plan.result.is_dir():
        run(plan, environment=environment, is_quiet=is_quiet)


def build_multitask_model(
    context: StageContext,
    *,
    config: MultitaskModelConfig,
    training_set: DatasetRef,
    release: str,
    work: Path | None = None,
    launch: Launch | None = None,
) -> BuildResult:
    """The trained model as a dataset: `model/` (weights and config.json), `losses.json`, and metrics.

    Args:
        context: Store, clock and progress.
        config: Of the stage.
        training_set: Version that is learned from.
        release: Name of the release.
        work: As in `make_plan`; where a launched program has left its result, that is collected.
        launch: Runs a plan to its end where there is no result yet; `launch_training` by default.

    Raises:
        TrainingFailedError: The program ended without a result.
    """

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        plan = make_plan(context, config=config, training_set=training_set, release=release, work=work)
        if not plan.result.is_dir():
            context.progress(f"training with {plan.backend} ({plan.backend_reason})", total=config.steps)
            (launch or launch_training)(plan)
        return collect(plan, writer)

    built = build(
        context,
        name=f"multitask_model/{release}",
        stage_version=STAGE_VERSION,
        config=config,
        inputs={training_set.name: training_set},
        produce=produce,
    )
    if not built.is_reused:  # committed: the checkpoints have done their work
        plan = make_plan(context, config=config, training_set=training_set, release=release, work=work)
        shutil.rmtree(plan.checkpoints, ignore_errors=True)
    return built


def collect(plan: TrainingPlan, writer: DatasetWriter) -> dict[str, Any]:
    """Copy the program's result into a dataset version and return its metrics."""
    for path in sorted(plan.result.rglob("*")):
        if path.is_file() and path.name != "metrics.json":
            shutil.copyfile(path, writer.path(path.relative_to(plan.result).as_posix()))
    metrics: dict[str, Any] = json.loads((plan.result / "metrics.json").read_text())
    weights = writer.scratch / "model" / "model.safetensors"
    return metrics | {"size_bytes": weights.stat().st_size}


def _scratch_beside(store: DatasetStore) -> Path:
    if not store.is_local:
        raise ConfigurationError(
            "a remote store has no place for checkpoints", where=store.root_url, remedy="Name a work folder."
        )
    return Path(store.root).parent / "work"
