"""Agreement beyond chance: Cohen's kappa and Krippendorff's alpha from counts.

Belongs here: the formulas, on numbers alone. What is counted is `agreement`. Both are undefined where all answers are
one and the same, because chance would agree as much; undefined is nan in arrays and None elsewhere, never 0 or 1.

Sources: Cohen 1960, "A coefficient of agreement for nominal scales"; Krippendorff 2011, "Computing Krippendorff's
Alpha-Reliability" (nominal data, any number of raters, missing answers).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def kappas(units: Array, agreed: Array, chance: Array) -> Array:
    """Cohen's kappa of each pair of raters, nan where it is undefined.

    Args:
        units: Rated units N.
        agreed: Units on which both say the same.
        chance: Sum over categories of (units that one rater put there) x (units that the other did); it is N squared
            times the agreement expected by chance. Counts below 2**26 make the result exact up to its one division.
    """
    units, agreed, chance = (np.asarray(part, np.float64) for part in (units, agreed, chance))
    room = units * units - chance
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(room > 0, (units * agreed - chance) / room, np.nan)


def cohen_kappa(one: Sequence[object], other: Sequence[object]) -> float | None:
    """Cohen's kappa of two raters' labels, unit by unit; None where it is undefined."""
    _, codes = np.unique(np.array([*map(str, one), *map(str, other)]), return_inverse=True)
    left, right = codes[: len(one)], codes[len(one) :]
    size = int(codes.max(initial=0)) + 1
    chance = np.bincount(left, minlength=size) @ np.bincount(right, minlength=size)
    found = float(kappas(np.array(len(left)), (left == right).sum(), chance))
    return None if np.isnan(found) else found


def krippendorff_alpha(*, answers: float, disagreement: float, alike: float) -> float | None:
    """Krippendorff's alpha for nominal answers; None where it is undefined.

    Args:
        answers: All answers n, of units that have at least two.
        disagreement: Sum over units of (ordered pairs of its answers that differ) / (its answers - 1).
        alike: Ordered pairs of any two of the n answers, whatever their units, that are the same.
    """
    expected = answers * (answers - 1) - alike
    return 1.0 - (answers - 1) * disagreement / expected if expected > 0 else None


def alpha_of_labels(units: Array, labels: Array) -> float | None:
    """Krippendorff's alpha of labels (codes from 0); units with a single answer take no part."""
    _, units = np.unique(units, return_inverse=True)
    sizes = np.bincount(units)
    paired = sizes[units] > 1
    units, labels = units[paired], labels[paired]
    cells, counts = np.unique(np.stack([units, labels]), axis=1, return_counts=True)
    own = sizes[cells[0]]
    totals = np.bincount(labels)
    return krippendorff_alpha(
        answers=len(units),
        disagreement=float((counts * (own - counts) / (own - 1)).sum()),
        alike=float((totals * (totals - 1)).sum()),
    )
