"""The eight document stages: names, order, what each takes and gives.

The one reader of `document_stages.yaml`; partitions, adapters, agents and events are named after these. What a stage
does with a model is `modeling` and `training`, who runs it is `agents`.
"""

from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class DocumentStage(BaseModel):
    """One step of processing a document."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    takes: tuple[str, ...]  # what travels with the document and is read here
    gives: tuple[str, ...]  # what travels on with it
    paths: tuple[str, ...]  # fast | standard | full

    @property
    def event_type(self) -> str:
        """CloudEvents type of the event that says the stage is done (roadmap, month 13)."""
        return f"com.sap_llm.{self.name}.complete"


@cache
def load_document_stages() -> tuple[DocumentStage, ...]:
    """All of them, in order."""
    text = files("sap_llm.schema").joinpath("document_stages.yaml").read_text(encoding="utf-8")
    return tuple(DocumentStage.model_validate(entry) for entry in yaml.safe_load(text))


@cache
def document_stage_names() -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(stage.name for stage in load_document_stages())


def document_stage(name: str) -> DocumentStage:
    """The stage of that name; KeyError if there is none."""
    return {stage.name: stage for stage in load_document_stages()}[name]
