"""The annotation JSON of a damaged document: pictures, and every place as an upright box and as a quad.

Belongs here: the pydantic models of that JSON, which say more than those of `document`: the picture of each page, its
words, and what can no longer be read. All coordinates are pixels of the stated picture.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict

from sap_llm.schema.document import FieldForm, LineItemForm, TableForm

Point = tuple[float, float]
QuadForm = tuple[Point, Point, Point, Point]
"""Corners clockwise, from the one that was the upper left of the upright page."""


class DamagedFieldForm(FieldForm):
    """A header field; value and printed text are the truth, legible or not."""

    quad: QuadForm | None
    is_legible: bool


class DamagedLineItemForm(LineItemForm):
    """A line item."""

    quad: QuadForm | None


class DamagedTableForm(TableForm):
    """A table."""

    quad: QuadForm | None


class WordForm(BaseModel):
    """A word as it was printed."""

    model_config = ConfigDict(extra="forbid")

    text: str
    bbox: tuple[int, int, int, int]
    quad: QuadForm
    is_cut: bool
    is_legible: bool


class DamagedPageForm(BaseModel):
    """One page and its picture."""

    model_config = ConfigDict(extra="forbid")

    page_number: int
    image: str
    image_sha256: str
    image_width: int
    image_height: int
    damages: list[str]
    words: list[WordForm]
    fields: list[DamagedFieldForm]
    line_items: list[DamagedLineItemForm]
    tables: list[DamagedTableForm]
    lost_fields: list[str]


class DamagedForm(BaseModel):
    """A whole damaged document."""

    model_config = ConfigDict(extra="forbid")

    document_id: str
    document_type: str
    document_subtype: str | None
    language: str | None
    pages: list[DamagedPageForm]
    metadata: dict[str, Any]
