"""The frame of every training program: one rank reads the plan, joins the others, and opens the reporter.

Belongs here: what is the same in all programs around their loop. The loop is the program's own (`program` trains the
document model); it is started by `launch` or by a cluster's job with the same arguments.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from sap_llm.training.engine import join_ranks
from sap_llm.training.exits import DIVERGED, OUT_OF_MEMORY, exit_codes
from sap_llm.training.plan import Config, TrainingPlan
from sap_llm.training.report import Reporter, open_reporter


class Train(Protocol[Config]):
    """A program's loop on one rank, from the newest checkpoint to the result folder."""

    def __call__(self, plan: TrainingPlan[Config], *, rank: int, ranks: int, reporter: Reporter) -> None:
        """Train; only rank 0's reporter speaks."""
        ...


def run_rank(config: type[Config], train: Train[Config]) -> None:
    """Entry point of every rank of a program whose plans carry a `config`."""
    parser = argparse.ArgumentParser(description="Train as a plan says.")
    parser.add_argument("--plan", required=True, type=Path)
    parser.add_argument("--local_rank", type=int, default=int(os.environ.get("LOCAL_RANK", "0")))  # given by deepspeed
    arguments = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(arguments.local_rank))
    plan = TrainingPlan.read(arguments.plan, config)
    torch.set_num_threads(plan.config.launch.threads)
    if plan.config.launch.accelerator == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # what names no device, NCCL's barrier too, takes this one
    rank, ranks = join_ranks(backend=plan.backend)
    try:
        # left behind before the group is left: peers fail as soon as it is, and the launcher would hear them first
        with _code_left_behind(plan), exit_codes(), open_reporter(plan, is_reporting=rank == 0) as reporter:
            train(plan, rank=rank, ranks=ranks, reporter=reporter)
    finally:
        dist.destroy_process_group()


@contextmanager
def _code_left_behind(plan: TrainingPlan[Any]) -> Iterator[None]:
    """An exit code that means something, also as a file: a pod may be gone before anybody reads its own."""
    try:
        yield
    except SystemExit as ended:
        if ended.code in {OUT_OF_MEMORY, DIVERGED}:
            plan.exit_code_file.write_text(str(ended.code))
        raise
