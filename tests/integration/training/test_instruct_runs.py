"""The program of `instructed_model` end to end: it learns, resumes after kill -9 bit by bit, and shares a batch."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from sap_llm.modeling.generative.predictor import load_generative
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.instructed import INSTRUCTED_MODEL, InstructedModelConfig
from sap_llm.training.launch import choose_backend
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import build_trained, launch_training, make_plan
from tests.support.killed_training import kill_after
from tests.support.toy_instructions import toy_instructions
from tests.support.toy_training import toy_tables

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "optimizer": {"learning_rate": 5e-3, "muon_learning_rate": 0.0, "warmup_share": 0.1},
    "checkpoint": {"every_steps": 4, "every_seconds": 0.0},
    "launch": {"launcher": "gloo", "ranks": 1, "threads": 1, "precision": "fp32", "stop_deadline_seconds": 5.0},
    "steps": 16,
    "batch_pairs": 8,
    "most_tokens": 2000,
    "report_every_steps": 2,
    "validation": {
        "loss_pairs": 8,
        "documents": 2,
        "compliance_pairs": 4,
        "answer_tokens": 220,
        "batch": 4,
        "cases": 1,
        "case_documents": 4,
    },
}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def small_config(**changes: Any) -> InstructedModelConfig:
    launch = SMALL["launch"] | changes.pop("launch", {})
    return InstructedModelConfig.model_validate(SMALL | changes | {"launch": launch})


def plan_of(context: StageContext, work: Path, config: InstructedModelConfig) -> TrainingPlan[InstructedModelConfig]:
    return make_plan(
        context, INSTRUCTED_MODEL, config=config, inputs=toy_instructions(context), partition="r1", work=work
    )


def curve(plan: TrainingPlan[InstructedModelConfig]) -> list[float]:
    return [point["loss"] for point in json.loads((plan.result / "losses.json").read_text())]


def test_a_killed_run_resumes_learns_the_same_and_becomes_a_predictor(context: StageContext, tmp_path: Path) -> None:
    plans = [plan_of(context, tmp_path / name, small_config()) for name in ("whole", "killed")]
    launch_training(plans[0], is_quiet=True)
    step = kill_after(plans[1], 4)
    assert 4 <= step < 16
    assert not plans[1].result.exists()

    built = build_trained(
        context,
        INSTRUCTED_MODEL,
        config=small_config(),
        inputs=toy_instructions(context),
        partition="r1",
        work=tmp_path / "killed",
    )

    metrics = built.manifest.metrics
    assert metrics["resumed_from_step"] == step
    assert curve(plans[0]) == curve(plans[1])
    assert curve(plans[0])[-1] < curve(plans[0])[0] - 1.0
    whole, resumed = (load_file(plan.result / "model" / "model.safetensors") for plan in plans)
    assert all((whole[name] == resumed[name]).all() for name in whole)
    assert metrics["pairs_seen"] == 16 * 8
    assert metrics["schema_compliance"] == 1.0
    assert metrics["schema_compliance_unconstrained"] < 1.0
    assert 0.0 < metrics["validation_loss"] < curve(plans[0])[0]
    by_vendor = json.loads(built.dataset.path("few_shot.json").read_text())
    assert [row["vendor"] for row in by_vendor] == ["all", "unknown"]

    predictor = load_generative(built.dataset.path("model"), most_tokens=220)
    page = Page.from_row(toy_tables(1, seed=5)[1].to_pylist()[0])
    prediction = predictor.predict([page])
    assert prediction.to_row(document_id="one", annotator="model:1", created_at=context.clock.now())["document_type"]
    assert prediction.vector.shape == (64,)


@pytest.mark.skipif(choose_backend(InstructedModelConfig().launch)[0] != "deepspeed", reason="no C++ compiler or ninja")
def test_sharded_weights_resume_and_become_a_whole_model(context: StageContext, tmp_path: Path) -> None:
    few = SMALL["validation"] | {"documents": 0, "compliance_pairs": 0, "cases": 0}
    launch = {"launcher": "deepspeed", "ranks": 2, "zero_stage": 3, "precision": "bf16", "micro_batch": 2,
              "activation_checkpointing": True}  # fmt: skip
    plan = plan_of(context, tmp_path, small_config(steps=8, validation=few, launch=launch))
    step = kill_after(plan, 4)
    launch_training(plan, is_quiet=True)
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert (metrics["resumed_from_step"], metrics["ranks"], metrics["backend"]) == (step, 2, "deepspeed")
    assert metrics["parameters"] == sum(
        value.size for value in load_file(plan.result / "model/model.safetensors").values()
    )
    assert curve(plan)[-1] < curve(plan)[0]
    assert metrics["validation_loss"] < curve(plan)[0]


def test_two_ranks_learn_from_a_batch_what_one_learns(context: StageContext, tmp_path: Path) -> None:
    few = SMALL["validation"] | {"loss_pairs": 0, "documents": 0, "compliance_pairs": 0, "cases": 0}
    launches = {"one": {}, "pieces": {"micro_batch": 2}, "two": {"ranks": 2, "micro_batch": 2}}
    curves = {}
    for name, launch in launches.items():
        plan = plan_of(context, tmp_path / name, small_config(steps=6, validation=few, launch=launch))
        launch_training(plan, is_quiet=True)
        curves[name] = curve(plan)
    assert curves["pieces"] == pytest.approx(curves["one"], rel=1e-4)
    assert curves["two"] == pytest.approx(curves["one"], rel=1e-4)
