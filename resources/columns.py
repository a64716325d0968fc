"""Column schemas of each dataset's main table, as definition metadata for the UI's Columns section.

Belongs here: metadata made from the schemas in `sap_llm`, and nothing else.
"""

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from sap_llm.schema import annotation, releases, tables
from sap_llm.sources.knowledge_tables import SERVICES

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


CORPUS_COLUMNS: Metadata = {"dagster/column_schema": column_schema(tables.DOCUMENTS)}
ANNOTATED_COLUMNS: Metadata = {"dagster/column_schema": column_schema(releases.ANNOTATED_DOCUMENTS)}
ANSWER_COLUMNS: Metadata = {"dagster/column_schema": column_schema(annotation.ANSWERS)}
TASK_COLUMNS: Metadata = {"dagster/column_schema": column_schema(annotation.TASKS)}
RELEASE_COLUMNS: Metadata = {"dagster/column_schema": column_schema(releases.RELEASE_DOCUMENTS)}
SERVICE_COLUMNS: Metadata = {"dagster/column_schema": column_schema(SERVICES)}
TRAINING_COLUMNS: Metadata = {"dagster/column_schema": column_schema(releases.TRAINING_DOCUMENTS)}
