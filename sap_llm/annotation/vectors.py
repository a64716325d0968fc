"""Vectors of documents by their words, so that documents of one vendor's layout and wording lie near each other.

Belongs here: bags of hashed words and their projection. They need no model, so a corpus has them before there is a
champion, and they do not change with it. What they are compared for is `selection`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.features import WORD_BUCKETS, WordEncoder

Array = npt.NDArray[Any]
DIMENSIONS = 128


def word_bag(words: Iterable[str], encoder: WordEncoder) -> npt.NDArray[np.uint16]:
    """The buckets of a document's words, each once, sorted; digits do not distinguish words."""
    _, hashes, _ = encoder.encode(words)
    return np.unique(hashes[:, 0])


def document_vectors(bags: Sequence[npt.NDArray[np.uint16]], *, seed: int, dims: int = DIMENSIONS) -> Array:
    """Random projection of the bags weighted by inverse document frequency.

    A Gaussian projection keeps cosines within about 1 / sqrt(dims) (Johnson, Lindenstrauss 1984).

    Returns:
        float32 [n, dims] of unit length; zero where a document has no words, or only words that all have.
    """
    counts = np.zeros(WORD_BUCKETS, dtype=np.int64)
    for bag in bags:
        counts[bag] += 1
    weights = np.log((1 + len(bags)) / (1 + counts)).astype(np.float32)
    projection = np.random.default_rng(seed).standard_normal((WORD_BUCKETS, dims), dtype=np.float32)
    projection *= weights[:, None]
    vectors = np.zeros((len(bags), dims), dtype=np.float32)
    for place, bag in enumerate(bags):
        if len(bag):
            vectors[place] = projection[bag].sum(axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors
