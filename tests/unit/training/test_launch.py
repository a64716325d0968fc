"""Choosing and ending the launched program, with real processes."""

import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sap_llm.schema.errors import ConfigurationError, MissingToolError
from sap_llm.training.config import LaunchConfig
from sap_llm.training.launch import choose_backend, commands, hosts_command
from sap_llm.training.processes import ProcessGroup
from sap_llm.training.stage import launch_training
from sap_llm.training.trainer import TrainingFailedError
from tests.support.toy_training import plan_in

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # inherits the ignored signal
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


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
    started = commands(plan)
    assert [environment["RANK"] for _, environment in started] == ["0", "1", "2"]
    assert len({environment["MASTER_PORT"] for _, environment in started}) == 1
    ((command, environment),) = commands(plan.model_copy(update={"backend": "deepspeed"}))
    assert "deepspeed.launcher.launch" in command
    assert environment["DS_ACCELERATOR"] == "cpu"


def test_two_nodes_of_eight_are_what_deepspeeds_own_parser_and_host_file_understand(tmp_path: Path) -> None:
    from deepspeed.launcher.runner import (
        apply_num_nodes_and_gpus,
        fetch_hostfile,
        parse_args,
        parse_inclusion_exclusion,
    )

    hostfile = tmp_path / "hostfile"
    hostfile.write_text("# the cluster\nnode-1 slots=8\nnode-2 slots=8\nnode-3 slots=8\n")
    command, environment = hosts_command(plan_in(tmp_path, ranks=16, accelerator="cuda"), hostfile)
    arguments = parse_args(command[3:])
    hosts = parse_inclusion_exclusion(fetch_hostfile(arguments.hostfile), arguments.include, arguments.exclude)
    used = apply_num_nodes_and_gpus(hosts, arguments.num_nodes, arguments.num_gpus)
    assert {host: len(slots) for host, slots in used.items()} == {"node-1": 8, "node-2": 8}
    assert (arguments.launcher, arguments.master_addr, arguments.module) == ("pdsh", "node-1", True)
    assert arguments.user_script == "sap_llm.training.program"
    assert arguments.user_args == ["--plan", str(tmp_path / "work" / "plan.json")]
    assert environment["DS_ACCELERATOR"] == "cuda"


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "no host"), ("node-1\n", "not a host"), ("a slots=8\nb slots=4\n", "ranks is 16"), ("a slots=8\n", "16")],
)
def test_a_host_file_that_does_not_carry_the_ranks_is_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "hostfile").write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        hosts_command(plan_in(tmp_path, ranks=16), tmp_path / "hostfile")


def test_stopping_kills_children_that_ignore_term(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with ProcessGroup(tmp_path / "log", deadline_seconds=0.5) as group:
        group.start([sys.executable, "-c", STUBBORN, str(pid_file)], {})
        while not pid_file.exists() or not pid_file.read_text():
            time.sleep(0.02)
        child = int(pid_file.read_text())
        assert is_alive(child)
    assert not is_alive(child)


def test_one_failing_rank_ends_the_others(tmp_path: Path) -> None:
    with ProcessGroup(tmp_path / "log", deadline_seconds=0.5) as group:
        group.start([sys.executable, "-c", "import time; time.sleep(60)"], {})
        group.start([sys.executable, "-c", "raise SystemExit(3)"], {})
        while (code := group.code()) is None:
            time.sleep(0.02)
        assert code == 3
        waiting = group.processes[0].pid
    assert not is_alive(waiting)


def test_a_program_that_fails_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match=r"absent/shards\.parquet") as caught:
        launch_training(plan_in(tmp_path, ranks=1, threads=1), is_quiet=True)
    assert caught.value.code == 1


def test_terminating_the_launcher_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"""
import sys, time
from pathlib import Path
from sap_llm.training.processes import ProcessGroup, TerminationAsExit
with TerminationAsExit(), ProcessGroup(Path({str(tmp_path / "log")!r}), deadline_seconds=0.5) as group:
    group.start([sys.executable, "-c", {STUBBORN!r}, {str(pid_file)!r}], {{}})
    time.sleep(60)
"""
    launcher = subprocess.Popen([sys.executable, "-c", script])
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.02)
    child = int(pid_file.read_text())
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=20) == 128 + signal.SIGTERM
    assert not is_alive(child)
