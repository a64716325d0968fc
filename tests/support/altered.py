"""A dataset version with some rows of one table changed, as a faulty stage would have written it.

Belongs here: what tests of gates need in place of a stage with a bug.
"""

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import Dataset, DatasetWriter

Rows = list[dict[str, Any]]


def altered(
    context: StageContext,
    dataset: Dataset,
    table: str,
    change: Callable[[Rows], Rows | None],
    *,
    schema: pa.Schema | None = None,
) -> Dataset:
    """The same tables, inputs and name, with `change` applied to the rows of one table (in place, or returned)."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        for name in dataset.manifest.rows:
            content = dataset.table(name)
            if name == table:
                rows = content.to_pylist()
                rows = change(rows) or rows
                content = pa.Table.from_pylist(rows, schema=schema or content.schema)
            writer.write_table(name, content, content.schema)
        return {}

    return build(
        context,
        name=dataset.ref.name,
        stage_version="altered",
        config=StageConfig(),
        inputs=dataset.manifest.inputs,
        fingerprint={"change": uuid.uuid4().hex},
        produce=produce,
    ).dataset
