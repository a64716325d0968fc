"""What is measured around a step: the machine, the time, the record across resumed runs, the line of the log."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.hardware import Hardware, peak_flops
from sap_llm.training.meter import LORA, Meter
from sap_llm.training.record import Record
from sap_llm.training.report import Reporter, append_event, events, step_text


class Nvml:
    """NVIDIA's library, of which this machine has none: the calls of `pynvml` 13 that are made, two GPUs."""

    NVMLError = RuntimeError

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index > 1:
            raise self.NVMLError("Invalid Argument")
        return f"gpu-{index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:
        return uuid.decode()

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"NVIDIA H200 {handle}"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> Any:
        return SimpleNamespace(gpu=93, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:
        return SimpleNamespace(total=150 * 2**30, used=100 * 2**30)


def test_a_cpu_has_the_machines_numbers_and_none_of_a_gpu() -> None:
    hardware = Hardware()
    first, second = hardware.sample(), hardware.sample()
    assert hardware.gpu_name is None
    assert not [name for name in first if name.startswith("gpu_")]
    assert first["process_memory_bytes"] > 2**20
    assert 0 < first["host_memory_percent"] < 100
    assert second["network_sent_bytes"] >= 0
    assert peak_flops(hardware.gpu_name) is None


@pytest.mark.parametrize(
    ("visible", "local", "handle"),
    [("", "1", "gpu-1"), ("1,0", "0", "gpu-1"), ("GPU-8f,GPU-9a", "1", "GPU-9a"), ("", "5", None)],
)
def test_a_rank_looks_at_its_own_gpu(
    visible: str, local: str, handle: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("LOCAL_RANK", local)
    hardware = Hardware(nvml=Nvml())
    assert hardware.gpu_name == (handle and f"NVIDIA H200 {handle}")
    if handle:
        assert hardware.sample()["gpu_utilisation_percent"] == 93
        assert hardware.sample()["gpu_memory_bytes"] == 100 * 2**30


def test_peaks_are_found_by_name_and_an_unknown_gpu_has_none() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA L4") == 121e12
    assert peak_flops("NVIDIA L40S") == 362e12
    assert peak_flops("Radeon") is None


def test_throughput_and_mfu_leave_out_what_is_no_training() -> None:
    meter = Meter(unit="tokens", parameters=1000, peak_flops=1e6, flops_per_parameter=LORA)
    with meter.part("checkpoint"):
        time.sleep(0.2)
    with meter.part("data"):
        time.sleep(0.05)
    meter.step(100)
    point = meter.point()
    assert point["checkpoint_seconds"] >= 0.2
    assert 0.05 <= point["data_seconds"] <= point["step_seconds"]
    assert point["tokens_per_second"] == pytest.approx(100 / point["step_seconds"], rel=1e-2)
    assert point["mfu"] == pytest.approx(point["tokens_per_second"] * 4 * 1000 / 1e6, rel=1e-3)
    assert meter.point()["checkpoint_seconds"] == 0.0
    assert "mfu" not in Meter(unit="words", parameters=1, peak_flops=None).point()


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    """A process group of one rank."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def _record() -> Record:
    return Record(Meter(unit="words", parameters=1, peak_flops=None))


@pytest.mark.usefixtures("alone")
def test_a_record_goes_on_in_the_middle_between_two_points() -> None:
    losses = [0.1, 0.7, 1.3, 0.2, 1 / 3, 5e-7]
    whole, first = _record(), _record()
    for loss in losses:
        whole.add({"loss": loss}, words=5, documents=1)
        whole.stepped(loss * 2)
    for loss in losses[:4]:
        first.add({"loss": loss}, words=5, documents=1)
        first.stepped(loss * 2)
    second = _record()
    second.restore(first.to_json(), step=4, rank=0)
    for loss in losses[4:]:
        second.add({"loss": loss}, words=5, documents=1)
        second.stepped(loss * 2)
    a, b = whole.point({}), second.point({})
    assert (a["loss"], a["gradient_norm"], a["words"], a["step"]) == (
        b["loss"],
        b["gradient_norm"],
        b["words"],
        b["step"],
    )
    assert second.resumed_from == 4


def test_the_best_checkpoint_survives_the_newest_ones(tmp_path: Path) -> None:
    scores = {10: 0.5, 20: 0.9, 30: None, 40: 0.9, 50: 0.7, 60: None, 70: 0.8}
    for step, score in scores.items():
        checkpoints.prepare(tmp_path)
        (checkpoints.scratch(tmp_path) / "weights").write_text(str(step))
        checkpoints.commit(tmp_path, step=step, progress={}, keep=2, score=score)
    best, newest = checkpoints.best(tmp_path), checkpoints.newest(tmp_path)
    assert best is not None
    assert newest is not None
    assert (best.step, best.score, newest.step, newest.score) == (20, 0.9, 70, 0.8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000020", "step-00000060", "step-00000070"]


def test_a_progress_file_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    assert events(file, "step") == []
    append_event(file, {"event": "step", "step": 1.0, "loss": None})
    append_event(file, {"event": "alert", "kind": "stall"})
    with file.open("a") as stream:
        stream.write('{"event": "step", "st')
    (point,) = events(file, "step")
    assert point["step"] == 1.0
    assert "loss" not in point


def test_a_silent_reporter_refuses_what_is_no_number_as_well() -> None:
    with pytest.raises(Exception, match="loss not finite"):
        Reporter(None).step({"step": 3.0, "loss": float("nan")}, steps=10)


def test_the_line_of_a_step_says_what_is_known() -> None:
    point = {"step": 40.0, "loss": 1.28, "learning_rate": 2.5e-3, "gradient_norm": 0.87, "words_per_second": 412.4}
    assert step_text(point, steps=400) == "step 40/400  loss 1.2800  lr 2.5e-03  |g| 0.87  412 words/s"
    assert step_text(point | {"step_seconds": 0.1}, steps=400).endswith("36 s left")
    assert step_text({"step": 1.0, "weights": float("nan")}, steps=2) == "step 1/2"
