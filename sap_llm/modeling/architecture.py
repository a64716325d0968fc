"""The shape of a model as configuration, importable without torch.

Belongs here: what the shapes of all families share, and that of the compact encoder, which model folders and stage
configurations hold. The other families' shapes are in `backbones.shapes`, the networks in `encoder` and `backbones`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NamedShape(BaseModel):
    """A shape that may be named: `size` fills what is not given beside it.

    `{size: tiny, layers: 3}` is tiny but for its layers. The resolved values are what is kept, so a size that changes
    later changes no model that exists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    size: str | None = Field(default=None, description="name of a shape; None: the values say all")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        size = values.get("size") if isinstance(values, dict) else None
        if size is None:
            return values
        if size not in cls.sizes:
            raise ValueError(f"no size {size!r}; known: {', '.join(cls.sizes)}")
        return {**cls.sizes[size], **values}


class EncoderConfig(NamedShape):
    """Shape of the compact layout encoder."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "debug": {"width": 32, "layers": 2, "heads": 2, "dropout": 0.0},
        "tiny": {"width": 128, "layers": 4, "heads": 4, "expansion": 2.0, "dropout": 0.0},
        "small": {"width": 256, "layers": 6, "heads": 4, "dropout": 0.05},
    }

    family: Literal["compact"] = "compact"
    width: int = Field(default=160, description="of a word's vector")
    layers: int = 4
    heads: int = 5
    expansion: float = Field(default=3.0, description="inner width of the feed-forward part by outer width")
    dropout: float = 0.1

    @property
    def head_width(self) -> int:
        """Width of one attention head; must be even."""
        return self.width // self.heads
