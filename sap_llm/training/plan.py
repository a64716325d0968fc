"""The launch plan: everything that the training program needs to know, as one JSON file.

Belongs here: the plan's form and where its folders lie. Making one from datasets is `stage`, starting the program is
`launch`, running it is `program`.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.whole import write_whole
from sap_llm.training.config import MultitaskModelConfig

PLAN = "plan.json"


class TrainingPlan(BaseModel):
    """Read by every rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # dataset that the result becomes
    version: str  # version id: also the identity of the checkpoints
    training_set: DatasetRef  # the version that passed the door; a newer one may appear while the program runs
    shards: str  # path of the training set's shards table
    work: str  # checkpoints and result of exactly this version
    backend: Literal["deepspeed", "gloo"]
    backend_reason: str
    taxonomy_version: str
    config: MultitaskModelConfig

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return Path(self.work) / "checkpoints"

    @property
    def result(self) -> Path:
        """Folder that appears, complete, when training is done."""
        return Path(self.work) / "result"

    @property
    def progress_file(self) -> Path:
        """JSON lines appended while training runs."""
        return Path(self.work) / "progress.jsonl"

    def write(self) -> Path:
        """Write plan.json into the work folder and return its path."""
        path = Path(self.work) / PLAN
        write_whole(path, self.model_dump_json(indent=2).encode())
        return path

    @classmethod
    def read(cls, path: Path) -> "TrainingPlan":
        """Read plan.json back."""
        return cls.model_validate(json.loads(path.read_text()))
