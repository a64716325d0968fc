"""Damaged pictures: every effect does what its name says, from its generator alone, and never to the given picture."""

import math
import re
from difflib import SequenceMatcher

import numpy as np
import pytest
from PIL import Image

from sap_llm.augmentation.canvas import Canvas
from sap_llm.augmentation.config import Capture, DamageConfig, Effect, Geometry, Light, Paper, load_preset, preset_names
from sap_llm.augmentation.geometry import Picture, boxes_to_quads
from sap_llm.augmentation.picture import LEAST_LIKENESS, damage_picture, likeness, seeded, to_gray
from sap_llm.reading.image import ocr_page
from sap_llm.reading.ocr import has_ocr
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Quads
from tests.support.inked_pages import SCALE, samples

PARTS = {"paper": Paper, "light": Light, "capture": Capture, "geometry": Geometry}
EFFECTS = [(part, name) for part in ("paper", "light", "capture") for name in PARTS[part].model_fields]
STRENGTHS = {
    "texture": 3.0, "bleed_through": 0.2, "posterize": 3, "dust": 40, "blur": 0.5, "motion": 3.0, "downscale": 0.5,
    "noise": 6.0, "salt": 0.002, "fax": 0.05, "jpeg": 30,
}  # fmt: skip


def only(part: str, name: str, strength: float, *, is_gray: bool = True) -> DamageConfig:
    effect = Effect(chance=1.0, mild=strength, strong=strength)
    return DamageConfig(**{part: PARTS[part](**{name: effect})}, is_gray=is_gray)


def page(number: int = 0) -> tuple[Picture, Quads]:
    sample = samples(3)[number]
    return sample.pictures[0], boxes_to_quads(sample.pages[0].boxes * SCALE)


@pytest.mark.parametrize("is_gray", [True, False])
@pytest.mark.parametrize(("part", "name"), EFFECTS)
def test_each_effect_changes_the_picture_and_is_told(part: str, name: str, is_gray: bool) -> None:
    picture, quads = page()
    before = picture.copy()
    config = only(part, name, STRENGTHS.get(name, 0.7), is_gray=is_gray)
    done = damage_picture(picture, quads, config, seeded(1, name), scale=SCALE)
    assert np.array_equal(picture, before)
    assert done.damages == (name,)
    assert done.pixels.shape == (picture.shape[:2] if is_gray else picture.shape)
    assert done.pixels.dtype == np.uint8
    assert not np.array_equal(done.pixels, to_gray(picture) if is_gray else picture)
    assert np.array_equal(done.warp.quads(quads), quads)
    again = damage_picture(picture, quads, config, seeded(1, name), scale=SCALE)
    assert np.array_equal(again.pixels, done.pixels)


@pytest.mark.parametrize("name", preset_names())
def test_presets_get_worse_with_severity_and_keep_every_word_placed(name: str) -> None:
    picture, quads = page(1)
    means = []
    for severity in (1, 5):
        found = []
        for number in range(4):
            done = damage_picture(picture, quads, load_preset(name, severity), seeded(number), scale=SCALE)
            assert done.pixels.shape[:2] == picture.shape[:2]
            found.append(float(likeness(picture, done, quads).mean()))
        means.append(np.mean(found))
    assert means[0] > means[1]
    assert means[0] > 0.6


def test_fax_has_two_levels_at_98_lines_an_inch() -> None:
    picture, quads = page()
    done = damage_picture(picture, quads, only("capture", "fax", 0.0), seeded(2), scale=SCALE)
    assert set(np.unique(done.pixels)) == {0, 255}
    rows = 1 + int((np.diff(done.pixels.astype(int), axis=0) != 0).any(axis=1).sum())
    assert rows <= picture.shape[0] * 98 / 150 + 1


def test_jpeg_is_the_file_that_is_kept() -> None:
    import cv2

    picture, quads = page()
    done = damage_picture(picture, quads, only("capture", "jpeg", 40, is_gray=False), seeded(2), scale=SCALE)
    assert done.jpeg is not None
    read = cv2.imdecode(np.frombuffer(done.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(read, done.pixels)
    assert np.abs(done.pixels.astype(int) - picture).mean() < 8


@pytest.mark.parametrize("shape", [(1754, 1240), (3508, 2480), (600, 400, 3)])
@pytest.mark.parametrize("deviation", [2.0, 7.0])
def test_noise_from_tiles_is_gaussian_white_and_of_the_given_strength(shape: tuple[int, ...], deviation: float) -> None:
    gray = np.full(shape, 128, dtype=np.uint8)
    canvas = Canvas(pixels=gray.copy(), scale=2.0, rng=np.random.default_rng(4), words=np.zeros((0, 4, 2), np.float32))
    canvas.add_noise(deviation)
    noise = canvas.pixels.astype(float) - 128
    assert noise.mean() == pytest.approx(0.0, abs=0.05)
    assert noise.std() == pytest.approx(np.hypot(deviation, 1 / np.sqrt(12)), rel=0.03)
    far = round(2 * deviation) + 0.5
    assert np.mean(np.abs(noise) > far) == pytest.approx(math.erfc(far / deviation / math.sqrt(2)), abs=0.003)
    flat = noise[..., 0] if noise.ndim == 3 else noise
    for shifted in (flat[1:] * flat[:-1], flat[:, 1:] * flat[:, :-1]):
        assert abs(shifted.mean()) < 0.02 * deviation**2
    if noise.ndim == 3:
        assert abs((noise[..., 0] * noise[..., 1]).mean()) < 0.05 * deviation**2


def test_noise_of_two_pages_is_not_the_same() -> None:
    pages = []
    for seed in range(2):
        gray = np.full((500, 400), 128, dtype=np.uint8)
        canvas = Canvas(pixels=gray, scale=2.0, rng=np.random.default_rng(seed), words=np.zeros((0, 4, 2), np.float32))
        canvas.add_noise(8.0)
        pages.append(canvas.pixels.astype(float).ravel() - 128)
    assert abs(np.corrcoef(*pages)[0, 1]) < 0.02


def test_a_black_bar_makes_words_illegible_and_pale_print_does_not() -> None:
    picture, quads = page()
    covered = damage_picture(picture, quads, DamageConfig(), seeded(1), scale=SCALE)
    x0, y0 = quads[3].min(axis=0).astype(int)
    x1, y1 = quads[3].max(axis=0).astype(int)
    covered.pixels[y0:y1, x0:x1] = 20
    found = likeness(picture, covered, quads)
    assert found[3] < LEAST_LIKENESS
    assert np.sort(found)[len(found) // 4] > 0.99
    pale = damage_picture(picture, quads, DamageConfig(), seeded(1), scale=SCALE)
    pale.pixels[...] = 200 + pale.pixels // 8
    assert np.median(likeness(picture, pale, quads)) > 0.95


@pytest.mark.slow
@pytest.mark.skipif(not has_ocr(), reason="Tesseract or its language data are not installed")
def test_words_called_illegible_are_read_less_often_than_others() -> None:
    found: dict[bool, list[float]] = {True: [], False: []}
    for sample in samples(3):
        picture, words = sample.pictures[0], sample.pages[0].words
        quads = boxes_to_quads(sample.pages[0].boxes * SCALE)
        done = damage_picture(
            picture, quads, load_preset("fax", 5), seeded(sample.document["document_id"]), scale=SCALE
        )
        read = ocr_page(Image.fromarray(done.pixels), page_number=1, dpi=150)
        middles = done.warp.quads(quads).mean(axis=1) / SCALE
        legible = likeness(picture, done, quads) >= LEAST_LIKENESS
        for word, middle, is_legible in zip(words, middles, legible.tolist(), strict=True):
            near = (np.abs(read.boxes.reshape(-1, 2, 2).mean(axis=1) - middle) <= (40, 6)).all(axis=1)
            texts = [read.words[index] for index in np.flatnonzero(near)]
            alike = max((SequenceMatcher(None, word, text).ratio() for text in texts), default=0.0)
            if len(word) > 2:
                found[is_legible].append(alike)
    assert len(found[False]) >= 5
    assert np.mean(np.array(found[True]) >= 0.7) > 1.3 * np.mean(np.array(found[False]) >= 0.7)


def test_sheets_that_leave_the_picture_show_the_surface() -> None:
    picture, quads = page()
    config = only("geometry", "rotation", 5.0).model_copy(update={"surface": 77})
    done = damage_picture(picture, quads, config, seeded(1), scale=SCALE)
    corners = [done.pixels[0, 0], done.pixels[0, -1], done.pixels[-1, 0], done.pixels[-1, -1]]
    assert corners.count(77) >= 2


def test_stamps_have_all_letters_of_their_languages() -> None:
    from sap_llm.augmentation.ink import _font, _stamp_words

    missing = _font(40).getmask("\uffff").getbbox()
    for letter in sorted(set("".join(_stamp_words()))):
        mask = _font(40).getmask(letter)
        assert mask.getbbox() is not None
        assert mask.getbbox() != missing or bytes(mask) != bytes(_font(40).getmask("\uffff"))


def test_unknown_presets_severities_and_keys_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no preset 'faxx'\. Choose from office_scan, fax"):
        load_preset("faxx")
    with pytest.raises(ConfigurationError, match="no severity 6"):
        load_preset("fax", 6)
    with pytest.raises(ValueError, match=re.escape("var_limit")):
        DamageConfig(capture={"noise": {"chance": 1.0, "mild": 1.0, "strong": 2.0, "var_limit": 3}})


def test_severities_take_fifths_of_the_range_in_both_directions() -> None:
    jpeg = load_preset("office_scan", 5).capture.jpeg
    assert load_preset("office_scan", 1).capture.jpeg.strong == pytest.approx(jpeg.mild + (jpeg.strong - jpeg.mild) / 5)
    assert load_preset("office_scan", 1).capture.jpeg.strong > jpeg.strong
    assert load_preset("fax", 1).ocr.confusion == pytest.approx(load_preset("fax", 5).ocr.confusion / 5)
