"""Features of words and places, and the cutting of long documents."""

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.modeling.features import (
    CHARACTERS,
    WINDOW_WORDS,
    WordEncoder,
    encode_words,
    pad,
    shape_matrix,
    windows,
    words_above,
)
from sap_llm.schema.page import Page


def page_of(words: Any, *, number: Any = 1, width: Any = 500.0, height: Any = 700.0, step: Any = 10.0) -> Any:
    boxes = np.array(
        [[20, step * i, 20 + 6 * len(word), step * i + 8] for i, word in enumerate(words)], dtype=np.float32
    )
    return Page(
        page_number=number,
        width=width,
        height=height,
        words=list(words),
        boxes=boxes.reshape(-1, 4),
        lines=np.arange(len(words), dtype=np.int32),
        reader="typeset",
    )


def test_digits_change_characters_but_not_hashes() -> None:
    characters, hashes, _ = WordEncoder().encode(["RE-1234", "RE-9876"])
    assert (hashes[0] == hashes[1]).all()
    assert (characters[0] != characters[1]).any()


def test_long_word_shows_its_first_ten_and_last_six_characters() -> None:
    characters, _, _ = WordEncoder().encode(["abcdefghij-----uvwxyz", "abcdefghij=uvwxyz", "abcdefghij=uvwxyZ"])
    assert (characters[0] == characters[1]).all()
    assert (characters[1] != characters[2]).any()


def test_shapes_tell_amount_date_and_identifiers_apart() -> None:
    _, _, shapes = WordEncoder().encode(["1.234,56", "31.12.2024", "DE123456789", "Summe:"])
    assert len({tuple(row) for row in shape_matrix(shapes).tolist()}) == 4


def test_pages_are_one_scroll_in_units_of_their_own_width() -> None:
    first, second = page_of(["a", "b"]), page_of(["c"], number=2, width=1000.0, height=1400.0)
    features = encode_words([first, second])
    assert features.boxes[0].tolist() == [40, 0, 52, 16]
    assert features.boxes[2].tolist() == [20, 1400, 26, 1408]
    assert features.lines.tolist() == [0, 1, 2]
    assert features.above.tolist() == [0, 0, 2]  # nothing of another page is above


def test_the_word_above_is_the_nearest_that_stands_over_this_one() -> None:
    boxes = np.array([[0, 0, 50, 10], [60, 0, 90, 10], [0, 20, 30, 30], [55, 40, 95, 50]], dtype=np.float32)
    assert words_above(boxes).tolist() == [0, 1, 0, 1]
    assert words_above(np.zeros((0, 4), dtype=np.float32)).tolist() == []


@given(count=st.integers(0, 3000), size=st.integers(8, 600), share=st.floats(0, 0.9))
def test_windows_cover_every_word_and_overlap(count: Any, size: Any, share: Any) -> None:
    overlap = int(size * share)
    cuts = windows(count, size=size, overlap=overlap)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == count
    assert all(stop - start <= size for start, stop in cuts)
    assert all(later[0] <= earlier[1] - min(overlap, size - 1) for earlier, later in itertools.pairwise(cuts))


def test_a_later_window_starts_from_zero_and_knows_no_word_outside() -> None:
    features = encode_words([page_of([f"w{i}" for i in range(WINDOW_WORDS + 50)])])
    start, stop = windows(len(features))[1]
    part = features.window(start, stop)
    assert len(part) == WINDOW_WORDS
    assert part.lines[0] == 0
    assert part.boxes[:, 1].min() == 0
    assert part.above[0] == 0
    assert part.above[1] == 0


def test_a_document_of_five_hundred_pages_keeps_its_places_in_windows() -> None:
    pages = [page_of([f"x{i}" for i in range(30)], number=n + 1) for n in range(500)]
    features = encode_words(pages)
    start, stop = windows(len(features))[-1]
    part = features.window(start, stop)
    assert 0 <= part.lines.min() <= part.lines.max() < WINDOW_WORDS
    assert part.boxes.min() >= 0


def test_padding_adds_nothing_but_zeros() -> None:
    parts = [encode_words([page_of(["one"])]), encode_words([page_of(["one", "two", "three"])])]
    padded = pad(parts)
    assert padded.mask.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert padded.characters.shape == (2, 3, CHARACTERS)
    assert padded.characters[0, 1:].sum() == 0
