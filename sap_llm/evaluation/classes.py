"""Class accuracy: overall, per class, and who is taken for whom.

Belongs here: comparing predicted with true document classes and subtypes. Fields are `fields`.
"""

from collections import Counter
from dataclasses import dataclass

from sap_llm.evaluation.fields import Rows, latest

NO_PREDICTION = "(none)"


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """Accuracy with its confusion counts."""

    confusion: dict[tuple[str, str], int]  # (true class, predicted class) -> documents
    subtype_accuracy: float | None  # over documents that have a true subtype and the right class; None without any

    @property
    def documents(self) -> int:
        """How many documents were compared."""
        return sum(self.confusion.values())

    @property
    def accuracy(self) -> float:
        """Share of documents of the right class; 0 without documents."""
        hits = sum(count for (truth, predicted), count in self.confusion.items() if truth == predicted)
        return hits / self.documents if self.documents else 0.0

    def support(self) -> dict[str, int]:
        """Number of documents by true class."""
        counts: Counter[str] = Counter()
        for (truth, _), count in self.confusion.items():
            counts[truth] += count
        return dict(sorted(counts.items()))

    def by_class(self, *, at_least: int = 50) -> dict[str, float]:
        """Accuracy of each class with at least so many documents."""
        return {
            name: self.confusion.get((name, name), 0) / count
            for name, count in self.support().items()
            if count >= at_least
        }


def score_classes(truth_rows: Rows, predicted_rows: Rows) -> ClassScores:
    """Compare classes and subtypes; a document without a prediction counts as wrong."""
    truths, predictions = latest(truth_rows), latest(predicted_rows)
    confusion: Counter[tuple[str, str]] = Counter()
    subtypes = [0, 0]
    for document_id, truth in truths.items():
        predicted = predictions.get(document_id)
        kind = predicted["document_type"] if predicted else NO_PREDICTION
        confusion[truth["document_type"], kind] += 1
        if predicted and truth["document_subtype"] and kind == truth["document_type"]:
            subtypes[0] += 1
            subtypes[1] += predicted["document_subtype"] == truth["document_subtype"]
    return ClassScores(
        confusion=dict(sorted(confusion.items())),
        subtype_accuracy=subtypes[1] / subtypes[0] if subtypes[0] else None,
    )
