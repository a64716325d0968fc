"""What every document model offers to the rest of the house, whatever its backbone and runtime.

Belongs here: the `Predictor` protocol and the `Prediction` it gives, in terms of the annotation schema. Implementations
are `predictor` (this project's encoder) and, later, larger backbones.
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
        confidence: 0..1, temperature-scaled.
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
            "tables": _tables(self.line_items),
            "layout_blocks": [],
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


def _tables(items: Sequence[PredictedLineItem]) -> list[dict[str, Any]]:
    """The line items once more as one `tables.TABLE` per page: a row each, a column for every field that occurs."""
    tables = []
    for page in sorted({item.page for item in items}):
        own = [item for item in items if item.page == page]
        columns = list(dict.fromkeys(part.field for item in own for part in sorted(item.fields, key=_left_edge)))
        boxes = np.array([item.box for item in own])
        cells = [
            {
                "row": row,
                "column": columns.index(part.field),
                "row_span": 1,
                "column_span": 1,
                "text": part.printed,
                "word_ids": list(part.word_ids),
            }
            for row, item in enumerate(own)
            for part in item.fields
        ]
        box = [*boxes[:, :2].min(axis=0).tolist(), *boxes[:, 2:].max(axis=0).tolist()]
        tables.append({"page": page, "box": box, "rows": len(own), "columns": len(columns), "cells": cells})
    return tables


def _left_edge(part: PredictedField) -> float:
    return part.box[0]
