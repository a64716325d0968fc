"""What the house knows about the public corpora: origin, licence and role, from `corpora.yaml`.

Belongs here: reading that table. How a corpus lies on disk is its reader's module; which reader reads which corpus is
`public`.
"""

from functools import cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict


class CorpusFacts(BaseModel):
    """One public corpus."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    folder: str  # its name in a collection of corpora
    role: Literal["train", "test_only"]  # of a train corpus a share of the groups becomes develop
    licence: str
    origin: str
    terms: str  # where the licence is stated
    repository: str | None = None  # on the Hugging Face hub
    split: str = "train"


@cache
def catalogue() -> dict[str, CorpusFacts]:
    """All corpora by name."""
    text = files("sap_llm.sources").joinpath("corpora.yaml").read_text(encoding="utf-8")
    return {name: CorpusFacts.model_validate(entry) for name, entry in yaml.safe_load(text).items()}
