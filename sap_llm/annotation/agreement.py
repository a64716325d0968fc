"""How far people agree: kappa on class, subtype and fields, alpha over all of them, overlap of boxes.

Belongs here: counting what pairs of people say, and the figures with their intervals. Comparing two answers is
`comparison`, the formulas are `kappa`; who is right is `adjudication`, who errs how is `annotator_report`.

A field's category in a document is `absent`, or the span that the person marked. A span of one document is never that
of another, so that a field which everybody finds everywhere has a kappa. Pooled over fields, the units are documents
times fields that anybody marked, with one category `absent`. With more than two people, kappa is the mean over pairs of
people weighted by the documents that they share. A pair has none where both give one and the same answer throughout;
such pairs are left out of the mean (they hold no disagreement) and their documents are counted as undefined.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sap_llm.annotation.comparison import Answered, Compared, compare, pairs_within, standing
from sap_llm.annotation.kappa import alpha_of_labels, kappas, krippendorff_alpha

Array = npt.NDArray[Any]
RESAMPLES = 500
_TAILS = (2.5, 97.5)
_QUANTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, kw_only=True)
class Kappa:
    """Mean Cohen's kappa over pairs of people.

    Attributes:
        value: None where it is undefined for every pair.
        documents: Documents that it rests on: those of pairs that have a kappa.
        comparisons: Of these documents, each times the pairs of people who answered it.
        undefined: Comparisons of pairs without a kappa of their own.
        agreed: Share of units, of all pairs, on which both say the same; None without any.
        low: Lower end of the 95 % interval, by resampling documents; None where not asked for or undefined.
        high: Upper end.
    """

    value: float | None
    documents: int
    comparisons: int
    undefined: int
    agreed: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """The figure as reports print it."""
        if self.value is None:
            return "undefined"
        interval = f" ({self.low:.3f} to {self.high:.3f})" if self.low is not None else ""
        return f"{self.value:.3f}{interval}"


@dataclass(frozen=True, kw_only=True)
class FieldAgreement:
    """One header field, over all pairs of people.

    Attributes:
        kappa: On absent or which span.
        both: Comparisons in which both mark it.
        one_only: Comparisons in which one of them does.
        same_value: Of `both`, those with equal values, wherever they stand.
        same: Of `both`, those with equal values at the same place.
        overlap: Median intersection over union of their boxes; None without boxes.
    """

    kappa: Kappa
    both: int
    one_only: int
    same_value: int
    same: int
    overlap: float | None


@dataclass(frozen=True, kw_only=True)
class PairAgreement:
    """Two people; kappas are None where undefined."""

    documents: int
    class_kappa: float | None
    field_kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Intersection over union of the boxes of one field by two people, over all header fields."""

    boxes: int
    mean: float
    quantiles: dict[int, float]
    """By percent: 5, 25, 50, 75, 95."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of people about a batch; arbitrations are no part of it.

    Attributes:
        documents: Documents that anybody answered.
        documents_doubled: Of these, those that at least two people answered independently.
        class_kappa: On the document class.
        subtype_kappa: On the subtype, where both say the same class and at least one names a subtype.
        field_kappa: On all header fields pooled.
        by_field: By name of the header fields that anybody marked in a doubled document.
        by_pair: By the two people's ids, in order.
        class_alpha: Krippendorff's alpha of the class over all people; None where undefined.
        field_alpha: The same of the header fields.
        overlaps: Of boxes; None without any.
    """

    documents: int
    documents_doubled: int
    class_kappa: Kappa
    subtype_kappa: Kappa
    field_kappa: Kappa
    by_field: dict[str, FieldAgreement]
    by_pair: dict[tuple[str, str], PairAgreement]
    class_alpha: float | None
    field_alpha: float | None
    overlaps: Overlaps | None

    def metrics(self) -> dict[str, float | int | str]:
        """Numbers for a manifest; a kappa that is undefined says so."""
        figures = {
            "kappa_class": self.class_kappa.value,
            "kappa_subtype": self.subtype_kappa.value,
            "kappa_fields": self.field_kappa.value,
            "alpha_class": self.class_alpha,
            "alpha_fields": self.field_alpha,
            "box_overlap_median": self.overlaps.quantiles[50] if self.overlaps else None,
        }
        return {"documents_doubled": self.documents_doubled} | {
            name: "undefined" if value is None else round(value, 4) for name, value in figures.items()
        }


def measure_agreement(
    annotations: pa.Table, answers: pa.Table, *, seed: int = 0, resamples: int = RESAMPLES
) -> Agreement:
    """Measure how far the latest answers of different people about the same documents agree.

    Args:
        annotations: Table `annotations` of `human_annotations`.
        answers: Table `answers` of `human_annotations`.
        seed: Of the resampling.
        resamples: Of documents, for the intervals of class and pooled field kappa; 0 for none.

    Raises:
        ValueError: The tables do not belong together.
    """
    opinions, _ = standing(annotations, answers)
    documents = opinions.documents
    batch = _Batch(opinions, documents, compare(opinions.annotations, *pairs_within(documents)))
    draws = _resampled(batch.document, seed, resamples)
    return Agreement(
        documents=int(documents.max(initial=-1)) + 1,
        documents_doubled=len(np.unique(batch.document)),
        class_kappa=_summary(batch.class_counts(), [batch.class_counts(weights) for weights in draws]),
        subtype_kappa=_summary(batch.subtype_counts()),
        field_kappa=_summary(batch.field_counts(), [batch.field_counts(weights) for weights in draws]),
        by_field=batch.by_field(),
        by_pair=batch.by_pair(),
        class_alpha=alpha_of_labels(documents, batch.classes),
        field_alpha=batch.field_alpha(),
        overlaps=_overlaps(batch.compared.boxes.overlap),
    )


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What kappa needs, by pair of people; `who` (which pair) and `document` are of comparisons."""

    who: Array
    document: Array
    shared: Array
    units: Array
    agreed: Array
    chance: Array


class _Batch:
    """Comparisons of a batch, each with its document and its pair of people."""

    def __init__(self, opinions: Answered, documents: Array, compared: Compared) -> None:
        self.compared = compared
        self.document = documents[compared.left]
        self.classes, _ = _coded(opinions.annotations.column("document_type").to_pylist())
        self._subtypes = opinions.annotations.column("document_subtype").to_pylist()
        people, self._people = _coded(opinions.annotations.column("annotator").to_pylist())
        between = people[compared.left] * len(self._people) + people[compared.right]
        self._pairs, self.who = np.unique(between, return_inverse=True)
        self._header = compared.line == 0
        self._fields = np.unique(compared.field[self._header]).tolist()
        self._marks = self._marked(self._header)

    def class_counts(self, weights: Array | None = None) -> _Counts:
        """Class by pair of people; `weights` count each comparison so often."""
        one, other = self.classes[self.compared.left], self.classes[self.compared.right]
        return self._label_counts(one, other, np.ones(len(self.who), bool), weights)

    def subtype_counts(self) -> _Counts:
        """Subtype by pair of people, where it can be asked."""
        left, right = self.compared.left, self.compared.right
        labels, _ = _coded([name or "" for name in self._subtypes])
        has = np.array([name is not None for name in self._subtypes], bool)
        asked = (self.classes[left] == self.classes[right]) & (has[left] | has[right])
        labels = self.classes * (int(labels.max(initial=0)) + 1) + labels
        _, labels = np.unique(labels, return_inverse=True)
        return self._label_counts(labels[left], labels[right], asked, None)

    def field_counts(self, weights: Array | None = None) -> _Counts:
        """All header fields pooled, by pair of people."""
        return self._span_counts(self._marks, len(self._fields), weights)

    def by_field(self) -> dict[str, FieldAgreement]:
        """Each header field for itself."""
        compared, boxes = self.compared, self.compared.boxes
        found = {}
        for code in self._fields:
            own = self._header & (compared.field == code)
            both = own & compared.has_left & compared.has_right
            overlaps = boxes.overlap[boxes.field == code]
            found[compared.names[code]] = FieldAgreement(
                kappa=_summary(self._span_counts(self._marked(own), 1, None)),
                both=int(both.sum()),
                one_only=int(own.sum() - both.sum()),
                same_value=int((own & compared.is_same_value).sum()),
                same=int((own & compared.is_same).sum()),
                overlap=float(np.median(overlaps)) if len(overlaps) else None,
            )
        return dict(sorted(found.items()))

    def by_pair(self) -> dict[tuple[str, str], PairAgreement]:
        """Each pair of people for itself."""
        classes, fields = self.class_counts(), self.field_counts()
        figures = zip(_each(classes), _each(fields), classes.shared.tolist(), self._pairs.tolist(), strict=True)
        names, size = self._people, len(self._people)
        return {
            (names[pair // size], names[pair % size]): PairAgreement(
                documents=int(shared), class_kappa=class_kappa, field_kappa=field_kappa
            )
            for class_kappa, field_kappa, shared, pair in figures
        }

    def field_alpha(self) -> float | None:
        """Alpha over documents times fields: a pair of answers is alike where both lack the field or share its span."""
        rated = np.bincount(self.document, minlength=1)  # m (m - 1) / 2 comparisons of m answers
        others = ((1 + np.sqrt(1 + 8 * rated)) / 2 - 1)[self.document]  # m - 1
        compared = self.compared
        share = 1 / others[compared.pair[self._header]]
        same = compared.is_same[self._header]
        presences = compared.has_left[self._header].astype(float) + compared.has_right[self._header]
        answers = float((2 / others).sum()) * len(self._fields)
        absent = answers - float((presences * share).sum())
        return krippendorff_alpha(
            answers=round(answers),
            disagreement=2 * float(share[~same].sum()),
            alike=round(absent) * (round(absent) - 1) + 2 * float(same.sum()),
        )

    def _label_counts(self, one: Array, other: Array, asked: Array, weights: Array | None) -> _Counts:
        one, other, who, document = one[asked], other[asked], self.who[asked], self.document[asked]
        pairs, size = len(self._pairs), int(max(one.max(initial=0), other.max(initial=0))) + 1
        left, right = (
            np.bincount(who * size + side, weights=weights, minlength=pairs * size).reshape(pairs, size)
            for side in (one, other)
        )
        own = (one == other) * (1.0 if weights is None else weights)
        shared = left.sum(axis=1)
        agreed = np.bincount(who, weights=own, minlength=pairs)
        chance = (left * right).sum(axis=1)
        return _Counts(who=who, document=document, shared=shared, units=shared, agreed=agreed, chance=chance)

    def _marked(self, rows: Array) -> Array:
        """Of the compared fields `rows`, how many the left, the right, both have, and both alike; [4, comparisons]."""
        compared, pair = self.compared, self.compared.pair[rows]
        flags = (compared.has_left, compared.has_right, compared.has_left & compared.has_right, compared.is_same)
        return np.stack([np.bincount(pair, weights=flag[rows], minlength=len(self.who)) for flag in flags])

    def _span_counts(self, marks: Array, fields: int, weights: Array | None) -> _Counts:
        """Marks of `fields` different fields; a span is a category that at most one unit has."""
        each = np.ones(len(self.who)) if weights is None else weights
        shared, left, right, both, same = (
            np.bincount(self.who, weights=count * each, minlength=len(self._pairs))
            for count in (np.ones(len(self.who)), *marks)
        )
        units = shared * fields
        return _Counts(
            who=self.who,
            document=self.document,
            shared=shared,
            units=units,
            agreed=units - (left + right - both) + same,
            chance=(units - left) * (units - right) + same,
        )


def _each(counts: _Counts) -> list[float | None]:
    values = kappas(counts.units, counts.agreed, counts.chance)
    return [None if np.isnan(value) else float(value) for value in values]


def _mean(counts: _Counts) -> float:
    """Mean of the pairs' kappas, weighted by documents; nan where no pair has one."""
    values = kappas(counts.units, counts.agreed, counts.chance)
    known = ~np.isnan(values)
    if not known.any():
        return float("nan")
    return float(values[known] @ (counts.shared[known] / counts.shared[known].sum()))


def _summary(counts: _Counts, draws: list[_Counts] | None = None) -> Kappa:
    value = _mean(counts)
    known = ~np.isnan(kappas(counts.units, counts.agreed, counts.chance))
    units = counts.units.sum()
    spread = [one for one in map(_mean, draws or []) if not np.isnan(one)]
    low, high = np.percentile(spread, _TAILS).tolist() if spread and not np.isnan(value) else (None, None)
    return Kappa(
        value=None if np.isnan(value) else value,
        documents=len(np.unique(counts.document[known[counts.who]])),
        comparisons=int(counts.shared[known].sum()),
        undefined=int(counts.shared[~known].sum()),
        agreed=float(counts.agreed.sum() / units) if units else None,
        low=low,
        high=high,
    )


def _resampled(document: Array, seed: int, resamples: int) -> list[Array]:
    """How often each comparison counts, for each drawing of as many documents with replacement."""
    own, place = np.unique(document, return_inverse=True)
    random = np.random.default_rng(seed)
    size = len(own)
    return [
        np.bincount(random.integers(0, size, size), minlength=size)[place].astype(np.float64)
        for _ in range(resamples if size else 0)
    ]


def _overlaps(overlap: Array) -> Overlaps | None:
    if not len(overlap):
        return None
    values = np.percentile(overlap, _QUANTILES).tolist()
    return Overlaps(
        boxes=len(overlap), mean=float(overlap.mean()), quantiles=dict(zip(_QUANTILES, values, strict=True))
    )


def _coded(values: list[str]) -> tuple[Array, list[str]]:
    """Codes from 0 and the names that they stand for, sorted."""
    names, codes = np.unique(np.array(values, dtype=object), return_inverse=True)
    return codes.astype(np.int64), names.tolist()
