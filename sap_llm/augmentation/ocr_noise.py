"""How an OCR engine misreads a page: confused characters, missing and doubled spaces, broken lines, lost words.

Belongs here: making the misread page and saying which word came from which. What it means for labels is in `alignment`;
the table of confusions is `data/confusions.yaml`.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import yaml

from sap_llm.augmentation.alignment import Alignment
from sap_llm.augmentation.config import OcrNoise
from sap_llm.augmentation.geometry import boxes_to_quads, enclosing_quad, quads_to_boxes
from sap_llm.schema.page import Page, Quads

_SPLITTABLE = 4  # letters; shorter words hardly ever fall apart
_WIDEST_SPACE = 1.0  # of a line's height; words farther apart are columns, which do not run together


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """Letters of one old word, between two shares of its width."""

    text: str
    origin: int
    start: float = 0.0
    end: float = 1.0


@cache
def confusions() -> dict[str, tuple[str, ...]]:
    """Character or pair -> what it is taken for."""
    text = files("sap_llm.augmentation").joinpath("data/confusions.yaml").read_text(encoding="utf-8")
    return {key: tuple(values) for key, values in yaml.safe_load(text).items()}


def misread(
    page: Page, config: OcrNoise, rng: np.random.Generator, *, unseen: npt.NDArray[np.bool_] | None = None
) -> tuple[Page, Alignment]:
    """Read a page with mistakes.

    Args:
        page: With or without quads.
        config: Rates; with all of them 0 the page comes back as it is.
        rng: Where all chance comes from.
        unseen: bool [n], words that are lost in any case.

    Returns:
        The misread page, and which of its words came from which.
    """
    groups = _run_together(_pieces(page, config, rng, unseen), page, config.missing_space, rng)
    alignment = Alignment(
        origins=tuple(tuple(piece.origin for piece in group) for group in groups), old_count=len(page.words)
    )
    words = ["".join(_confuse(piece.text, config.confusion, rng) for piece in group) for group in groups]
    quads = boxes_to_quads(page.boxes) if page.quads is None else page.quads
    new_quads = np.array([_quad(group, quads) for group in groups], dtype=np.float32).reshape(-1, 4, 2)
    old_lines = page.lines[[group[0].origin for group in groups]] if groups else page.lines[:0]
    misread_page = replace(
        page,
        words=words,
        boxes=quads_to_boxes(new_quads),
        lines=_break_lines(old_lines, config.line_break, rng),
        quads=None if page.quads is None else new_quads,
    )
    return misread_page, alignment


def _pieces(
    page: Page, config: OcrNoise, rng: np.random.Generator, unseen: npt.NDArray[np.bool_] | None
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for index, word in enumerate(page.words):
        is_lost = rng.random() < config.dropped_word
        falls_apart, place = rng.random() < config.doubled_space, rng.random()
        if is_lost or (unseen is not None and unseen[index]):
            continue
        if falls_apart and len(word) >= _SPLITTABLE:
            cut = 1 + int(place * (len(word) - 1))
            share = cut / len(word)
            pieces.append(_Piece(text=word[:cut], origin=index, end=share))
            pieces.append(_Piece(text=word[cut:], origin=index, start=share))
        else:
            pieces.append(_Piece(text=word, origin=index))
    return pieces


def _run_together(pieces: list[_Piece], page: Page, rate: float, rng: np.random.Generator) -> list[list[_Piece]]:
    """Pieces grouped into words: two neighbours of a line become one where the space was not seen."""
    groups: list[list[_Piece]] = []
    for piece in pieces:
        joins = rng.random() < rate
        if joins and groups and len(groups[-1]) == 1 and _is_next_to(groups[-1][0].origin, piece.origin, page):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _is_next_to(first: int, second: int, page: Page) -> bool:
    if second != first + 1 or page.lines[first] != page.lines[second]:
        return False
    left, right = page.boxes[first], page.boxes[second]
    height = max(left[3] - left[1], right[3] - right[1])
    return bool(0.0 <= right[0] - left[2] <= _WIDEST_SPACE * height)


def _confuse(text: str, rate: float, rng: np.random.Generator) -> str:
    if rate == 0.0:
        return text
    table, read, at = confusions(), [], 0
    while at < len(text):
        step = 2 if text[at : at + 2] in table and len(text) >= at + 2 else 1
        options = table.get(text[at : at + step])
        if options and rng.random() < rate:
            read.append(options[int(rng.integers(len(options)))])
        else:
            step = 1
            read.append(text[at])
        at += step
    return "".join(read)


def _quad(group: list[_Piece], quads: Quads) -> Quads:
    """Around all pieces of a group."""
    parts = [_part(piece, quads[piece.origin]) for piece in group]
    return parts[0] if len(parts) == 1 else enclosing_quad(np.stack(parts))


def _part(piece: _Piece, quad: Quads) -> Quads:
    """The part of a word's quad [4, 2] in proportion to its letters."""
    if (piece.start, piece.end) == (0.0, 1.0):
        return quad
    top_left, top_right, low_right, low_left = quad
    upper, lower = top_right - top_left, low_right - low_left
    corners = (top_left + piece.start * upper, top_left + piece.end * upper)
    return np.array([*corners, low_left + piece.end * lower, low_left + piece.start * lower], dtype=np.float32)


def _break_lines(lines: npt.NDArray[np.int32], rate: float, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Number the lines anew where some fall into two; without a break they keep their numbers."""
    starts = np.flatnonzero(np.diff(lines, prepend=-1)) if len(lines) else np.array([], dtype=int)
    broken = np.zeros(len(lines), dtype=np.int32)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(lines)], strict=False):
        happens, place = rng.random() < rate, rng.random()
        if happens and end - start >= 2:
            broken[start + 1 + int(place * (end - start - 1))] = 1
    return (lines + np.cumsum(broken)).astype(np.int32)
