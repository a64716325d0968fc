"""Words and boxes of a document as integer arrays: what the encoder sees of them.

Belongs here: the features of a word (characters, hashes, shape bits), of its place (page-relative box, line number) and
the cutting of long documents into windows. Labels are joined in `shards`; embedding the integers is `encoder`.

All pages of a document are one scroll: boxes are in thousandths of the own page's width, and y and line numbers run on
from page to page, so that "below" means the same across a page break.
"""

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sap_llm.schema.page import Page

HEAD_CHARACTERS = 10
TAIL_CHARACTERS = 6
CHARACTERS = HEAD_CHARACTERS + TAIL_CHARACTERS
CHARACTER_IDS = 256
WORD_BUCKETS = 8192
AFFIX_BUCKETS = 4096
SHAPE_BITS = 24
HAS_DIGITS, IS_AMOUNT = 1, 16
"""Places of two of the shape bits."""
WINDOW_WORDS = 512
WINDOW_OVERLAP = 96
SCALE = 1000.0
_LIMIT = 32000  # int16 without surprises
_CACHE_WORDS = 200_000

_AMOUNT = re.compile(r"^[-+(]?(?:\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+|\d+)[.,]\d{2,4}[-)]?$")
_DATE = re.compile(r"^\d{1,4}[./-]\d{1,2}[./-]\d{2,4}[.,;]?$")
_VAT = re.compile(r"^[A-Z]{2}[A-Z0-9]{8,12}$")
_IBAN = re.compile(r"^[A-Z]{2}\d{2}(?:[A-Z0-9]{4,})?$")
_MONEY = frozenset("€$£¥")
_BITS = tuple(1 << place for place in range(SHAPE_BITS))
_DIGITS = str.maketrans("123456789", "000000000")


@dataclass(frozen=True)
class WordFeatures:
    """Features of n words in reading order.

    Attributes:
        characters: uint8 [n, 16], first 10 and last 6 characters, 0 where the word is shorter.
        hashes: uint16 [n, 3], buckets of the word, its 4-character prefix and suffix (digits as 0); 0 means masked.
        shapes: uint32 [n], bit set of `SHAPE_BITS` properties.
        boxes: int16 [n, 4], thousandths of the page width, y running on over pages.
        lines: int16 [n], visual line, running on over pages.
        above: int16 [n], index of the nearest word above that stands over this one on its page; the word itself where
            there is none.
    """

    characters: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint16]
    shapes: npt.NDArray[np.uint32]
    boxes: npt.NDArray[np.int16]
    lines: npt.NDArray[np.int16]
    above: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.characters)

    def window(self, start: int, stop: int) -> "WordFeatures":
        """Words start..stop, with y and lines counted from the first of them."""
        boxes = self.boxes[start:stop].astype(np.int32)
        lines = self.lines[start:stop].astype(np.int32)
        if len(boxes) and start:
            boxes[:, 1::2] -= boxes[:, 1::2].min()
            lines -= lines.min()
        return WordFeatures(
            characters=self.characters[start:stop],
            hashes=self.hashes[start:stop],
            shapes=self.shapes[start:stop],
            boxes=np.clip(boxes, -_LIMIT, _LIMIT).astype(np.int16),
            lines=np.clip(lines, 0, _LIMIT).astype(np.int16),
            above=_inside(self.above, start, stop),
        )


class WordEncoder:
    """Word text -> features, remembering words already seen (documents repeat their labels)."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[bytes, int, int, int, int]] = {}

    def encode(
        self, words: Iterable[str]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
        """Characters uint8 [n, 16], hashes uint16 [n, 3] and shapes uint32 [n] of the words."""
        if len(self._rows) > _CACHE_WORDS:
            self._rows.clear()
        rows = []
        for word in words:
            row = self._rows.get(word)
            if row is None:
                row = self._rows[word] = _word_row(word)
            rows.append(row)
        characters = np.frombuffer(b"".join(row[0] for row in rows), dtype=np.uint8).reshape(-1, CHARACTERS)
        hashes = np.array([row[1:4] for row in rows], dtype=np.uint16).reshape(-1, 3)
        return characters, hashes, np.array([row[4] for row in rows], dtype=np.uint32)


def encode_words(pages: Sequence[Page], encoder: WordEncoder | None = None) -> WordFeatures:
    """Features of all words of a document, page after page."""
    encoder = encoder or WordEncoder()
    characters, hashes, shapes = encoder.encode(word for page in pages for word in page.words)
    boxes, lines, above, top, first_line, count = [], [], [], 0.0, 0, 0
    for page in pages:
        scaled = np.asarray(page.boxes, dtype=np.float64).reshape(-1, 4) * (SCALE / max(page.width, 1.0))
        scaled[:, 1::2] += top
        boxes.append(scaled)
        own = np.asarray(page.lines, dtype=np.int64)
        lines.append(own + first_line)
        above.append(words_above(np.asarray(page.boxes, dtype=np.float32).reshape(-1, 4)) + count)
        count += len(own)
        top += page.height * SCALE / max(page.width, 1.0)
        first_line += int(own.max()) + 1 if len(own) else 0
    joined = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    numbers = np.concatenate(lines) if lines else np.zeros(0, dtype=np.int64)
    # int32 first: a document of 500 pages exceeds int16 until it is cut into windows
    return WordFeatures(
        characters=characters,
        hashes=hashes,
        shapes=shapes,
        boxes=np.rint(joined).astype(np.int32),
        lines=numbers.astype(np.int32),
        above=np.concatenate(above).astype(np.int32) if above else np.zeros(0, dtype=np.int32),
    )


def words_above(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """For each box [n, 4] of a page the index of the nearest one above it that it shares horizontal extent with.

    A box without one gets its own index. "Above" is a middle that lies above the box's top edge.
    """
    count = len(boxes)
    if not count:
        return np.zeros(0, dtype=np.int64)
    left, top, right, bottom = boxes.T
    middle = (top + bottom) / 2
    gap = top[:, None] - middle[None, :]
    is_over = (gap > 0) & (left[None, :] < right[:, None]) & (right[None, :] > left[:, None])
    distance = np.where(is_over, gap, np.inf)
    nearest = distance.argmin(axis=1)
    return np.where(is_over.any(axis=1), nearest, np.arange(count))


def windows(count: int, *, size: int = WINDOW_WORDS, overlap: int = WINDOW_OVERLAP) -> list[tuple[int, int]]:
    """Half-open word ranges that cover `count` words, each at most `size` long, overlapping by `overlap`."""
    if count <= size:
        return [(0, count)]
    starts = [*range(0, count - size, size - overlap), count - size]
    return [(start, start + size) for start in starts]


class PaddedWords(Protocol):
    """Padded feature arrays of b documents with at most n words, in the dtypes of `WordFeatures`, and their mask."""

    characters: npt.NDArray[Any]
    hashes: npt.NDArray[Any]
    shapes: npt.NDArray[Any]
    boxes: npt.NDArray[Any]
    lines: npt.NDArray[Any]
    above: npt.NDArray[Any]
    mask: npt.NDArray[Any]


@dataclass
class PaddedFeatures:
    """`PaddedWords` made of documents that are being read."""

    characters: npt.NDArray[Any]
    hashes: npt.NDArray[Any]
    shapes: npt.NDArray[Any]
    boxes: npt.NDArray[Any]
    lines: npt.NDArray[Any]
    above: npt.NDArray[Any]
    mask: npt.NDArray[Any]


INPUT_NAMES = ("characters", "hashes", "shapes", "boxes", "lines", "above", "mask")
"""Inputs of the network in order; also their names in the ONNX graph."""


def pad(parts: Sequence[WordFeatures]) -> PaddedFeatures:
    """Pad windows to the longest of them (at least one word)."""
    longest = max(1, *(len(part) for part in parts))

    def stack(name: str, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        first = getattr(parts[0], name)
        joined = np.zeros((len(parts), longest, *first.shape[1:]), dtype=kind)
        for row, part in enumerate(parts):
            joined[row, : len(part)] = getattr(part, name)
        return joined

    mask = np.arange(longest) < np.array([len(part) for part in parts])[:, None]
    return PaddedFeatures(
        characters=stack("characters", np.uint8),
        hashes=stack("hashes", np.uint16),
        shapes=stack("shapes", np.uint32),
        boxes=stack("boxes", np.float32),
        lines=stack("lines", np.float32),
        above=stack("above", np.int64),
        mask=mask.astype(np.float32),
    )


def network_inputs(padded: PaddedWords) -> tuple[npt.NDArray[Any], ...]:
    """The arrays in `INPUT_NAMES` order and in the dtypes that the network takes (int64 and float32)."""
    return (
        padded.characters.astype(np.int64),
        padded.hashes.astype(np.int64),
        shape_matrix(padded.shapes),
        np.ascontiguousarray(padded.boxes, dtype=np.float32),
        np.ascontiguousarray(padded.lines, dtype=np.float32),
        padded.above.astype(np.int64),
        np.ascontiguousarray(padded.mask, dtype=np.float32),
    )


def shape_matrix(shapes: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Bit set [...] -> float32 [..., SHAPE_BITS]."""
    return ((shapes[..., None] >> np.arange(SHAPE_BITS, dtype=np.uint32)) & 1).astype(np.float32)


def _inside(above: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[np.int16]:
    own = np.arange(stop - start)
    shifted = above[start:stop].astype(np.int64) - start
    return np.where((shifted >= 0) & (shifted < stop - start), shifted, own).astype(np.int16)


def _word_row(word: str) -> tuple[bytes, int, int, int, int]:
    ids = bytes(map(_character_id, word[:HEAD_CHARACTERS])).ljust(HEAD_CHARACTERS, b"\0")
    # the tail of a short word would repeat its head; only what the head did not show is added
    rest = word[HEAD_CHARACTERS:][-TAIL_CHARACTERS:] if len(word) > HEAD_CHARACTERS else ""
    tail = bytes(map(_character_id, rest)).rjust(TAIL_CHARACTERS, b"\0")
    plain = word.lower().translate(_DIGITS).rstrip(":")
    return (
        ids + tail,
        _bucket(plain, WORD_BUCKETS),
        _bucket(plain[:4], AFFIX_BUCKETS),
        _bucket("~" + plain[-4:], AFFIX_BUCKETS),
        _shape(word),
    )


@cache
def _character_id(char: str) -> int:
    code = ord(char)
    if 32 <= code < 127:
        return code - 31  # 1..95
    if 0xA1 <= code <= 0xFF:
        return code - 0xA1 + 96  # 96..190
    return 191 if char == "€" else 192 + code % 60


def word_texts(characters: npt.NDArray[np.integer[Any]]) -> list[str]:
    """Words of character ids [n, 16]: exact up to 16 characters of Latin-1 and the euro sign.

    A longer word lacks its middle; another character is the replacement character; a masked word is empty.
    """
    return ["".join(map(_CHARACTERS.__getitem__, row)) for row in characters.tolist()]


def _character_of(number: int) -> str:
    if number == 0:
        return ""
    if number <= 95:
        return chr(number + 31)
    if number <= 190:
        return chr(number - 96 + 0xA1)
    return "€" if number == 191 else "\ufffd"


_CHARACTERS = tuple(map(_character_of, range(CHARACTER_IDS)))


def _bucket(text: str, size: int) -> int:
    return 1 + zlib.crc32(text.encode("utf-8", "replace")) % (size - 1)


def _shape(word: str) -> int:
    digits = sum(map(str.isdigit, word))
    letters = sum(map(str.isalpha, word))
    size = len(word)
    flags = (
        digits == size,
        digits > 0,
        digits * 2 > size,
        letters == size,
        letters > 0,
        letters > 0 and word.isupper(),
        word[:1].isupper() and not word.isupper(),
        letters > 0 and word.islower(),
        word.endswith(":"),
        word.endswith((".", ",")),
        "." in word,
        "," in word,
        "-" in word or "/" in word,
        "%" in word,
        not _MONEY.isdisjoint(word),
        "@" in word or "www" in word,
        bool(_AMOUNT.match(word)),
        bool(_DATE.match(word)),
        bool(_VAT.match(word)),
        bool(_IBAN.match(word)),
        size == 1,
        size <= 3,
        size >= 8,
        size >= 14,
    )
    return sum(compress(_BITS, flags))
