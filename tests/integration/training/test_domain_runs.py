"""The domain model's program end to end: it learns, resumes after kill -9 bit by bit, and is the same on two ranks."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from sap_llm.modeling.qwen import load_qwen
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.domain import DOMAIN_MODEL, TOKENS, DomainModelConfig
from sap_llm.training.launch import commands
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import build_trained, launch_training
from tests.support.toy_domain import planned_reading, toy_tokens

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "optimizer": {"learning_rate": 4e-3, "muon_learning_rate": 0.0},
    "checkpoint": {"every_steps": 5, "every_seconds": 0.0},
    "size": "debug",
    "launch": {"launcher": "gloo", "ranks": 1, "threads": 1, "precision": "fp32", "stop_deadline_seconds": 5.0},
    "steps": 30,
    "pack_tokens": 128,
    "batch_packs": 4,
    "window_texts": 50,
    "loss_chunk": 100,
    "report_every_steps": 3,
}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def small_config(**changes: Any) -> DomainModelConfig:
    launch = SMALL["launch"] | changes.pop("launch", {})
    return DomainModelConfig.model_validate(SMALL | changes | {"launch": launch})


def curve(plan: TrainingPlan[DomainModelConfig]) -> list[float]:
    return [point["loss"] for point in json.loads((plan.result / "losses.json").read_text())]


def kill_in_the_middle(plan: TrainingPlan[DomainModelConfig]) -> int:
    """Start the program, kill -9 its session after the second checkpoint; returns the newest one's step."""
    plan.write()
    ((command, environment),) = commands(plan)
    with (Path(plan.work) / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 240
            while (found := checkpoints.newest(plan.checkpoints)) is None or found.step < 10:
                assert process.poll() is None, (Path(plan.work) / "killed.log").read_text()[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    newest = checkpoints.newest(plan.checkpoints)
    assert newest is not None
    return newest.step


def test_it_learns_and_a_killed_run_ends_with_the_same_losses_and_weights(
    context: StageContext, tmp_path: Path
) -> None:
    tokens = toy_tokens(context)
    plans = [planned_reading(context, small_config(), tokens, work=tmp_path / name) for name in ("whole", "killed")]
    launch_training(plans[0], is_quiet=True)
    step = kill_in_the_middle(plans[1])
    assert 10 <= step < 30
    assert not plans[1].result.exists()

    built = build_trained(
        context,
        DOMAIN_MODEL,
        config=small_config(),
        inputs={TOKENS: tokens},
        partition="r1",
        work=tmp_path / "killed",
    )

    assert built.manifest.metrics["resumed_from_step"] == step
    assert curve(plans[0]) == curve(plans[1])
    whole, resumed = (load_file(plan.result / "model" / "model.safetensors") for plan in plans)
    assert whole.keys() == resumed.keys()
    assert all((whole[name] == resumed[name]).all() for name in whole)
    metrics = built.manifest.metrics
    assert metrics["sap_perplexity_after"] < metrics["sap_perplexity_before"] / 3
    assert metrics["documents_perplexity_after"] < metrics["documents_perplexity_before"] / 3
    model, processor = load_qwen(built.dataset.path("model"))  # what instructed_model starts from
    assert model.config.text_config.vocab_size == 1024
    assert processor.tokenizer("Supplier Plant (Field1)").input_ids


@pytest.mark.parametrize(
    "launch",
    [
        {"ranks": 2},
        {"ranks": 1, "micro_batch": 0, "launcher": "deepspeed", "zero_stage": 1},
        {"ranks": 2, "launcher": "deepspeed", "zero_stage": 3},
    ],
    ids=["two-gloo-ranks", "deepspeed", "two-zero3-ranks"],
)
def test_the_loss_curve_is_the_same_on_other_ranks_and_engines(
    context: StageContext, tmp_path: Path, launch: dict[str, Any]
) -> None:
    tokens = toy_tokens(context)
    configs = [small_config(steps=12), small_config(steps=12, launch=launch)]
    plans = [
        planned_reading(context, config, tokens, work=tmp_path / name)
        for name, config in zip(("one", "other"), configs, strict=True)
    ]
    for plan in plans:
        launch_training(plan, is_quiet=True)
    assert curve(plans[0]) == pytest.approx(curve(plans[1]), rel=2e-4)


def test_half_the_memory_gives_the_same_losses(context: StageContext, tmp_path: Path) -> None:
    tokens = toy_tokens(context)
    whole = planned_reading(context, small_config(steps=9), tokens, work=tmp_path / "whole")
    halved = planned_reading(context, small_config(steps=9, keep="matmuls"), tokens, work=tmp_path / "halved")
    halved = halved.model_copy(update={"halvings": 1})
    for plan in (whole, halved):
        launch_training(plan, is_quiet=True)
    assert curve(halved) == pytest.approx(curve(whole), rel=2e-4)
