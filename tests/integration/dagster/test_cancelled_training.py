"""A training that is cancelled or killed in Dagster leaves no process behind and resumes where it was."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from sap_llm.deployment import Deployment
from tests.support.dagster_records import record_materialisation, record_verdicts
from tests.support.toy_training import toy_training_set

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]

CHECKOUT = Path(__file__).parents[3]
OVERRIDES = {
    "steps": 150,
    "batch_words": 1500,
    "report_every_steps": 5,
    "checkpoint.every_steps": 10,
    "optimizer.learning_rate": 4e-3,
}
# What the demo does, in a process that can be killed.
WORKER = """
import json, sys
import dagster as dg
from sap_llm_dagster.build import build_defs
from sap_llm_dagster.home import open_instance
from sap_llm_dagster.local_run import run_job
job = dg.define_asset_job("only_the_model", selection=dg.AssetSelection.assets("multitask_model"))
defs = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[job]))
with open_instance() as instance:
    overrides = {"multitask_model": json.loads(sys.argv[1])}
    outcome = run_job(instance, "only_the_model", "r1", defs=defs, overrides=overrides)
sys.exit(outcome.failure or 0)
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.setenv("SAP_LLM_HOME", str(tmp_path))
    monkeypatch.setenv("SAP_LLM_PROFILE", "seconds")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    found = Deployment.load()
    dataset = found.store.open(toy_training_set(found.context(), 60))
    record_verdicts(found, dataset, passed=True)
    with dg.DagsterInstance.get() as instance:
        record_materialisation(instance, dataset)
    return found


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, json.dumps(OVERRIDES)], cwd=CHECKOUT)


def _progress(house: Deployment) -> list[dict[str, object]]:
    files = list((house.home / "data").rglob("progress.jsonl"))
    return [json.loads(line) for line in files[0].read_text().splitlines()] if files else []


def _steps(house: Deployment) -> float:
    return max((float(str(entry["step"])) for entry in _progress(house) if entry["event"] == "step"), default=0.0)


def _programs(house: Deployment) -> list[int]:
    """Living processes of this test's training program."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            is_zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(house.home).encode() in command and b"--plan" in command and not is_zombie:
            found.append(int(entry.name))
    return found


def _until(condition: object, *, seconds: float) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["cancelled", "killed"])
def test_stopped_training_leaves_nothing_and_resumes(number: signal.Signals, house: Deployment) -> None:
    worker = _start()
    try:
        assert _until(lambda: _steps(house) >= 20, seconds=180), "the training did not get going"
        os.kill(worker.pid, number)
        assert worker.wait(timeout=60) != 0
        assert _until(lambda: not _programs(house), seconds=30), "the program outlived its step"
    finally:
        worker.kill()
    assert not house.store.versions("multitask_model/r1")

    again = _start()
    try:
        assert again.wait(timeout=300) == 0
    finally:
        again.kill()

    said = [str(entry["message"]) for entry in _progress(house) if entry["event"] == "message"]
    assert any(text.startswith("resumed from the checkpoint of step") for text in said)
    metrics = house.store.open(house.store.current("multitask_model/r1")).manifest.metrics
    assert metrics["resumed_from_step"] >= 10
    assert metrics["steps"] == OVERRIDES["steps"]
    with dg.DagsterInstance.get() as instance:
        assert instance.get_materialized_partitions(dg.AssetKey("multitask_model")) == {"r1"}
        observed = instance.fetch_observations(dg.AssetKey("training_progress"), limit=1).records[0]
        assert observed.event_log_entry.asset_observation is not None
        assert observed.event_log_entry.asset_observation.metadata["step"].value == OVERRIDES["steps"]


def test_a_killed_rank_is_retried_from_its_checkpoint_and_told(house: Deployment) -> None:
    worker = _start()
    try:
        assert _until(lambda: _checkpoint(house) >= 20, seconds=240), "the training did not get going"
        (rank,) = list((house.home / "data").rglob("heartbeats/rank-0.json"))
        os.kill(json.loads(rank.read_text())["pid"], signal.SIGKILL)
        reached = _steps(house)
        assert worker.wait(timeout=400) == 0, "Dagster did not try the step again"
    finally:
        worker.kill()
    assert _until(lambda: not _programs(house), seconds=30)
    metrics = house.store.open(house.store.current("multitask_model/r1")).manifest.metrics
    assert reached - metrics["resumed_from_step"] <= OVERRIDES["checkpoint.every_steps"]
    assert metrics["alerts"] == 1
    with dg.DagsterInstance.get() as instance:
        model = dg.AssetKey("multitask_model")
        assert len(instance.fetch_materializations(model, limit=10).records) == 1
        (told,) = instance.fetch_observations(dg.AssetKey("training_alerts"), limit=10).records
        assert told.event_log_entry.asset_observation is not None
        alert = told.event_log_entry.asset_observation.metadata
        assert (alert["kind"].value, alert["asset"].value, alert["partition"].value) == (
            "killed",
            "multitask_model",
            "r1",
        )
        record = instance.fetch_materializations(model, limit=1).records[0]
        assert record.asset_materialization is not None
        shown = record.asset_materialization.metadata
    assert str(shown["report_full"].value).startswith("# Training of multitask_model/r1")
    assert "## Limits" in str(shown["model_card"].value)
    assert shown["mlflow_run"].value


def _checkpoint(house: Deployment) -> int:
    found = [int(path.name.removeprefix("step-")) for path in (house.home / "data").rglob("checkpoints/step-*")]
    return max(found, default=0)
