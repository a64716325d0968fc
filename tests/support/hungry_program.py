"""Not a test: a training program that needs memory in proportion to its micro-batch, within a limit of its own.

`batch` units of a megabyte are shared as any stage shares its batch. With more than `limit_mb` beyond what the process
has at its start, the kernel refuses an allocation, as it would a training that is too large.
"""

import json
import resource
from pathlib import Path

import torch
import torch.distributed as dist

from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter
from sap_llm.training.shares import share

MEGABYTE = 2**20


class HungryConfig(TrainingStageConfig):
    """What it eats and what it may eat."""

    batch: int = 256
    limit_mb: int = 100


def eat(plan: TrainingPlan[HungryConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Hold one piece after the other; rank 0 leaves what was held in all."""
    shares = share(plan.config.batch, ranks=ranks, halvings=plan.halvings)
    reporter.say(f"pieces of {shares.micro_batch}")
    if rank == ranks - 1:  # one rank alone meets its limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + plan.config.limit_mb * MEGABYTE
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    held = torch.zeros(())
    for _ in shares.of_rank(rank):
        held += torch.ones(shares.micro_batch * MEGABYTE, dtype=torch.uint8)[::MEGABYTE].sum()
    dist.all_reduce(held)
    if rank == 0:
        plan.result.mkdir(parents=True)
        numbers = {"units": int(held), "micro_batch": shares.micro_batch}
        (plan.result / "metrics.json").write_text(json.dumps(numbers))
        reporter.done(numbers)


if __name__ == "__main__":
    run_rank(HungryConfig, eat)
