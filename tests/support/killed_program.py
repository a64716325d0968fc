"""Not a test: a training program whose last rank is killed as the kernel kills for want of memory."""

import os
import signal

import torch.distributed as dist

from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter
from tests.support.hungry_program import HungryConfig


def die(plan: TrainingPlan[HungryConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Rank 0 waits for the other, which never comes."""
    if rank == ranks - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.barrier()


if __name__ == "__main__":
    run_rank(HungryConfig, die)
