"""Which documents people are asked about: a random share, a stratified share, and those that a model learns most from.

Belongs here: the choices, as pure functions of ids, numbers and vectors. Where these come from and what becomes of the
chosen is `tasks`; the vectors are made by `vectors`.

Random choices go by a hash of seed, purpose and document id: whoever is chosen stays chosen when the corpus grows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Stratum = tuple[str, ...]

LEVELS = ("simple", "medium", "complex")
MEASURES = ("pages", "words", "line_items", "fields")
_BITS = 53  # of a hash, as many as a float holds
_SEEN_AT_ONCE = 4096
_TINY = 1e-9


def chance(document_id: str, *, seed: int, purpose: str) -> float:
    """A number in [0, 1) that only depends on its arguments, uniform over document ids."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{document_id}".encode()).digest()
    return float((int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / 2**_BITS)


def random_share(ids: Sequence[str], share: float, *, seed: int, purpose: str) -> list[int]:
    """Places of a random share of the documents; each is chosen by itself, so the count is near share x n."""
    return [place for place, name in enumerate(ids) if chance(name, seed=seed, purpose=purpose) < share]


def complexity(measures: Mapping[str, float], edges: Mapping[str, Sequence[float]]) -> str:
    """How much work a document is, one of `LEVELS`, from what can be counted on it.

    Every measure gives a point for each of its two edges that it reaches; up to a third of all points is simple, up to
    two thirds medium.

    Args:
        measures: Value of each of `MEASURES`.
        edges: Two rising edges of each.
    """
    points = sum(measures[name] >= edge for name in MEASURES for edge in edges[name])
    most = sum(len(edges[name]) for name in MEASURES)
    return LEVELS[min(2, 3 * points // (most + 1))]


def page_range(page_count: int, edges: Sequence[int]) -> str:
    """The range of page counts that a document falls into: edges [2, 4] give `1`, `2-3` and `4+`."""
    starts = [1, *edges]
    index = max(0, sum(page_count >= edge for edge in starts) - 1)
    if index == len(starts) - 1:
        return f"{starts[index]}+"
    last = starts[index + 1] - 1
    return str(last) if last == starts[index] else f"{starts[index]}-{last}"


def allocate(sizes: Mapping[Stratum, int], total: int, *, minimum: int) -> dict[Stratum, int]:
    """Divide `total` documents among strata in proportion to their sizes; the parts add up exactly.

    Largest remainders decide about the last documents, names about ties. A stratum gets at least `minimum`, or all that
    it has; where that is more than `total` for all strata together, the largest minimum that `total` allows. Strata
    held up by the minimum aside, each is within one document of its proportional share of the rest.

    Args:
        sizes: Documents by stratum, each at least 1.
        total: How many are wanted.
        minimum: Fewest of a stratum.

    Raises:
        ValueError: More are wanted than there are.
    """
    if not 0 <= total <= sum(sizes.values()):
        raise ValueError(f"{total} of {sum(sizes.values())} documents cannot be chosen")
    least = max(low for low in range(minimum + 1) if sum(min(low, size) for size in sizes.values()) <= total)
    held: dict[Stratum, int] = {}
    while True:
        free = {name: size for name, size in sizes.items() if name not in held}
        rest = total - sum(held.values())
        shares = {name: Fraction(rest * size, sum(free.values())) for name, size in free.items()}
        low = {name: min(least, sizes[name]) for name, share in shares.items() if share < min(least, sizes[name])}
        if not low:
            return held | _rounded(shares, rest)
        held |= low


def _rounded(shares: Mapping[Stratum, Fraction], total: int) -> dict[Stratum, int]:
    """Whole numbers for shares that add up to `total`: largest remainders first, then names."""
    parts = {name: int(share) for name, share in shares.items()}
    order = sorted(shares, key=lambda name: (parts[name] - shares[name], name))
    for name in order[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def stratified(
    ids: Sequence[str], strata: Sequence[Stratum], total: int, *, minimum: int, seed: int, purpose: str
) -> list[int]:
    """Places of `total` documents, so many of each stratum as `allocate` says, in it those of the lowest `chance`."""
    members: dict[Stratum, list[int]] = {}
    for place in sorted(
        range(len(ids)), key=lambda place: (chance(ids[place], seed=seed, purpose=purpose), ids[place])
    ):
        members.setdefault(strata[place], []).append(place)
    parts = allocate({name: len(places) for name, places in members.items()}, total, minimum=minimum)
    return sorted(place for name, places in members.items() for place in places[: parts[name]])


@dataclass(frozen=True, kw_only=True)
class ActivePool:
    """Documents among which active learning chooses.

    Attributes:
        ids: Document ids, n of them.
        uncertainty: float [n], at least 0: how likely the model is wrong about the document.
        weights: float [n], business weight of the document's class.
        vectors: float32 [n, d] of unit length (zero for blank documents); near means alike.
    """

    ids: Sequence[str]
    uncertainty: Array
    weights: Array
    vectors: Array


def choose_active(
    pool: ActivePool,
    budget: int,
    *,
    known: Array | None = None,
    uncertainty_power: float = 1.0,
    diversity_power: float = 1.0,
    seed: int,
    block: int = 20_000,
) -> list[int]:
    """Places of the documents whose labels teach most, most wanted first.

    Documents are drawn one after the other with a chance in proportion to uncertainty^p x diversity^q x business
    weight. Diversity is the cosine distance to the nearest document that has a label or was drawn (as k-center, Sener
    and Savarese 2018), so each draw lowers the chances of its like. To draw instead of taking the highest score keeps
    what uncertainty cannot see, where a model is wrong and sure (Kirsch et al. 2023), and makes a business weight of 2
    mean twice the chance, not all of the budget.

    Pools of more than `block` documents are drawn from block by block, in the order of a hash, each with its part of
    the budget; documents of earlier blocks count as drawn. Time is n x (known + budget) x d multiplications as matrix
    products, memory block x d.

    Args:
        pool: The candidates.
        budget: How many to choose; all where the pool is smaller.
        known: float32 [m, d], vectors of documents that have a label.
        uncertainty_power: How far uncertainty is followed; 0 ignores it.
        diversity_power: The same for diversity.
        seed: Of the hash that every draw goes by.
        block: Most documents compared with each other at a time.
    """
    draws = np.array([chance(name, seed=seed, purpose="active") for name in pool.ids])
    order = np.array(sorted(range(len(draws)), key=lambda place: (draws[place], pool.ids[place])), dtype=np.int64)
    # The document of the highest log weight + Gumbel noise is a draw in proportion to weight.
    noise = -np.log(-np.log(np.clip(draws, _TINY, 1.0 - _TINY)))
    appeal = uncertainty_power * np.log(np.maximum(pool.uncertainty, _TINY)) + np.log(pool.weights) + noise
    seen = np.zeros((0, pool.vectors.shape[1]), np.float32) if known is None else known
    blocks = np.array_split(order, max(1, -(-len(order) // block)))
    sizes: dict[Stratum, int] = {(f"{number:08d}",): len(places) for number, places in enumerate(blocks) if len(places)}
    ranked: list[tuple[float, int, int]] = []  # rank within the block: the blocks take turns
    for stratum, part in sorted(allocate(sizes, min(budget, len(order)), minimum=0).items()):
        number = int(stratum[0])
        places = blocks[number]
        drawn = places[_drawn(appeal[places], pool.vectors[places], part, seen, diversity_power)]
        seen = np.concatenate([seen, pool.vectors[drawn]])
        ranked += [(rank / part, number, int(place)) for rank, place in enumerate(drawn)]
    return [place for _, _, place in sorted(ranked)]


def _drawn(appeal: Array, vectors: Array, budget: int, seen: Array, power: float) -> list[int]:
    """Rows of the highest appeal + power x log distance to what was seen or drawn before, one after the other."""
    distance = np.ones(len(vectors), dtype=np.float32)
    for start in range(0, len(seen), _SEEN_AT_ONCE):
        distance = np.minimum(distance, 1.0 - (vectors @ seen[start : start + _SEEN_AT_ONCE].T).max(axis=1))
    drawn: list[int] = []
    is_free = np.ones(len(vectors), dtype=bool)
    for _ in range(budget):
        scores = appeal + power * np.log(np.maximum(distance, _TINY))
        best = int(np.where(is_free, scores, -np.inf).argmax())
        drawn.append(best)
        is_free[best] = False
        distance = np.minimum(distance, 1.0 - vectors @ vectors[best])
    return drawn
