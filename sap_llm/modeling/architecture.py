"""The shape of a model as configuration, importable without torch.

Belongs here: the pydantic models that a model folder's config.json and a stage configuration share. The networks that
they describe are in `encoder` and `heads`.
"""

from pydantic import BaseModel, ConfigDict, Field


class EncoderConfig(BaseModel):
    """Shape of the compact layout encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(default=160, description="of a word's vector")
    layers: int = 4
    heads: int = 5
    expansion: float = Field(default=3.0, description="inner width of the feed-forward part by outer width")
    dropout: float = 0.1

    @property
    def head_width(self) -> int:
        """Width of one attention head; must be even."""
        return self.width // self.heads
