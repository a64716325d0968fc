"""Scores by place, as DocILE defines them: KILE (header fields, average precision), LIR (fields of line items, F1).

Belongs here: what counts a value by where it stands, whatever its text. Values by content are `fields` and
`line_items`.

A word is as many pseudo-character centres as it has letters, evenly along its box. A prediction is right when it names
the field and its box covers exactly the centres that a place of the true value covers (Simsa et al., DocILE Benchmark
for Document Information Localization and Extraction, 2023, sections 3.2 and 4). Two things differ here: several places
of one value count as one, because our truths name one place of most values, and a value that is printed nowhere does
not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.evaluation.fields import Score
from sap_llm.evaluation.line_items import LINE_FIELDS
from sap_llm.schema.page import Page

Entry = Mapping[str, Any]
Centres = dict[int, npt.NDArray[np.float64]]
Place = tuple[str, int, frozenset[int]]
"""Field, page number, covered centres of the page."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """What became of one document, or the sum of many.

    Attributes:
        claims: Confidence of each predicted header value, and whether it is right.
        truths: True header values that are printed.
        lines: Counts over the fields of line items.
    """

    claims: tuple[tuple[float, bool], ...] = ()
    truths: int = 0
    lines: Score = field(default_factory=Score)

    @property
    def kile_ap(self) -> float | None:
        """Average precision of the header fields, 0..1; None where no true value is printed."""
        return average_precision(self.claims, self.truths) if self.truths else None

    @property
    def kile(self) -> Score:
        """Counts over the header fields, whatever the confidence."""
        hits = sum(is_hit for _, is_hit in self.claims)
        return Score(true_positives=hits, false_positives=len(self.claims) - hits, false_negatives=self.truths - hits)


def total(located: Iterable[Located]) -> Located:
    """Many documents as one."""
    parts = list(located)
    return Located(
        claims=tuple(claim for part in parts for claim in part.claims),
        truths=sum(part.truths for part in parts),
        lines=sum((part.lines for part in parts), Score()),
    )


def locate(truth: Entry, predicted: Entry, pages: Sequence[Page], *, fields: Iterable[str]) -> Located:
    """Compare the places of one document.

    Args:
        truth: Row of `tables.ANNOTATIONS`.
        predicted: The same of the prediction.
        pages: Of the document, with the words on which both stand.
        fields: Header fields that count. Line items count where the truth has any, by `LINE_FIELDS`.
    """
    centres = {page.page_number: character_centres(page) for page in pages}
    scope = set(fields)
    wanted, silent = _values(truth["fields"], centres, scope)
    claims = []
    for entry, place in sorted(_places(predicted["fields"], centres, scope), key=lambda one: -one[0]["confidence"]):
        found = next((value for value in wanted if place in value), None)
        if found is not None:
            wanted.remove(found)
        elif entry["field"] in silent and not any(name == entry["field"] for value in wanted for name, *_ in value):
            continue  # the truth says that there is one, not where
        claims.append((float(entry["confidence"]), found is not None))
    hits = sum(is_hit for _, is_hit in claims)
    return Located(
        claims=tuple(claims),
        truths=hits + len(wanted),
        lines=_line_counts(truth["line_items"], predicted["line_items"], centres),
    )


def character_centres(page: Page) -> npt.NDArray[np.float64]:
    """The centres of all letters of a page if all letters of a word were equally wide; float64 [letters, 2], points."""
    parts = []
    for word, (x0, y0, x1, y1) in zip(page.words, page.boxes.tolist(), strict=True):
        x = x0 + (np.arange(len(word)) + 0.5) * (x1 - x0) / len(word)
        parts.append(np.column_stack([x, np.full(len(word), (y0 + y1) / 2)]))
    return np.concatenate(parts) if parts else np.empty((0, 2))


def average_precision(claims: Iterable[tuple[float, bool]], truths: int) -> float:
    """Area under the precision-recall curve, where precision at a recall is the best at that recall or a higher one.

    Args:
        claims: Confidence and whether right; the order of equal confidences counts, as it is that of the document.
        truths: How many could have been right; at least 1.
    """
    ranked = sorted(claims, key=lambda claim: -claim[0])
    hits = np.array([is_hit for _, is_hit in ranked], dtype=np.float64)
    if not hits.any():
        return 0.0
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((best * hits).sum() / truths)


def _values(entries: Iterable[Entry], centres: Centres, scope: set[str]) -> tuple[list[set[Place]], set[str]]:
    """The places of each true value, and the fields of which a value is printed nowhere."""
    values: dict[tuple[str, str | None], set[Place]] = {}
    known = [entry for entry in entries if entry["field"] in scope]
    for entry, place in _places(known, centres, scope):
        values.setdefault((entry["field"], entry["value"]), set()).add(place)
    silent = {entry["field"] for entry in known if (entry["field"], entry["value"]) not in values}
    return list(values.values()), silent


def _places(entries: Iterable[Entry], centres: Centres, scope: Iterable[str]) -> list[tuple[Entry, Place]]:
    found = []
    for entry in entries:
        if entry["field"] not in scope or entry["box"] is None or entry["page"] not in centres:
            continue
        covered = _covered(entry["box"], centres[entry["page"]])
        if covered:
            found.append((entry, (str(entry["field"]), int(entry["page"]), covered)))
    return found


def _covered(box: Sequence[float], centres: npt.NDArray[np.float64]) -> frozenset[int]:
    x0, y0, x1, y1 = box
    inside = (centres[:, 0] >= x0) & (centres[:, 0] <= x1) & (centres[:, 1] >= y0) & (centres[:, 1] <= y1)
    return frozenset(np.flatnonzero(inside).tolist())


def _line_counts(truths: Sequence[Entry], predictions: Sequence[Entry], centres: Centres) -> Score:
    """Counts after the assignment of predicted to true line items under which most fields are right."""
    from scipy.optimize import linear_sum_assignment

    wanted = [{place for _, place in _places(item["fields"], centres, LINE_FIELDS)} for item in truths]
    if not any(wanted):
        return Score()
    found = [{place for _, place in _places(item["fields"], centres, LINE_FIELDS)} for item in predictions]
    shared = np.array([[len(true & guess) for guess in found] for true in wanted]).reshape(len(wanted), len(found))
    hits = int(shared[linear_sum_assignment(shared, maximize=True)].sum())
    return Score(
        true_positives=hits,
        false_positives=sum(map(len, found)) - hits,
        false_negatives=sum(map(len, wanted)) - hits,
    )
