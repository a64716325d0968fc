"""A light stand-in for the document model, so that a simulation can train it hundreds of times on two cores.

The task is the model's own, words to header fields and documents to classes, and so are the hashed word features; the
learner is not: linear, trained in seconds from nothing. What helps it need not help a large model as much. Belongs
here: features, fitting, claims with confidences, and scores. Who gets labelled when is `active_learning`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sap_llm.annotation.vectors import document_vectors
from sap_llm.modeling.decoding import ACCEPTED
from sap_llm.modeling.features import WORD_BUCKETS, WordEncoder, WordFeatures, encode_words
from sap_llm.schema.page import Page

Array = npt.NDArray[Any]
_COLUMNS = 1 << 15
_TITLE_WORDS = 6  # the tallest of a page
_OUTSIDE_KEPT = 0.2  # of the words without a label, each counting five times
_DOCUMENTS_SEEN = 500
_LEAST_SUPPORT = 10  # labels with fewer true cases are not scored


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document with its truth: int8 label of each word (0 is none) and the class."""

    document_id: str
    group: str
    document_type: str
    features: WordFeatures
    labels: npt.NDArray[np.int8]


def example(document: dict[str, Any], pages: Sequence[Page], truth: dict[str, Any], fields: Sequence[str]) -> Example:
    """A corpus document as an example; a word of two fields has the first of `fields`."""
    features = encode_words(pages, _ENCODER)
    starts = np.cumsum([0, *(len(page.words) for page in pages)])
    labels = np.zeros(len(features), dtype=np.int8)
    for field in truth["fields"]:
        if field["field"] in fields and field["page"] and field["word_ids"]:
            places = starts[field["page"] - 1] + np.array(field["word_ids"])
            labels[places[labels[places] == 0]] = fields.index(field["field"]) + 1
    return Example(
        document_id=document["document_id"],
        group=document["split_group"],
        document_type=truth["document_type"],
        features=features,
        labels=labels,
    )


_ENCODER = WordEncoder()


class Task:
    """Features of all documents, made once, and the learner over parts of them."""

    def __init__(self, examples: Sequence[Example], *, fields: int, seed: int) -> None:
        self.examples, self.fields = examples, fields
        bags = [np.unique(one.features.hashes[:, 0]) for one in examples]
        self.vectors = document_vectors(bags, seed=seed)
        self.starts = np.cumsum([0, *(len(one.features) for one in examples)])
        self.words = _sparse([row for one in examples for row in _word_columns(one.features)], _COLUMNS)
        self.labels = np.concatenate([one.labels for one in examples])
        self.documents = sp.hstack([_weighted(bags), _titles(examples)]).tocsr()
        self.classes, self.class_ids = np.unique([one.document_type for one in examples], return_inverse=True)

    def fit(self, places: Array, *, seed: int) -> "Learner":
        """A learner that has seen the labels of these documents."""
        from sklearn.linear_model import SGDClassifier

        words, rng = self.words_of(places), np.random.default_rng(seed)
        words = words[(self.labels[words] > 0) | (rng.random(len(words)) < _OUTSIDE_KEPT)]
        labels = self.labels[words]
        epochs = max(4, -(-_DOCUMENTS_SEEN // len(places)))  # few documents are seen more often, or the fit is unsteady
        tagger = SGDClassifier(loss="log_loss", alpha=3e-6, max_iter=epochs, tol=None, random_state=seed)
        tagger.fit(self.words[words], labels, sample_weight=np.where(labels > 0, 1.0, 1.0 / _OUTSIDE_KEPT))
        classifier = None
        if len(set(self.class_ids[places])) > 1:
            classifier = SGDClassifier(loss="log_loss", alpha=1e-4, max_iter=30, tol=None, random_state=seed)
            classifier.fit(self.documents[places], self.class_ids[places])
        return Learner(self, tagger, classifier)

    def words_of(self, places: Array) -> Array:
        """Rows of the words of these documents."""
        return np.concatenate([np.arange(self.starts[place], self.starts[place + 1]) for place in places])


class Learner:
    """What a fit knows."""

    def __init__(self, task: Task, tagger: Any, classifier: Any) -> None:
        self._task, self._tagger, self._classifier = task, tagger, classifier

    def uncertainty(self, places: Array) -> Array:
        """Of each document, as `annotation.confidence.uncertainty` has it of a pre-annotation."""
        task = self._task
        chances = self._chances(task.words_of(places))
        owner = np.repeat(np.arange(len(places)), np.diff(task.starts)[places])
        best = np.zeros((len(places), task.fields + 1), dtype=np.float32)
        np.maximum.at(best, owner, chances)
        is_named = best[:, 1:] >= ACCEPTED
        doubts = ((1.0 - best[:, 1:]) * is_named).sum(axis=1) / np.maximum(1, is_named.sum(axis=1))
        if self._classifier is not None:
            doubts += 1.0 - self._classifier.predict_proba(task.documents[places]).max(axis=1)
        return np.asarray(doubts, dtype=np.float64)

    def f1(self, places: Array) -> float:
        """F1 averaged over all labels, each field and each class counting once."""
        task = self._task
        words = task.words_of(places)
        scores = _label_scores(self._chances(words).argmax(axis=1), task.labels[words], range(1, task.fields + 1))
        if self._classifier is not None:
            truth = task.class_ids[places]
            scores += _label_scores(self._classifier.predict(task.documents[places]), truth, range(len(task.classes)))
        return float(np.mean(scores))

    def _chances(self, words: Array) -> Array:
        """float32 [n, 1 + fields]; labels that were never seen have chance 0."""
        tagger = self._tagger
        chances = np.zeros((len(words), self._task.fields + 1), dtype=np.float32)
        chances[:, tagger.classes_] = tagger.predict_proba(self._task.words[words])
        return chances


def _label_scores(predicted: Array, truth: Array, labels: range) -> list[float]:
    scores = []
    for label in labels:
        support = int((truth == label).sum())
        if support >= _LEAST_SUPPORT:
            hits = int(((predicted == label) & (truth == label)).sum())
            scores.append(2 * hits / (int((predicted == label).sum()) + support))
    return scores


def _word_columns(features: WordFeatures) -> Array:
    """Hashed features of each word, int64 [n, 16]: itself, its neighbours on the line and above, its place."""
    count = len(features)
    hashes, shapes = features.hashes.astype(np.int64), features.shapes.astype(np.int64)
    lines, places = features.lines, np.arange(count)
    words = hashes[:, 0]

    def neighbour(step: int) -> Array:
        other = places + step
        is_on_line = (other >= 0) & (other < count)
        other = np.clip(other, 0, max(0, count - 1))
        return np.where(is_on_line & (lines[other] == lines), words[other], 0) if count else words

    first = np.maximum.accumulate(np.where(np.diff(lines, prepend=-1) != 0, places, 0)) if count else places
    left, left2, right = neighbour(-1), neighbour(-2), neighbour(1)
    above = np.where(features.above == places, 0, words[features.above]) if count else words
    column, row = features.boxes[:, 0] // 200, np.minimum(features.boxes[:, 1] // 150, 12)
    parts = (
        (words,), (hashes[:, 1],), (hashes[:, 2],), (shapes,), (left,), (left2,), (right,), (above,), (words[first],),
        (column,), (row,), (column, row), (left, shapes), (above, shapes), (words[first], shapes), (left, left2),
    )  # fmt: skip
    return np.stack([_mixed(number, part) for number, part in enumerate(parts)], axis=1)


def _mixed(number: int, parts: tuple[Array, ...]) -> Array:
    mixed = np.full(len(parts[0]), number + 1, dtype=np.uint64)
    for part in parts:
        mixed = (mixed * np.uint64(1000003) + part.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return (mixed % np.uint64(_COLUMNS)).astype(np.int64)


def _titles(examples: Sequence[Example]) -> sp.csr_matrix:
    """The tallest words of each document, by word, prefix and suffix."""
    rows = []
    for one in examples:
        heights = one.features.boxes[:, 3] - one.features.boxes[:, 1]
        tallest = one.features.hashes[np.argsort(-heights, kind="stable")[:_TITLE_WORDS]].astype(np.int64)
        rows.append(np.unique(tallest + WORD_BUCKETS * np.arange(3)))
    return _sparse(rows, 3 * WORD_BUCKETS, value=0.25)


def _weighted(bags: Sequence[Array]) -> sp.csr_matrix:
    """Bags weighted by inverse document frequency, rows of unit length."""
    matrix = _sparse(bags, WORD_BUCKETS)
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    matrix = matrix @ sp.diags(np.where(counts < 4, 0.0, np.log((1 + len(bags)) / (1 + counts))))
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sp.diags(1.0 / np.maximum(lengths, 1e-9)) @ matrix).tocsr()


def _sparse(rows: Sequence[Array], width: int, *, value: float = 1.0) -> sp.csr_matrix:
    indices = np.concatenate(rows).astype(np.int64)
    pointers = np.cumsum([0, *(len(row) for row in rows)])
    return sp.csr_matrix((np.full(len(indices), value, np.float32), indices, pointers), shape=(len(rows), width))
