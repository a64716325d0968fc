"""What is expected of the release datasets, as data, and one function that checks a table against it.

Belongs here: suites of Great Expectations for `annotated_docs`, `corpus_release` and `training_set`. What spans rows of
several splits is `splits.leaks`; recording a verdict is the caller's.

Great Expectations is imported by `validate` only (it takes seconds), with its analytics switched off before.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sap_llm.preparation.splits import SPLITS
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.releases import ANNOTATED_DOCUMENTS, RELEASE_DOCUMENTS, TRAINING_DOCUMENTS, TRUTH_SOURCES
from sap_llm.schema.taxonomy import load_taxonomy

DOCUMENT_ID = r"^doc-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SHA256 = r"^[0-9a-f]{64}$"
LANGUAGE = r"^[a-z]{2}$"
ROLES = ("train", "develop", "test_only")
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One expectation: its name in Great Expectations and its arguments."""

    type: str  # e.g. expect_column_values_to_be_unique
    column: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    where: tuple[str, Any] | None = None  # column and value: only such rows are looked at


@dataclass(frozen=True, kw_only=True)
class ExpectationFailure:
    """An expectation that does not hold."""

    expectation: str
    column: str | None
    observed: str  # what was seen instead, or examples of offending values
    count: int  # offending rows; 0 when the expectation is about the whole table


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """Outcome of a suite on one table."""

    suite: str
    evaluated: int  # expectations
    failures: tuple[ExpectationFailure, ...]

    @property
    def success(self) -> bool:
        """Whether every expectation holds."""
        return not self.failures


def validate(suite_name: str, table: pa.Table) -> SuiteResult:
    """Check a table against a suite.

    Args:
        suite_name: One of `SUITES`.
        table: The dataset's table `documents`.

    Raises:
        ConfigurationError: There is no suite of that name.
    """
    if suite_name not in SUITES:
        raise ConfigurationError(f"no suite {suite_name!r}", remedy=f"Known suites: {', '.join(SUITES)}.")
    expectations = SUITES[suite_name]()
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    suite = context.suites.add(gx.ExpectationSuite(name=suite_name))
    for expectation in expectations:
        suite.add_expectation(_translate(gx, expectation))
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset(suite_name)
    batch = asset.add_batch_definition_whole_dataframe("whole")
    definition = gx.ValidationDefinition(name=suite_name, data=batch, suite=suite)
    outcome = definition.run(batch_parameters={"dataframe": table.to_pandas()})
    failures = tuple(_failure(result) for result in outcome.results if not result.success)
    return SuiteResult(suite=suite_name, evaluated=len(outcome.results), failures=failures)


def annotated_docs() -> list[Expectation]:
    """Expectations on `annotated_docs.documents`."""
    return [
        *_identified(ANNOTATED_DOCUMENTS),
        *_classified(),
        _values("sha256", "match_regex", regex=SHA256),
        _values("quality", "be_between", min_value=0, max_value=1),
        _values("page_count", "be_between", min_value=0),
        _values("truth_source", "be_in_set", value_set=list(TRUTH_SOURCES)),
        _values("confidence", "be_between", min_value=0, max_value=1),
        _values("split_group", "match_regex", regex=r"\S"),
        Expectation(type="expect_column_values_to_not_be_null", column="truth_source", where=("has_truth", True)),
    ]


def corpus_release() -> list[Expectation]:
    """Expectations on `corpus_release.documents`."""
    return [*_identified(RELEASE_DOCUMENTS), *_classified()]


def training_set() -> list[Expectation]:
    """Expectations on `training_set.documents`. Source of the bounds: roadmap, month 4."""
    return [
        *_identified(TRAINING_DOCUMENTS),
        *_classified(),
        _values("sha256", "match_regex", regex=SHA256),
        _values("sha256", "be_unique"),
        _values("text_sha256", "match_regex", regex=SHA256),
        _values("split", "be_in_set", value_set=list(SPLITS)),
        Expectation(
            type="expect_column_distinct_values_to_contain_set", column="split", arguments={"value_set": ["train"]}
        ),
        _values("has_truth", "be_in_set", value_set=[True]),
        _values("quality", "be_between", min_value=0.8, max_value=1, strict_min=True),
        _values("page_count", "be_between", min_value=1, max_value=50),
        _values("word_count", "be_between", min_value=1),
        _values("character_count", "be_between", min_value=100, strict_min=True),
        _values("digit_share", "be_between", min_value=0, max_value=1),
        _values("upper_share", "be_between", min_value=0, max_value=1),
        _values("split_group", "match_regex", regex=r"\S"),
        _only_tests("role", "test_only"),
        _only_tests("is_test_layout", True),
    ]


SUITES: dict[str, Callable[[], list[Expectation]]] = {
    "annotated_docs": annotated_docs,
    "corpus_release": corpus_release,
    "training_set": training_set,
}
"""Suite by name; the functions read the taxonomy, so they run when asked."""


def _identified(schema: pa.Schema) -> list[Expectation]:
    """The columns of the contract, and ids that are one."""
    required = [entry.name for entry in schema if not entry.nullable]
    return [
        Expectation(type="expect_table_row_count_to_be_between", arguments={"min_value": 1}),
        Expectation(
            type="expect_table_columns_to_match_set", arguments={"column_set": schema.names, "exact_match": True}
        ),
        *[Expectation(type="expect_column_values_to_not_be_null", column=name) for name in required],
        _values("document_id", "be_unique"),
        _values("document_id", "match_regex", regex=DOCUMENT_ID),
        _values("input", "match_regex", regex=r"\S"),
    ]


def _classified() -> list[Expectation]:
    return [
        _values("document_type", "be_in_set", value_set=[entry.name for entry in load_taxonomy().classes]),
        _values("role", "be_in_set", value_set=list(ROLES)),
        _values("language", "match_regex", regex=LANGUAGE),
    ]


def _only_tests(column: str, value: Any) -> Expectation:
    return Expectation(
        type="expect_column_values_to_be_in_set",
        column="split",
        arguments={"value_set": ["test"]},
        where=(column, value),
    )


def _values(column: str, what: str, **arguments: Any) -> Expectation:
    return Expectation(type=f"expect_column_values_to_{what}", column=column, arguments=arguments)


def _great_expectations() -> Any:
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


def _translate(gx: Any, expectation: Expectation) -> Any:
    name = "".join(part.capitalize() for part in expectation.type.split("_"))
    arguments = dict(expectation.arguments)
    if expectation.column is not None:
        arguments["column"] = expectation.column
    if expectation.where is not None:
        from great_expectations.expectations.row_conditions import Column

        column, value = expectation.where
        arguments["row_condition"] = Column(column) == value
    return getattr(gx.expectations, name)(**arguments)


def _failure(result: Any) -> ExpectationFailure:
    found = result.result or {}
    raised = [entry["exception_message"] for entry in _exceptions(result.exception_info)]
    examples = found.get("partial_unexpected_list") or []
    if raised:
        observed = raised[0]
    elif examples:
        observed = ", ".join(str(value) for value in examples[:_EXAMPLES])
    else:
        observed = str(found.get("observed_value", "null" if found.get("unexpected_count") else "nothing"))
    return ExpectationFailure(
        expectation=result.expectation_config.type,
        column=result.expectation_config.kwargs.get("column"),
        observed=observed,
        count=int(found.get("unexpected_count") or 0),
    )


def _exceptions(info: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Exceptions of an expectation: one mapping, or one per metric."""
    if not info:
        return []
    entries = [info] if "raised_exception" in info else list(info.values())
    return [entry for entry in entries if entry.get("raised_exception")]
