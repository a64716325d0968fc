"""The rules over progress points: what is an alert, what is none, and that each is said once."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.training.exits import DIVERGED, KILLED, OUT_OF_MEMORY, is_out_of_memory, meaning, worst
from sap_llm.training.monitor import (
    REMEDIES,
    Monitor,
    MonitoringConfig,
    alerts,
    as_metadata,
    diverged,
    killed,
    not_finite,
    out_of_memory,
)

CONFIG = MonitoringConfig()
CLEAN = Path(__file__).parent / "clean_curves.json"


def curve(losses: list[float], *, every: int = 10) -> list[dict[str, float]]:
    return [{"step": float((place + 1) * every), "loss": loss} for place, loss in enumerate(losses)]


def falling(count: int) -> list[float]:
    return [3.0 * math.exp(-place / 40) + 0.05 for place in range(count)]


def test_recorded_curves_of_real_clean_runs_raise_no_alarm() -> None:
    """Total loss by step of undisturbed runs: toy documents with two batch sizes and learning rates, and the demo."""
    recorded = json.loads(CLEAN.read_text())
    assert len(recorded) >= 10
    for name, points in recorded.items():
        found = alerts([{"step": step, "loss": loss} for step, loss in points], CONFIG)
        assert found == [], name


@pytest.mark.parametrize("factor", [1.6, 3.0, 1000.0])
@pytest.mark.parametrize("name", sorted(json.loads(CLEAN.read_text())))
def test_the_same_curves_with_a_lasting_jump_raise_one(name: str, factor: float) -> None:
    points = [{"step": step, "loss": loss} for step, loss in json.loads(CLEAN.read_text())[name]]
    start = len(points) // 2
    jumped = points[:start] + [{**point, "loss": points[start]["loss"] * factor} for point in points[start:]]
    found = alerts(jumped, CONFIG)
    assert len(found) <= 1
    if factor > 2:
        assert [alert.kind for alert in found] == ["loss_spike"]
        assert points[start]["step"] <= found[0].step <= points[start]["step"] + 200


@given(st.floats(1e-3, 1e3), st.integers(1, 25))
def test_a_smooth_fall_is_no_spike_whatever_its_scale(scale: float, every: int) -> None:
    assert alerts(curve([scale * loss for loss in falling(200)], every=every), CONFIG) == []


def test_a_spike_is_said_once_and_again_when_it_comes_back() -> None:
    calm = [0.5] * 60
    found = alerts(curve([*calm, *[5.0] * 5, *calm, *[5.0] * 5]), CONFIG)
    assert [alert.kind for alert in found] == ["loss_spike", "loss_spike"]
    assert found[0].measured is not None
    assert found[0].measured > (found[0].allowed or 0)


def test_a_run_that_has_just_begun_is_not_judged() -> None:
    assert alerts(curve([1.0, 50.0, 50.0]), CONFIG) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss", "gradient_norm", "extraction", "weights"])
def test_what_is_no_number_is_named(name: str, value: float) -> None:
    alert = not_finite({"step": 7.0, "loss": 1.0, name: value})
    assert alert is not None
    assert (alert.kind, alert.severity, alert.step) == ("not_finite", "error", 7)
    assert name in alert.explanation
    assert "step 7" in str(diverged(alert))
    assert not_finite({"step": 7.0, "loss": 1.0}) is None


def test_a_fall_of_the_validation_is_judged_at_its_own_points_only() -> None:
    scores = {30: 0.80, 60: 0.82, 90: 0.79, 120: 0.70, 150: 0.71, 180: 0.81, 210: 0.60}
    points = curve([1.0] * 24)
    for point in points:
        if int(point["step"]) in scores:
            point["validation_f1"] = scores[int(point["step"])]
    found = alerts(points, CONFIG)
    assert [(alert.kind, alert.step) for alert in found] == [("validation_drop", 120), ("validation_drop", 210)]


def test_a_resumed_run_reads_its_steps_again() -> None:
    monitor = Monitor(CONFIG)
    points = curve(falling(80))
    assert [alert for point in points for alert in monitor.look(point)] == []
    assert [alert for point in points[40:] for alert in monitor.look(point)] == []


def test_a_kill_is_want_of_memory_where_the_memory_was_full() -> None:
    assert killed(last={"step": 5.0, "host_memory_percent": 97.0}).kind == "out_of_memory"
    assert killed(last={"step": 5.0, "host_memory_percent": 40.0}).kind == "killed"
    assert killed(last={}).kind == "killed"


def test_every_alert_has_a_remedy_and_flat_metadata() -> None:
    alert = out_of_memory(last={"step": 3.0}, said="cannot allocate 4 GB")
    assert as_metadata(alert)["remedy"] == REMEDIES["out_of_memory"]
    assert all(isinstance(value, str | int | float) for value in as_metadata(alert).values())
    assert "allowed" not in as_metadata(alert)


def test_the_exit_code_that_explains_the_others_counts() -> None:
    assert worst([1, -9]) == -9
    assert worst([1, OUT_OF_MEMORY, 1]) == OUT_OF_MEMORY
    assert worst([1, DIVERGED]) == DIVERGED
    assert worst([0, None, 3]) == 3
    assert worst([0, None]) is None
    assert [meaning(code) for code in (-9, 247, 137, 241, OUT_OF_MEMORY, 1)] == [KILLED, KILLED, KILLED, 143, 75, 1]


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
    )
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert not is_out_of_memory(RuntimeError("Connection closed by peer"))
