"""The training set is the same, row for row, wherever Spark runs, and its gates are judged there as well."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sap_llm.preparation.plan import SparkSettings
from sap_llm.preparation.suites.engine import validate
from sap_llm.preparation.suites.expectations import SuiteSettings
from sap_llm.registry.gates import GATES
from sap_llm.schema.clock import FrozenClock
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.integration.servers.spark import spark_cluster
from tests.support.prepared import Prepared, prepare_all, write_corpora


def _prepare(root: Path, spark: SparkSettings) -> Prepared:
    context = StageContext(store=DatasetStore(root), clock=FrozenClock(datetime(2025, 6, 1, tzinfo=UTC)))
    return prepare_all(context, write_corpora(context), spark=spark)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_local_threads_and_a_standalone_cluster_give_the_same_data(tmp_path: Path) -> None:
    local = _prepare(tmp_path / "local", SparkSettings(master="local[2]", shuffle_partitions=3))
    with spark_cluster(tmp_path) as cluster:
        settings = SparkSettings(
            master=cluster.url,
            options={"spark.driver.host": "127.0.0.1", "spark.executor.memory": "512m", "spark.executor.cores": "2"},
        )
        remote = _prepare(tmp_path / "cluster", settings)
        assert "Asked to launch executor" in (tmp_path / "worker-0.log").read_text(errors="replace")
        groups = GATES["training_set"]
        dataset = remote.training_set.dataset
        results = validate(dataset, groups, settings=SuiteSettings(engine="spark"), spark=settings)
        assert {group: result.failures for group, result in results.items()} == dict.fromkeys(groups, ())
    assert remote.training_set.manifest.rows == local.training_set.manifest.rows
    assert remote.training_set.manifest.data_version == local.training_set.manifest.data_version
    assert remote.training_set.ref == local.training_set.ref
