"""What every document model offers to the rest of the house, whatever its backbone and runtime.

Belongs here: the `Predictor` protocol and the `Prediction` it gives, in terms of the annotation schema. Implementations
are `predictor` (what reads words, on any backbone) and `generative.predictor` (what writes answers).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Page

ReportProgress = Callable[[int, int], None]
"""Called with documents done and in all."""


@dataclass(frozen=True, kw_only=True)
class PredictedField:
    """One value with the words that show it.

    Attributes:
        value: Canonical form, see `schema.values`.
        printed: The words as they stand on the page.
        page: From 1.
        box: x0 y0 x1 y1 in points.
        word_ids: Indices in the page's words.
        confidence: 0..1, the chance of being right as far as the model knows it.
    """

    field: str
    value: str
    printed: str
    page: int
    box: tuple[float, float, float, float]
    word_ids: tuple[int, ...]
    confidence: float

    def to_row(self) -> dict[str, Any]:
        """The field as `tables.FIELD`."""
        return {
            "field": self.field,
            "value": self.value,
            "printed": self.printed,
            "page": self.page,
            "box": list(self.box),
            "word_ids": list(self.word_ids),
            "confidence": self.confidence,
            "source": "model",
        }


@dataclass(frozen=True, kw_only=True)
class PredictedLineItem:
    """One line item; its fields all stand on one page."""

    line_number: int
    page: int
    box: tuple[float, float, float, float]
    fields: tuple[PredictedField, ...]

    def to_row(self) -> dict[str, Any]:
        """The line item as `tables.LINE_ITEM`."""
        return {
            "line_number": self.line_number,
            "page": self.page,
            "box": list(self.box),
            "fields": [item.to_row() for item in self.fields],
        }


@dataclass(frozen=True, kw_only=True)
class PredictedCell:
    """A cell of a table; rows and columns count from 0."""

    row: int
    column: int
    row_span: int
    column_span: int
    text: str
    box: tuple[float, float, float, float]
    word_ids: tuple[int, ...]

    def to_row(self) -> dict[str, Any]:
        """The cell as `tables.CELL`."""
        return {
            "row": self.row,
            "column": self.column,
            "row_span": self.row_span,
            "column_span": self.column_span,
            "text": self.text,
            "word_ids": list(self.word_ids),
        }


@dataclass(frozen=True, kw_only=True)
class PredictedTable:
    """A table on one page; places without a cell are empty."""

    page: int
    box: tuple[float, float, float, float]
    rows: int
    columns: int
    cells: tuple[PredictedCell, ...]

    def to_row(self) -> dict[str, Any]:
        """The table as `tables.TABLE`."""
        return {
            "page": self.page,
            "box": list(self.box),
            "rows": self.rows,
            "columns": self.columns,
            "cells": [cell.to_row() for cell in self.cells],
        }


@dataclass(frozen=True, kw_only=True)
class PredictedBlock:
    """A layout block; `kind` is one of `labels.BLOCK_KINDS`."""

    page: int
    kind: str
    box: tuple[float, float, float, float]
    word_ids: tuple[int, ...]
    confidence: float

    def to_row(self) -> dict[str, Any]:
        """The block as `tables.LAYOUT_BLOCK`."""
        return {"page": self.page, "kind": self.kind, "box": list(self.box), "word_ids": list(self.word_ids)}


def _no_vector() -> npt.NDArray[np.float32]:
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model found in one document."""

    document_type: str
    document_subtype: str | None
    type_confidence: float
    fields: tuple[PredictedField, ...]
    line_items: tuple[PredictedLineItem, ...]
    tables: tuple[PredictedTable, ...] = ()
    blocks: tuple[PredictedBlock, ...] = ()
    class_probabilities: dict[str, float] = field(default_factory=dict, repr=False)
    vector: npt.NDArray[np.float32] = field(
        default_factory=_no_vector, repr=False
    )  # of the document's first window, unit length

    def value(self, name: str) -> str | None:
        """Canonical value of a header field, or None when it was not found."""
        return next((item.value for item in self.fields if item.field == name), None)

    def to_row(self, *, document_id: str, annotator: str, created_at: datetime) -> dict[str, Any]:
        """The finding as a row of `tables.ANNOTATIONS`."""
        return {
            "document_id": document_id,
            "annotator": annotator,
            "revision": 0,
            "source": "model",
            "created_at": created_at,
            "document_type": self.document_type,
            "document_subtype": self.document_subtype,
            "type_confidence": self.type_confidence,
            "fields": [item.to_row() for item in self.fields],
            "line_items": [item.to_row() for item in self.line_items],
            "tables": [table.to_row() for table in self.tables],
            "layout_blocks": [block.to_row() for block in self.blocks],
        }


class Predictor(Protocol):
    """Reads documents."""

    def predict(self, pages: Sequence[Page]) -> Prediction:
        """Read one document, given as its pages in order."""
        ...

    def predict_many(
        self, documents: Sequence[Sequence[Page]], progress: ReportProgress | None = None
    ) -> list[Prediction]:
        """Read many documents, batched by length; results in the order given."""
        ...
