"""Not a test: a training program that finds its loss to be no number."""

from sap_llm.training.monitor import TrainingDivergedError
from sap_llm.training.plan import TrainingPlan
from sap_llm.training.rank import run_rank
from sap_llm.training.report import Reporter
from tests.support.counting_program import CountingConfig


def diverge(plan: TrainingPlan[CountingConfig], *, rank: int, ranks: int, reporter: Reporter) -> None:
    """On every rank, as losses do."""
    raise TrainingDivergedError("loss not finite", where="step 3", remedy="Lower the learning rate.")


if __name__ == "__main__":
    run_rank(CountingConfig, diverge)
