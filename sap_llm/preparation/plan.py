"""What the Spark job is told, and the contract of what it gives back.

Belongs here: plain data that the launching stage and the launched job share. Neither Spark nor files are touched.
"""

from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from sap_llm.preparation.splits import SplitShares
from sap_llm.schema.releases import TEXT_FEATURES

STATUS_KEPT, STATUS_DUPLICATE, STATUS_QUARANTINED = "kept", "duplicate", "quarantined"
STATUS_LEFT_OUT = "left_out"  # by sampling, after the job
STATUSES = (STATUS_KEPT, STATUS_DUPLICATE, STATUS_QUARANTINED, STATUS_LEFT_OUT)
SAME_FILE, SAME_TEXT, NEAR_DUPLICATE = "same_file", "same_text", "near_duplicate"
CLASS_QUOTA = "class_quota"
PARTITION_ROWS = 50_000  # of documents; their texts are some tens of megabytes

PREPARED = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),  # of the documents' file, from 0
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("document_type", pa.string()),
        pa.field("status", pa.string(), nullable=False),  # kept | duplicate | quarantined
        pa.field("reason", pa.string()),  # why it was not kept
        pa.field("kept_document_id", pa.string()),  # of a duplicate: the document that stands for it
        pa.field("split", pa.string()),  # train | validation | test; null when not kept
        *(field.with_nullable(True) for field in TEXT_FEATURES),  # null where there is no text
    ]
)
"""One row per document that was read."""


class Cleaning(BaseModel):
    """Which documents are good enough. Source of the values: roadmap, month 4."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quality_above: float = Field(default=0.8, description="of the reading, 0..1")
    pages_at_most: int = 50
    characters_above: int = Field(default=100, description="of the normalised text")


class SparkSettings(BaseModel):
    """Where and how the job runs; never part of a dataset's version, because it must not change the result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    master: str = "local[*]"
    shuffle_partitions: int | None = Field(default=None, description="by default one for 50,000 documents, at least 2")
    driver_memory: str = "1g"
    staging: str | None = Field(
        default=None, description="folder or URL that driver and executors share; temporary by default"
    )
    packages: list[str] = Field(
        default=[], description="wheels or zip files for executors that do not have sap_llm installed"
    )
    options: dict[str, str] = Field(default={}, description="further spark.* settings")

    def partitions(self, rows: int) -> int:
        """Over how many partitions so many rows are spread at a shuffle."""
        return self.shuffle_partitions or max(2, -(-rows // PARTITION_ROWS))


class PagesInput(BaseModel):
    """Pages of one input dataset."""

    model_config = ConfigDict(frozen=True)

    input: str = Field(description="dataset name")
    path: str


class JobPlan(BaseModel):
    """Everything that the job needs; written as JSON for the launched process."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["prepare_training_set"] = "prepare_training_set"
    documents: str = Field(description="Parquet of annotated documents")
    pages: list[PagesInput]
    output: str
    rows: int = Field(default=0, description="of the documents")
    classes: list[str] = Field(description="known document classes")
    cleaning: Cleaning
    near_duplicates_from: float | None = Field(default=None, description="see TrainingSetConfig")
    shares: SplitShares
    seed: int
    spark: SparkSettings
