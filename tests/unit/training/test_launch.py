"""Choosing and ending the launched program, with real processes."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sap_llm.schema.errors import MissingToolError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.training.config import LaunchConfig, MultitaskModelConfig
from sap_llm.training.launch import ProcessGroup, TrainingFailedError, choose_backend, commands, run
from sap_llm.training.plan import TrainingPlan

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # inherits the ignored signal
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def plan_in(folder: Path, **launch: object) -> TrainingPlan[MultitaskModelConfig]:
    config = MultitaskModelConfig.model_validate({"launch": launch})
    return TrainingPlan(
        stage="multitask_model",
        name="multitask_model/r1",
        version="v1",
        inputs={"training_set": DatasetRef(name="training_set/r1", version="v1")},
        folders={"training_set": str(folder / "absent")},
        work=str(folder / "work"),
        backend="gloo",
        backend_reason="as configured",
        taxonomy_version="1",
        config=config,
    )


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_without_a_compiler_gloo_runs_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    backend, reason = choose_backend(LaunchConfig())
    assert backend == "gloo"
    assert "no C++ compiler" in reason
    with pytest.raises(MissingToolError, match="Install g\\+\\+"):
        choose_backend(LaunchConfig(launcher="deepspeed"))


def test_with_a_compiler_deepspeed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("g++", "ninja"):
        tool = tmp_path / name
        tool.write_text("#!/bin/sh\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_backend(LaunchConfig())[0] == "deepspeed"
    assert choose_backend(LaunchConfig(launcher="gloo"))[0] == "gloo"


def test_gloo_starts_one_process_per_rank_and_deepspeed_one_launcher(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, ranks=3, threads=1)
    started = commands(plan, tmp_path / "plan.json")
    assert [environment["RANK"] for _, environment in started] == ["0", "1", "2"]
    assert len({environment["MASTER_PORT"] for _, environment in started}) == 1
    ((command, environment),) = commands(plan.model_copy(update={"backend": "deepspeed"}), tmp_path / "plan.json")
    assert "deepspeed.launcher.launch" in command
    assert environment["DS_ACCELERATOR"] == "cpu"


def test_stopping_kills_children_that_ignore_term(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    group = ProcessGroup(deadline_seconds=0.5)
    with (tmp_path / "log").open("wb") as log:
        group.start([sys.executable, "-c", STUBBORN, str(pid_file)], env=dict(os.environ), log=log)
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.02)
        child = int(pid_file.read_text())
        assert is_alive(child)
        group.stop()
    assert not is_alive(child)


def test_one_failing_rank_ends_the_others(tmp_path: Path) -> None:
    group = ProcessGroup(deadline_seconds=0.5)
    with (tmp_path / "log").open("wb") as log:
        group.start([sys.executable, "-c", "import time; time.sleep(60)"], env=dict(os.environ), log=log)
        group.start([sys.executable, "-c", "raise SystemExit(3)"], env=dict(os.environ), log=log)
        began = time.monotonic()
        assert group.wait() == 3
    assert time.monotonic() - began < 20


def test_a_program_that_fails_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match=r"absent/shards\.parquet"):
        run(plan_in(tmp_path, ranks=1, threads=1), is_quiet=True)


def test_terminating_the_launcher_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"""
import os, sys
from sap_llm.training.launch import ProcessGroup
group = ProcessGroup(deadline_seconds=0.5)
with open({str(tmp_path / "log")!r}, "wb") as log, group.forwarding_signals():
    group.start([sys.executable, "-c", {STUBBORN!r}, {str(pid_file)!r}], env=dict(os.environ), log=log)
    group.wait()
"""
    launcher = subprocess.Popen([sys.executable, "-c", script])
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.02)
    child = int(pid_file.read_text())
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=20) == 128 + signal.SIGTERM
    assert not is_alive(child)
