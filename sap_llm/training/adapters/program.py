"""The launched program of `stage_adapters`: `python -m sap_llm.training.adapters.program --plan FILE` on each rank.

Belongs here: loading the base once and training one adapter after the other. The plan names the plans of other
partitions that the same processes work off (`also`); each result is the same whether its adapter is trained alone or
with others.
"""

import os
from pathlib import Path

import torch

from sap_llm.training.adapters.base import Base
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.trainer import AdapterTrainer
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter


def train(plan: TrainingPlan[StageAdaptersConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Train the adapters of this plan and of those that it names beside it, if their results are not there yet."""
    device = torch.device("cpu")
    if plan.config.launch.accelerator == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    base = Base(plan, device, rank=rank)
    for one in (plan, *(TrainingPlan.read(Path(path), StageAdaptersConfig) for path in plan.also)):
        if not one.result.is_dir():
            reporter.turn_to(one)
            retried = one.model_copy(update={"halvings": plan.halvings})
            AdapterTrainer(retried, base, rank=rank, ranks=ranks, reporter=reporter).run()


if __name__ == "__main__":
    run_rank(StageAdaptersConfig, train)
