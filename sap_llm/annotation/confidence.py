"""What the confidences of a pre-annotation are worth: fitted where the truth is known, judged on groups not fitted on.

Belongs here: the map from a predictor's own confidences to the chance that a value is right, and the confidence of a
whole document. A model's temperatures are `modeling.confidence`, measuring is `evaluation.calibration`, the threshold
below which a person is asked is `flags`.

Every claim of a pre-annotation (its class and each header value) is right or wrong. One logistic regression over all
claims, on a claim's confidence and its field, gives calibrated confidences (Platt 1999); its penalty draws rare fields
to the others. The quality of a document is the F1 of its values, the class being one of them; a fractional regression
on the calibrated claims (Papke, Wooldridge 1996) gives its expectation, the document's confidence. It sees what is
missing as well: how many values are found beside what is usual for the class.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sap_llm.evaluation.fields import REPORTED_FIELDS, Rows, Scopes, Score, latest, rows_of, score_fields

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

Array = npt.NDArray[Any]
Row = dict[str, Any]

CLASS = "document_type"
"""Name of the class among the claims of a document."""

CLAIMS: tuple[str, ...] = (CLASS, *REPORTED_FIELDS)
FEWEST_DOCUMENTS = 40
"""Known documents without which confidences stay as the predictor gave them."""

_FOLDS = 5
_CLIP = 1e-4


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One value that a pre-annotation names."""

    document_id: str
    name: str  # one of CLAIMS
    confidence: float
    is_right: bool


@dataclass(frozen=True, kw_only=True)
class Known:
    """Pre-annotations of documents whose truth is known, each value judged."""

    rows: list[Row]
    claims: list[Claim]
    quality: dict[str, float]  # F1 of a document's values with the class as one of them
    groups: dict[str, str]

    def part(self, ids: set[str]) -> "Known":
        """Only these documents."""
        return Known(
            rows=[row for row in self.rows if row["document_id"] in ids],
            claims=[claim for claim in self.claims if claim.document_id in ids],
            quality={name: value for name, value in self.quality.items() if name in ids},
            groups={name: value for name, value in self.groups.items() if name in ids},
        )


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Calibrated confidences of pre-annotations.

    Attributes:
        rows: The pre-annotations with calibrated confidences, in the order given.
        confidence: Of each document, by id: the expected F1 of its values.
        known: Those with a truth, with the predictor's own confidences.
        judged: The same with calibrated ones; nothing was fitted on a document's own group.
        is_fitted: False where too few truths are known: then confidences are the predictor's, and that of a document
            is the lower of its class's and the mean of its values'.
    """

    rows: list[Row]
    confidence: dict[str, float]
    known: Known
    judged: list[Claim] = field(repr=False)
    is_fitted: bool


def own_confidence(row: Mapping[str, Any]) -> float:
    """What a pre-annotation says of itself: the lower of class and mean field confidence; 0 without fields."""
    confidences = [float(entry["confidence"]) for entry in row["fields"]]
    mean = sum(confidences) / len(confidences) if confidences else 0.0
    return min(float(row["type_confidence"]), mean)


def uncertainty(row: Mapping[str, Any]) -> float:
    """How likely a pre-annotation is wrong, 0..2: about the class, and on average about a value that it names."""
    doubts = [1.0 - min(1.0, float(entry["confidence"])) for entry in row["fields"]]
    return 1.0 - min(1.0, float(row["type_confidence"])) + (sum(doubts) / len(doubts) if doubts else 0.0)


def judge(rows: Sequence[Row], truths: Rows, documents: Rows, *, scopes: Scopes) -> Known:
    """Compare pre-annotations with truths.

    Args:
        rows: Pre-annotations.
        truths: Truths of some of these documents.
        documents: Rows of those with source and split group.
        scopes: As for `evaluation.fields.score_fields`; sources named there have no document quality.
    """
    about = {row["document_id"]: row for row in rows_of(documents)}
    kinds = {name: row["document_type"] for name, row in latest(truths).items() if name in about}
    own = [row for row in rows if row["document_id"] in kinds]
    truths = [row for row in rows_of(truths) if row["document_id"] in kinds]
    scores = score_fields(truths, own, fields=REPORTED_FIELDS, documents=documents, scopes=scopes)
    claims = [
        Claim(
            document_id=one.document_id, name=one.field, confidence=min(1.0, one.confidence), is_right=one.kind == "hit"
        )
        for one in scores.outcomes
        if one.confidence is not None
    ]
    quality = {}
    for row in own:
        name = row["document_id"]
        is_right = row["document_type"] == kinds[name]
        claims.append(
            Claim(document_id=name, name=CLASS, confidence=min(1.0, float(row["type_confidence"])), is_right=is_right)
        )
        if about[name]["source"] not in scopes:
            kind = Score(true_positives=is_right, false_positives=not is_right, false_negatives=not is_right)
            quality[name] = (scores.by_document.get(name, Score()) + kind).f1
    groups = {row["document_id"]: about[row["document_id"]]["split_group"] for row in own}
    return Known(rows=own, claims=claims, quality=quality, groups=groups)


def calibrate(rows: Sequence[Row], known: Known) -> Trust:
    """Calibrated confidences of all pre-annotations.

    Documents of `known` get theirs from a fit on the other groups (five folds), all others from a fit on all of it.
    """
    folds = _folds(known)
    judgeable = [fold for fold in folds if fold & known.quality.keys()]
    if len(known.quality) < FEWEST_DOCUMENTS or len(judgeable) < 2:  # each part is judged by a fit on the others
        confidence = {row["document_id"]: own_confidence(row) for row in rows}
        return Trust(rows=list(rows), confidence=confidence, known=known, judged=known.claims, is_fitted=False)
    everybody = _Fit(known)
    done: dict[str, tuple[Row, float]] = {}
    judged: list[Claim] = []
    for fold in folds:
        fit, part = _Fit(known.part(known.groups.keys() - fold)), known.part(fold)
        done |= {row["document_id"]: fit.apply(row) for row in part.rows}
        judged += fit.claims(part.claims)
    applied = [done.get(row["document_id"]) or everybody.apply(row) for row in rows]
    return Trust(
        rows=[row for row, _ in applied],
        confidence={row["document_id"]: value for row, value in applied},
        known=known,
        judged=judged,
        is_fitted=True,
    )


def _folds(known: Known) -> list[set[str]]:
    """Documents in parts that share no group: the largest groups first, each to the smallest part."""
    members: dict[str, set[str]] = defaultdict(set)
    for name, group in known.groups.items():
        members[group].add(name)
    folds: list[set[str]] = [set() for _ in range(_FOLDS)]
    for group in sorted(members, key=lambda group: (-len(members[group]), group)):
        min(folds, key=len).update(members[group])
    return [fold for fold in folds if fold]


class _Fit:
    """The two regressions, fitted on known documents."""

    def __init__(self, known: Known) -> None:
        self._claims = _regression(
            _claim_features([(claim.name, claim.confidence) for claim in known.claims]),
            np.array([claim.is_right for claim in known.claims], dtype=np.float64),
        )
        found: dict[str, list[int]] = defaultdict(list)
        for row in known.rows:
            found[row["document_type"]].append(len(row["fields"]))
        self._usual = {kind: float(np.median(counts)) for kind, counts in found.items()}
        self._usual_of_all = float(np.median([count for counts in found.values() for count in counts]))
        rows = [row for row in known.rows if row["document_id"] in known.quality]
        features = np.array([self._document_features(self._calibrated(row)) for row in rows])
        quality = np.array([known.quality[row["document_id"]] for row in rows])
        self._documents = _regression(features, quality)

    def apply(self, row: Row) -> tuple[Row, float]:
        """The pre-annotation with calibrated confidences, and the document's: 0 where usual values are all missing."""
        calibrated = self._calibrated(row)
        if not row["fields"] and self._usual.get(row["document_type"], self._usual_of_all):
            return calibrated, 0.0
        features = np.array([self._document_features(calibrated)])
        return calibrated, _rounded(_chances(self._documents, features)[0])

    def claims(self, claims: Sequence[Claim]) -> list[Claim]:
        """The same claims with calibrated confidences."""
        chances = self._claim_chances([(claim.name, claim.confidence) for claim in claims])
        return [
            Claim(document_id=claim.document_id, name=claim.name, confidence=chance, is_right=claim.is_right)
            for claim, chance in zip(claims, chances, strict=True)
        ]

    def _calibrated(self, row: Row) -> Row:
        kind, *values = self._claim_chances(list(_named(row)))
        fields = [entry | {"confidence": value} for entry, value in zip(row["fields"], values, strict=True)]
        return row | {"type_confidence": kind, "fields": fields}

    def _claim_chances(self, named: Sequence[tuple[str, float]]) -> list[float]:
        return [_rounded(value) for value in _chances(self._claims, _claim_features(named))]

    def _document_features(self, row: Row) -> list[float]:
        values = [float(entry["confidence"]) for entry in row["fields"]]
        usual = self._usual.get(row["document_type"], self._usual_of_all)
        return [
            float(_logit(np.array(row["type_confidence"]))),
            float(_logit(np.array(np.mean(values) if values else 0.5))),
            float(_logit(np.array(min(values, default=0.5)))),
            min(2.0, len(values) / usual) if usual else 1.0,
            float(not values),
        ]


def _named(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Name and confidence of the class and of every header value."""
    yield CLASS, float(row["type_confidence"])
    for entry in row["fields"]:
        yield entry["field"], float(entry["confidence"])


def _claim_features(named: Sequence[tuple[str, float]]) -> Array:
    """Log odds, and for each field an offset and log odds of its own; other names have none."""
    odds = _logit(np.array([confidence for _, confidence in named], dtype=np.float64))
    is_name = np.array([[name == other for other in CLAIMS] for name, _ in named], dtype=np.float64)
    return np.concatenate([odds[:, None], is_name, is_name * odds[:, None] / 4.0], axis=1)


def _rounded(chance: float) -> float:
    """Four digits: the last bits of a fit differ between processors, and data versions must not."""
    return round(float(chance), 4)


def _logit(chances: Array) -> Array:
    clipped = np.clip(chances, _CLIP, 1.0 - _CLIP)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def _regression(features: Array, shares: Array) -> "LogisticRegression | float":
    """A logistic regression on shares 0..1; their mean where all are 0 or all are 1."""
    from sklearn.linear_model import LogisticRegression

    if shares.min() == shares.max() and shares.max() in (0.0, 1.0):
        return float(np.clip(shares.mean(), _CLIP, 1.0 - _CLIP))
    targets = np.repeat([1, 0], len(shares))
    weights = np.concatenate([shares, 1.0 - shares])
    return LogisticRegression(C=1.0, max_iter=500).fit(np.concatenate([features, features]), targets, weights)


def _chances(fitted: "LogisticRegression | float", features: Array) -> Array:
    if isinstance(fitted, float):
        return np.full(len(features), fitted)
    return np.asarray(fitted.predict_proba(features)[:, 1])
