"""Not a test: a training program that waits, and says so when it is asked to stop."""

import os
import signal
import time
from pathlib import Path
from types import FrameType

from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter
from tests.support.counting_program import CountingConfig


def wait(plan: TrainingPlan[CountingConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Leave `saved-<rank>` on TERM."""
    work = Path(plan.work)

    def save(_number: int, _frame: FrameType | None) -> None:
        (work / f"saved-{rank}").touch()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, save)
    (work / f"ready-{rank}").write_text(str(os.getpid()))
    time.sleep(120)


if __name__ == "__main__":
    run_rank(CountingConfig, wait)
