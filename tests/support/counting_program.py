"""Not a test: the smallest training program, for tests of what is around one.

Every rank adds the configured number; rank 0 leaves the sum and the rows of the training set as metrics.
"""

import json

import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from sap_llm.training.config import TrainingStageConfig
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter


class CountingConfig(TrainingStageConfig):
    """Of a stage that is not the document model."""

    number: int = 3


def count(plan: TrainingPlan[CountingConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """Add up over the ranks."""
    total = torch.tensor(plan.config.number)
    dist.all_reduce(total)
    if rank == 0:
        rows = pq.read_metadata(plan.input_path("training_set", "documents.parquet")).num_rows
        plan.result.mkdir(parents=True)
        (plan.result / "metrics.json").write_text(json.dumps({"total": int(total), "rows": rows}))
        reporter.done({"ranks": ranks})


if __name__ == "__main__":
    run_rank(CountingConfig, count)
