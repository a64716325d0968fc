"""What evaluation and annotation ask of a model, and the label baseline in the same shape.

Belongs here: the structural protocol (this room lies below `modeling` and may not import it) and the baseline that
fulfils it. How a model predicts is `modeling`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Page

BASELINE_ANNOTATOR = "model:label-baseline"


class Prediction(Protocol):
    """What was found in one document."""

    def to_row(self, *, document_id: str, annotator: str, created_at: datetime) -> dict[str, Any]:
        """The finding as a row of `tables.ANNOTATIONS`."""
        ...


class Predictor(Protocol):
    """Anything that reads documents."""

    def predict_many(self, documents: Sequence[Sequence[Page]]) -> Sequence[Prediction]:
        """One prediction per document, in order; a document is the list of its pages."""
        ...


class EmbeddedPrediction(Prediction, Protocol):
    """A prediction that also places its document in a vector space."""

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """Vector of the document, float32 [dimension]."""
        ...


class EmbeddingPredictor(Protocol):
    """A predictor whose predictions carry vectors."""

    def predict_many(self, documents: Sequence[Sequence[Page]]) -> Sequence[EmbeddedPrediction]:
        """One prediction per document, in order; a document is the list of its pages."""
        ...


@runtime_checkable
class ReadsPictures(Protocol):
    """A predictor that looks at pages, too: it is given them with `Page.picture` where their files can be drawn."""

    def picture_scale(self, page: Page) -> float:
        """Pixels a point that it wants a page drawn with."""
        ...


@dataclass(frozen=True)
class BaselinePrediction:
    """What the label rules found."""

    row: dict[str, Any]

    def to_row(self, *, document_id: str, annotator: str, created_at: datetime) -> dict[str, Any]:
        """The finding as a row of `tables.ANNOTATIONS`."""
        return self.row | {"document_id": document_id, "annotator": annotator, "created_at": created_at}


class BaselinePredictor:
    """The label rules (`baseline`) as a predictor."""

    def predict_many(self, documents: Sequence[Sequence[Page]]) -> list[BaselinePrediction]:
        """One prediction per document, in order."""
        from sap_llm.evaluation.baseline import predict_with_labels

        return [BaselinePrediction(predict_with_labels(pages)) for pages in documents]
