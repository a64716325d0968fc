"""The report of a training and its card, from a progress file as a program leaves it."""

import json
from pathlib import Path
from typing import Any

import pytest

from sap_llm.registry.model_card import MODEL_CARD
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.curves import task_losses
from sap_llm.training.model_report import ALERTS, REPORT, cost_of, curve
from sap_llm.training.monitor import MonitoringConfig, as_metadata, killed
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.report import append_event
from tests.support.toy_training import build_multitask_model, planned, toy_training_set

PRICED = {"price_per_hour": 3.0, "currency": "USD"}
CONFIG = MultitaskModelConfig.model_validate({"launch": {"launcher": "gloo", "ranks": 2}, "monitoring": PRICED})


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def _point(step: int) -> dict[str, Any]:
    return {
        "event": "step",
        "steps": 40,
        "step": float(step),
        "loss": 40.0 / step,
        "extraction": 20.0 / step,
        "learning_rate": 1e-3,
        "gradient_norm": 1.0,
        "words": 100.0 * step,
        "seconds": float(step),
        "words_per_second": 100.0,
        "step_seconds": 1.0,
        "data_seconds": 1.0,
        "checkpoint_seconds": 0.5,
        "validation_seconds": 0.0,
        "host_cpu_percent": 80.0,
        "process_memory_bytes": 1e9,
        "network_sent_bytes": 1000.0,
    }


def leave_result(plan: TrainingPlan[Any]) -> None:
    (plan.result / "model").mkdir(parents=True)
    (plan.result / "model" / "model.safetensors").write_bytes(b"weights")
    metrics = {"loss": 1.0, "seconds": 3600.0, "validation_f1": 0.8, "device": "cpu"}
    (plan.result / "metrics.json").write_text(json.dumps(metrics))
    for step in (10, 20, 30, 20, 30, 40):  # killed after 30, resumed at 10
        append_event(plan.progress_file, _point(step))
    append_event(plan.progress_file, {"event": "alert", **as_metadata(killed(last={"step": 30.0}))})


def test_report_and_card_say_what_happened(context: StageContext) -> None:
    training_set = toy_training_set(context, 10)
    built = build_multitask_model(context, config=CONFIG, training_set=training_set, release="r1", launch=leave_result)
    metrics = built.manifest.metrics
    assert (metrics["device_hours"], metrics["cost"], metrics["currency"], metrics["alerts"]) == (2.0, 6.0, "USD", 1)
    report = built.dataset.path(REPORT).read_text()
    for said in ("| `cost` | 6 |", "| data | 4.0 | 10.0% |", "| checkpoint | 2.0 |", "| killed | error | 30 |"):
        assert said in report
    for picture in ("losses", "learning", "speed", "hardware"):
        assert f"](pictures/{picture}.png)" in report
        assert built.dataset.path(f"pictures/{picture}.png").read_bytes()[1:4] == b"PNG"
        assert built.dataset.path(f"pictures/{picture}.png").stat().st_size < 30_000
    assert "validation.png" not in report
    assert [alert["kind"] for alert in json.loads(built.dataset.path(ALERTS).read_text())] == ["killed"]
    card = built.dataset.path(MODEL_CARD).read_text()
    for said in (
        "## Limits",
        "| synthetic | train | Apache-2.0 | train | 8 |",
        f"training_set: `{training_set}`",
        "`model/model.safetensors`",
        "`monitoring.currency`",
    ):
        assert said in card


def test_what_was_done_twice_counts_once(context: StageContext) -> None:
    plan = planned(context, CONFIG, toy_training_set(context, 10))
    leave_result(plan)
    points = curve(plan)
    assert [point["step"] for point in points] == [10.0, 20.0, 30.0, 40.0]
    assert task_losses(points) == ["extraction"]


def test_without_a_price_there_are_hours_and_no_cost() -> None:
    assert cost_of(MonitoringConfig(), devices=16, seconds=900.0) == {"device_hours": 4.0}
