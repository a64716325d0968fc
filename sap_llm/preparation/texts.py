"""What is known of a text by itself: its normal form, digest, language, features and MinHash bands.

Belongs here: the rules, over Arrow arrays of many texts, without Spark; the job applies them to its batches. Which
texts are too short or too much alike is decided by `job` and `similar`; the words of languages are `reading.language`.

A text is looked at as one array of code points with all others of the batch, separated by line ends (a normal form has
none), so that every rule costs a few passes of numpy over the batch and nothing per word in Python.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.reading.language import FEWEST_HITS, STOP_WORDS
from sap_llm.reading.near_duplicates import Hashes, Numbers, band_keys, mixed
from sap_llm.schema.releases import TEXT_FEATURES

DESCRIPTION = pa.schema(
    [
        *TEXT_FEATURES,
        pa.field("text_key", pa.int64(), nullable=False),  # the first eight bytes of text_sha256
        pa.field("bands", pa.binary()),  # uint64 keys; null where near-duplicates are not asked for
        pa.field("triples", pa.binary()),  # uint32 hashes of all runs of three words; null like bands
    ]
)
"""What `describe` says of each text."""

_UNUSUAL = r"[^!-~ ]|  |^ | $"  # whatever is not printable ASCII with single spaces
_SPACE = r"[\s\p{Z}\p{Cc}\p{Cf}]+"
_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{2,4}"
_LETTER, _UPPER, _DIGIT, _SOLID = 1, 2, 4, 8
_KINDS = 16  # combinations of them
_LOOK_AHEAD = 6  # separators after the last text, so that patterns may look beyond it
_PRIME = np.uint64(0x100000001B3)
_TRIPLE = 3
_BANDS = 16
_MOST_ROWS = 8  # of a band: with more, a pair just above a high threshold would need very many permutations
_MISSED = 0.01  # share of pairs at the threshold that may meet in no band
_SEED = 7
Flags = npt.NDArray[np.bool_]


def documents_of(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Join pages to documents: batches of document_id, input and text, the pages' texts with a space between.

    Args:
        batches: Columns document_id, input, page_number, text, in the order of the first three; a document may go over
            the end of a batch.
    """
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        rows = pa.concat_batches([*held, batch.select(["document_id", "input", "text"])])
        starts = _starts(rows)
        held = [rows.slice(starts[-1])]
        if len(starts) > 1:
            yield _joined(rows.slice(0, starts[-1]), starts[:-1])
    for rows in held:
        yield _joined(rows, _starts(rows))


def _starts(rows: pa.RecordBatch) -> Numbers:
    """Where documents begin."""
    others = rows.num_rows - 1
    changes = [
        pc.not_equal(column.slice(1), column.slice(0, others))
        for column in (rows.column("document_id"), rows.column("input"))
    ]
    return np.append(0, 1 + np.flatnonzero(pc.or_(*changes).to_numpy(zero_copy_only=False)))


def _joined(rows: pa.RecordBatch, starts: Numbers) -> pa.RecordBatch:
    offsets = pa.array(np.append(starts, rows.num_rows), type=pa.int32())
    text = pc.binary_join(pa.ListArray.from_arrays(offsets, rows.column("text")), " ")
    first = rows.take(pa.array(starts))
    return first.set_column(2, "text", text)


def describe(texts: pa.StringArray, *, similarity: float | None) -> pa.RecordBatch:
    """Describe texts; one row of `DESCRIPTION` each.

    Args:
        texts: Of any form, without null.
        similarity: Threshold of near-duplicates, see `band_rows`; None saves making bands and triples.
    """
    if not len(texts):
        return pa.RecordBatch.from_pylist([], schema=DESCRIPTION)
    normal = normalised(texts)
    batch = Batch(normal)
    letters, upper = batch.count(_LETTER), batch.count(_UPPER)
    solid, digits = batch.count(_SOLID), batch.count(_DIGIT)
    digests = _digests(normal)
    bands, triples = sketch(batch, similarity) if similarity is not None else (None, None)
    columns: list[pa.Array] = [
        pa.array([digest.hex() for digest in digests], type=pa.string()),
        _languages(batch),
        pa.array(batch.words.counts),
        pa.array(batch.lengths),
        pa.array(_share(digits, solid)),
        pa.array(_share(upper, letters)),
        pa.array(batch.total(_amounts(batch.codes))),
        pc.count_substring_regex(normal, _DATE).cast(pa.int64()),
        pa.array(np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=">i8").astype(np.int64)),
        bands if bands is not None else pa.nulls(len(texts), pa.binary()),
        triples if triples is not None else pa.nulls(len(texts), pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DESCRIPTION)


def normalised(texts: pa.StringArray) -> pa.StringArray:
    """NFKC, without control and format characters, words separated by single spaces."""
    is_unusual = pc.match_substring_regex(texts, _UNUSUAL)
    # Not Arrow's utf8_normalize: its NFKC leaves letters and accents apart (pyarrow 25).
    rest = pa.array(
        [unicodedata.normalize("NFKC", text) for text in texts.filter(is_unusual).to_pylist()], type=pa.string()
    )
    rest = pc.utf8_trim(pc.replace_substring_regex(rest, _SPACE, " "), " ")
    return pc.replace_with_mask(texts, is_unusual, rest)


def band_rows(similarity: float) -> int:
    """How many numbers a band has, so that of pairs at the threshold at most one in a hundred meets in no band.

    Two texts that share the fraction s of their triples meet in one of b bands of r numbers with probability
    1 - (1 - s**r)**b (Broder 1997; Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4).
    """
    in_one = 1 - _MISSED ** (1 / _BANDS)
    if similarity >= 1:
        return _MOST_ROWS
    return max(1, min(_MOST_ROWS, math.floor(math.log(in_one) / math.log(similarity))))


@dataclass(frozen=True)
class _Runs:
    """Runs of characters: the hash of each, the text that it is in, its place there and the text's number of runs."""

    hashes: Hashes
    texts: Numbers
    counts: Numbers


class Batch:
    """Normal texts, at least one, as code points, one after the other, each followed by a line end."""

    def __init__(self, texts: pa.StringArray) -> None:
        joined = "\n".join(texts.to_pylist()) + "\n" * _LOOK_AHEAD
        self.codes = np.frombuffer(joined.encode("utf-32-le"), dtype=np.uint32)
        self.lengths: Numbers = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
        spans = self.lengths + 1
        spans[-1:] += _LOOK_AHEAD - 1
        self._owners = np.repeat(np.arange(len(texts)), spans)
        met = np.flatnonzero(np.bincount(self.codes))
        kinds = np.zeros(int(met[-1]) + 1, dtype=np.uint8)
        lower = np.arange(int(met[-1]) + 1, dtype=np.uint32)
        for code in met.tolist():
            kinds[code] = _kind(chr(code))
            small = chr(code).lower()
            lower[code] = ord(small) if len(small) == 1 else code
        self._kinds, self._lower = kinds[self.codes], lower[self.codes]

    def total(self, marks: Flags) -> Numbers:
        """How many marked characters each text has."""
        return np.bincount(self._owners[np.flatnonzero(marks)], minlength=len(self.lengths))

    def count(self, kind: int) -> Numbers:
        """How many characters of a kind each text has."""
        counts: Numbers = self._counts[:, (np.arange(_KINDS) & kind) != 0].sum(axis=1)
        return counts

    @cached_property
    def _counts(self) -> Numbers:
        """Characters by text and combination of kinds."""
        counts = np.bincount(self._owners * _KINDS + self._kinds, minlength=len(self.lengths) * _KINDS)
        return counts.reshape(len(self.lengths), _KINDS)

    @cached_property
    def words(self) -> _Runs:
        """Runs between spaces, without case."""
        return self._runs(_SOLID)

    @property
    def letter_runs(self) -> _Runs:
        """Runs of letters, without case."""
        return self._runs(_LETTER)

    def _runs(self, kind: int) -> _Runs:
        is_inside = (self._kinds & kind) != 0  # never at the end: the last character is a line end
        edges = np.flatnonzero(np.diff(is_inside.view(np.int8), prepend=0))
        first, after = edges[::2], edges[1::2]
        owners = self._owners[first]
        return _Runs(
            hashes=_hashes(self._lower[is_inside], after - first),
            texts=owners,
            counts=np.bincount(owners, minlength=len(self.lengths)),
        )


def _kind(char: str) -> int:
    category = unicodedata.category(char)
    return (
        _LETTER * category.startswith("L")
        | _UPPER * (category == "Lu")
        | _DIGIT * (category == "Nd")
        | _SOLID * (char not in " \n")
    )


def _hashes(codes: npt.NDArray[np.uint32], lengths: Numbers) -> Hashes:
    """Hash of each of the runs that follow one another: a polynomial in its code points, mixed; the same everywhere."""
    if not len(lengths):
        return np.empty(0, dtype=np.uint64)
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _PRIME, dtype=np.uint64))
    return mixed(np.add.reduceat(codes * powers[places], starts) + lengths.astype(np.uint64))


def _digests(texts: pa.StringArray) -> list[bytes]:
    return [hashlib.sha256(text.encode()).digest() for text in texts.to_pylist()]


def _share(part: Numbers, whole: Numbers) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _amounts(codes: npt.NDArray[np.uint32]) -> Flags:
    r"""Where an amount begins: `\d[.,]\d{2}` that neither a digit follows nor a part of a date or version."""
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    point = (codes == ord(".")) | (codes == ord(","))
    joint = point | (codes == ord("/")) | (codes == ord("-"))
    size = len(codes) - _LOOK_AHEAD + 1
    found = np.zeros(len(codes), dtype=bool)
    at = [slice(step, step + size) for step in range(_LOOK_AHEAD)]
    goes_on = digit[at[4]] | (joint[at[4]] & digit[at[5]])
    found[:size] = digit[at[0]] & point[at[1]] & digit[at[2]] & digit[at[3]] & ~goes_on
    return found


def _languages(batch: Batch) -> pa.StringArray:
    """`reading.language.detect_language` over all texts."""
    known, codes, member = _stop_words()
    runs = batch.letter_runs
    place = np.minimum(np.searchsorted(known, runs.hashes), len(known) - 1)
    is_hit = known[place] == runs.hashes
    hits = np.unique(runs.texts[is_hit] * len(known) + place[is_hit])  # a word counts once in a text
    texts, words = np.divmod(hits, len(known))
    counts = np.stack(
        [np.bincount(texts[member[words, number]], minlength=len(batch.lengths)) for number in range(len(codes))],
        axis=1,
    )
    ranked = np.sort(counts, axis=1)
    is_sure = (ranked[:, -1] >= FEWEST_HITS) & (ranked[:, -1] > ranked[:, -2])
    return pa.array(codes).take(pa.array(np.argmax(counts, axis=1), mask=~is_sure))


def _stop_words() -> tuple[Hashes, list[str], Flags]:
    """Hashes of all stop words in order, the languages, and which word is in the list of which language."""
    words, languages = sorted(frozenset().union(*STOP_WORDS.values())), sorted(STOP_WORDS)
    lengths = np.array([len(word) for word in words])
    hashes = _hashes(np.frombuffer("".join(words).encode("utf-32-le"), dtype=np.uint32), lengths)
    order = np.argsort(hashes)
    member = np.array([[word in STOP_WORDS[language] for language in languages] for word in words])
    return hashes[order], languages, member[order]


def sketch(batch: Batch, similarity: float) -> tuple[pa.BinaryArray, pa.BinaryArray]:
    """Bands and triples of each text: runs of three words without case; a shorter text is one run.

    Args:
        batch: The texts.
        similarity: See `band_rows`.

    Returns:
        Columns bands and triples of `DESCRIPTION`.
    """
    from rensa import RMinHash

    words = batch.words
    ends = np.cumsum(words.counts)
    left = np.repeat(ends, words.counts) - np.arange(len(words.hashes))  # words to the end of the text, this included
    padded = np.concatenate([words.hashes, np.zeros(_TRIPLE - 1, dtype=np.uint64)])
    run = padded[: len(left)]
    for step in range(1, _TRIPLE):
        run = mixed(run * _PRIME ^ np.where(left > step, padded[step : step + len(left)], np.uint64(0)))
    is_run = (left >= _TRIPLE) | (
        left == np.repeat(words.counts, words.counts)
    )  # the first word begins one in any case
    runs = run[is_run]
    counts = np.where(words.counts > 0, np.maximum(1, words.counts - _TRIPLE + 1), 0)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = band_rows(similarity)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(runs, offsets.astype(np.uint64), rows * _BANDS, _SEED)
    keys = band_keys(np.asarray(matrix.to_rows(), dtype=np.uint32).reshape(len(counts), rows * _BANDS), rows)
    return _binary(keys, np.full(len(counts), _BANDS)), _binary(runs.astype(np.uint32), counts)


def _binary(values: npt.NDArray[np.unsignedinteger], counts: Numbers) -> pa.BinaryArray:
    """Consecutive numbers as one value a text, little-endian."""
    offsets = np.concatenate([[0], np.cumsum(counts)]) * values.itemsize
    data = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(counts), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    )
