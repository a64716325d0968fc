"""The Pipes client hears its program, fails with it, and leaves none of its processes behind."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from resources.pipes import ProcessGroupPipesClient

REPORTING = """
import time
from dagster_pipes import open_dagster_pipes
with open_dagster_pipes() as pipes:
    pipes.log.info("started with %s", pipes.get_extra("steps"))
    for step in range(3):
        pipes.report_custom_message({"step": step})
        time.sleep(0.4)
"""
# a child that ignores what asks it to stop, as a stuck rank does
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \\
        "signal.signal(signal.SIGINT, signal.SIG_IGN); print('ready', flush=True); time.sleep(120)"
ready = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
ready.stdout.readline()
open({ready!r}, "w").write("ready")
time.sleep(120)
"""


def _living(group: int) -> list[int]:
    """Processes of a group that are no zombies."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = entry.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(process_group) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found


def _launch(program: str, log_file: Path, **extras: Any) -> tuple[dg.ExecuteInProcessResult, list[tuple[float, Any]]]:
    heard: list[tuple[float, Any]] = []

    @dg.asset
    def launched(context: dg.AssetExecutionContext, pipes: ProcessGroupPipesClient) -> dg.MaterializeResult:
        done = pipes.run(
            context=context,
            commands=[([sys.executable, "-c", program], {})],
            log_file=log_file,
            extras=extras,
            on_message=lambda message: heard.append((time.monotonic(), message["step"])),
        )
        return done.get_materialize_result()

    client = ProcessGroupPipesClient(stop_timeout_seconds=2.0)
    return dg.materialize([launched], resources={"pipes": client}, raise_on_error=False), heard


def test_messages_arrive_while_the_program_runs(tmp_path: Path) -> None:
    result, heard = _launch(REPORTING, tmp_path / "program.log", steps=3)
    assert result.success
    assert [step for _, step in heard] == [0, 1, 2]
    assert heard[-1][0] - heard[0][0] > 0.3


def test_a_failed_program_fails_the_step_with_its_exit_code_and_last_words(tmp_path: Path) -> None:
    result, _ = _launch("import sys; print('out of paper'); sys.exit(3)", tmp_path / "program.log")
    failure = result.failure_data_for_node("launched")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "exit code 3" in str(failure.user_failure_data.description)
    assert "out of paper" in str(failure.user_failure_data.description)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_that_ignores_termination_does_not_outlive_the_step(tmp_path: Path) -> None:
    client, ready, groups = ProcessGroupPipesClient(stop_timeout_seconds=0.5), tmp_path / "ready", []

    def cancelled_while_running() -> None:
        program = STUBBORN.format(ready=str(ready))
        with client.started([([sys.executable, "-c", program], dict(os.environ))], tmp_path / "log") as started:
            groups.append(started.processes[0].pid)
            deadline = time.monotonic() + 20
            while not ready.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(_living(groups[0])) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled_while_running()
    assert _living(groups[0]) == []
