"""How fast headers come out of PostgreSQL into a typed Parquet dataset, and in how much memory.

Ours: the export's own snapshot, key ranges, readers and types, written as a dataset version with its hash. Rivals,
which make no hash: `pandas.read_sql` + `to_parquet`, the usual way over SQLAlchemy and the fastest over ADBC, and
Spark's JDBC reader with two partitions. Every side runs in a process of its own; the time is that of the work, after
Spark's session is up; the memory is the peak of the process tree. Rows: SAP_LLM_BENCHMARK_ROWS, by default 1,000,000.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from benchmarks.measure import Measure, Peak, Timing, higher_is_better, lower_is_better
from tests.integration.servers.postgres import postgres_server

if TYPE_CHECKING:
    from sap_llm.sources.qorsync_headers import HeaderSnapshot

ROWS = int(os.environ.get("SAP_LLM_BENCHMARK_ROWS", "1000000"))
RUNS = 3
READERS, RANGE_ROWS = 2, 25_000
MONTH = "2025-03"
DRIVER = "org.postgresql:postgresql:42.7.4"
PYTHON_DRIVER = "psycopg[binary]==3.2.*"
CACHE = Path.home() / ".cache" / "sap_llm" / "postgresql-jdbc-42.7.4"
PYTHON_CACHE = Path.home() / ".cache" / "sap_llm" / "psycopg-3.2"
_CHILD_SECONDS = 1800
_TABLE = """
CREATE TABLE qorsync_documents (document_id TEXT PRIMARY KEY, document_type TEXT NOT NULL, document_subtype TEXT,
language TEXT, status TEXT NOT NULL, vendor_number TEXT, process_number TEXT, document_number TEXT,
total_amount NUMERIC(18, 2), currency TEXT, file_sha256 TEXT NOT NULL, media_type TEXT NOT NULL,
received_at TIMESTAMPTZ, processed_at TIMESTAMPTZ NOT NULL, updated_at TIMESTAMPTZ NOT NULL, remarks TEXT, origin JSONB)
"""
_ROWS = """
INSERT INTO qorsync_documents SELECT 'doc-' || lpad(g::text, 9, '0'), 'SUPPLIER_INVOICE',
CASE WHEN g % 3 = 0 THEN 'STANDARD' END, (ARRAY['en', 'de', 'fr', 'es'])[g % 4 + 1], 'reviewed', 'V' || g % 5000,
'P' || g % 200000, 'RE-' || g, (g % 1000000) / 100.0, 'EUR', md5(g::text) || md5((g + 1)::text), 'application/pdf',
timestamptz '2025-03-01 UTC' + g * interval '2 seconds', timestamptz '2025-03-01 UTC' + g * interval '2 seconds',
timestamptz '2025-03-01 UTC' + g * interval '2 seconds', 'checked by clerk ' || g % 97,
jsonb_build_object('channel', 'mail', 'attempt', g % 3, 'score', 0.25) FROM generate_series(1, {rows}) g
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run of one side took."""

    seconds: float
    peak_bytes: int


def run() -> dict[str, Measure]:
    """Rows a second and peak memory of all sides, in turns."""
    with postgres_server() as uri, tempfile.TemporaryDirectory() as folder:
        fill(uri, ROWS)
        jar, driver = jdbc_driver(), python_driver()
        sides = ["ours", "pandas_adbc", *(["pandas"] if driver else []), *(["spark"] if jar else [])]
        costs: dict[str, list[Cost]] = {side: [] for side in sides}
        for number in range(RUNS):
            for side in sides:
                cost = measured(side, uri, Path(folder) / f"{side}-{number}", jar)
                costs[side].append(cost)
                sys.stdout.write(
                    f"{side}: {ROWS / cost.seconds:,.0f} rows/s, peak {cost.peak_bytes / 2**20:,.0f} MiB\n"
                )
        for side, found in costs.items():
            seconds = Timing(seconds=tuple(cost.seconds for cost in found))
            sys.stdout.write(f"{side}: {seconds}\n")
        tenth = measured("ours", uri, Path(folder) / "tenth", jar, rows=ROWS // 10)
    return compared(costs) | {
        "export_peak_memory_of_a_tenth_of_the_rows": lower_is_better(
            ours=_mebibytes(costs["ours"]),
            rival=round(tenth.peak_bytes / 2**20, 1),
            rival_name="the same with a tenth of the rows",
            unit="MiB",
            runs=RUNS,
        )
    }


def compared(costs: Mapping[str, list[Cost]]) -> dict[str, Measure]:
    """Ours beside each rival: medians."""
    names = {
        "pandas": "pandas.read_sql (SQLAlchemy, psycopg) + to_parquet",
        "pandas_adbc": "pandas.read_sql (ADBC) + to_parquet",
        "spark": "Spark JDBC, 2 partitions, local[2]",
    }
    found: dict[str, Measure] = {}
    for side in costs.keys() - {"ours"}:
        found[f"export_rows_vs_{side}"] = higher_is_better(
            ours=_rate(costs["ours"]),
            rival=_rate(costs[side]),
            rival_name=names[side],
            unit=f"rows/s of {ROWS:,}",
            runs=RUNS,
        )
        found[f"export_peak_memory_vs_{side}"] = lower_is_better(
            ours=_mebibytes(costs["ours"]),
            rival=_mebibytes(costs[side]),
            rival_name=names[side],
            unit="MiB",
            runs=RUNS,
        )
    return dict(sorted(found.items()))


def fill(uri: str, rows: int) -> None:
    """A table of 17 columns, all in one month."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        for statement in (_TABLE, _ROWS.format(rows=rows), "CREATE INDEX ON qorsync_documents (processed_at)"):
            cursor.execute(statement)
        connection.commit()
        cursor.execute("ANALYZE qorsync_documents")
        connection.commit()


def measured(side: str, uri: str, target: Path, jar: Path | None, *, rows: int = ROWS) -> Cost:
    """Run one side in a fresh process and watch its tree's memory."""
    command = [sys.executable, "-m", "benchmarks.export", side, uri, str(target), str(jar or ""), str(rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak = Peak(process.pid)
        output, errors = process.communicate(timeout=_CHILD_SECONDS)
        peak.stop()
    if process.returncode:
        raise RuntimeError(f"{side} failed: {errors[-2000:]}")
    answer = json.loads(output.splitlines()[-1])
    if answer["rows"] != rows:
        raise RuntimeError(f"{side} wrote {answer['rows']} rows instead of {rows}")
    return Cost(seconds=answer["seconds"], peak_bytes=peak.bytes)


def jdbc_driver() -> Path | None:
    """PostgreSQL's JDBC driver from Maven, kept below `~/.cache/sap_llm`; None, and a line that says so, without it."""
    found = next(CACHE.glob("postgresql-*.jar"), None)
    if found is not None:
        return found
    copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    command = ["mvn", "-q", "-B", copy, f"-Dartifact={DRIVER}", f"-DoutputDirectory={CACHE}"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"Spark is not compared: its JDBC driver cannot be fetched ({error})\n")
        return None
    return next(CACHE.glob("postgresql-*.jar"))


def python_driver() -> Path | None:
    """The rival's database driver, which this project does not need, in a folder of its own; None without it."""
    if (PYTHON_CACHE / "psycopg").is_dir():
        return PYTHON_CACHE
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--target", str(PYTHON_CACHE), PYTHON_DRIVER]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        sys.stdout.write(f"pandas over SQLAlchemy is not compared: its driver cannot be fetched ({error})\n")
        return None
    return PYTHON_CACHE


def export_ours(uri: str, target: Path, _: str, rows: int) -> tuple[Callable[[], int], None]:
    """Snapshot, key ranges by census, two readers, types, one dataset version."""
    from sap_llm.sources.qorsync_headers import Headers
    from sap_llm.sources.qorsync_records import HEADER
    from sap_llm.storage.build import StageConfig, StageContext, build
    from sap_llm.storage.store import DatasetStore

    def work() -> int:
        with Headers(uri, first_month="2025-01").snapshot() as snapshot:
            built = build(
                StageContext(store=DatasetStore(target)),
                name="headers",
                stage_version="1",
                config=StageConfig(),
                produce=lambda writer: {"rows": writer.write_table("headers", _headers(snapshot, rows), HEADER)},
            )
        return int(built.manifest.rows["headers"])

    return work, None


def _headers(snapshot: "HeaderSnapshot", rows: int) -> Iterator[pa.RecordBatch]:
    """Typed batches in order of keys; at most a few ranges are in memory."""

    def read(bounds: tuple[str, str]) -> list[pa.RecordBatch]:
        with snapshot.another() as own:
            return list(own.rows(MONTH, first=bounds[0], last=bounds[1]))

    waiting: deque[Future[list[pa.RecordBatch]]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        for bounds in _ranges(snapshot, rows):
            waiting.append(pool.submit(read, bounds))
            if len(waiting) > READERS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _ranges(snapshot: "HeaderSnapshot", rows: int) -> Iterator[tuple[str, str]]:
    left = rows
    for batch in snapshot.keys(MONTH):
        ids = batch.column("document_id")[:left]
        left -= len(ids)
        for start in range(0, len(ids), RANGE_ROWS):
            part = ids[start : start + RANGE_ROWS]
            yield part[0].as_py(), part[-1].as_py()


def export_pandas(uri: str, target: Path, _: str, rows: int) -> tuple[Callable[[], int], None]:
    """The usual way of a notebook."""
    sys.path.append(str(PYTHON_CACHE))
    import pandas as pd
    import sqlalchemy

    def work() -> int:
        target.mkdir()
        engine = sqlalchemy.create_engine(uri.replace("postgresql://", "postgresql+psycopg://"))
        table = pd.read_sql(f"SELECT * FROM qorsync_documents LIMIT {rows}", engine)
        table.to_parquet(target / "headers.parquet", compression="zstd")
        return len(table)

    return work, None


def export_pandas_adbc(uri: str, target: Path, _: str, rows: int) -> tuple[Callable[[], int], None]:
    """The same over the fastest connection that pandas knows."""
    import pandas as pd
    from adbc_driver_postgresql import dbapi

    def work() -> int:
        target.mkdir()
        with dbapi.connect(uri) as connection:
            table = pd.read_sql(f"SELECT * FROM qorsync_documents LIMIT {rows}", connection)
        table.to_parquet(target / "headers.parquet", compression="zstd")
        return len(table)

    return work, None


def export_spark(uri: str, target: Path, jar: str, rows: int) -> tuple[Callable[[], int], Callable[[], None]]:
    """Two partitions by key, so that both cores read."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", jar)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .getOrCreate()
    )
    host = uri.rpartition("@")[2]
    middle = f"doc-{rows // 2:09}"
    predicates = [f"document_id <= '{middle}'", f"document_id > '{middle}'"]
    properties = {"driver": "org.postgresql.Driver", "user": "postgres", "fetchsize": "10000"}

    def work() -> int:
        frame = session.read.jdbc(
            f"jdbc:postgresql://{host}", "qorsync_documents", predicates=predicates, properties=properties
        )
        frame.write.parquet(str(target))
        import pyarrow.dataset as pads

        return int(pads.dataset(target, format="parquet").count_rows())

    return work, session.stop


_SIDES = {"ours": export_ours, "pandas": export_pandas, "pandas_adbc": export_pandas_adbc, "spark": export_spark}


def main(side: str, uri: str, target: str, jar: str, rows: str) -> None:
    """One side in this process: prints its seconds and rows as JSON."""
    work, end = _SIDES[side](uri, Path(target), jar, int(rows))
    started = time.perf_counter()
    written = work()
    seconds = time.perf_counter() - started
    if end is not None:
        end()
    sys.stdout.write(json.dumps({"seconds": seconds, "rows": written}) + "\n")


def _rate(costs: list[Cost]) -> float:
    return round(ROWS / statistics.median(cost.seconds for cost in costs))


def _mebibytes(costs: list[Cost]) -> float:
    return round(statistics.median(cost.peak_bytes for cost in costs) / 2**20, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
