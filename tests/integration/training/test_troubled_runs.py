"""Trainings in trouble: stopped, killed, hanging, without memory, diverging. Each trouble is made in a real run."""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.exits import DIVERGED, STOPPED
from sap_llm.training.launch import choose_backend, commands
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.report import events
from sap_llm.training.stage import launch_training
from sap_llm.training.trainer import TrainingFailedError
from sap_llm.training.watchdog import HEARTBEATS
from tests.support.toy_training import planned, toy_training_set

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "backbone": {"family": "compact", "width": 32, "layers": 1, "heads": 2, "dropout": 0.1},
    "optimizer": {"learning_rate": 4e-3},
    "checkpoint": {"every_steps": 10, "every_seconds": 0.0},
    "steps": 4000,
    "batch_words": 600,
    "report_every_steps": 1,
}
HAS_DEEPSPEED = choose_backend(MultitaskModelConfig().launch)[0] == "deepspeed"
LAUNCHERS = ["gloo", pytest.param("deepspeed", marks=pytest.mark.skipif(not HAS_DEEPSPEED, reason="no C++ compiler"))]


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


@pytest.fixture
def training_set(context: StageContext) -> DatasetRef:
    return toy_training_set(context, 60)


def config(ranks: int = 1, launcher: str = "gloo", **changes: Any) -> MultitaskModelConfig:
    launch = {"launcher": launcher, "ranks": ranks, "threads": 1, "stop_deadline_seconds": 10.0}
    return MultitaskModelConfig.model_validate(SMALL | {"launch": launch} | changes)


def until(condition: Callable[[], Any], *, seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def steps_of(plan: TrainingPlan[Any]) -> list[float]:
    return [point["step"] for point in events(plan.progress_file, "step")]


def pids(plan: TrainingPlan[Any]) -> dict[str, int]:
    """Process ids by rank, of this launch: the watchdog clears older ones."""
    files = sorted((Path(plan.work) / HEARTBEATS).glob("rank-*.json"))
    return {path.stem: json.loads(path.read_text())["pid"] for path in files}


def living(plan: TrainingPlan[Any]) -> str:
    return subprocess.run(["pgrep", "-f", plan.work], capture_output=True, text=True, check=False).stdout


class Launched:
    """A launch in a thread, whose error is kept."""

    def __init__(self, plan: TrainingPlan[Any]) -> None:
        self.error: BaseException | None = None
        self._plan = plan
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            launch_training(self._plan, is_quiet=True)
        except TrainingFailedError as error:
            self.error = error

    def join(self, *, seconds: float) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the launcher still waits"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_term_saves_a_checkpoint_at_the_next_step_and_the_curve_goes_on_bit_for_bit(
    launcher: str, context: StageContext, training_set: DatasetRef, tmp_path: Path
) -> None:
    # neither steps of a checkpoint nor of a report: the sums between two points are resumed as well
    changes: dict[str, Any] = {"steps": 90, "report_every_steps": 7, "checkpoint": {"every_steps": 1000}}
    given = config(2, launcher, **changes)
    whole, stopped = (planned(context, given, training_set, work=tmp_path / name) for name in ("whole", "stopped"))
    launch_training(whole, is_quiet=True)

    started = []
    with (tmp_path / "stopped.log").open("wb") as log:
        stopped.write()
        for command, environment in commands(stopped):
            env = {**os.environ, **environment}
            started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))
        try:
            until(lambda: steps_of(stopped)[-1:] >= [14.0])
            for process in started:
                os.killpg(process.pid, signal.SIGTERM)
            codes = [process.wait(timeout=60) for process in started]
        finally:
            for process in started:
                process.kill()
    if launcher == "gloo":
        assert codes == [STOPPED, STOPPED]
    found = checkpoints.newest(stopped.checkpoints)
    assert found is not None
    assert 14 <= found.step < 90

    launch_training(stopped, is_quiet=True)
    ends = [json.loads((plan.result / "metrics.json").read_text()) for plan in (whole, stopped)]
    assert ends[1]["resumed_from_step"] == found.step
    curves = [json.loads((plan.result / "losses.json").read_text()) for plan in (whole, stopped)]
    times = ("seconds", "_per_second")
    same = [[{k: v for k, v in p.items() if not k.endswith(times)} for p in curve] for curve in curves]
    assert same[0] == same[1]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_rank_ends_the_others_and_costs_at_most_one_interval(
    launcher: str, context: StageContext, training_set: DatasetRef
) -> None:
    plan = planned(context, config(2, launcher, steps=120), training_set)
    launched = Launched(plan)
    until(lambda: (found := checkpoints.newest(plan.checkpoints)) and found.step >= 20)
    os.kill(pids(plan)["rank-1"], signal.SIGKILL)
    launched.join(seconds=60)
    assert isinstance(launched.error, TrainingFailedError)
    assert living(plan) == ""
    (alert,) = events(plan.progress_file, "alert")
    assert (alert["kind"], alert["severity"]) == ("killed", "error")
    reached, saved = steps_of(plan)[-1], checkpoints.newest(plan.checkpoints)
    assert saved is not None
    assert reached - saved.step <= 10

    launch_training(plan, is_quiet=True)
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert (metrics["resumed_from_step"], metrics["steps"]) == (saved.step, 120)


def test_a_stopped_rank_is_found_its_stacks_are_shown_and_all_are_ended(
    context: StageContext, training_set: DatasetRef
) -> None:
    given = config(2, monitoring={"stall_seconds": 20.0})
    plan = planned(context, given, training_set)
    launched = Launched(plan)
    until(lambda: len(steps_of(plan)) > 5)
    os.kill(pids(plan)["rank-1"], signal.SIGSTOP)
    launched.join(seconds=120)
    assert "no rank did a step for 2" in str(launched.error)
    assert living(plan) == ""
    (alert,) = events(plan.progress_file, "alert")
    assert alert["kind"] == "stall"
    log = (Path(plan.work) / "training.log").read_text()
    for rank in ("rank-0", "rank-1"):
        stacks = log.partition(f"{rank}:\n")[2].partition("\n\nrank-")[0]
        assert "most recent call first" in stacks
        assert "in _steps" in stacks


def test_a_learning_rate_far_too_high_ends_the_training_and_saves_nothing_broken(
    context: StageContext, training_set: DatasetRef
) -> None:
    high = {"learning_rate": 4e-3 * 1e12, "muon_learning_rate": 0.0, "warmup_share": 0.0, "gradient_clipping": 1e30}
    plan = planned(context, config(2, optimizer=high, checkpoint={"every_steps": 3}), training_set)
    with pytest.raises(TrainingFailedError, match=f"code {DIVERGED}") as caught:
        launch_training(plan, is_quiet=True)
    assert "not finite" in str(caught.value)
    kinds = [alert["kind"] for alert in events(plan.progress_file, "alert")]
    assert kinds[-1] == "not_finite"
    assert living(plan) == ""


def test_a_learning_rate_that_jumps_a_thousandfold_is_a_spike_and_the_validation_falls(
    context: StageContext, training_set: DatasetRef
) -> None:
    calm = config(steps=300, validation={"every_steps": 50, "documents": 8})
    plan = planned(context, calm, training_set)
    launched = Launched(plan)
    until(lambda: steps_of(plan)[-1:] >= [200.0])
    os.kill(pids(plan)["rank-0"], signal.SIGTERM)
    launched.join(seconds=60)
    assert events(plan.progress_file, "alert") == []
    found = checkpoints.newest(plan.checkpoints)
    assert found is not None
    state = torch.load(found.folder / "state.pt", weights_only=True)
    state["schedule"]["base_lrs"] = [1000 * rate for rate in state["schedule"]["base_lrs"]]
    torch.save(state, found.folder / "state.pt")
    launch_training(plan, is_quiet=True)
    assert {"loss_spike", "validation_drop"} <= {alert["kind"] for alert in events(plan.progress_file, "alert")}


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process need Linux")
def test_a_rank_without_memory_says_so_and_is_tried_again(context: StageContext, training_set: DatasetRef) -> None:
    large = {"family": "compact", "width": 768, "layers": 8, "heads": 4, "dropout": 0.0}
    plan = planned(context, config(backbone=large, steps=2, optimizer={"muon_learning_rate": 0.0}), training_set)
    launched = Launched(plan)
    rank = until(lambda: pids(plan).get("rank-0"))
    now = int(Path(f"/proc/{rank}/statm").read_text().split()[0]) * resource.getpagesize()
    limit = now + 320 * 2**20  # gradients and states of 55 M parameters need twice that
    resource.prlimit(rank, resource.RLIMIT_AS, (limit, limit))
    launched.join(seconds=300)
    (alert,) = events(plan.progress_file, "alert")
    assert alert["kind"] == "out_of_memory"
    assert "allocat" in alert["explanation"]
    # the launcher tried again, with half the micro-batch, in a process that has no such limit
    assert launched.error is None
    assert json.loads((plan.result / "metrics.json").read_text())["steps"] == 2
    assert living(plan) == ""


def test_the_best_checkpoint_can_become_the_model(context: StageContext, training_set: DatasetRef) -> None:
    changes = {
        "steps": 60,
        "validation": {"every_steps": 15, "documents": 8},
        "checkpoint": {"every_steps": 20, "result": "best"},
    }
    plan = planned(context, config(2, **changes), training_set)
    launch_training(plan, is_quiet=True)
    scores = {
        point["step"]: point["validation_f1"]
        for point in events(plan.progress_file, "step")
        if "validation_f1" in point
    }
    assert set(scores) == {15.0, 30.0, 45.0, 60.0}
    result = json.loads((plan.result / "metrics.json").read_text())["result_step"]
    assert scores[result] == max(scores.values())
