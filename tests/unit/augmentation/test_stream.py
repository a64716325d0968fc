"""The stream of originals and copies: order, seeds, what is inherited, what is lost, and memory that does not grow."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from sap_llm.augmentation.alignment import places
from sap_llm.augmentation.config import DamageConfig, Effect, Geometry, load_preset
from sap_llm.augmentation.geometry import quads_to_boxes
from sap_llm.augmentation.stream import Sample, damaged, damaged_copy
from sap_llm.schema.tables import ANNOTATIONS, DOCUMENTS, conform
from tests.support.inked_pages import samples

CONFIG = load_preset("phone_photo", 4)


def fingerprint(sample: Sample) -> tuple[object, ...]:
    return sample.document["document_id"], sample.document["sha256"], [page.words for page in sample.pages]


def test_copies_follow_their_original_and_inherit_where_it_belongs() -> None:
    found = list(damaged(samples(3), CONFIG, copies=2, seed=1))
    assert len(found) == 9
    assert [sample.original_id is None for sample in found] == [True, False, False] * 3
    assert len({sample.document["document_id"] for sample in found}) == 9
    for index, copy in enumerate(found):
        original = found[index - index % 3]
        for name in ("role", "split_group", "world", "vendor", "chain", "layout", "is_test_layout", "document_type"):
            assert copy.document[name] == original.document[name]
        if copy.original_id is None:
            assert copy is original
            continue
        assert copy.original_id == original.document["document_id"]
        assert copy.annotation["document_id"] == copy.document["document_id"]
        assert copy.document["sha256"] != original.document["sha256"]
        assert 0.5 < copy.document["quality"] < 1.0
        assert len(copy.damages) == len(copy.pages) == len(copy.pictures)
        assert all("warp" in names for names in copy.damages)
    conform([sample.document for sample in found], DOCUMENTS)
    conform([sample.annotation for sample in found], ANNOTATIONS)


def test_order_and_number_of_processes_do_not_matter() -> None:
    forwards = {s.document["document_id"]: fingerprint(s) for s in damaged(samples(3), CONFIG, seed=1)}
    backwards = {s.document["document_id"]: fingerprint(s) for s in damaged(samples(3)[::-1], CONFIG, seed=1)}
    alone = fingerprint(damaged_copy(samples(3)[1], CONFIG, seed=1, copy=2))
    assert forwards == backwards
    assert alone == forwards[alone[0]]
    assert not set(forwards) & {s.document["document_id"] for s in damaged(samples(3), CONFIG, seed=2) if s.original_id}


@pytest.mark.parametrize("start", [1, 3, 5, 9, 12])
def test_a_stream_goes_on_from_any_position(start: int) -> None:
    whole = [fingerprint(sample) for sample in damaged(samples(3), CONFIG, copies=2, seed=1)]
    assert [fingerprint(sample) for sample in damaged(samples(3), CONFIG, copies=2, seed=1, start=start)] == whole[
        start:
    ]


def test_all_places_have_quads_inside_the_page_and_the_words_of_fields_in_them() -> None:
    for sample in samples(3):
        copy = damaged_copy(sample, replace_ocr(CONFIG), seed=5, copy=1)
        seen = 0
        by_number = {page.page_number: page for page in copy.pages}
        for place in places(copy.annotation):
            page = by_number[place["page"]]
            quad = np.array(place["quad"], dtype=np.float32)
            assert quad.shape == (4, 2)
            assert (quad >= 0).all()
            assert (quad <= (page.width, page.height)).all()
            assert np.allclose(place["box"], quads_to_boxes(quad[None])[0], atol=1e-3)
            for index in place.get("word_ids") or ():
                low, high = quad.min(axis=0), quad.max(axis=0)
                middle = page.quads[index].mean(axis=0)
                assert (middle >= low).all()
                assert (middle <= high).all()
                seen += 1
        assert seen > 10
        for page, legible in zip(copy.pages, copy.is_legible, strict=True):
            assert page.quads is not None
            assert len(legible) == len(page.words)
            assert np.allclose(page.boxes, quads_to_boxes(page.quads))


def replace_ocr(config: DamageConfig) -> DamageConfig:
    return config.model_copy(update={"ocr": DamageConfig().ocr})


def test_words_that_leave_the_page_take_their_labels_along() -> None:
    far = Geometry(shift=Effect(chance=1.0, mild=0.35, strong=0.4))
    sample = samples(3)[0]
    copy = damaged_copy(sample, DamageConfig(geometry=far), seed=1, copy=1)
    before, after = sum(len(page.words) for page in sample.pages), sum(len(page.words) for page in copy.pages)
    assert after < before
    assert copy.lost
    for page, is_cut in zip(copy.pages, copy.is_cut, strict=True):
        assert is_cut.shape == (len(page.words),)
        edges = np.array([0, 0, page.width, page.height], dtype=np.float32)
        touches = (np.abs(page.boxes - edges) < 1e-3).any(axis=1)
        assert not (is_cut & ~touches).any()
    assert len(copy.lost) + count(copy) == count(sample)


def count(sample: Sample) -> int:
    return len(sample.annotation["fields"]) + sum(len(item["fields"]) for item in sample.annotation["line_items"])


def test_no_damage_gives_the_same_pixels_words_and_labels() -> None:
    sample = samples(3)[0]
    copy = damaged_copy(sample, DamageConfig(is_gray=False), seed=1, copy=1)
    assert copy.document["quality"] == 1.0
    assert [page.words for page in copy.pages] == [page.words for page in sample.pages]
    assert all(np.array_equal(a, b) for a, b in zip(copy.pictures, sample.pictures, strict=True))
    for old, new in zip(places(sample.annotation), places(copy.annotation), strict=True):
        assert new["word_ids"] == old["word_ids"] if "word_ids" in old else True
        assert np.allclose(new["box"], old["box"], atol=1e-3)


def test_memory_does_not_grow_with_the_number_of_documents() -> None:
    small = [
        replace(sample, pictures=[np.ascontiguousarray(picture[::3, ::3]) for picture in sample.pictures])
        for sample in samples(3)
    ]

    def endless() -> Iterator[Sample]:
        number = 0
        while True:
            sample = small[number % len(small)]
            document = dict(sample.document) | {"document_id": f"doc-{number}"}
            yield replace(sample, document=document, pictures=[picture.copy() for picture in sample.pictures])
            number += 1

    peaks = []
    for documents in (3, 12):
        tracemalloc.start()
        for _ in islice(damaged(endless(), load_preset("office_scan"), copies=2, seed=1), 3 * documents):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
