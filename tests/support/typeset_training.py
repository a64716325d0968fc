"""A training set of typeset invoices, with files, on top of `typeset_corpus`; every third document validates.

Belongs here: datasets by the names that stages look for, without running the preparation.
"""

from typing import Any

import pyarrow as pa

from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.tables import ANNOTATIONS
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter
from tests.support.typeset_corpus import typeset_corpus


def typeset_training_set(context: StageContext, *, documents: int = 6) -> DatasetRef:
    """`training_set/r1` of that many invoices."""
    corpus = typeset_corpus(context, documents=documents)

    def annotate(writer: DatasetWriter) -> dict[str, Any]:
        writer.write_table("annotations", corpus.table("annotations"), ANNOTATIONS)
        return {}

    def prepare(writer: DatasetWriter) -> dict[str, Any]:
        table = corpus.table("documents")
        splits = ["validation" if place % 3 == 2 else "train" for place in range(table.num_rows)]
        table = table.append_column("split", pa.array(splits)).append_column(
            "input", pa.array([corpus.ref.name] * table.num_rows)
        )
        writer.write_table("documents", table, table.schema)
        return {}

    annotated = build(
        context, name="annotated_docs/r1", stage_version="test", config=StageConfig(), inputs={"corpus": corpus.ref},
        produce=annotate,
    ).ref  # fmt: skip
    return build(
        context,
        name="training_set/r1",
        stage_version="test",
        config=StageConfig(),
        inputs={annotated.name: annotated, corpus.ref.name: corpus.ref},
        produce=prepare,
    ).ref
