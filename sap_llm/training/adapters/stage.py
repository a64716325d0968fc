"""The stage `stage_adapters`: an adapter for each document stage, by release, on the release's instructed model.

Belongs here: what tells this training stage from the others. How a stage is planned, launched and collected is
`training.stage`, several partitions at once `training.together`; the program is `program`. Importing this module loads
neither torch nor peft.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sap_llm.modeling.adapters import factors_of
from sap_llm.modeling.qwen import QwenShape, qwen_config
from sap_llm.schema.document_stages import document_stage_names
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import BuildResult, StageContext
from sap_llm.storage.store import Dataset
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.instructed import INSTRUCTED_MODEL
from sap_llm.training.memory import Workload
from sap_llm.training.networks import qwen_network
from sap_llm.training.shares import Shares, share
from sap_llm.training.stage import Launch, TrainingStage
from sap_llm.training.together import build_together

BASE, TRAINING_SET = INSTRUCTED_MODEL.name, "training_set"


def partition_of(release: str, document_stage: str) -> str:
    """Partition of the dataset: `r1/extraction`.

    Raises:
        ConfigurationError: There is no such document stage.
    """
    if document_stage not in document_stage_names():
        raise ConfigurationError(
            f"no document stage {document_stage!r}",
            where="stage_adapters",
            remedy=f"Known: {', '.join(document_stage_names())}.",
        )
    return f"{release}/{document_stage}"


def stage_of(name: str) -> str:
    """Document stage of a dataset name."""
    return name.rpartition("/")[2]


def _has_documents(inputs: Mapping[str, Dataset]) -> None:
    training_set = inputs[TRAINING_SET]
    if not training_set.manifest.rows.get("documents"):
        raise ConfigurationError(
            "the training set has no document to make examples from",
            where=str(training_set.ref),
            remedy="See its quarantine and left_out tables.",
        )


def _workload(config: StageAdaptersConfig, halvings: int) -> tuple[Shares, Workload]:
    launch = config.launch
    shares = share(config.batch_examples, ranks=launch.ranks, micro_batch=launch.micro_batch, halvings=halvings)
    shape = QwenShape(size=config.size)
    text = qwen_config(shape).text_config
    network = qwen_network(shape, trainable=factors_of(config.lora, text))
    size = 2.0 if config.base_weights == "bf16" else 4.0
    if config.shard_base:
        whole = 2 * text.vocab_size * text.hidden_size  # embedding and output projection
        size *= (whole + (network.parameters - whole) / launch.ranks) / network.parameters
    network = replace(network, frozen_bytes=size)
    tokens = shares.micro_batch * config.most_tokens
    return shares, Workload(network=network, tokens=tokens, longest=config.most_tokens, batch_unit="examples")


STAGE_ADAPTERS = TrainingStage(
    name="stage_adapters",
    version="1",
    config=StageAdaptersConfig,
    program="sap_llm.training.adapters.program",
    inputs=(BASE, TRAINING_SET),
    check=_has_documents,
    workload=_workload,
    headline=(
        "validation_loss",
        "validation_loss_base",
        "validation_accuracy",
        "validation_accuracy_base",
        "adapter_bytes",
        "seconds",
    ),
    use="Answers the question of one document stage (`modeling/stage_prompts.py`) as JSON, on the instructed model "
    "that its card names and on no other. Several adapters may stand on one base, also within one batch.",
    limits=(
        "It reads words and their places on the first page, no pixels.",
        "Faults in extractions and pages were planted; those of real readers are of more kinds.",
        "Queues, routes and urgency follow the rules in schema/routes.yaml; where the rules change, train again.",
    ),
)


def build_stage_adapters(
    context: StageContext,
    *,
    config: StageAdaptersConfig,
    instructed_model: DatasetRef,
    training_set: DatasetRef,
    release: str,
    document_stages: Sequence[str] = (),
    work: Path | None = None,
    launch: Launch | None = None,
) -> dict[str, BuildResult]:
    """Adapters as datasets: `adapter/` (peft's form and `adapter.json`), `losses.json`, and metrics.

    Those that are missing are trained by one program, which loads the base once.

    Args:
        context: Store, clock and progress.
        config: Of the stage.
        instructed_model: Whose `model/` folder is the frozen base.
        training_set: Whose documents the examples are made from.
        release: Name of the release.
        document_stages: Names; all eight by default.
        work: As in `training.stage.make_plan`.
        launch: As in `training.stage.build_trained`.

    Raises:
        ConfigurationError: A document stage is unknown, or nothing can be learned from these inputs.
        TrainingFailedError: The program ended without a result.
    """
    names = tuple(document_stages) or document_stage_names()
    built = build_together(
        context,
        STAGE_ADAPTERS,
        config=config,
        inputs={BASE: instructed_model, TRAINING_SET: training_set},
        partitions=[partition_of(release, name) for name in names],
        work=work,
        launch=launch,
    )
    return dict(zip(names, built, strict=True))
