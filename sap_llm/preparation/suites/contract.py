"""The tables of a dataset against the Arrow schemas of the contract, a row for each column.

Belongs here: which schema each table has, and the comparison. Whether it is good enough is an expectation.
"""

from types import MappingProxyType

import pyarrow as pa

from sap_llm.schema.errors import SourceError
from sap_llm.schema.releases import (
    ANNOTATED_DOCUMENTS,
    DUPLICATES,
    LEFT_OUT,
    RELEASE_DOCUMENTS,
    SUSPECTS,
    TRAINING_DOCUMENTS,
)
from sap_llm.schema.tables import ANNOTATIONS, QUARANTINE
from sap_llm.storage.store import Dataset

SCHEMAS = MappingProxyType(
    {
        "annotated_docs": {"documents": ANNOTATED_DOCUMENTS, "annotations": ANNOTATIONS, "quarantine": QUARANTINE},
        "corpus_release": {"documents": RELEASE_DOCUMENTS, "suspects": SUSPECTS},
        "training_set": {
            "documents": TRAINING_DOCUMENTS,
            "duplicates": DUPLICATES,
            "left_out": LEFT_OUT,
            "quarantine": QUARANTINE,
        },
    }
)
"""Dataset -> table -> schema. Tables that are derived for a program alone (token shards) are that program's."""

ABSENT = "absent"
_LONGEST = 200  # characters of a type


def columns_of(dataset: Dataset) -> pa.Table:
    """Columns table, column, type, expected_type; `absent` where there is no such column.

    Raises:
        SourceError: A file cannot be read as Parquet.
    """
    rows = []
    for table, wanted in SCHEMAS[dataset.ref.name.partition("/")[0]].items():
        found = _schema(dataset, table)
        for name in dict.fromkeys([*wanted.names, *found.names]):
            kinds = _type(found, name), _type(wanted, name)
            # Equal types may be spelt differently: Parquet calls the elements of lists otherwise than Arrow.
            texts = [str(kinds[1] if kinds[0] == kinds[1] else kind)[:_LONGEST] for kind in kinds]
            rows.append({"table": table, "column": name, "type": texts[0], "expected_type": texts[1]})
    columns = pa.schema([(name, pa.string()) for name in ("table", "column", "type", "expected_type")])
    return pa.Table.from_pylist(rows, schema=columns)


def _schema(dataset: Dataset, table: str) -> pa.Schema:
    if not dataset.has_table(table):
        return pa.schema([])
    try:
        return dataset.scan(table).schema
    except (OSError, pa.ArrowException) as error:
        raise SourceError(
            f"not readable as Parquet ({error})",
            where=f"{dataset.ref}/{table}.parquet",
            remedy="Materialise the dataset again.",
        ) from error


def _type(schema: pa.Schema, column: str) -> pa.DataType | str:
    return schema.field(column).type if column in schema.names else ABSENT
