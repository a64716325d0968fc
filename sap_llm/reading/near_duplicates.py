"""Near-duplicate texts by MinHash: signatures that are kept with a corpus, the pairs that they show, and their groups.

Belongs here: signatures, bands, pairs, disjoint sets, the file. What a group means for splits is `sources.families`
(within a corpus) and `annotation.groups` (across corpora), what is removed from a training set is
`preparation.similar`; exact copies are found by digest in `sources.corpus` and `preparation`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

SIGNATURES = "near_duplicates.parquet"
SIMILAR = 0.4  # share of word triples in common (Jaccard), estimated; on the receipts of SROIE it joins no strangers
_BANDS, _ROWS = 63, 2  # two texts of similarity s meet in a band with probability 1 - (1 - s**2)**63: 1.000 at 0.4
_PERMUTATIONS = _BANDS * _ROWS
_SEED = 7
_TRIPLE = 3

Signatures = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]


def signatures(texts: Sequence[Sequence[str]]) -> Signatures:
    """One row of `_PERMUTATIONS` numbers per text, given as words; a text without words has only the greatest number.

    Words are compared without case, and digits all alike: the same form with other numbers is a near-duplicate.
    """
    from rensa import RMinHash

    rows = RMinHash.digest_matrix_from_token_sets([triples(words) for words in texts], _PERMUTATIONS, _SEED).to_rows()
    return np.asarray(rows, dtype=np.uint32).reshape(len(texts), _PERMUTATIONS)


def near_pairs(matrix: Signatures, *, threshold: float = SIMILAR) -> list[tuple[int, int]]:
    """Pairs of rows, smaller index first, enough to join all that are similar: not every pair of a large group."""
    rows = np.flatnonzero((matrix != np.iinfo(np.uint32).max).any(axis=1))  # those with words
    pairs = meetings(band_keys(matrix[rows], _ROWS).ravel(), np.repeat(rows, _BANDS))
    is_similar = (matrix[pairs[:, 0]] == matrix[pairs[:, 1]]).mean(axis=1) >= threshold
    return [(left, right) for left, right in pairs[is_similar].tolist()]


def band_keys(matrix: Signatures, rows: int) -> Hashes:
    """One 64-bit key per text and band of `rows` numbers: equal keys mean equal numbers in the same band."""
    bands = matrix.shape[1] // rows
    keys = np.empty((len(matrix), bands), dtype=np.uint64)
    for band in range(bands):
        key = np.full(len(matrix), band + 1, dtype=np.uint64)
        for column in range(band * rows, (band + 1) * rows):
            key = mixed(key ^ matrix[:, column].astype(np.uint64))
        keys[:, band] = key
    return keys


def meetings(keys: Hashes, members: Numbers) -> Numbers:
    """Pairs of members that share a key, smaller first, each once.

    Each member is paired with the first that has the key and with the one before it, so that a key which very many
    share costs two pairs a member and not one for every two of them.

    Args:
        keys: Of shape (n,).
        members: Of shape (n,): who has the key of the same place.

    Returns:
        Of shape (m, 2).
    """
    order = np.lexsort((members, keys))
    keys, members = keys[order], members[order]
    is_new = np.ones(len(keys), dtype=bool)
    is_new[1:] = keys[1:] != keys[:-1]
    first = np.maximum.accumulate(np.where(is_new, np.arange(len(keys)), 0))
    met = np.flatnonzero(~is_new)
    left = np.concatenate([members[first[met]], members[met - 1]])
    pairs = np.stack([left, np.concatenate([members[met], members[met]])], axis=1)
    return distinct(pairs[pairs[:, 0] != pairs[:, 1]])


def distinct(pairs: Numbers) -> Numbers:
    """The rows of an array of pairs in order, each once."""
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    is_new = np.ones(len(pairs), dtype=bool)
    is_new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[is_new]


def mixed(values: Hashes) -> Hashes:
    """Hash of each number: the finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Union:
    """Disjoint sets; the smallest index represents its set."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, index: int) -> int:
        """The smallest index of the set."""
        while self._parents[index] != index:
            self._parents[index] = self._parents[self._parents[index]]
            index = self._parents[index]
        return index

    def join(self, left: int, right: int) -> None:
        """Make one set of two."""
        first, second = sorted((self.find(left), self.find(right)))
        self._parents[second] = first


def write_signatures(path: Path, ids: Sequence[str], matrix: Signatures) -> None:
    """Keep the signatures of documents for comparisons with other corpora."""
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(_PERMUTATIONS * 4), len(ids), [None, pa.py_buffer(np.ascontiguousarray(matrix, dtype="<u4"))]
    )
    pq.write_table(pa.table({"document_id": pa.array(ids, type=pa.string()), "signature": values}), path)


def read_signatures(path: Path) -> Mapping[str, Signatures]:
    """Signature by document id."""
    table = pq.read_table(path)
    ids, values = table.column("document_id").to_pylist(), table.column("signature").to_pylist()
    return {name: np.frombuffer(value, dtype="<u4") for name, value in zip(ids, values, strict=True)}


def triples(words: Sequence[str]) -> list[str]:
    """Runs of three words, without case and with all digits alike; a shorter text is one run, an empty one none."""
    plain = [re.sub(r"\d", "0", word.casefold()) for word in words]
    starts = range(max(1, len(plain) - _TRIPLE + 1)) if plain else range(0)
    return [" ".join(plain[start : start + _TRIPLE]) for start in starts]
