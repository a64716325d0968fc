"""Suites pass on what the stages write and name what is wrong with anything else."""

import subprocess
import sys

import pyarrow as pa
import pytest

from sap_llm.preparation.suites import validate
from sap_llm.schema.errors import ConfigurationError
from tests.support.prepared import Prepared


@pytest.fixture(scope="module")
def documents(prepared: Prepared) -> pa.Table:
    """Documents of the training set."""
    return prepared.training_set.dataset.table("documents")


def test_the_stages_meet_their_suites(prepared: Prepared, documents: pa.Table) -> None:
    assert validate("training_set", documents).failures == ()
    assert validate("corpus_release", prepared.release.table("documents")).failures == ()


def test_a_quality_that_is_no_number_fails_the_annotated_suite(prepared: Prepared) -> None:
    result = validate("annotated_docs", prepared.annotated.table("documents"))
    assert {(failure.expectation, failure.column) for failure in result.failures} == {
        ("expect_column_values_to_not_be_null", "quality")
    }


@pytest.mark.parametrize(
    ("column", "value", "expectation", "observed"),
    [
        ("document_id", "doc-1", "expect_column_values_to_match_regex", "doc-1"),
        ("document_type", "LETTER", "expect_column_values_to_be_in_set", "LETTER"),
        ("split", "tset", "expect_column_values_to_be_in_set", "tset"),
        ("character_count", 100, "expect_column_values_to_be_between", "100"),
        ("page_count", 51, "expect_column_values_to_be_between", "51"),
        ("sha256", "xyz", "expect_column_values_to_match_regex", "xyz"),
        ("role", "tester", "expect_column_values_to_be_in_set", "tester"),
    ],
)
def test_one_wrong_value_is_found(
    documents: pa.Table, column: str, value: object, expectation: str, observed: str
) -> None:
    index = documents.schema.get_field_index(column)
    kind = documents.schema.field(column).type
    values = [value, *documents.column(column).to_pylist()[1:]]
    result = validate("training_set", documents.set_column(index, column, pa.array(values, type=kind)))
    assert not result.success
    failure = next(failure for failure in result.failures if failure.expectation == expectation)
    assert (failure.column, failure.count, failure.observed) == (column, 1, observed)


def test_a_real_document_in_training_fails(documents: pa.Table) -> None:
    rows = documents.to_pylist()
    next(row for row in rows if row["role"] == "test_only")["split"] = "train"
    result = validate("training_set", pa.Table.from_pylist(rows, schema=documents.schema))
    assert [(failure.column, failure.observed) for failure in result.failures] == [("split", "train")]


def test_a_missing_column_and_an_empty_table_fail(documents: pa.Table) -> None:
    without = validate("training_set", documents.drop_columns(["split"]))
    assert "expect_table_columns_to_match_set" in {failure.expectation for failure in without.failures}
    empty = validate("training_set", documents.slice(0, 0))
    assert "expect_table_row_count_to_be_between" in {failure.expectation for failure in empty.failures}


def test_an_unknown_suite_names_the_known_ones(documents: pa.Table) -> None:
    with pytest.raises(ConfigurationError, match="training_set"):
        validate("trainingset", documents)


def test_the_engine_loads_in_a_program_without_a_file() -> None:
    program = """
from sap_llm.preparation.suites import _great_expectations
_great_expectations()
import sys
print("alive", hasattr(sys.modules["__main__"], "__file__"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.split() == ["alive", "False"], done.stderr
