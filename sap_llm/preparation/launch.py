"""Start the Spark job as a process of its own, and check what goes in and what comes out.

Belongs here: the contract check of the input files, the launched process and reading its result. The job is `job`;
what is made of the result is `stage`.

A process of its own, because the JVM then ends with the job instead of keeping its memory beside the training.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pyarrow as pa

from sap_llm.preparation.plan import PREPARED, JobPlan, SparkSettings
from sap_llm.preparation.progress import MARK, said
from sap_llm.schema.errors import ConfigurationError, MissingToolError, SapLlmError, SourceError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import Progress, silent
from sap_llm.storage.store import Dataset, DatasetStore

_TAIL_LINES = 40


class PreparationJobError(SapLlmError):
    """The Spark job did not finish."""


@contextmanager
def program(plan: JobPlan) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Command of the job and what its environment has besides ours; the plan's file lives as long as the block.

    Raises:
        MissingToolError: There is no Java.
    """
    require_java()
    with tempfile.TemporaryDirectory(prefix="sap_llm_plan_") as folder:
        file = Path(folder) / "plan.json"
        file.write_text(plan.model_dump_json(), encoding="utf-8")
        # Python workers must be this interpreter, not whatever `python3` is on the executors' path.
        defaults = {"PYSPARK_PYTHON": sys.executable}
        if plan.spark.master.startswith("local"):
            defaults["SPARK_LOCAL_IP"] = "127.0.0.1"  # works where the host name resolves to nothing
        environment = {name: os.environ.get(name, value) for name, value in defaults.items()}
        yield [sys.executable, "-m", "sap_llm.preparation.job", "--plan", str(file)], environment


def run_job(plan: JobPlan, progress: Progress = silent) -> None:
    """Run the plan and wait; its result is at `plan.output`.

    Raises:
        MissingToolError: There is no Java.
        PreparationJobError: The job failed; the message carries the end of its log.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with (
        program(plan) as (command, environment),
        subprocess.Popen(
            [*command, "--watch-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | environment,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(MARK):
                    message, done, total = said(json.loads(line.removeprefix(MARK)))
                    progress(message, done=done, total=total)
                elif not line.startswith("\tat "):
                    tail.append(line)
        except BaseException:  # Ctrl-C or a cancelled run: the job must not outlive its stage
            process.kill()
            raise
    if process.returncode:
        raise PreparationJobError(
            f"the Spark job ended with code {process.returncode}",
            where=plan.spark.master,
            remedy=f"The end of its log:\n{''.join(tail)}",
        )


def require_java() -> None:
    """Raise MissingToolError where Spark would find no Java."""
    home = os.environ.get("JAVA_HOME")
    if shutil.which(f"{home}/bin/java" if home else "java") is None:
        raise MissingToolError(
            "Spark needs Java 17 and finds none",
            where=f"JAVA_HOME={home}" if home else "PATH",
            remedy="Install openjdk-17-jre-headless, or set JAVA_HOME.",
        )


def table_location(store: DatasetStore, ref: DatasetRef, table: str, *, spark: SparkSettings) -> str:
    """Where Spark finds a table: a local path (downloaded once for a local master), or an s3a:// URL on a cluster."""
    if store.is_local or spark.master.startswith("local"):
        return str(store.open(ref).path(f"{table}.parquet"))
    return f"{_hadoop(store.root_url.rstrip('/'))}/{ref.name}/{ref.version}/{table}.parquet"


def staging_location(scratch: Path, *, is_shared: bool, spark: SparkSettings) -> str:
    """Where the job may write its result.

    Raises:
        ConfigurationError: Executors elsewhere cannot see the scratch folder and no shared place is configured.
    """
    if spark.staging is not None:
        return f"{_hadoop(spark.staging.rstrip('/'))}/{uuid.uuid4().hex}"
    if is_shared or spark.master.startswith("local"):
        return str(scratch)
    raise ConfigurationError(
        "no staging place that the executors share", where=spark.master, remedy="Set staging to an s3:// folder."
    )


def _hadoop(url: str) -> str:
    return url.replace("s3://", "s3a://", 1)


def check_contract(dataset: Dataset, table: str, *, schema: pa.Schema, columns: Iterable[str]) -> None:
    """Refuse a table that lacks columns or has them with other types, before Spark is started.

    Raises:
        SourceError: Names the file and every column that differs.
    """
    where = f"{dataset.ref}/{table}.parquet"
    try:
        found = dataset.scan(table).schema
    except (OSError, pa.ArrowInvalid) as error:
        raise SourceError(
            f"not readable as Parquet ({error})", where=where, remedy="Materialise the dataset again."
        ) from error
    problems = []
    for name in columns:
        wanted = schema.field(name).type
        if name not in found.names:
            problems.append(f"column {name} is missing")
        elif found.field(name).type != wanted:
            problems.append(f"column {name} is {found.field(name).type} instead of {wanted}")
    if problems:
        raise SourceError("; ".join(problems), where=where, remedy="Materialise it with the present code version.")


def read_prepared(location: str) -> pa.Table:
    """The job's result with the schema `PREPARED`, in the order of the documents' file."""
    import pyarrow.dataset as pads

    filesystem, path = fsspec.core.url_to_fs(location.replace("s3a://", "s3://", 1))
    dataset = pads.dataset(path, filesystem=filesystem, format="parquet", exclude_invalid_files=False)
    return dataset.to_table(columns=PREPARED.names).cast(PREPARED).sort_by("row")
