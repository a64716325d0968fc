"""Under Dagster the Spark job runs through Pipes and its row counts arrive while the asset is made."""

from pathlib import Path

import dagster as dg
import pytest

from assets.preparation import launch_with
from benchmarks.preparation_data import CLASSES, INPUT, write
from resources.pipes import ProcessGroupPipesClient
from sap_llm.deployment import Deployment
from sap_llm.preparation.launch import read_prepared
from sap_llm.preparation.plan import Cleaning, JobPlan, PagesInput, SparkSettings
from sap_llm.preparation.splits import SplitShares

CONFIGS = Path(__file__).parents[2] / "configs"
ROWS = 2000


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("master", ["local[2]", "nonsense://"])
def test_row_counts_arrive_and_a_failure_shows_the_end_of_the_log(tmp_path: Path, master: str) -> None:
    write(tmp_path, ROWS)
    heard: list[tuple[str, int, int]] = []
    plan = JobPlan(
        documents=str(tmp_path / "documents.parquet"),
        pages=[PagesInput(input=INPUT, path=str(tmp_path / "pages.parquet"))],
        output=str(tmp_path / "out"),
        rows=ROWS,
        classes=list(CLASSES),
        cleaning=Cleaning(),
        shares=SplitShares(),
        seed=7,
        spark=SparkSettings(master=master),
    )

    def progress(message: str, *, done: int = 0, total: int = 0) -> None:
        heard.append((message, done, total))

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["r1"]))
    def prepared(context: dg.AssetExecutionContext, pipes: ProcessGroupPipesClient) -> dg.MaterializeResult:
        deployment = Deployment("seconds", home=tmp_path, configs=CONFIGS)
        launch_with(pipes, context, deployment)(plan, progress)
        return dg.MaterializeResult()

    result = dg.materialize(
        [prepared], partition_key="r1", resources={"pipes": ProcessGroupPipesClient()}, raise_on_error=False
    )
    if master == "nonsense://":
        assert not result.success
        (failure,) = result.get_step_failure_events()
        assert "Master must either be yarn or start with spark" in str(failure.step_failure_data.user_failure_data)
        return
    assert result.success
    assert heard[-1] == ("documents described by Spark", ROWS, ROWS)
    assert read_prepared(plan.output).num_rows == ROWS
