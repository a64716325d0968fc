"""Labels that are probably wrong, found before training: classes by confident learning, fields by a model.

Belongs here: finding and ranking suspects from probabilities and pre-annotations. Which documents are looked at, and
the table that they end in, is `suspects`; having people look at them is `annotation`.

Source: Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". A document counts
as confidently of class j when its probability of j is at least the mean of that probability over the documents labelled
j. Counting labels against confident classes gives the confident joint; scaled, it says how many documents labelled i
are of class j, and so many of them, those with the widest margin between j and i, are suspects ("prune by noise rate").
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.evaluation.fields import FieldScores

Array = npt.NDArray[Any]
LEAST_READINGS, LEAST_PRECISION = 10, 0.9
_FEATURES = 2**16
_EPOCHS = 15


@dataclass(frozen=True, kw_only=True)
class ConfidentJoint:
    """Labels against what they confidently are.

    Attributes:
        counts: Documents by label (row) and confident class (column), int64 [classes, classes].
        joint: Estimated share of documents by label and true class; rows sum to the labels' shares, float64.
        confident: Confident class of each document, -1 where no class reaches its threshold.
        thresholds: Mean probability of each class over the documents labelled so; nan without any.
    """

    counts: Array
    joint: Array
    confident: Array
    thresholds: Array

    @property
    def error_share(self) -> float:
        """Estimated share of wrong labels."""
        return float(1.0 - np.trace(self.joint))


def confident_joint(labels: Array, probabilities: Array) -> ConfidentJoint:
    """Estimate how labels and true classes occur together.

    Args:
        labels: Class of each document, int64 [documents].
        probabilities: Of each class by a model that did not see the document, float [documents, classes].
    """
    classes = probabilities.shape[1]
    sizes = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    with np.errstate(invalid="ignore"):
        thresholds = np.bincount(labels, weights=own, minlength=classes) / sizes
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)  # a comparison with nan is false
    confident = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    counts = np.zeros((classes, classes), np.int64)
    known = confident >= 0
    np.add.at(counts, (labels[known], confident[known]), 1)
    # A label that nobody holds confidently keeps its documents on the diagonal: there is no evidence against it.
    rows = counts + np.diag(np.where((counts.sum(axis=1) == 0) & (sizes > 0), 1, 0))
    joint = rows / np.maximum(1, rows.sum(axis=1, keepdims=True)) * sizes[:, None] / max(1, len(labels))
    return ConfidentJoint(counts=counts, joint=joint, confident=confident, thresholds=thresholds)


def margins(labels: Array, probabilities: Array) -> Array:
    """By how much the likeliest other class exceeds the label, -1 to 1, float64 [documents]."""
    rows = np.arange(len(labels))
    others = probabilities.astype(np.float64)
    others[rows, labels] = -1.0
    found: Array = others.max(axis=1) - probabilities[rows, labels]
    return found


def suspect_labels(labels: Array, probabilities: Array, joint: ConfidentJoint) -> Array:
    """Flags of the documents whose label is probably wrong, bool [documents]."""
    expected = np.rint(joint.joint * len(labels)).astype(np.int64)
    np.fill_diagonal(expected, 0)
    flags = np.zeros(len(labels), bool)
    for label, other in np.argwhere(expected).tolist():
        rows = np.flatnonzero(labels == label)
        ahead = probabilities[rows, other] - probabilities[rows, label]
        flags[rows[np.argsort(-ahead, kind="stable")[: expected[label, other]]]] = True
    return flags


def ranked(labels: Array, probabilities: Array) -> Array:
    """All documents, the most suspicious first: suspects before others, each part by margin; int64 [documents]."""
    flags = suspect_labels(labels, probabilities, confident_joint(labels, probabilities))
    return np.lexsort((-margins(labels, probabilities), ~flags))


def out_of_fold(texts: Sequence[str], labels: Array, *, folds: int, seed: int) -> Array:
    """Class probabilities of each document by a light classifier that did not see it.

    Words and pairs of words, weighted by rarity, into logistic regressions of each class against the rest. Folds are
    stratified by class and take no heed of groups: documents of a vendor's layout show best that one of them is
    labelled unlike the others. A layout that is mislabelled throughout is therefore not found.

    Args:
        texts: Words of each document.
        labels: Class of each, 0 to k-1, every class at least `folds` times, int64 [documents].
        folds: Number of folds.
        seed: Of folds and training.

    Returns:
        float64 [documents, k]; rows sum to 1.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold

    words = HashingVectorizer(
        n_features=_FEATURES,
        ngram_range=(1, 2),
        token_pattern=r"[^\W\d_]{2,}",  # noqa: S106 (words, no password)
        alternate_sign=False,
        norm=None,
    )
    features = words.transform(texts)
    probabilities = np.zeros((len(labels), int(labels.max()) + 1))
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(features, labels):
        weights = TfidfTransformer(sublinear_tf=True).fit(features[train])
        model = SGDClassifier(
            loss="log_loss", alpha=1e-5, max_iter=_EPOCHS, tol=None, random_state=seed, average=True
        ).fit(weights.transform(features[train]), labels[train])
        found = model.predict_proba(weights.transform(features[test]))
        probabilities[np.ix_(test, model.classes_)] = found
    return probabilities


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model read where a label stands; as a suspect, another value, read with confidence."""

    document_id: str
    field: str
    label: str
    suggested: str
    confidence: float


def field_suspects(scores: FieldScores) -> list[Reading]:
    """Labelled values that differ from what a model read there, the most confident first.

    As with classes, a reading is confident when it is at least as confident as the mean of those readings of the field
    that agree with the label. A field is judged only where at least `LEAST_READINGS` confident readings exist and
    `LEAST_PRECISION` of them agree: elsewhere the model, not the label, is the first suspect. Values that the label
    lacks are not asked about.

    Args:
        scores: Of the model's readings held against the labels; the model should not have learnt from them. Where it
            did, it repeats the label's mistakes, and fewer are found, but none is invented.
    """
    readings: dict[str, list[tuple[Reading, bool]]] = defaultdict(list)
    for outcome in scores.outcomes:
        if outcome.truth is not None and outcome.predicted is not None and outcome.confidence is not None:
            reading = Reading(
                document_id=outcome.document_id,
                field=outcome.field,
                label=outcome.truth,
                suggested=outcome.predicted,
                confidence=outcome.confidence,
            )
            readings[outcome.field].append((reading, outcome.kind == "hit"))
    found = []
    for own in readings.values():
        agreeing = [reading.confidence for reading, agrees in own if agrees]
        threshold = sum(agreeing) / len(agreeing) if agreeing else 1.0
        sure = [(reading, agrees) for reading, agrees in own if reading.confidence >= threshold]
        hits = sum(agrees for _, agrees in sure)
        if len(sure) >= LEAST_READINGS and hits >= LEAST_PRECISION * len(sure):
            found += [reading for reading, agrees in sure if not agrees]
    return sorted(found, key=lambda suspect: (-suspect.confidence, suspect.document_id, suspect.field))
