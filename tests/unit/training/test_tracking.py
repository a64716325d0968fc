"""The curve in MLflow: a real SQLite store, resumed runs, and a server that is not there."""

import socket
from pathlib import Path

import pytest

from sap_llm.registry.mlflow_client import open_client
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.tracking import Tracker, link, run_of
from tests.support.toy_training import plan_in


def point(step: int) -> dict[str, object]:
    return {"event": "step", "steps": 30, "step": float(step), "loss": 1.0 / step, "gradient_norm": None, "at": 1.0}


def track(uri: str, plan: TrainingPlan[MultitaskModelConfig], steps: range) -> tuple[list[str], list[str]]:
    said: list[str] = []
    warned: list[str] = []
    Path(plan.work).mkdir(parents=True, exist_ok=True)
    tracker = Tracker(uri, plan, say=said.append, warn=warned.append)
    for step in steps:
        tracker(point(step))
    tracker({"event": "message", "message": "nothing for MLflow"})
    tracker.close("FINISHED", wait_seconds=120)
    return said, warned


@pytest.mark.slow
def test_a_resumed_training_goes_on_with_its_run(tmp_path: Path) -> None:
    uri, plan = f"sqlite:///{tmp_path}/mlflow.db", plan_in(tmp_path)
    said, warned = track(uri, plan, range(1, 11))
    assert warned == []
    run = run_of(Path(plan.work))
    assert run is not None
    assert said == [f"MLflow run {run['run_id']}: mlflow ui --backend-store-uri {uri}"]
    assert track(uri, plan, range(11, 31)) == (said, [])

    client = open_client(uri)
    history = client.get_metric_history(run["run_id"], "loss")
    assert [(entry.step, entry.value) for entry in history] == [(step, 1.0 / step) for step in range(1, 31)]
    data = client.get_run(run["run_id"])
    assert data.info.status == "FINISHED"
    assert data.data.params["optimizer.learning_rate"] == "0.002"
    assert data.data.tags["version"] == plan.version
    assert set(data.data.metrics) == {"loss"}


@pytest.mark.slow
def test_without_a_server_there_is_a_warning_and_nothing_waits(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plan = plan_in(tmp_path)
    said, warned = track(f"http://127.0.0.1:{port}", plan, range(1, 3))
    assert said == []
    assert len(warned) == 1
    assert "MLflow is not told" in warned[0]
    assert run_of(Path(plan.work)) is None


def test_links_have_no_password() -> None:
    run = {"uri": "https://me:secret@mlflow.example.com/", "experiment_id": "3", "run_id": "abc"}
    assert link(run) == "https://mlflow.example.com/#/experiments/3/runs/abc"
