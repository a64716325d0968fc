"""Column schemas of the corpus tables, as definition metadata for the UI's Columns section.

Belongs here: metadata made from `sap_llm.schema.tables`, and nothing else.
"""

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from sap_llm.schema import tables

_LONGEST_TYPE = 60

Metadata = Mapping[str, dg.TableSchema]


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """An Arrow schema as Dagster shows it; long nested types are cut."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=_type_name(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def _type_name(kind: pa.DataType) -> str:
    text = str(kind)
    return text if len(text) <= _LONGEST_TYPE else f"{text.partition('<')[0]}<...>"


DOCUMENTS_COLUMNS: Metadata = {"dagster/column_schema": column_schema(tables.DOCUMENTS)}
CORPUS_COLUMNS: Metadata = DOCUMENTS_COLUMNS
ANNOTATED_COLUMNS: Metadata = {"dagster/column_schema": column_schema(tables.ANNOTATIONS)}
SPLIT_COLUMNS: Metadata = {
    "dagster/column_schema": column_schema(tables.DOCUMENTS.append(pa.field("split", pa.string(), nullable=False)))
}
