"""The launched program end to end: it learns, resumes after kill -9 bit by bit, and runs on two DeepSpeed ranks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from sap_llm.modeling.runtimes import load_predictor
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import choose_backend, hosts_command
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.stage import launch_training
from tests.support.engine_steps import run_ranks
from tests.support.killed_training import kill_after
from tests.support.toy_training import build_multitask_model, planned, toy_tables, toy_training_set

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "backbone": {"family": "compact", "width": 64, "layers": 2, "heads": 2, "dropout": 0.1},
    "optimizer": {"learning_rate": 4e-3},
    "checkpoint": {"every_steps": 10, "every_seconds": 0.0},
    "launch": {"launcher": "gloo", "ranks": 1, "threads": 1, "stop_deadline_seconds": 5.0},
    "steps": 60,
    "batch_words": 1500,
    "report_every_steps": 5,
}


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def small_config(**changes: Any) -> MultitaskModelConfig:
    launch = SMALL["launch"] | changes.pop("launch", {})
    return MultitaskModelConfig.model_validate(SMALL | changes | {"launch": launch})


def messages(plan: TrainingPlan[MultitaskModelConfig]) -> list[str]:
    entries = [json.loads(line) for line in plan.progress_file.read_text().splitlines()]
    return [entry["message"] for entry in entries if entry["event"] == "message"]


def test_a_killed_run_resumes_and_ends_with_the_same_weights(context: StageContext, tmp_path: Path) -> None:
    training_set = toy_training_set(context, 120)
    plans = [planned(context, small_config(), training_set, work=tmp_path / name) for name in ("whole", "killed")]
    launch_training(plans[0], is_quiet=True)
    step = kill_after(plans[1], 20)
    assert 20 <= step < 60
    assert not plans[1].result.exists()

    built = build_multitask_model(
        context, config=small_config(), training_set=training_set, release="r1", work=tmp_path / "killed"
    )

    assert messages(plans[1])[-1] == f"resumed from the checkpoint of step {step} of 60"
    assert built.manifest.metrics["resumed_from_step"] == step
    assert built.manifest.metrics["stopped_early"] is False
    whole, resumed = (load_file(plan.result / "model" / "model.safetensors") for plan in plans)
    assert whole.keys() == resumed.keys()
    assert all((whole[name] == resumed[name]).all() for name in whole)
    curves = [json.loads((plan.result / "losses.json").read_text()) for plan in plans]
    assert [point["loss"] for point in curves[0]] == [point["loss"] for point in curves[1]]
    again = build_multitask_model(context, config=small_config(), training_set=training_set, release="r1")
    assert again.is_reused


def test_what_was_learned_reads_documents_never_seen(context: StageContext) -> None:
    training_set = toy_training_set(context, 400)
    config = small_config(steps=160)
    built = build_multitask_model(context, config=config, training_set=training_set, release="r1")
    metrics = built.manifest.metrics
    assert metrics["validation_class_accuracy"] > 0.9
    assert metrics["validation_f1"] > 0.9
    predictor = load_predictor(built.dataset.path("model"))
    _, pages, annotations = toy_tables(30, seed=99)
    right = 0
    for page, truth in zip(pages.to_pylist(), annotations.to_pylist(), strict=True):
        prediction = predictor.predict([Page.from_row(page)])
        number = next(field["value"] for field in truth["fields"] if field["field"] == "document_number")
        right += prediction.value("document_number") == number
        assert prediction.line_items
    assert right >= 27


@pytest.mark.skipif(choose_backend(MultitaskModelConfig().launch)[0] != "deepspeed", reason="no C++ compiler or ninja")
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_two_deepspeed_ranks_shard_and_resume(context: StageContext, tmp_path: Path, zero_stage: int) -> None:
    training_set = toy_training_set(context, 120)
    launch = {"launcher": "deepspeed", "ranks": 2, "zero_stage": zero_stage}
    muon = 0.0 if zero_stage == 3 else 3e-3
    config = small_config(steps=60, launch=launch, optimizer={"learning_rate": 4e-3, "muon_learning_rate": muon})
    plan = planned(context, config, training_set, work=tmp_path / "work")
    step = kill_after(plan, 20)
    shards = list((plan.checkpoints / f"step-{step:08d}").rglob("*optim_states.pt"))
    assert len(shards) == 2  # one per rank
    launch_training(plan, is_quiet=True)
    assert messages(plan)[-1] == f"resumed from the checkpoint of step {step} of 60"
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert (metrics["ranks"], metrics["backend"], metrics["steps"]) == (2, "deepspeed", 60)
    losses = [point["loss"] for point in json.loads((plan.result / "losses.json").read_text())]
    assert losses[-1] < losses[0] / 2


@pytest.mark.skipif(choose_backend(MultitaskModelConfig().launch)[0] != "deepspeed", reason="no C++ compiler or ninja")
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_a_matrix_on_two_ranks_is_updated_as_if_it_were_on_one(tmp_path: Path, zero_stage: int) -> None:
    adamw = zero_stage == 3
    plain = run_ranks("gloo", tmp_path / "gloo", ranks=2, adamw=adamw)
    sharded = run_ranks("deepspeed", tmp_path / "deepspeed", ranks=2, zero_stage=zero_stage, adamw=adamw)
    for name, start in plain["start"].items():
        assert not torch.equal(start, plain["early"][name])
        for moment in plain:
            assert torch.allclose(plain[moment][name], sharded[moment][name], atol=1e-6), (moment, name)
        assert torch.equal(sharded["late"][name], sharded["resumed"][name])


def test_rank_zero_alone_reports_through_pipes(context: StageContext, tmp_path: Path) -> None:
    from dagster_pipes import PipesContext, encode_param  # the launched side's own library

    assert PipesContext
    training_set = toy_training_set(context, 60)
    config = small_config(steps=10, launch={"launcher": "gloo", "ranks": 2})
    plan = planned(context, config, training_set, work=tmp_path / "work")
    given, reported = tmp_path / "context.json", tmp_path / "messages.jsonl"
    empty = dict.fromkeys(
        ("asset_keys", "code_version_by_asset_key", "provenance_by_asset_key", "partition_key", "partition_key_range",
         "partition_time_window", "job_name")
    )  # fmt: skip
    given.write_text(json.dumps(empty | {"run_id": "test", "retry_number": 0, "extras": {}}))
    reported.touch()
    environment = {
        "DAGSTER_PIPES_CONTEXT": encode_param({"path": str(given)}),
        "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(reported)}),
    }
    launch_training(plan, environment=environment, is_quiet=True)
    entries = [json.loads(line) for line in reported.read_text().splitlines()]
    assert [entry["method"] for entry in entries].count("opened") == 1
    payloads = [entry["params"]["payload"] for entry in entries if entry["method"] == "report_custom_message"]
    assert [payload["step"] for payload in payloads if payload["event"] == "step"] == [5.0, 10.0]
    assert payloads[-1]["event"] == "done"


def test_terminating_the_stage_leaves_no_process(context: StageContext, tmp_path: Path) -> None:
    training_set = toy_training_set(context, 60)
    config = small_config(steps=5000)
    plan = planned(context, config, training_set, work=tmp_path / "work")
    script = (
        "from pathlib import Path; import sys; from sap_llm.training.plan import TrainingPlan; "
        "from sap_llm.training.stage import launch_training; "
        "from sap_llm.training.config import MultitaskModelConfig; "
        "launch_training(TrainingPlan.read(Path(sys.argv[1]), MultitaskModelConfig), is_quiet=True)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", script, str(plan.write())])
    while checkpoints.newest(plan.checkpoints) is None:
        assert launcher.poll() is None
        time.sleep(0.1)
    launcher.terminate()
    assert launcher.wait(timeout=30) == 128 + signal.SIGTERM
    found = subprocess.run(["pgrep", "-f", str(plan.work)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert checkpoints.newest(plan.checkpoints) is not None


def test_the_effective_batch_and_so_the_loss_curve_is_the_same_on_one_rank_and_two(
    context: StageContext, tmp_path: Path
) -> None:
    training_set = toy_training_set(context, 120)
    curves = []
    for ranks in (1, 2):
        launch = {"launcher": "gloo", "ranks": ranks, "micro_batch": 375, "precision": "fp32"}
        config = small_config(steps=20, launch=launch, backbone=SMALL["backbone"] | {"dropout": 0.1})
        plan = planned(context, config, training_set, work=tmp_path / str(ranks))
        launch_training(plan, is_quiet=True)
        curves.append([point["loss"] for point in json.loads((plan.result / "losses.json").read_text())])
    assert curves[0][-1] < curves[0][0]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_deepspeeds_own_launcher_runs_the_command_for_hosts_on_a_host_file_of_this_machine(
    context: StageContext, tmp_path: Path
) -> None:
    plan = planned(context, small_config(steps=5, launch={"ranks": 2}), toy_training_set(context, 60))
    plan.write()
    (tmp_path / "hostfile").write_text("localhost slots=2\n")
    command, environment = hosts_command(plan, tmp_path / "hostfile")
    command.insert(3, "--no_ssh_check")  # the one thing that a single machine without ssh cannot do
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert (metrics["ranks"], metrics["steps"]) == (2, 5)
