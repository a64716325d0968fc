"""Documents one behind the other in token budgets of one size: who goes with whom, and what a model reads then.

Belongs here: best fit, the arrays of one pack, positions that start anew with each document (three of them where images
are). Needs numpy only. Where documents come from and in which order is `text_loader`; that they do not see each other
is `modeling.packed_attention`.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # label of a token from which nothing is learned; the number that torch's cross entropy leaves out


@dataclass(frozen=True, kw_only=True)
class Sequenced:
    """One document as a model reads it."""

    tokens: NDArray[np.int64]  # (n,)
    positions: NDArray[np.int64] | None = None  # (3, n): time, row, column; None counts 0..n-1 in all three
    labels: NDArray[np.int64] | None = None  # (n,): what each token is to be, not shifted; None learns all of them

    def __len__(self) -> int:
        """Tokens."""
        return len(self.tokens)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A full budget of tokens, of `budget` length; the rest behind the last document is filled up."""

    tokens: NDArray[np.int64]  # (budget,)
    labels: NDArray[np.int64]  # (budget,): the next token of the same document, else IGNORED
    positions: NDArray[np.int64]  # (3, budget)
    bounds: NDArray[np.int32]  # (documents + 2,) or fixed: first token of each, then the end, repeated
    real_tokens: int  # those of documents

    @property
    def longest(self) -> int:
        """Tokens of the longest document, the filling counted as one."""
        return int(np.diff(self.bounds).max())

    @property
    def targets(self) -> int:
        """Tokens that something is learned from."""
        return int((self.labels != IGNORED).sum())


def best_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Put documents into as few budgets as best fit decreasing finds: each into the fullest that still takes it.

    Returns:
        Indices of `lengths` by budget, in the order in which the budgets were opened.

    Raises:
        ValueError: A document is longer than a budget, or empty.
    """
    free: list[tuple[int, int]] = []  # (tokens left, number of the pack), ascending
    packs: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        length = lengths[index]
        if not 0 < length <= budget:
            raise ValueError(f"document {index} has {length} tokens; a budget takes 1 to {budget}")
        place = bisect.bisect_left(free, (length, -1))
        if place == len(free):
            packs.append([index])
            left, number = budget - length, len(packs) - 1
        else:
            left, number = free.pop(place)
            packs[number].append(index)
            left -= length
        bisect.insort(free, (left, number))
    return packs


def build(documents: Sequence[Sequenced], budget: int, *, filler: int, bounds_size: int | None = None) -> Pack:
    """Lay documents one behind the other and fill up to the budget.

    The filling is a document of its own: it learns nothing and nobody sees it, yet every pack has one shape, which a
    compiled step and a captured graph need.

    Args:
        documents: In the order in which they are to lie.
        budget: Tokens of the pack.
        filler: Token to fill with.
        bounds_size: Length to which `bounds` is repeated; without it, as long as it comes out.

    Raises:
        ValueError: The documents do not fit, or their number is more than `bounds_size` takes.
    """
    lengths = [len(one) for one in documents]
    total = sum(lengths)
    bounds = np.concatenate([[0], np.cumsum(lengths), [budget]]).astype(np.int32)
    if total > budget or (bounds_size is not None and len(bounds) > bounds_size):
        raise ValueError(f"{len(documents)} documents of {total} tokens do not fit a budget of {budget}")
    if bounds_size is not None:
        bounds = np.pad(bounds, (0, bounds_size - len(bounds)), mode="edge")
    tokens = np.full(budget, filler, np.int64)
    labels = np.full(budget, IGNORED, np.int64)
    positions = np.zeros((3, budget), np.int64)
    positions[:, total:] = np.arange(budget - total)
    for one, start in zip(documents, bounds, strict=False):
        end = start + len(one)
        tokens[start:end] = one.tokens
        labels[start : end - 1] = (one.tokens if one.labels is None else one.labels)[1:]
        positions[:, start:end] = np.arange(len(one)) if one.positions is None else one.positions
    return Pack(tokens=tokens, labels=labels, positions=positions, bounds=bounds, real_tokens=total)


def image_positions(
    tokens: NDArray[np.int64], grids: Sequence[tuple[int, int, int]], *, image_token: int, merge: int
) -> NDArray[np.int64]:
    """Positions of one document with images, as Qwen2.5-VL counts them (its `get_rope_index`).

    Text counts on in all three; an image starts where the text stopped and counts rows and columns; the text behind it
    goes on from the longer side.

    Args:
        tokens: Ids of the document; a run of `image_token` is one image, or several one behind the other.
        grids: Time, height and width of each image in patches, in their order.
        image_token: Id of the token that stands for one merged patch.
        merge: Patches a side that become one token.

    Returns:
        (3, n).

    Raises:
        ValueError: Image tokens and grids do not agree.
    """
    positions = np.empty((3, len(tokens)), np.int64)
    place = at = 0
    for frames, height, width in grids:
        shape = (frames, height // merge, width // merge)
        images = np.flatnonzero(tokens[place:] == image_token)
        start = place + int(images[0]) if len(images) else len(tokens)
        count = int(np.prod(shape))
        if not np.all(tokens[start : start + count] == image_token) or start + count > len(tokens):
            raise ValueError(f"an image of {count} tokens is announced where {len(images)} image tokens are left")
        positions[:, place:start] = np.arange(start - place) + at
        at += start - place
        positions[:, start : start + count] = np.indices(shape).reshape(3, -1) + at
        at += max(shape[1:])
        place = start + count
    if np.any(tokens[place:] == image_token):
        raise ValueError("there are image tokens without an image")
    positions[:, place:] = np.arange(len(tokens) - place) + at
    return positions
