"""Other names for the companies, places and goods of a training document.

Belongs here: telling words that belong to a language and a form (labels, legal forms) from words that belong to a few
companies, and swapping the latter for others of like shape. Without it the model learns by heart which company of which
world sells: 1.00 of the training documents' classes right, 0.80 on worlds never seen. Other damage is `augment`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.features import WORD_BUCKETS
from sap_llm.modeling.shards import Shard
from sap_llm.training.batches import Batch

Array = npt.NDArray[Any]
# digit, letter, letters only, upper, title, lower, hyphen or slash, web, amount, date, VAT id, IBAN: see features
_KIND_BITS = (1, 4, 3, 5, 6, 7, 12, 15, 16, 17, 18, 19)
_MASKED = 0


class Renamer:
    """Swaps rare words of documents, each for the same other word throughout its document."""

    def __init__(self, shard: Shard, *, common_share: float) -> None:
        rows = np.repeat(np.arange(len(shard)), shard.lengths)
        pairs = np.unique(rows * WORD_BUCKETS + shard.hashes[:, 0].astype(np.int64))
        documents = np.bincount(pairs % WORD_BUCKETS, minlength=WORD_BUCKETS)
        self._is_rare: Array = documents < max(2.0, common_share * len(shard))
        self._is_rare[_MASKED] = False
        _, firsts = np.unique(shard.hashes[:, 0], return_index=True)
        donors = firsts[self._is_rare[shard.hashes[firsts, 0]]]
        self._characters, self._hashes = shard.characters[donors], shard.hashes[donors]
        self._shapes = shard.shapes[donors]
        kinds = _kinds(self._shapes)
        self._order = np.argsort(kinds, kind="stable")
        codes = np.arange(2 ** len(_KIND_BITS))
        self._starts = np.searchsorted(kinds[self._order], codes, side="left")
        self._counts = np.searchsorted(kinds[self._order], codes, side="right") - self._starts

    def rename(self, batch: Batch, rate: float, generator: np.random.Generator) -> None:
        """Rename a share of the documents of a batch, in place."""
        chosen = generator.random(len(batch.mask)) < rate
        is_swapped = self._is_rare[batch.hashes[..., 0]] & (batch.mask > 0) & chosen[:, None]
        kinds = _kinds(batch.shapes)
        is_swapped &= self._counts[kinds] > 0
        documents, words = np.nonzero(is_swapped)
        if not len(documents):
            return
        keys = documents.astype(np.int64) * WORD_BUCKETS + batch.hashes[documents, words, 0]
        unique, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
        own = kinds[documents[firsts], words[firsts]]
        picks = self._starts[own] + (generator.random(len(unique)) * self._counts[own]).astype(np.int64)
        donors = self._order[picks][inverse]
        batch.characters[documents, words] = self._characters[donors]
        batch.hashes[documents, words] = self._hashes[donors]
        batch.shapes[documents, words] = self._shapes[donors]


def _kinds(shapes: Array) -> npt.NDArray[np.int64]:
    """Coarse shape of words: what is alike is exchangeable."""
    kinds = np.zeros(shapes.shape, dtype=np.int64)
    for place, bit in enumerate(_KIND_BITS):
        kinds |= ((shapes >> np.uint32(bit)) & 1).astype(np.int64) << place
    return kinds
