"""Killing a training program in the middle, for tests of what a resumed run promises.

Belongs here: the stroke, for every training stage. Killing other processes is `victim`.
"""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.launch import commands
from sap_llm.training.plan import TrainingPlan


def kill_after(plan: TrainingPlan[Any], step: int) -> int:
    """Start the program, kill -9 its session once a checkpoint of that step is there; returns the newest one's step."""
    plan.write()
    ((command, environment),) = commands(plan)
    with (Path(plan.work) / "killed.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 240
            while (found := checkpoints.newest(plan.checkpoints)) is None or found.step < step:
                assert process.poll() is None, (Path(plan.work) / "killed.log").read_text()[-3000:]
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    newest = checkpoints.newest(plan.checkpoints)
    assert newest is not None
    return newest.step
