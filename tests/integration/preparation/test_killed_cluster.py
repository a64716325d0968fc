"""On a standalone cluster a killed worker and a killed driver cost no row, and executors need the wheel alone."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.preparation_data import CLASSES, INPUT, write
from sap_llm.preparation.launch import PreparationJobError, read_prepared, run_job
from sap_llm.preparation.plan import Cleaning, JobPlan, PagesInput, SparkSettings
from sap_llm.preparation.splits import SplitShares
from sap_llm.storage.logical_hash import RowHasher
from tests.integration.servers.spark import SparkCluster, spark_cluster

ROOT = Path(__file__).parents[3]
ROWS = 3_000
PARTITIONS = 12  # tasks enough that one can be caught in the middle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents and pages."""
    made = tmp_path_factory.mktemp("documents")
    write(made, ROWS)
    return made


@pytest.fixture(scope="module")
def expected(folder: Path) -> str:
    """Hash of the decisions that a run without any mishap makes in one process."""
    plan = _plan(folder, folder / "expected", SparkSettings(master="local[2]"))
    run_job(plan)
    return _hash(plan)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SparkCluster]:
    """Two workers of one core."""
    with spark_cluster(tmp_path, workers=2, cores=1) as running:
        yield running


def _plan(folder: Path, output: Path, spark: SparkSettings) -> JobPlan:
    return JobPlan(
        documents=str(folder / "documents.parquet"),
        pages=[PagesInput(input=INPUT, path=str(folder / "pages.parquet"))],
        output=str(output),
        rows=ROWS,
        classes=list(CLASSES),
        cleaning=Cleaning(),
        near_duplicates_from=0.8,
        shares=SplitShares(),
        seed=7,
        spark=spark,
    )


def _on(cluster: SparkCluster, **more: object) -> SparkSettings:
    options = {"spark.driver.host": "127.0.0.1", "spark.executor.memory": "512m"}
    return SparkSettings(master=cluster.url, shuffle_partitions=PARTITIONS, options=options, **more)  # type: ignore[arg-type]


def _hash(plan: JobPlan) -> str:
    hasher = RowHasher()
    hasher.update(read_prepared(plan.output))
    assert hasher.rows == ROWS
    return hasher.hexdigest()


class _Once:
    """Progress that does something once, when some documents are described and tasks are still running."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self.acted = act, False

    def __call__(self, message: str, *, done: int = 0, total: int = 0) -> None:
        if not self.acted and done > 0 and "tasks" in message:
            self.acted = True
            self._act()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_killed_in_the_middle_changes_nothing(
    folder: Path, expected: str, cluster: SparkCluster, tmp_path: Path
) -> None:
    plan = _plan(folder, tmp_path / "out", _on(cluster))
    kill = _Once(lambda: os.killpg(cluster.workers[0].pid, signal.SIGKILL))  # and its executor with it
    run_job(plan, kill)
    assert kill.acted
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert _hash(plan) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_driver_leaves_nothing_that_looks_complete_and_the_next_run_is_the_same(
    folder: Path, expected: str, cluster: SparkCluster, tmp_path: Path
) -> None:
    plan = _plan(folder, tmp_path / "out", _on(cluster))

    def kill_driver() -> None:
        for child in psutil.Process().children():
            if "sap_llm.preparation.job" in child.cmdline():
                for process in (child, *child.children(recursive=True)):
                    process.kill()

    kill = _Once(kill_driver)
    with pytest.raises(PreparationJobError):
        run_job(plan, kill)
    assert kill.acted
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    run_job(plan)
    assert _hash(plan) == expected


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_spark_submit_needs_the_wheel_and_nothing_of_the_checkout(
    folder: Path, expected: str, cluster: SparkCluster, tmp_path: Path
) -> None:
    import pyspark

    package = _wheel(tmp_path / "dist")
    main = Path(shutil.copy(ROOT / "spark_jobs/prepare_training_set.py", tmp_path))
    plan = _plan(folder, tmp_path / "out", _on(cluster))
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    python = _without_site_of_the_checkout(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    submit = str(Path(pyspark.__file__).parent / "bin" / "spark-submit")
    done = subprocess.run(
        [submit, "--master", cluster.url, "--conf", "spark.driver.host=127.0.0.1", "--py-files", str(package),
         str(main), "--plan", str(file)],
        cwd="/", env=environment | {"PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "progress {" in done.stdout
    assert _hash(plan) == expected


def _wheel(folder: Path) -> Path:
    """The wheel under the name of a zip file, see CONTRIBUTING."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("no uv to build a wheel with")
    done = subprocess.run(
        [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"the wheel cannot be built here: {done.stderr[-500:]}")
    (wheel,) = folder.glob("*.whl")
    return wheel.rename(wheel.with_suffix(".zip"))


def _without_site_of_the_checkout(folder: Path) -> Path:
    """An interpreter that finds the libraries and not this checkout, which an editable install puts on every path."""
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{libraries}" exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    found = subprocess.run(
        [str(python), "-c", "import sap_llm.preparation.job"], cwd="/", env={}, capture_output=True, check=False
    )
    assert found.returncode != 0, "sap_llm is found without the wheel"
    return python
