"""The stage without its program: plans, what they depend on, and collecting a result."""

import json
from pathlib import Path
from typing import Any

import pytest

from sap_llm.schema.errors import ConfigurationError, DatasetNotFoundError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import TrainingStage, build_trained
from tests.support.counting_program import CountingConfig
from tests.support.toy_training import build_multitask_model, planned, toy_training_set

CONFIG = MultitaskModelConfig.model_validate({"launch": {"launcher": "gloo"}})


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def finish(plan: TrainingPlan[Any]) -> None:
    """Leave what a program leaves that has run to its end."""
    (plan.result / "model").mkdir(parents=True)
    (plan.result / "model" / "model.safetensors").write_bytes(b"weights")
    (plan.result / "losses.json").write_text("[]")
    (plan.result / "metrics.json").write_text(json.dumps({"loss": 0.5}))
    plan.checkpoints.mkdir()


def test_a_plan_survives_its_file_and_lies_beside_the_store(context: StageContext, tmp_path: Path) -> None:
    training_set = toy_training_set(context, 10)
    plan = planned(context, CONFIG, training_set)
    assert TrainingPlan.read(plan.write(), MultitaskModelConfig) == plan
    assert Path(plan.work) == tmp_path / "work" / "multitask_model" / "r1" / plan.version
    assert plan.input_path("training_set", "shards.parquet").is_file()


def test_checkpoints_are_kept_apart_by_what_makes_the_model(context: StageContext) -> None:
    first, second = toy_training_set(context, 10), toy_training_set(context, 10, seed=1)
    plans = [
        planned(context, CONFIG, first),
        planned(context, CONFIG, second),
        planned(context, CONFIG.model_copy(update={"steps": 3}), first),
    ]
    assert len({plan.work for plan in plans}) == 3


def test_the_model_version_is_the_plans_and_a_result_is_collected_not_trained_again(context: StageContext) -> None:
    training_set = toy_training_set(context, 10)
    plan = planned(context, CONFIG, training_set)
    launched = []

    def launch(given: TrainingPlan[Any]) -> None:
        launched.append(given)
        finish(given)

    built = build_multitask_model(context, config=CONFIG, training_set=training_set, release="r1", launch=launch)
    assert launched == [plan]
    assert built.ref == DatasetRef(name="multitask_model/r1", version=plan.version)
    assert built.manifest.metrics == {"loss": 0.5, "size_bytes": 7, "alerts": 0, "device_hours": 0.0}
    assert built.manifest.inputs == {"training_set/r1": training_set}
    assert built.dataset.path("model/model.safetensors").read_bytes() == b"weights"
    assert not plan.checkpoints.exists()

    again = build_multitask_model(context, config=CONFIG, training_set=training_set, release="r1", launch=launch)
    assert again.is_reused
    assert len(launched) == 1


def test_a_program_that_dies_leaves_no_dataset(context: StageContext) -> None:
    training_set = toy_training_set(context, 10)

    def launch(plan: TrainingPlan[Any]) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        build_multitask_model(context, config=CONFIG, training_set=training_set, release="r1", launch=launch)
    assert context.store.versions("multitask_model/r1") == []


def test_nothing_to_train_on_is_an_error_for_the_user(context: StageContext) -> None:
    empty = toy_training_set(context, 0)
    with pytest.raises(ConfigurationError, match="no document to train on"):
        planned(context, CONFIG, empty)
    absent = DatasetRef(name="training_set/r1", version="absent")
    with pytest.raises(DatasetNotFoundError):
        planned(context, CONFIG, absent)


def test_a_remote_store_wants_a_work_folder() -> None:
    context = StageContext(store=DatasetStore("memory://bucket"))
    training_set = toy_training_set(context, 5)
    with pytest.raises(ConfigurationError, match="Name a work folder"):
        planned(context, CONFIG, training_set)


COUNTING = TrainingStage(
    name="counting",
    version="1",
    config=CountingConfig,
    program="tests.support.counting_program",
    inputs=("training_set",),
    shared=("sap_knowledge",),
)


def test_another_stage_is_a_configuration_a_program_and_its_inputs(context: StageContext) -> None:
    training_set = toy_training_set(context, 10)
    knowledge = build(context, name="sap_knowledge", stage_version="1", config=StageConfig(), produce=lambda _: {}).ref
    config = CountingConfig.model_validate({"number": 5, "launch": {"launcher": "gloo", "ranks": 2, "threads": 1}})
    inputs = {"training_set": training_set, "sap_knowledge": knowledge}
    assert {asset: ref.name for asset, ref in inputs.items()} == COUNTING.input_names("r1")

    built = build_trained(context, COUNTING, config=config, inputs=inputs, partition="r1/inbox")

    assert built.ref.name == "counting/r1/inbox"
    assert {"total": 10, "rows": 10, "size_bytes": 0}.items() <= built.manifest.metrics.items()
    assert set(built.manifest.inputs) == {"training_set/r1", "sap_knowledge"}
    again = build_trained(context, COUNTING, config=config, inputs=inputs, partition="r1/inbox")
    assert again.is_reused


def test_another_backbone_does_not_start_from_a_released_model() -> None:
    with pytest.raises(ValueError, match="no start of layoutlmv3; set initial to null"):
        MultitaskModelConfig.model_validate(
            {"backbone": {"family": "layoutlmv3", "size": "debug"}, "initial": "reader-1"}
        )
