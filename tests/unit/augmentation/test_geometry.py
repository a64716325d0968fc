"""Boxes against ink after every warp: what is dark lies in the quads, and each quad holds the ink of its own word.

Tolerance, in pixels of 150 dpi: on the flat page the middle of a dark pixel (half covered or more) is up to
`FLAT` outside of its word's box, for PDFium sets small print on whole pixels. A warp may add half a pixel to that,
times the enlargement.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sap_llm.augmentation.config import Effect, Geometry, load_preset, preset_names
from sap_llm.augmentation.geometry import (
    Warp,
    boxes_to_quads,
    clip_quads,
    draw_warp,
    enclosing_quad,
    quads_to_boxes,
)
from tests.support.inked_pages import SCALE, InkedPage, inked_pages

DARK = 128
FLAT, ADDED = 0.3, 0.5
PAGES = 6
MOVES = {
    "rotation": Effect(chance=1.0, mild=0.1, strong=6.0),
    "scale": Effect(chance=1.0, mild=0.0, strong=0.06),
    "shift": Effect(chance=1.0, mild=0.0, strong=0.03),
    "perspective": Effect(chance=1.0, mild=0.01, strong=0.1),
    "curl": Effect(chance=1.0, mild=1.0, strong=16.0),
}
EVERYTHING = Geometry(**{name: move.model_copy(update={"chance": 0.7}) for name, move in MOVES.items()})

Points = npt.NDArray[np.float64]


def distances(points: Points, quad: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """How far points [n, 2] are outside of a quad's farthest edge line; negative inside."""
    start = quad.astype(np.float64)
    along = np.roll(start, -1, axis=0) - start
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    return np.max(np.einsum("ned,ed->ne", points[:, None] - start[None], outward), axis=1)


def uncovered(picture: npt.NDArray[np.uint8], quads: npt.NDArray[np.float32], tolerance: float) -> int:
    """Dark pixels whose middle is farther than the tolerance outside of all quads."""
    dark = picture < DARK
    height, width = dark.shape
    for quad, (x0, y0, x1, y1) in zip(quads, quads_to_boxes(quads), strict=True):
        left, top = max(0, int(x0 - 2)), max(0, int(y0 - 2))
        right, bottom = min(width, int(x1 + 3)), min(height, int(y1 + 3))
        if right <= left or bottom <= top:
            continue
        rows, columns = np.nonzero(dark[top:bottom, left:right])
        points = np.stack([columns + left, rows + top], axis=1) + 0.5
        near = distances(points, quad) <= tolerance
        dark[rows[near] + top, columns[near] + left] = False
    return int(dark.sum())


def ink_inside(picture: npt.NDArray[np.uint8], quad: npt.NDArray[np.float32]) -> float:
    """Darkness summed over the pixels whose middle is in the quad, or half a pixel beside it."""
    x0, y0, x1, y1 = quads_to_boxes(quad[None])[0]
    left, top = max(0, int(x0 - 1)), max(0, int(y0 - 1))
    part = picture[top : int(y1 + 2), left : int(x1 + 2)]
    rows, columns = np.indices(part.shape).reshape(2, -1)
    is_inside = distances(np.stack([columns + left, rows + top], axis=1) + 0.5, quad) <= 0.5
    return float((255.0 - part.ravel()[is_inside]).sum())


def area(quad: npt.NDArray[np.float32]) -> float:
    x, y = quad.astype(np.float64).T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def check(inked: InkedPage, warp: Warp) -> None:
    quads = warp.quads(inked.quads)
    enlarged = np.sqrt(max(area(quad) / area(flat) for quad, flat in zip(quads, inked.quads, strict=True)))
    picture = warp.picture(inked.picture)
    assert uncovered(picture, quads, FLAT * max(1.0, enlarged) + ADDED) == 0
    clipped, visible = clip_quads(quads, warp.size)
    assert (clipped >= 0).all()
    assert (clipped <= np.array(warp.size)).all()
    for index in [place for place in np.flatnonzero(visible > 0.999).tolist() if len(inked.page.words[place]) > 2][::7]:
        before, after = ink_inside(inked.picture, inked.quads[index]), ink_inside(picture, quads[index])
        flat = warp.points(inked.quads[index][None])[0].astype(np.float32)  # without what a bent edge adds
        expected = before * area(flat) / area(inked.quads[index])
        assert after >= 0.85 * expected, (inked.page.words[index], before, after, expected)


def test_pages_have_words_and_no_other_ink() -> None:
    for inked in inked_pages(PAGES):
        assert len(inked.quads) > 20
        assert (inked.picture < DARK).sum() > 1000
        assert uncovered(inked.picture, inked.quads, FLAT) == 0


def test_a_missing_and_a_shifted_quad_are_found() -> None:
    inked = inked_pages(1)[0]
    warp = draw_warp(EVERYTHING, inked.picture.shape[::-1], SCALE, np.random.default_rng(3))
    picture, quads = warp.picture(inked.picture), warp.quads(inked.quads)
    longest = max(range(len(quads)), key=lambda word: len(inked.page.words[word]))
    assert uncovered(picture, np.delete(quads, longest, axis=0), FLAT + ADDED) > 10
    assert uncovered(picture, quads + np.float32(2.0), FLAT + ADDED) > 10


@pytest.mark.parametrize("name", MOVES)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), number=st.integers(0, PAGES - 1))
def test_ink_stays_in_its_quads_under_each_movement(name: str, seed: int, number: int) -> None:
    inked = inked_pages(PAGES)[number]
    config = Geometry(**{name: MOVES[name]})
    warp = draw_warp(config, inked.picture.shape[::-1], SCALE, np.random.default_rng(seed))
    assert not warp.is_identity
    check(inked, warp)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), number=st.integers(0, PAGES - 1))
def test_ink_stays_in_its_quads_under_all_movements_together(seed: int, number: int) -> None:
    inked = inked_pages(PAGES)[number]
    check(inked, draw_warp(EVERYTHING, inked.picture.shape[::-1], SCALE, np.random.default_rng(seed)))


@pytest.mark.parametrize("name", preset_names())
def test_ink_stays_in_its_quads_under_the_presets_at_their_worst(name: str) -> None:
    for number, inked in enumerate(inked_pages(PAGES)):
        geometry = load_preset(name, 5).geometry
        check(inked, draw_warp(geometry, inked.picture.shape[::-1], SCALE, np.random.default_rng(number)))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_long_boxes_of_a_curled_page_hold_the_boxes_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    warp = draw_warp(EVERYTHING, (1240, 1754), SCALE, rng)
    line = np.array([[100.0, 300.0, 1100.0, 330.0]])
    words = np.array([[x, 300.0, x + 40.0, 330.0] for x in range(100, 1061, 60)])
    outer, inner = warp.quads(boxes_to_quads(line))[0], warp.quads(boxes_to_quads(words))
    middles = warp.points(boxes_to_quads(words)).reshape(-1, 2)
    assert distances(middles, outer).max() < 0.35  # samples of the edge are 125 pixels apart
    assert inner.shape == (17, 4, 2)


def test_no_movement_is_the_identity_and_costs_no_resampling() -> None:
    inked = inked_pages(1)[0]
    warp = draw_warp(Geometry(), inked.picture.shape[::-1], SCALE, np.random.default_rng(1))
    assert warp.is_identity
    assert warp.picture(inked.picture) is inked.picture
    assert np.array_equal(warp.quads(inked.quads), inked.quads)


def test_boxes_and_quads_are_converted_without_loss() -> None:
    boxes = np.array([[1.5, 2.0, 30.25, 9.0], [0.0, 0.0, 1.0, 1.0]], dtype=np.float32)
    assert np.array_equal(quads_to_boxes(boxes_to_quads(boxes)), boxes)
    assert np.allclose(enclosing_quad(boxes_to_quads(boxes)), boxes_to_quads(np.array([[0.0, 0.0, 30.25, 9.0]]))[0])


def test_what_leaves_the_page_is_cut_and_its_share_is_told() -> None:
    quads = boxes_to_quads(np.array([[-10.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [200.0, 0.0, 210.0, 10.0]]))
    clipped, visible = clip_quads(quads, (100.0, 100.0))
    assert visible.tolist() == pytest.approx([0.5, 1.0, 0.0])
    assert quads_to_boxes(clipped)[0].tolist() == [0.0, 0.0, 10.0, 10.0]
