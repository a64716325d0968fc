"""Averages over groups of near-duplicate documents, so that one template does not decide the score.

Belongs here: the macro-average and its interval. Who is a near-duplicate of whom is decided where documents enter
(`documents.split_group`, `documents.layout`).
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sap_llm.evaluation.fields import Score

RESAMPLES = 2000
_TAILS = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class GroupedF1:
    """Mean F1 over groups with its 95 % bootstrap interval over groups."""

    mean: float
    low: float
    high: float
    by_group: dict[str, Score]


def macro_f1(scores: Mapping[str, Score], groups: Mapping[str, str], *, seed: int) -> GroupedF1 | None:
    """Average F1 over groups, each group counting once whatever its size.

    Args:
        scores: Counts by document id (`FieldScores.by_document`).
        groups: Group by document id; every scored document must have one.
        seed: Of the resampling.

    Returns:
        None when no group holds a true or predicted value.
    """
    sums: dict[str, Score] = defaultdict(Score)
    for document_id, score in scores.items():
        sums[groups[document_id]] += score
    judged = {name: score for name, score in sorted(sums.items()) if score != Score()}
    if not judged:
        return None
    values = np.array([score.f1 for score in judged.values()])
    picks = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[picks].mean(axis=1), _TAILS)
    return GroupedF1(mean=float(values.mean()), low=float(low), high=float(high), by_group=judged)
