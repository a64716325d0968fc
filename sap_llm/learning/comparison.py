"""Whether a challenger is at least as good as the champion on the same documents, by a paired bootstrap of groups.

Belongs here: the statistics of two evaluations of one frozen test version. Who becomes champion is decided in
`learning.promotion`; counting right and wrong fields is `evaluation`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from sap_llm.schema.errors import ConfigurationError

_NORMAL = NormalDist()
_CHUNK = 200  # resamples drawn at once: bounds memory at 10,000 groups to 16 MB


class Outcome(StrEnum):
    """What the evidence says about one slice."""

    NOT_INFERIOR = "not inferior"
    INFERIOR = "inferior"
    UNDECIDABLE = "undecidable"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of micro F1, challenger minus champion, as a fraction, with a two-sided interval."""

    difference: float
    lower: float
    upper: float
    standard_error: float
    groups: int


@dataclass(frozen=True, kw_only=True)
class SliceVerdict:
    """The outcome for one slice and the groups that an equal model needs to pass with the power asked for."""

    outcome: Outcome
    comparison: Comparison
    required_groups: int

    def explain(self) -> str:
        """The verdict in one sentence, differences in F1 points."""
        found = self.comparison
        interval = f"{100 * found.difference:+.2f} points [{100 * found.lower:+.2f}, {100 * found.upper:+.2f}]"
        needs = f", needs {self.required_groups} groups" if self.outcome is Outcome.UNDECIDABLE else ""
        return f"{self.outcome}{needs}: {interval} on {found.groups} groups"


def compare(
    champion: npt.NDArray[np.int64],
    challenger: npt.NDArray[np.int64],
    split_groups: npt.NDArray[np.str_],
    *,
    seed: int,
    resamples: int = 2000,
    alpha: float = 0.05,
) -> Comparison:
    """Resample whole split groups, the same for both models, since documents of a group resemble each other.

    Args:
        champion: Shape (documents, 3): true positives, false positives, false negatives.
        challenger: The same documents in the same order.
        split_groups: Shape (documents,).
        seed: Of the resampling.
        resamples: Number of bootstrap resamples.
        alpha: One-sided error of each bound of the percentile interval.

    Raises:
        ConfigurationError: The shapes differ, or there are no documents.
    """
    if not len(split_groups) or champion.shape != challenger.shape or champion.shape != (len(split_groups), 3):
        raise ConfigurationError(
            f"counts of {champion.shape} and {challenger.shape} for {len(split_groups)} documents are not paired",
            where="champion against challenger",
            remedy="Evaluate both models on the same documents.",
        )
    names, member = np.unique(split_groups, return_inverse=True)
    counts = np.zeros((len(names), 6))
    # Sorted by group first, so that the order of the documents changes nothing.
    np.add.at(counts, member, np.hstack([champion, challenger]))
    generator = np.random.default_rng(seed)
    equal = np.full(len(names), 1 / len(names))
    differences = np.concatenate(
        [
            _difference(generator.multinomial(len(names), equal, size=min(_CHUNK, resamples - start)) @ counts)
            for start in range(0, resamples, _CHUNK)
        ]
    )
    lower, upper = np.quantile(differences, [alpha, 1 - alpha])
    return Comparison(
        difference=float(_difference(counts.sum(axis=0, keepdims=True))[0]),
        lower=float(lower),
        upper=float(upper),
        standard_error=float(differences.std(ddof=1)),
        groups=len(names),
    )


def judge_slice(
    found: Comparison, *, epsilon: float = 0.01, alpha: float = 0.05, power: float = 0.8, minimum_groups: int = 30
) -> SliceVerdict:
    """Judge non-inferiority by at most `epsilon`; a slice too small to tell is undecidable, never passed.

    Args:
        found: Compared with the same `alpha`.
        epsilon: The loss of F1 that is tolerated, a fraction.
        alpha: Chance to pass a model that is worse by `epsilon`.
        power: Chance of an equal model to pass that the slice is sized for.
        minimum_groups: Below this a bootstrap's own error is not to be trusted.
    """
    spread = found.standard_error * math.sqrt(found.groups)
    quantiles = _NORMAL.inv_cdf(1 - alpha) + _NORMAL.inv_cdf(power)
    required = max(minimum_groups, math.ceil((quantiles * spread / epsilon) ** 2))
    if found.groups < minimum_groups:
        outcome = Outcome.UNDECIDABLE
    elif found.lower > -epsilon:
        outcome = Outcome.NOT_INFERIOR
    elif found.upper < -epsilon or found.groups >= required:
        outcome = Outcome.INFERIOR
    else:
        outcome = Outcome.UNDECIDABLE
    return SliceVerdict(outcome=outcome, comparison=found, required_groups=required)


def harmed_slices(found: Mapping[str, Comparison], *, epsilon: float = 0.01, alpha: float = 0.05) -> list[str]:
    """The slices with evidence of a loss above `epsilon`, by Holm's step-down over all of them, worst first."""
    chances = sorted((_chance_of_no_harm(each, epsilon), name) for name, each in found.items())
    harmed = []
    for position, (chance, name) in enumerate(chances):
        if chance > alpha / (len(chances) - position):
            break
        harmed.append(name)
    return harmed


def _difference(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Challenger's F1 minus champion's of rows of six counts; a row without any field counts as 0."""
    return _f1(counts[:, 3:]) - _f1(counts[:, :3])


def _f1(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found = 2 * counts[:, 0]
    return found / np.maximum(found + counts[:, 1] + counts[:, 2], 1)


def _chance_of_no_harm(found: Comparison, epsilon: float) -> float:
    margin = found.difference + epsilon
    if found.standard_error == 0:
        return 0.0 if margin < 0 else 1.0
    return _NORMAL.cdf(margin / found.standard_error)
