"""The model folder: safetensors weights (or an ONNX graph) and config.json with all that is needed to use them.

Belongs here: the form of config.json and reading and writing the folder. Running the model is `runtimes`.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sap_llm.modeling.backbones.shapes import BackboneShape
from sap_llm.modeling.confidence import Calibration
from sap_llm.modeling.labels import LabelSet
from sap_llm.schema.errors import ConfigurationError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
GRAPH = "model.onnx"


class ModelConfig(BaseModel):
    """Content of config.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[3] = 3
    taxonomy_version: str
    backbone: BackboneShape
    labels: dict[str, list[Any]]
    calibration: Calibration = Calibration()
    precision: str = "fp32"

    @property
    def label_set(self) -> LabelSet:
        """The label lists as an object."""
        return LabelSet.from_json(self.labels)


def read_config(folder: Path) -> ModelConfig:
    """Read config.json.

    Raises:
        ConfigurationError: The folder is no model folder, or of a form that this release does not know.
    """
    path = folder / CONFIG
    try:
        return ModelConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError("no model folder", where=str(folder), remedy="Train or register a model.") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(
            f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}",
            where=str(path),
            remedy="The model was written by another release; train it again.",
        ) from error


def write_config(folder: Path, config: ModelConfig) -> None:
    """Write config.json."""
    text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
