"""Misread pages: labels still point to words that have their letters, whatever was confused, merged, split or lost."""

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.augmentation.alignment import Alignment, realign
from sap_llm.augmentation.config import OcrNoise
from sap_llm.augmentation.geometry import boxes_to_quads, quads_to_boxes
from sap_llm.augmentation.ocr_noise import confusions, misread
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, conform
from tests.support.inked_pages import corpus_rows

DOCUMENTS = 6
RATES = st.floats(0.0, 0.5)
NOISE = st.builds(
    OcrNoise, confusion=RATES, missing_space=RATES, doubled_space=RATES, line_break=RATES, dropped_word=RATES
)


def document(number: int) -> tuple[dict[int, Page], dict[str, Any]]:
    rows = corpus_rows(DOCUMENTS)[number]
    pages = [Page.from_row(row) for row in rows["pages"]]
    return {page.page_number: page for page in pages}, rows["annotations"][0]


class Outcome(NamedTuple):
    pages: dict[int, Page]
    annotation: dict[str, Any]
    new_pages: dict[int, Page]
    alignments: dict[int, Alignment]
    new: dict[str, Any]
    lost: list[dict[str, Any]]


def misread_all(number: int, noise: OcrNoise, seed: int) -> Outcome:
    pages, annotation = document(number)
    rng = np.random.default_rng(seed)
    done = {key: misread(page, noise, rng) for key, page in pages.items()}
    new_pages = {key: page for key, (page, _) in done.items()}
    alignments = {key: alignment for key, (_, alignment) in done.items()}
    return Outcome(pages, annotation, new_pages, alignments, *realign(annotation, alignments, new_pages))


def can_be_read_as(true: str, read: str) -> bool:
    """Whether the table of confusions leads from one text to the other."""

    @cache
    def fits(at: int, to: int) -> bool:
        if at == len(true):
            return to == len(read)
        if to < len(read) and true[at] == read[to] and fits(at + 1, to + 1):
            return True
        return any(
            read.startswith(wrong, to) and fits(at + len(key), to + len(wrong))
            for key in (true[at], true[at : at + 2])
            for wrong in confusions().get(key, ())
        )

    return fits(0, 0)


def fields_of(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    return annotation["fields"] + [field for item in annotation["line_items"] for field in item["fields"]]


@settings(max_examples=60, deadline=None)
@given(noise=NOISE, seed=st.integers(0, 2**32), number=st.integers(0, DOCUMENTS - 1))
def test_labels_point_to_words_with_their_letters(noise: OcrNoise, seed: int, number: int) -> None:
    _, annotation, new_pages, alignments, new, lost = misread_all(number, noise, seed)
    kept = fields_of(new)
    assert len(kept) + len(lost) == len(fields_of(annotation))
    olds = iter([field for field in fields_of(annotation) if not any(field == one for one in lost)])
    for field in kept:
        if not field["word_ids"]:
            continue
        old = next(one for one in olds if one["field"] == field["field"] and one["value"] == field["value"])
        assert (field["printed"], field["value"]) == (old["printed"], old["value"])
        alignment, page = alignments[field["page"]], new_pages[field["page"]]
        origins = {origin for index in field["word_ids"] for origin in alignment.origins[index]}
        assert origins >= set(old["word_ids"])
        for index in field["word_ids"]:
            assert set(alignment.origins[index]) & set(old["word_ids"])
            assert field["box"][0] <= page.boxes[index, 0] + 0.1
            assert field["box"][2] >= page.boxes[index, 2] - 0.1
    for field in lost:
        assert any(not alignments[field["page"]].successors[index] for index in field["word_ids"])


@settings(max_examples=60, deadline=None)
@given(noise=NOISE, seed=st.integers(0, 2**32), number=st.integers(0, DOCUMENTS - 1))
def test_every_word_can_be_read_from_its_origins(noise: OcrNoise, seed: int, number: int) -> None:
    pages, _, new_pages, alignments, _, _ = misread_all(number, noise, seed)
    for key, page in new_pages.items():
        alignment = alignments[key]
        assert len(page.words) == len(alignment.origins)
        assert (np.diff(page.lines) >= 0).all()
        assert [min(origin) for origin in alignment.origins] == sorted(min(origin) for origin in alignment.origins)
        for word, origin in zip(page.words, alignment.origins, strict=True):
            assert word
            assert 1 <= len(origin) <= 2
        for chain in chains(alignment.origins):
            true = "".join(pages[key].words[old] for old in chain["old"])
            assert can_be_read_as(true, "".join(page.words[new] for new in chain["new"])), true


def chains(origins: tuple[tuple[int, ...], ...]) -> list[dict[str, list[int]]]:
    """Runs of new words that share old ones: together they have all letters of theirs."""
    runs: list[dict[str, list[int]]] = []
    for new, origin in enumerate(origins):
        if runs and origin[0] in runs[-1]["old"]:
            runs[-1]["new"].append(new)
            runs[-1]["old"] += [old for old in origin if old not in runs[-1]["old"]]
        else:
            runs.append({"new": [new], "old": list(origin)})
    return runs


@pytest.mark.parametrize("number", range(DOCUMENTS))
def test_without_noise_everything_stays(number: int) -> None:
    pages, annotation, new_pages, _, new, lost = misread_all(number, OcrNoise(), 1)
    assert lost == []
    assert conform([new], ANNOTATIONS).equals(conform([annotation], ANNOTATIONS))
    for key, page in pages.items():
        assert page.to_row("doc") == new_pages[key].to_row("doc")


def test_same_seed_reads_the_same_and_another_does_not() -> None:
    noise = OcrNoise(confusion=0.2, missing_space=0.1, doubled_space=0.1, line_break=0.2, dropped_word=0.1)
    first, again, other = (misread_all(0, noise, seed)[2][1].words for seed in (1, 1, 2))
    assert first == again
    assert first != other


def plain_page(words: list[str]) -> Page:
    boxes = np.array([[40 * i, 0, 40 * i + 36, 10] for i in range(len(words))], dtype=np.float32)
    return Page(page_number=1, width=600, height=800, words=words, boxes=boxes,
                lines=np.zeros(len(words), np.int32), reader="typeset")  # fmt: skip


def test_merged_words_have_one_box_and_split_ones_share_it_by_letters() -> None:
    page = plain_page(["Net", "amount"])
    merged, alignment = misread(page, OcrNoise(missing_space=1.0), np.random.default_rng(1))
    assert (merged.words, alignment.origins) == (["Netamount"], ((0, 1),))
    assert merged.boxes.tolist() == [[0, 0, 76, 10]]
    split, alignment = misread(page, OcrNoise(doubled_space=1.0), np.random.default_rng(1))
    assert alignment.origins == ((0,), (1,), (1,))
    assert "".join(split.words[1:]) == "amount"
    assert split.boxes[1, 2] == pytest.approx(40 + 36 * len(split.words[1]) / 6)
    assert split.boxes[1, 2] == split.boxes[2, 0]


def test_quads_of_warped_words_are_merged_along_their_line() -> None:
    page = plain_page(["Net", "amount"])
    turn = np.array([[0.996, -0.087], [0.087, 0.996]], dtype=np.float32)
    quads = (boxes_to_quads(page.boxes) @ turn.T + np.float32(50)).astype(np.float32)
    warped = replace(page, boxes=quads_to_boxes(quads), quads=quads)
    merged, _ = misread(warped, OcrNoise(missing_space=1.0), np.random.default_rng(1))
    expected = boxes_to_quads(np.array([[0, 0, 76, 10]])) @ turn.T + np.float32(50)
    assert merged.quads is not None
    assert np.allclose(merged.quads, expected, atol=1e-3)
    assert np.allclose(merged.boxes, quads_to_boxes(merged.quads))


def test_columns_do_not_run_together() -> None:
    page = plain_page(["Total", "12,50"])
    page.boxes[1] += np.array([200, 0, 200, 0], dtype=np.float32)
    read, _ = misread(page, OcrNoise(missing_space=1.0), np.random.default_rng(1))
    assert read.words == ["Total", "12,50"]


def test_a_line_break_makes_two_lines_of_one() -> None:
    read, _ = misread(plain_page(["a", "b", "c"]), OcrNoise(line_break=1.0), np.random.default_rng(1))
    assert read.lines.tolist() in ([0, 0, 1], [0, 1, 1])


def test_rates_are_those_asked_for() -> None:
    page = plain_page(["0"] * 4000)
    noise = OcrNoise(confusion=0.1, dropped_word=0.2)
    read, alignment = misread(page, noise, np.random.default_rng(1))
    assert len(read.words) / 4000 == pytest.approx(0.8, abs=0.03)
    assert np.mean([word != "0" for word in read.words]) == pytest.approx(0.1, abs=0.03)
    assert alignment.old_count == 4000
