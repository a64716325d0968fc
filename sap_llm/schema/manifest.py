"""Names of dataset versions and the manifest that declares one complete.

Belongs here: `DatasetRef` and `Manifest` as plain data. Where manifests are stored and how they are committed is
`storage.store`.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sap_llm.schema.tables import SCHEMA_VERSION


class DatasetRef(BaseModel):
    """Exact version of a dataset: never 'latest'.

    `name` is the asset key, with the partition behind a slash where there is one (`synthetic_docs/0000-0049`).
    """

    model_config = ConfigDict(frozen=True)

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> "DatasetRef":
        """Read `name@version` back; raises ValueError when there is no '@'."""
        name, separator, version = text.rpartition("@")
        if not separator:
            raise ValueError(f"{text!r} is not name@version")
        return cls(name=name, version=version)


class Manifest(BaseModel):
    """The one truth about a dataset version; written last, so its existence means complete."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    schema_version: str = SCHEMA_VERSION
    taxonomy_version: str
    code_version: str
    data_version: str = Field(description="order-independent hash of canonical rows and files")
    inputs: dict[str, DatasetRef] = Field(description="what was consumed, by role")
    configuration: dict[str, Any] = Field(description="resolved configuration of the stage")
    seed: int
    created_at: datetime
    rows: dict[str, int] = Field(description="row count by table")
    files: dict[str, str] = Field(description="sha256 by relative path, tables included")
    metrics: dict[str, Any] = Field(default_factory=dict, description="numbers shown in the UI")
    built_by: str = Field(default="", description="run of Dagster, or user and machine; says nothing about content")
    attempt: str = Field(
        default="", description="folder of the files below the version; on object storage each writer has its own"
    )

    @property
    def ref(self) -> DatasetRef:
        """The reference that names this version."""
        return DatasetRef(name=self.name, version=self.version)
