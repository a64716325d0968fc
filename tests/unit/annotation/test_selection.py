"""Who is asked: random and stratified shares that add up and stay, and the documents that teach most."""

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.annotation.selection import (
    ActivePool,
    Stratum,
    allocate,
    choose_active,
    complexity,
    page_range,
    random_share,
    stratified,
)

Sizes = dict[Stratum, int]
SIZES = st.dictionaries(st.tuples(st.text("abc", min_size=1, max_size=3)), st.integers(1, 300), min_size=1, max_size=12)
EDGES = {"pages": (2, 4), "words": (150, 400), "line_items": (5, 15), "fields": (8, 14)}


@given(SIZES, st.floats(0, 1), st.integers(0, 5))
def test_parts_add_up_and_reach_the_minimum_where_the_total_allows(sizes: Sizes, share: float, minimum: int) -> None:
    total = round(share * sum(sizes.values()))
    parts = allocate(sizes, total, minimum=minimum)
    assert sum(parts.values()) == total
    assert all(0 <= parts[name] <= size for name, size in sizes.items())
    if sum(min(minimum, size) for size in sizes.values()) <= total:
        assert all(parts[name] >= min(minimum, size) for name, size in sizes.items())


@given(SIZES, st.floats(0, 1))
def test_parts_are_within_one_of_their_proportional_share(sizes: Sizes, share: float) -> None:
    everything = sum(sizes.values())
    total = round(share * everything)
    parts = allocate(sizes, total, minimum=0)
    assert all(abs(parts[name] - total * size / everything) < 1 for name, size in sizes.items())


@given(SIZES, st.floats(0, 1), st.integers(0, 3), st.randoms())
def test_parts_do_not_depend_on_the_order_of_strata(sizes: Sizes, share: float, minimum: int, random: Random) -> None:
    total = round(share * sum(sizes.values()))
    shuffled = list(sizes.items())
    random.shuffle(shuffled)
    assert allocate(sizes, total, minimum=minimum) == allocate(dict(shuffled), total, minimum=minimum)


def test_a_minimum_that_is_too_much_for_the_total_is_lowered_for_all() -> None:
    sizes = {("a",): 10, ("b",): 10, ("c",): 80}
    assert allocate(sizes, 4, minimum=3) == {("a",): 1, ("b",): 1, ("c",): 2}
    assert allocate(sizes, 2, minimum=3) == {("a",): 0, ("b",): 0, ("c",): 2}


def test_more_documents_than_there_are_cannot_be_chosen() -> None:
    with pytest.raises(ValueError, match="11 of 10"):
        allocate({("a",): 10}, 11, minimum=0)


@given(st.sets(st.integers(0, 10_000), min_size=1, max_size=60), st.randoms())
def test_a_stratified_choice_does_not_depend_on_the_order_of_documents(numbers: set[int], random: Random) -> None:
    ids = [f"doc-{number}" for number in numbers]
    stratum = {name: (str(len(name)),) for name in ids}

    def chosen(names: list[str]) -> set[str]:
        places = stratified(names, [stratum[name] for name in names], len(names) // 3, minimum=1, seed=3, purpose="x")
        return {names[place] for place in places}

    shuffled = list(ids)
    random.shuffle(shuffled)
    assert chosen(ids) == chosen(shuffled)
    assert len(chosen(ids)) == len(ids) // 3


@given(st.sets(st.integers(0, 10_000), max_size=80), st.sets(st.integers(0, 10_000), max_size=80))
def test_a_random_share_keeps_its_documents_when_the_corpus_grows(first: set[int], more: set[int]) -> None:
    small, large = ([f"doc-{number}" for number in sorted(numbers)] for numbers in (first, first | more))
    before = {small[place] for place in random_share(small, 0.1, seed=7, purpose="qa_sample")}
    after = {large[place] for place in random_share(large, 0.1, seed=7, purpose="qa_sample")}
    assert before == after & set(small)


def test_a_stratified_choice_only_loses_documents_to_newcomers() -> None:
    """Within a stratum the order is that of a hash: who goes makes room for who came."""
    ids = [f"doc-{number}" for number in range(400)]
    grown = [*ids, *(f"new-{number}" for number in range(400))]
    before, after = (
        {names[place] for place in stratified(names, [("all",)] * len(names), 60, minimum=1, seed=1, purpose="e")}
        for names in (ids, grown)
    )
    assert after & set(ids) <= before


def test_a_random_share_is_as_large_as_asked_and_differs_by_purpose() -> None:
    ids = [f"doc-{number}" for number in range(20_000)]
    qa, other = (set(random_share(ids, 0.1, seed=7, purpose=purpose)) for purpose in ("qa_sample", "double"))
    assert abs(len(qa) / len(ids) - 0.1) < 0.01
    assert abs(len(qa & other) / len(ids) - 0.01) < 0.004  # independent


def test_complexity_counts_pages_words_line_items_and_fields() -> None:
    assert complexity({"pages": 1, "words": 90, "line_items": 3, "fields": 9}, EDGES) == "simple"
    assert complexity({"pages": 2, "words": 200, "line_items": 6, "fields": 9}, EDGES) == "medium"
    assert complexity({"pages": 5, "words": 900, "line_items": 40, "fields": 16}, EDGES) == "complex"


@given(st.integers(1, 40))
def test_page_ranges_cover_every_count(pages: int) -> None:
    expected = "1" if pages == 1 else "2-3" if pages < 4 else "4+"
    assert page_range(pages, [2, 4]) == expected


def _pool(count: int, *, seed: int = 0, weights: np.ndarray | None = None) -> ActivePool:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 8)).astype(np.float32)
    return ActivePool(
        ids=[f"doc-{number}" for number in range(count)],
        uncertainty=rng.random(count),
        weights=np.ones(count) if weights is None else weights,
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )


@given(st.integers(0, 50), st.integers(0, 80), st.floats(0, 20), st.integers(1, 60))
def test_the_budget_is_spent_exactly_and_on_different_documents(
    count: int, budget: int, power: float, block: int
) -> None:
    chosen = choose_active(_pool(count), budget, diversity_power=power, seed=5, block=block)
    assert len(chosen) == len(set(chosen)) == min(count, budget)
    assert set(chosen) <= set(range(count))


@given(st.permutations(range(40)), st.integers(5, 60))
def test_who_is_chosen_does_not_depend_on_the_order_of_the_pool(order: list[int], block: int) -> None:
    pool = _pool(40)
    shuffled = ActivePool(
        ids=[pool.ids[place] for place in order],
        uncertainty=pool.uncertainty[order],
        weights=pool.weights[order],
        vectors=pool.vectors[order],
    )
    first = [pool.ids[place] for place in choose_active(pool, 12, seed=2, block=block)]
    assert first == [shuffled.ids[place] for place in choose_active(shuffled, 12, seed=2, block=block)]


def test_copies_of_one_document_are_asked_about_once() -> None:
    pool = _pool(20)
    pool.vectors[:10] = pool.vectors[0]
    pool.uncertainty[:10] = 5.0  # the ten least sure are the same paper
    chosen = choose_active(pool, 10, diversity_power=4.0, seed=1)
    assert sum(place < 10 for place in chosen) == 1
    known = choose_active(pool, 10, known=pool.vectors[:1], diversity_power=4.0, seed=1)
    assert not any(place < 10 for place in known)


def test_a_weight_of_two_is_twice_the_chance() -> None:
    weights = np.where(np.arange(4000) < 2000, 2.0, 1.0)
    pool = _pool(4000, weights=weights)
    chosen = choose_active(pool, 300, uncertainty_power=0.0, diversity_power=0.0, seed=1)
    assert sum(place < 2000 for place in chosen) / 300 == pytest.approx(2 / 3, abs=0.08)


def test_uncertain_documents_are_preferred_as_far_as_the_power_says() -> None:
    pool = _pool(2000)
    means = [
        pool.uncertainty[choose_active(pool, 200, uncertainty_power=power, diversity_power=0.0, seed=1)].mean()
        for power in (0.0, 1.0, 8.0)
    ]
    assert means[0] == pytest.approx(0.5, abs=0.06)
    assert means[0] < means[1] < means[2]


def test_a_document_that_the_model_is_sure_about_comes_last() -> None:
    pool = _pool(30)
    pool.uncertainty[4] = 0.0
    assert choose_active(pool, 30, seed=1)[-1] == 4


def test_blocks_choose_nearly_as_one() -> None:
    """Ten kinds of document: every way of cutting the pool finds all of them."""
    rng = np.random.default_rng(4)
    kinds = rng.standard_normal((10, 16)).astype(np.float32)
    kind = np.arange(600) % 10
    vectors = kinds[kind] + 0.01 * rng.standard_normal((600, 16)).astype(np.float32)
    pool = ActivePool(
        ids=[f"doc-{number}" for number in range(600)],
        uncertainty=np.ones(600),
        weights=np.ones(600),
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
    for block in (600, 200, 77):
        assert (
            len(Counter(kind[place] for place in choose_active(pool, 24, diversity_power=4.0, seed=9, block=block)))
            == 10
        )
