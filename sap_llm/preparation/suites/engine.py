"""Great Expectations over the views of a dataset: pandas on one machine, Spark on a cluster, from the same data.

Belongs here: the translation of expectations, the two engines, and results with the rows that failed. What is expected
is `expectations`, how views come about is `views`, the pages that a person reads are `docs`.

Great Expectations is imported by functions only (it takes seconds), with its analytics switched off before.
"""

import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

from sap_llm.preparation.plan import SparkSettings
from sap_llm.preparation.suites.docs import SOURCE, DataDocs, run_name
from sap_llm.preparation.suites.expectations import Expectation, SuiteSettings, expectations_of
from sap_llm.preparation.suites.views import Views
from sap_llm.registry.gates import SCHEMA
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import Dataset

_EXAMPLES = 3
_LONGEST = 120  # characters of a value in a message
MOST_ROWS = 20
"""Failing rows that are kept of each expectation."""


@dataclass(frozen=True, kw_only=True)
class ExpectationFailure:
    """An expectation that does not hold."""

    expectation: str
    view: str
    column: str | None
    observed: str  # what was seen instead, or examples of offending values
    count: int  # offending rows; 0 when the expectation is about the whole table
    condition: str = ""  # which rows are meant, where it is not all of them
    rows: Sequence[Mapping[str, str]] = ()  # offending rows: where each comes from, and its value

    def __str__(self) -> str:
        among = f" where {self.condition}" if self.condition else ""
        return f"{self.expectation} on {self.view}.{self.column}{among}: {self.observed}"


@dataclass(frozen=True, kw_only=True)
class GroupResult:
    """Outcome of one group of expectations on one dataset version."""

    group: str
    evaluated: int  # expectations
    failures: tuple[ExpectationFailure, ...]
    tolerated: tuple[ExpectationFailure, ...] = ()  # rows that fail although enough of them hold
    report: str = ""  # page of the data docs

    @property
    def success(self) -> bool:
        """Whether every expectation holds."""
        return not self.failures


def validate(
    dataset: Dataset,
    groups: Iterable[str],
    *,
    settings: SuiteSettings,
    spark: SparkSettings | None = None,
    report: "Report | None" = None,
) -> dict[str, GroupResult]:
    """Judge a dataset version by groups of expectations.

    Where columns are missing or have other types, the group `schema` names them and no other group is judged: each
    fails and says so.

    Args:
        dataset: Of `annotated_docs`, `corpus_release` or `training_set`.
        groups: Names out of `registry.gates.SUITE` that the dataset has.
        settings: Bounds and engine.
        spark: Where Spark runs, for that engine; all cores of this machine by default.
        report: Where to write pages for people; none by default.

    Raises:
        SourceError: A table cannot be read.
        MissingToolError: The engine is Spark and there is no Java.
    """
    views = Views(dataset, settings)
    broken = _broken_columns(views)
    results: dict[str, GroupResult] = {}
    gx = great_expectations()
    with _engine(settings.engine, views, spark or SparkSettings()) as engine, _context(gx, report) as context:
        session = _Session(gx, context, engine, report)
        for group in groups:
            if broken and group != SCHEMA:
                results[group] = GroupResult(group=group, evaluated=0, failures=(_unjudged(broken),))
                continue
            expectations = expectations_of(dataset.ref.name.partition("/")[0], group, settings)
            results[group] = session.judge(dataset.ref, group, expectations)
    return results


@contextmanager
def _context(gx: Any, report: "Report | None") -> Iterator[Any]:
    if report is None:
        yield gx.get_context(mode="ephemeral")
        return
    with report.docs.context(gx) as context:
        yield context


class _Session:
    """One context of Great Expectations for all groups of a dataset version."""

    def __init__(self, gx: Any, context: Any, engine: "_Engine", report: "Report | None") -> None:
        self._gx, self._context, self._engine, self._report = gx, context, engine, report
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        self._source = engine.add_source(context)

    def judge(self, dataset: DatasetRef, group: str, expectations: Sequence[Expectation]) -> GroupResult:
        """Run the expectations, view by view."""
        failures: list[ExpectationFailure] = []
        tolerated: list[ExpectationFailure] = []
        pages: dict[bool, str] = {}
        for view in dict.fromkeys(entry.view for entry in expectations):
            own = [entry for entry in expectations if entry.view == view]
            suite = f"{dataset.name.partition('/')[0]}.{group}.{view}"
            outcome = self._validate(suite, view, own)
            if self._report is not None:
                pages.setdefault(bool(outcome.success), self._report.page(suite))
            for expectation, result in zip(own, _in_order(outcome.results, own), strict=True):
                if not result.success:
                    failures.append(_failure(expectation, result))
                elif (result.result or {}).get("unexpected_count"):
                    tolerated.append(_failure(expectation, result))
        return GroupResult(
            group=group,
            evaluated=len(expectations),
            failures=tuple(failures),
            tolerated=tuple(tolerated),
            report=pages.get(False) or pages.get(True, ""),
        )

    def _validate(self, name: str, view: str, expectations: Sequence[Expectation]) -> Any:
        suite = self._context.suites.add(self._gx.ExpectationSuite(name=name))
        for index, expectation in enumerate(expectations):
            suite.add_expectation(_translate(self._gx, expectation, index))
        batch = self._source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(view)
        definition = self._context.validation_definitions.add(
            self._gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        shown = {
            "result_format": "SUMMARY",
            "partial_unexpected_count": MOST_ROWS,
            "unexpected_index_column_names": list(self._engine.views.ids(view)),
        }
        return definition.run(
            batch_parameters={"dataframe": self._engine.frame(view)},
            result_format=shown,
            run_id=self._report.run_id() if self._report is not None else None,
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where the pages for people go, and when the run was."""

    docs: DataDocs
    ref: DatasetRef
    moment: datetime

    def page(self, suite: str) -> str:
        """Location of a suite's page."""
        return self.docs.page(suite, self.ref, self.moment)

    def run_id(self) -> Any:
        """The run as Great Expectations names it."""
        from great_expectations.core.run_identifier import RunIdentifier

        return RunIdentifier(run_name=run_name(self.ref), run_time=self.moment)


class _Engine:
    """Views as data frames of pandas."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self._frames: dict[str, Any] = {}

    def frame(self, view: str) -> Any:
        """The view as a data frame, made once."""
        if view not in self._frames:
            self._frames[view] = self._make(view)
        return self._frames[view]

    def add_source(self, context: Any) -> Any:
        """The data source of Great Expectations that takes such frames."""
        return context.data_sources.add_pandas(SOURCE)

    def _make(self, view: str) -> Any:
        return pa.concat_tables(self.views.batches(view)).to_pandas()


class _SparkEngine(_Engine):
    """Views as data frames of Spark over Parquet files that the executors share."""

    def __init__(self, views: Views, session: Any, staging: str) -> None:
        super().__init__(views)
        self._session, self._staging = session, staging

    def add_source(self, context: Any) -> Any:
        """The data source of Great Expectations that takes such frames."""
        return context.data_sources.add_spark(SOURCE)

    def _make(self, view: str) -> Any:
        import pyarrow.parquet as pq

        location = f"{self._staging}/{view}.parquet"
        writer: pq.ParquetWriter | None = None
        with fsspec.open(location.replace("s3a://", "s3://", 1), "wb") as stream:
            for part in self.views.batches(view):
                writer = writer or pq.ParquetWriter(stream, part.schema, compression="zstd")
                writer.write_table(part.cast(writer.schema))
            assert writer is not None, "a view has at least one part"
            writer.close()
        return self._session.read.parquet(location)


@contextmanager
def _engine(kind: str, views: Views, spark: SparkSettings) -> Iterator[_Engine]:
    if kind == "pandas":
        yield _Engine(views)
        return
    from sap_llm.preparation.job import open_session
    from sap_llm.preparation.launch import require_java, staging_location

    require_java()
    root = views.dataset.local_root  # executors elsewhere that read a store in a folder see this folder as well
    with tempfile.TemporaryDirectory(prefix=".suites_", dir=root) as folder:
        staging = staging_location(Path(folder), is_shared=root is not None, spark=spark)
        if spark.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        session = open_session(spark, rows=sum(views.dataset.manifest.rows.values()))
        try:
            yield _SparkEngine(views, session, staging)
        finally:
            session.stop()
            if spark.staging is not None:  # a folder of everybody's, which nobody else clears
                filesystem, path = fsspec.core.url_to_fs(staging.replace("s3a://", "s3://", 1))
                if filesystem.exists(path):
                    filesystem.rm(path, recursive=True)


def _broken_columns(views: Views) -> list[str]:
    rows = pa.concat_tables(views.batches("columns")).to_pylist()
    return [
        f"{row['table']}.{row['column']} is {row['type']} instead of {row['expected_type']}"
        for row in rows
        if row["type"] != row["expected_type"]
    ]


def _unjudged(broken: Sequence[str]) -> ExpectationFailure:
    return ExpectationFailure(
        expectation="not judged, because columns differ from the contract",
        view="columns",
        column="type",
        observed="; ".join(broken[:_EXAMPLES]),
        count=len(broken),
    )


def great_expectations() -> Any:
    """The package, imported without its analytics and without its warnings about pandas."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with _main_with_file():
        import great_expectations as gx

    return gx


@contextmanager
def _main_with_file() -> Iterator[None]:
    """Give a main module without a file one for a moment.

    Great Expectations imports pyspark's connect client, which takes such a program (`python -c`, the children of
    Dagster's multiprocess executor) for a doctest and ends the process with success when grpc's status package is
    missing. The attribute must not stay: multiprocessing would ask its children to run that file.
    """
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = __file__
    try:
        yield
    finally:
        del main.__file__


def _translate(gx: Any, expectation: Expectation, index: int) -> Any:
    from great_expectations.expectations.row_conditions import Column

    name = "".join(part.capitalize() for part in expectation.type.split("_"))
    arguments = dict(expectation.arguments)
    if expectation.column is not None:
        arguments["column"] = expectation.column
    condition = None
    for column, value in expectation.where.items():
        one = Column(column) == value
        condition = one if condition is None else condition & one
    if condition is not None:
        arguments["row_condition"] = condition
    return getattr(gx.expectations, name)(**arguments, meta={"index": index})


def _in_order(results: Iterable[Any], expectations: Sequence[Expectation]) -> list[Any]:
    """Results in the order of the expectations, which Great Expectations does not promise."""
    by_index = {result.expectation_config.meta["index"]: result for result in results}
    return [by_index[index] for index in range(len(expectations))]


def _failure(expectation: Expectation, result: Any) -> ExpectationFailure:
    found = result.result or {}
    raised = [entry["exception_message"] for entry in _exceptions(result.exception_info)]
    examples = found.get("partial_unexpected_list") or []
    if raised:
        observed = raised[0]
    elif examples:
        observed = ", ".join(_text(value) for value in examples[:_EXAMPLES])
    else:
        observed = str(found.get("observed_value", "null" if found.get("unexpected_count") else "nothing"))
    arguments = expectation.arguments
    pair = [arguments[key] for key in ("column_A", "column_B") if key in arguments] or arguments.get("column_list", [])
    return ExpectationFailure(
        expectation=expectation.type,
        view=expectation.view,
        column=expectation.column or ", ".join(pair) or None,
        observed=observed,
        count=int(found.get("unexpected_count") or 0),
        condition=", ".join(f"{column} is {value}" for column, value in expectation.where.items()),
        rows=tuple(
            {key: _text(value) for key, value in row.items() if not _is_missing(value)}
            for row in found.get("partial_unexpected_index_list") or ()
        ),
    )


def _is_missing(value: object) -> bool:
    """Whether an engine means null: None, or NaN where pandas turned a number into one."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: object) -> str:
    plain = value.item() if hasattr(value, "item") else value  # numpy's scalars print their type
    if isinstance(plain, tuple | list):
        return f"({', '.join(_text(entry) for entry in plain)})"
    text = f"{plain:.6g}" if isinstance(plain, float) else str(plain)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _exceptions(info: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Exceptions of an expectation: one mapping, or one per metric."""
    if not info:
        return []
    entries = [info] if "raised_exception" in info else list(info.values())
    return [entry for entry in entries if entry.get("raised_exception")]
