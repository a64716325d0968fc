"""Planted challengers: an equal one passes, a worse one is refused, a small slice says what it needs."""

import numpy as np
import numpy.typing as npt
import pytest

from sap_llm.learning.comparison import Comparison, Outcome, compare, harmed_slices, judge_slice
from sap_llm.schema.errors import ConfigurationError

Counts = npt.NDArray[np.int64]
FIELDS = 12
RUNS = 100


def planted(seed: int, *, loss: float, groups: int = 300) -> tuple[Counts, Counts, npt.NDArray[np.str_]]:
    """Two documents a group; the models share most mistakes, as two models of one family do."""
    generator = np.random.default_rng(seed)
    documents = 2 * groups
    hard = np.repeat(generator.beta(8, 1.5, size=groups), 2)[:, None]
    luck = generator.random((documents, FIELDS))
    right = luck < hard
    flipped = generator.random((2, documents, FIELDS)) < 0.02
    champion, challenger = right ^ flipped[0], right ^ flipped[1]
    challenger &= generator.random((documents, FIELDS)) >= loss
    return counts(champion), counts(challenger), np.repeat(np.arange(groups).astype(str), 2)


def counts(right: npt.NDArray[np.bool_]) -> Counts:
    hits = right.sum(axis=1)
    return np.stack([hits, FIELDS - hits, FIELDS - hits], axis=1)


def outcomes(loss: float) -> list[Outcome]:
    return [judge_slice(compare(*planted(seed, loss=loss), seed=seed, resamples=400)).outcome for seed in range(RUNS)]


def test_an_equal_model_passes_with_the_power_promised() -> None:
    assert outcomes(0.0).count(Outcome.NOT_INFERIOR) >= 0.8 * RUNS


def test_a_model_worse_by_three_points_is_refused() -> None:
    assert outcomes(0.036).count(Outcome.INFERIOR) >= 0.95 * RUNS


def test_a_small_slice_says_how_many_groups_it_needs() -> None:
    verdict = judge_slice(compare(*planted(1, loss=0.0, groups=10), seed=1))
    assert verdict.outcome is Outcome.UNDECIDABLE
    assert f"needs {verdict.required_groups} groups" in verdict.explain()


def test_the_order_of_documents_changes_nothing() -> None:
    champion, challenger, groups = planted(3, loss=0.01)
    order = np.random.default_rng(0).permutation(len(groups))
    assert compare(champion, challenger, groups, seed=5) == compare(
        champion[order], challenger[order], groups[order], seed=5
    )


def test_holm_names_only_what_is_harmed_beyond_chance() -> None:
    def found(difference: float) -> Comparison:
        return Comparison(difference=difference, lower=0, upper=0, standard_error=0.01, groups=100)

    assert harmed_slices({"de": found(0.0), "fax": found(-0.06), "en": found(-0.027)}) == ["fax"]
    assert harmed_slices({}) == []


def test_unpaired_counts_are_an_error() -> None:
    champion, challenger, groups = planted(1, loss=0.0)
    with pytest.raises(ConfigurationError, match="not paired"):
        compare(champion, challenger[1:], groups, seed=1)
