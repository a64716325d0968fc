"""A stage that is killed takes its Spark job along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sap_llm.preparation.plan import Cleaning, JobPlan, SparkSettings
from sap_llm.preparation.splits import SplitShares

_LAUNCHER = """
import sys
from pathlib import Path
from sap_llm.preparation.launch import run_job
from sap_llm.preparation.plan import JobPlan
run_job(JobPlan.model_validate_json(Path(sys.argv[1]).read_text()))
"""


@pytest.mark.slow
def test_the_job_does_not_outlive_a_killed_stage(tmp_path: Path) -> None:
    plan = JobPlan(
        documents=str(tmp_path / "documents.parquet"),
        pages=[],
        output=str(tmp_path / "out"),
        classes=[],
        cleaning=Cleaning(),
        shares=SplitShares(),
        seed=7,
        # A master that nobody is: the job keeps trying to reach it.
        spark=SparkSettings(master="spark://127.0.0.1:9", options={"spark.driver.host": "127.0.0.1"}),
    )
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    stage = subprocess.Popen([sys.executable, "-c", _LAUNCHER, str(file)])
    _await(lambda: any("java" in _name(process) for process in _descendants(stage.pid)))
    processes = _descendants(stage.pid)
    assert len(processes) >= 2
    os.kill(stage.pid, signal.SIGKILL)
    stage.wait()
    _await(lambda: not any(_is_running(process) for process in processes))


def _await(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def _descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_descendants(int(child))]
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return ""


def _is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
