"""Out of memory: the launcher tries again with half the micro-batch and the same effective batch."""

import json
from pathlib import Path
from typing import Any

import pytest

from sap_llm.schema.manifest import DatasetRef
from sap_llm.training.exits import OUT_OF_MEMORY
from sap_llm.training.plan import PLAN, TrainingPlan
from sap_llm.training.stage import launch_training
from sap_llm.training.trainer import FileSession, LocalTrainer, Told, TrainingFailedError, run_to_end
from tests.support.hungry_program import HungryConfig

pytestmark = pytest.mark.slow


def hungry(folder: Path, *, program: str = "tests.support.hungry_program", **values: Any) -> TrainingPlan[HungryConfig]:
    launch = {"launcher": "gloo", "ranks": 2, "threads": 1, "stop_deadline_seconds": 2.0}
    return TrainingPlan(
        stage="hungry",
        program=program,
        name="hungry/r1",
        version="v1",
        inputs={"training_set": DatasetRef(name="training_set/r1", version="v1")},
        folders={},
        work=str(folder / "work"),
        backend="gloo",
        backend_reason="as configured",
        taxonomy_version="1",
        config=HungryConfig.model_validate({"launch": launch} | values),
    )


def test_a_run_that_exceeds_its_memory_is_tried_again_with_half_the_micro_batch(tmp_path: Path) -> None:
    plan = hungry(tmp_path, batch=512, limit_mb=100)  # pieces of 256, 128 and then 64 megabytes
    said: list[str] = []
    heard: list[Any] = []
    told = Told(hear=heard.append, say=said.append)
    run_to_end(LocalTrainer(), plan, session=FileSession(plan), told=told)
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert metrics == {"units": 512, "micro_batch": 64}
    assert [text for text in said if "halved" in text] == [
        f"out of memory: again with the micro-batch halved {count} times, the same effective batch" for count in (1, 2)
    ]
    assert TrainingPlan.read(Path(plan.work) / PLAN, HungryConfig).halvings == 2
    assert [entry["kind"] for entry in heard if entry["event"] == "alert"] == ["out_of_memory"] * 2


def test_when_halving_does_not_help_the_failure_says_so(tmp_path: Path) -> None:
    plan = hungry(tmp_path, batch=2**14, limit_mb=100)
    with pytest.raises(TrainingFailedError, match="halved 4 times already") as caught:
        launch_training(plan, is_quiet=True)
    assert caught.value.code == OUT_OF_MEMORY
    assert "allocat" in caught.value.what


def test_a_rank_that_the_kernel_killed_is_explained_and_not_tried_with_less(tmp_path: Path) -> None:
    plan = hungry(tmp_path, program="tests.support.killed_program")
    with pytest.raises(TrainingFailedError, match="exit code 137") as caught:
        launch_training(plan, is_quiet=True)
    assert "OOMKilled" in caught.value.remedy
    assert TrainingPlan.read(Path(plan.work) / PLAN, HungryConfig).halvings == 0
