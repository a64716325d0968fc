"""The launch plan: everything that a training program needs to know, as one JSON file.

Belongs here: the plan's form, the same for every training stage, and where its folders lie. Making one from datasets is
`stage`, starting the program is `launch`, running it is the stage's program.
"""

import json
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.whole import write_whole
from sap_llm.training.config import TrainingStageConfig

PLAN = "plan.json"
Config = TypeVar("Config", bound=TrainingStageConfig)


class TrainingPlan(BaseModel, Generic[Config]):
    """Read by every rank; `Config` is the stage's own configuration model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str  # asset; its configuration is configs/<profile>/<stage>.yaml
    program: str = "sap_llm.training.program"  # module that every rank runs
    name: str  # dataset that the result becomes: <stage>/<partition>
    version: str  # version id: also the identity of the checkpoints
    inputs: dict[str, DatasetRef]  # by asset: the versions that passed the door; newer ones may appear meanwhile
    folders: dict[str, str]  # by asset: where each of these versions lies
    work: str  # checkpoints and result of exactly this version
    backend: Literal["deepspeed", "gloo"]
    backend_reason: str
    taxonomy_version: str
    config: Config
    halvings: int = 0  # of the micro-batch, each after a run that was out of memory; the effective batch stays

    @property
    def partition(self) -> str:
        """Release, or `<release>/<further dimension>`."""
        return self.name.partition("/")[2]

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

    @property
    def exit_code_file(self) -> Path:
        """The exit code of a rank that knew why it ended; only a launcher elsewhere needs it."""
        return Path(self.work) / "exit-code"

    def input_path(self, asset: str, relative: str = "") -> Path:
        """A file or folder of the consumed version of `asset`, e.g. `("training_set", "shards.parquet")`."""
        return Path(self.folders[asset]) / relative

    def write(self) -> Path:
        """Write plan.json into the work folder and return its path."""
        path = Path(self.work) / PLAN
        write_whole(path, self.model_dump_json(indent=2).encode())
        return path

    @classmethod
    def read(cls, path: Path, config: type[Config]) -> "TrainingPlan[Config]":
        """Read plan.json back; `config` is the stage's configuration model."""
        values = json.loads(path.read_text())
        return cls.model_validate(values | {"config": config.model_validate(values["config"])})
