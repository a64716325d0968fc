"""Near-duplicate texts by MinHash: signatures that are kept with a corpus, and the pairs that they show.

Belongs here: signatures, pairs, their file. What a group means for splits is `families` (within a corpus) and
`annotation.groups` (across corpora); exact copies are found by digest in `corpus` and `preparation`.
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


def signatures(texts: Sequence[Sequence[str]]) -> Signatures:
    """One row of `_PERMUTATIONS` numbers per text, given as words; a text without words has only the greatest number.

    Words are compared without case, and digits all alike: the same form with other numbers is a near-duplicate.
    """
    from rensa import RMinHash

    rows = RMinHash.digest_matrix_from_token_sets([triples(words) for words in texts], _PERMUTATIONS, _SEED).to_rows()
    return np.asarray(rows, dtype=np.uint32).reshape(len(texts), _PERMUTATIONS)


def near_pairs(matrix: Signatures, *, threshold: float = SIMILAR) -> list[tuple[int, int]]:
    """Pairs of rows, smaller index first, enough to join all that are similar: not every pair of a large group.

    Rows that agree in a band are compared with the first of them and with their predecessor there.
    """
    rows = np.flatnonzero((matrix != np.iinfo(np.uint32).max).any(axis=1))  # those with words
    found: set[tuple[int, int]] = set()
    for band in range(0, _PERMUTATIONS, _ROWS):
        keys = matrix[rows, band : band + _ROWS]
        order = np.lexsort(keys.T[::-1])
        keys, met = keys[order], rows[order]
        is_new = np.ones(len(met), dtype=bool)
        is_new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        first = np.maximum.accumulate(np.where(is_new, np.arange(len(met)), 0))
        for at in np.flatnonzero(~is_new).tolist():
            found |= {_ordered(met[first[at]], met[at]), _ordered(met[at - 1], met[at])}
    if not found:
        return []
    pairs = np.array(sorted(found))
    is_similar = (matrix[pairs[:, 0]] == matrix[pairs[:, 1]]).mean(axis=1) >= threshold
    return [(left, right) for left, right in pairs[is_similar].tolist()]


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (int(one), int(other)) if one < other else (int(other), int(one))


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
