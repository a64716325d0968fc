"""Whether new documents are distributed like those that a model was trained on: PSI and tests, feature by feature.

Belongs here: pure measures of two tables of documents, and counting their false alarms. Which tables are compared is
`learning.drift`; how it is shown is the caller's.

An alarm needs both: a difference that chance does not explain (Kolmogorov-Smirnov for numbers, chi-square for
categories, Holm's correction over all features) and one that matters (PSI for categories, the KS distance for numbers),
because a million documents make every difference significant, and fifty make every PSI large.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from sap_llm.schema.releases import TEXT_NUMBERS

CATEGORIES = ("document_type", "language", "source")
NUMBERS = (*TEXT_NUMBERS, "quality", "page_count")
_BINS = 10
_FEWEST = 10  # of both tables together; rarer categories are one
_MISSING, _RARE = "missing", "rare ones"


class DriftSettings(BaseModel):
    """The key `drift` of `configs/<profile>/gates.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(default=0.05, description="chance of any false alarm in one comparison", gt=0, lt=1)
    psi: float = Field(default=0.1, description="population stability index of a category that matters", ge=0)
    distance: float = Field(default=0.1, description="Kolmogorov-Smirnov distance of a number that matters", ge=0)
    resamples: int = Field(default=20, description="halves of the same data on which false alarms are counted", ge=0)
    most_documents: int = Field(default=20_000, description="drawn for a resample", ge=2)


@dataclass(frozen=True, kw_only=True)
class FeatureDrift:
    """One feature in two tables."""

    name: str
    reference: str  # mean, or the category that moved most with its share
    new: str
    psi: float
    distance: float  # Kolmogorov-Smirnov; for categories the largest difference of a share
    p_value: float  # after Holm's correction
    is_alarm: bool


def measure_drift(reference: pa.Table, new: pa.Table, settings: DriftSettings) -> list[FeatureDrift]:
    """Compare the features that both tables have.

    Args:
        reference: Documents that a model was trained on: columns of `CATEGORIES` and `NUMBERS`.
        new: Other documents.
        settings: Level and the sizes that matter.

    Returns:
        Features in a fixed order; empty where a table has no rows.
    """
    if not reference.num_rows or not new.num_rows:
        return []
    shared = set(reference.schema.names) & set(new.schema.names)
    found = [_of_categories(name, reference, new) for name in CATEGORIES if name in shared]
    found += [_of_numbers(name, reference, new) for name in NUMBERS if name in shared]
    adjusted = holm([float(entry["p_value"]) for entry in found])
    drifts = []
    for entry, p_value in zip(found, adjusted, strict=True):
        effect, least = (
            (entry["psi"], settings.psi) if entry["name"] in CATEGORIES else (entry["distance"], settings.distance)
        )
        is_alarm = p_value < settings.level and effect > least
        drifts.append(FeatureDrift(**entry | {"p_value": p_value}, is_alarm=is_alarm))
    return drifts


def false_alarms(documents: pa.Table, settings: DriftSettings, *, seed: int) -> int:
    """In how many of `settings.resamples` random halvings of the same documents there is any alarm.

    Halves of one table differ by chance alone, so at most a share `settings.level` of them should alarm.
    """
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(settings.resamples):
        order = rng.permutation(documents.num_rows)[: settings.most_documents]
        half = len(order) // 2
        one, other = documents.take(pa.array(order[:half])), documents.take(pa.array(order[half:]))
        alarms += any(entry.is_alarm for entry in measure_drift(one, other, settings))
    return alarms


def psi(reference: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of counts by the same bins; half a row more in each, so that none is empty."""
    one, other = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, new))
    return float(np.sum((other - one) * np.log(other / one)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values for which a family-wise level holds, in the given order."""
    order = np.argsort(p_values)
    size = len(p_values)
    scaled = np.maximum.accumulate([min(1.0, (size - rank) * p_values[index]) for rank, index in enumerate(order)])
    adjusted = np.empty(size)
    adjusted[order] = scaled
    return [float(value) for value in adjusted]


def _of_categories(name: str, reference: pa.Table, new: pa.Table) -> dict[str, Any]:
    from scipy.stats import chi2_contingency

    names, counts = _counts(reference.column(name).to_pylist(), new.column(name).to_pylist())
    shares = counts / counts.sum(axis=1, keepdims=True)
    moved = int(np.argmax(np.abs(shares[1] - shares[0])))
    p_value = float(chi2_contingency(counts, correction=False).pvalue) if len(names) > 1 else 1.0
    return {
        "name": name,
        "reference": f"{names[moved]} {shares[0][moved]:.1%}",
        "new": f"{names[moved]} {shares[1][moved]:.1%}",
        "psi": psi(counts[0], counts[1]),
        "distance": float(abs(shares[1][moved] - shares[0][moved])),
        "p_value": p_value,
    }


def _counts(reference: Sequence[str | None], new: Sequence[str | None]) -> tuple[list[str], np.ndarray]:
    """Names and a 2 x names array of counts; rare names are one."""
    texts = np.array([_MISSING if value is None else value for value in (*reference, *new)], dtype=object)
    found, inverse = np.unique(texts.astype(str), return_inverse=True)
    counts = np.stack(
        [
            np.bincount(part, minlength=len(found)).astype(float)
            for part in (inverse[: len(reference)], inverse[len(reference) :])
        ]
    )
    is_rare = counts.sum(axis=0) < _FEWEST
    if not is_rare.any():
        return list(found), counts
    kept = np.concatenate([counts[:, ~is_rare], counts[:, is_rare].sum(axis=1, keepdims=True)], axis=1)
    return [*found[~is_rare], _RARE], kept


def _of_numbers(name: str, reference: pa.Table, new: pa.Table) -> dict[str, Any]:
    from scipy.stats import ks_2samp

    one, other = (_finite(table.column(name)) for table in (reference, new))
    means = [f"{part.mean():.4g}" if len(part) else _MISSING for part in (one, other)]
    entry = {"name": name, "reference": means[0], "new": means[1]}
    if not len(one) or not len(other):  # a number that one side lacks has moved as far as it can
        is_same = len(one) == len(other)
        return entry | {"psi": 0.0, "distance": 0.0 if is_same else 1.0, "p_value": 1.0 if is_same else 0.0}
    test = ks_2samp(one, other, method="asymp")
    edges = np.unique(np.quantile(one, np.linspace(0, 1, _BINS + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, part, side="left"), minlength=len(edges) + 1) for part in (one, other)]
    return entry | {
        "psi": psi(counts[0].astype(float), counts[1].astype(float)),
        "distance": float(test.statistic),
        "p_value": float(test.pvalue),
    }


def _finite(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = column.cast(pa.float64()).to_numpy()
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
