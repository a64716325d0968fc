"""What a training stage is, and its three steps: plan, launch, collect.

Belongs here: turning inputs into a plan for a program, and the program's result into a dataset version, for every stage
that trains. A stage itself is a `TrainingStage` beside its configuration model (`multitask` is the first); the three
steps can be called apart (Dagster runs them as ops, `assets.launch`) or at once by `build_trained`. Importing this
module loads neither torch nor deepspeed.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.taxonomy import taxonomy_version
from sap_llm.storage.build import BuildResult, StageContext, build, code_version, version_id
from sap_llm.storage.store import Dataset, DatasetStore, DatasetWriter
from sap_llm.training.launch import choose_backend, run
from sap_llm.training.plan import Config, TrainingPlan

METRICS = "metrics.json"
Launch = Callable[[TrainingPlan[Any]], None]


def copy_result(plan: TrainingPlan[Any], writer: DatasetWriter) -> dict[str, Any]:
    """Copy the program's result into a dataset version and return its metrics: what `collect` is by default."""
    for path in sorted(plan.result.rglob("*")):
        if path.is_file() and path.name != METRICS:
            shutil.copyfile(path, writer.path(path.relative_to(plan.result).as_posix()))
    metrics: dict[str, Any] = json.loads((plan.result / METRICS).read_text())
    weights = writer.scratch.rglob("*.safetensors")
    return metrics | {"size_bytes": sum(path.stat().st_size for path in weights)}


def _accept(_: Mapping[str, Dataset]) -> None:
    """No further demands on the inputs."""


@dataclass(frozen=True, kw_only=True)
class TrainingStage(Generic[Config]):
    """All that tells one training stage from another.

    Attributes:
        name: Asset, dataset name and configuration file.
        version: To be raised by hand when the stage's results change.
        config: Configuration model.
        program: Module that every rank runs as `python -m <program> --plan FILE`.
        inputs: Assets consumed, of the same release.
        shared: Assets consumed that have no partition.
        check: Refuses inputs that nothing can be learned from, with a `ConfigurationError`.
        collect: Fills the dataset version from `plan.result` and returns its metrics.
        headline: Metrics shown first.
    """

    name: str
    version: str
    config: type[Config]
    program: str
    inputs: tuple[str, ...]
    shared: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Dataset]], None] = _accept
    collect: Callable[[TrainingPlan[Any], DatasetWriter], Mapping[str, Any]] = copy_result
    headline: tuple[str, ...] = field(default=("loss", "seconds", "parameters"))

    def input_names(self, release: str) -> dict[str, str]:
        """Asset -> dataset name of everything consumed."""
        return {asset: f"{asset}/{release}" for asset in self.inputs} | {asset: asset for asset in self.shared}


def make_plan(
    context: StageContext,
    stage: TrainingStage[Config],
    *,
    config: Config,
    inputs: Mapping[str, DatasetRef],
    partition: str,
    work: Path | None = None,
) -> TrainingPlan[Config]:
    """Write down everything that the training program needs; starts nothing.

    Args:
        context: Store that holds the inputs.
        stage: What is trained.
        config: Of the stage.
        inputs: Asset -> version that is learned from.
        partition: Name of the release, e.g. `r1`, with further dimensions behind slashes.
        work: Scratch folder, by default `work` beside a local store's root. The plan's own folder below it is named
            by the result's version, so a later run of the same version resumes there.

    Raises:
        DatasetNotFoundError: An input is not complete.
        ConfigurationError: The stage cannot learn from these inputs, or the store is remote and `work` is missing.
        MissingToolError: The configured launcher cannot run here.
    """
    datasets = {asset: context.store.open(ref) for asset, ref in inputs.items()}
    stage.check(datasets)
    name = f"{stage.name}/{partition}"
    versions = {dataset.ref.name: dataset.manifest.data_version for dataset in datasets.values()}
    version = version_id(name, code_version(stage.version, config), versions)
    backend, reason = choose_backend(config.launch)
    folder = (work or _scratch_beside(context.store)) / name / version
    return TrainingPlan(
        stage=stage.name,
        program=stage.program,
        name=name,
        version=version,
        inputs=dict(inputs),
        folders={asset: str(dataset.path()) for asset, dataset in datasets.items()},
        work=str(folder.resolve()),
        backend=backend,
        backend_reason=reason,
        taxonomy_version=taxonomy_version(),
        config=config,
    )


def launch_training(
    plan: TrainingPlan[Any], *, environment: Mapping[str, str] | None = None, is_quiet: bool = False
) -> None:
    """Run the training program to its end; a result that is already there is kept.

    Raises:
        TrainingFailedError: The program ended without a result; its checkpoints stay, the next launch resumes.
    """
    if not plan.result.is_dir():
        run(plan, environment=environment, is_quiet=is_quiet)


def build_trained(
    context: StageContext,
    stage: TrainingStage[Config],
    *,
    config: Config,
    inputs: Mapping[str, DatasetRef],
    partition: str,
    work: Path | None = None,
    launch: Launch | None = None,
) -> BuildResult:
    """The stage's result as a dataset version.

    Args:
        context: Store, clock and progress.
        stage: What is trained.
        config: Of the stage.
        inputs: Asset -> version that is learned from.
        partition: As in `make_plan`.
        work: As in `make_plan`; where a launched program has left its result, that is collected.
        launch: Runs a plan to its end where there is no result yet; `launch_training` by default.

    Raises:
        TrainingFailedError: The program ended without a result.
    """

    def plan() -> TrainingPlan[Config]:
        return make_plan(context, stage, config=config, inputs=inputs, partition=partition, work=work)

    def produce(writer: DatasetWriter) -> Mapping[str, Any]:
        planned = plan()
        if not planned.result.is_dir():
            context.progress(f"training with {planned.backend} ({planned.backend_reason})", total=config.steps)
            (launch or launch_training)(planned)
        return stage.collect(planned, writer)

    built = build(
        context,
        name=f"{stage.name}/{partition}",
        stage_version=stage.version,
        config=config,
        inputs={ref.name: ref for ref in inputs.values()},
        produce=produce,
    )
    if not built.is_reused:  # committed: the checkpoints have done their work
        shutil.rmtree(plan().checkpoints, ignore_errors=True)
    return built


def _scratch_beside(store: DatasetStore) -> Path:
    if not store.is_local:
        raise ConfigurationError(
            "a remote store has no place for checkpoints", where=store.root_url, remedy="Name a work folder."
        )
    return Path(store.root).parent / "work"
