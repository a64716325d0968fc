"""Documents one at a time: each as it is, then damaged copies of it, in memory that does not grow.

Belongs here: what a copy inherits, what its labels become, and the order of the stream. The damage to one page is in
`picture` and `ocr_noise`; reading and writing files belongs to those who have files.

700 thousand documents become 2.1 million (roadmap, month 4) by reading this generator once an epoch: nothing is stored,
and another seed gives other copies.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.augmentation.alignment import Alignment, Row, places, realign
from sap_llm.augmentation.config import DamageConfig
from sap_llm.augmentation.geometry import Picture, boxes_to_quads, clip_quads, quads_to_boxes
from sap_llm.augmentation.ocr_noise import misread
from sap_llm.augmentation.picture import LEAST_LIKENESS, DamagedPicture, damage_picture, likeness, seeded
from sap_llm.schema.page import Page, Quads

LEAST_VISIBLE = 0.5
"""Share of a word's box that must be on the page for the word to be there."""
WHOLLY_VISIBLE = 0.999
"""Below this share a word counts as cut; the rest is rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A document with its pictures.

    Attributes:
        document: Row of `tables.DOCUMENTS`.
        annotation: Row of `tables.ANNOTATIONS`; in a copy every place has `quad`, [4, 2] in points, beside `box`.
        pages: In order; a copy's have quads.
        pictures: uint8, gray or RGB, one a page.
        original_id: Document id of what this is a copy of; None for an original.
        damages: What was done to each page.
        is_legible: bool [n] for the words of each page of a copy: whether they can still be recognised.
        is_cut: The same for words of which the page's edge took a part.
        lost: Fields that are labels of the original and cannot be read here.
    """

    document: Mapping[str, Any]
    annotation: Mapping[str, Any]
    pages: list[Page]
    pictures: list[Picture]
    original_id: str | None = None
    damages: tuple[tuple[str, ...], ...] = ()
    is_legible: tuple[npt.NDArray[np.bool_], ...] = ()
    is_cut: tuple[npt.NDArray[np.bool_], ...] = ()
    lost: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class DamagedSheet:
    """A page, its damaged picture, and the way from one to the other.

    Attributes:
        page: As it was.
        picture: As it was.
        scale: float32 [2], pixels per point across and down.
        words: Quads of the page's words in pixels of `picture`.
        result: What became of the picture.
        rng: The page's generator, for what is drawn after the picture.
    """

    page: Page
    picture: Picture
    scale: npt.NDArray[np.float32]
    words: Quads
    result: DamagedPicture
    rng: np.random.Generator

    def in_points(self, boxes: npt.NDArray[np.floating]) -> tuple[Quads, npt.NDArray[np.float32]]:
        """Where boxes [n, 4] of the page are now: quads in points, and the share of each that is on the page."""
        moved = self.result.warp.quads(boxes_to_quads(boxes) * self.scale) / self.scale
        return clip_quads(moved, (self.page.width, self.page.height))


def damaged(
    samples: Iterable[Sample], config: DamageConfig, *, copies: int = 2, seed: int, start: int = 0
) -> Iterator[Sample]:
    """Yield each sample and then `copies` damaged ones of it.

    What is drawn depends on seed, document id, number of the copy and page, so neither the order of the documents nor
    the number of processes that share them matters.

    Args:
        samples: Originals; one is held at a time.
        config: What may happen.
        copies: Damaged copies of each.
        seed: Of all copies.
        start: Position to go on from: how many samples an earlier run took. What it had is not made again.
    """
    first, skipped = divmod(start, copies + 1)
    for index, sample in enumerate(samples):
        for copy in range(skipped if index == first else 0, copies + 1) if index >= first else ():
            yield sample if copy == 0 else damaged_copy(sample, config, seed=seed, copy=copy)


def damaged_copy(sample: Sample, config: DamageConfig, *, seed: int, copy: int) -> Sample:
    """One damaged copy; world, split group, role and all else that says where it belongs are those of the original."""
    original_id = sample.document["document_id"]
    sheets = list(damaged_pages(sample.pages, sample.pictures, config, document_id=original_id, seed=seed, copy=copy))
    readings = [_read(sheet, config) for sheet in sheets]
    numbers = [page.page_number for page in sample.pages]
    annotation, lost = realign(
        _placed(sample.annotation, dict(zip(numbers, sheets, strict=True))),
        {number: reading.alignment for number, reading in zip(numbers, readings, strict=True)},
        {number: reading.page for number, reading in zip(numbers, readings, strict=True)},
    )
    pictures = [sheet.result.pixels for sheet in sheets]
    document_id = copy_id(original_id, config, seed=seed, copy=copy)
    document = dict(sample.document) | {
        "document_id": document_id,
        "quality": _share_read_right(sample.pages, readings),
        "sha256": _digest(pictures),
        "media_type": "application/octet-stream",  # pixels; whoever writes a file says which
    }
    return Sample(
        document=document,
        annotation=annotation | {"document_id": document_id},
        pages=[reading.page for reading in readings],
        pictures=pictures,
        original_id=original_id,
        damages=tuple(sheet.result.damages for sheet in sheets),
        is_legible=tuple(reading.is_legible for reading in readings),
        is_cut=tuple(reading.is_cut for reading in readings),
        lost=tuple(lost),
    )


def _digest(pictures: Sequence[Picture]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()


def copy_id(original_id: str, config: DamageConfig, *, seed: int, copy: int) -> str:
    """Document id of a copy: another one for every kind of damage, seed and number."""
    kind = hashlib.sha256(config.model_dump_json().encode()).hexdigest()
    return f"doc-{uuid.uuid5(uuid.NAMESPACE_URL, f'{original_id}/damaged/{kind}/{seed}/{copy}')}"


def damaged_pages(
    pages: Sequence[Page], pictures: Sequence[Picture], config: DamageConfig, *, document_id: str, seed: int, copy: int
) -> Iterator[DamagedSheet]:
    """Damage the pictures of a document's pages, each with the next one on its back."""
    for page, picture, back in zip(pages, pictures, [*pictures[1:], None], strict=True):
        scale = np.array([picture.shape[1] / page.width, picture.shape[0] / page.height], dtype=np.float32)
        words = boxes_to_quads(page.boxes) * scale
        rng = seeded(seed, document_id, copy, page.page_number)
        result = damage_picture(picture, words, config, rng, scale=float(scale[0]), back=back)
        yield DamagedSheet(page=page, picture=picture, scale=scale, words=words, result=result, rng=rng)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """A damaged page as it is read."""

    page: Page
    alignment: Alignment
    is_legible: npt.NDArray[np.bool_]
    is_cut: npt.NDArray[np.bool_]


def _read(sheet: DamagedSheet, config: DamageConfig) -> _Read:
    moved, visible = sheet.in_points(sheet.page.boxes)
    warped = replace(sheet.page, boxes=quads_to_boxes(moved), quads=moved, image_sha256=None, reader="ocr")
    page, alignment = misread(warped, config.ocr, sheet.rng, unseen=visible < LEAST_VISIBLE)
    is_clear = likeness(sheet.picture, sheet.result, sheet.words) >= LEAST_LIKENESS
    is_cut = visible < WHOLLY_VISIBLE
    return _Read(
        page=page,
        alignment=alignment,
        is_legible=np.array([is_clear[list(origin)].all() for origin in alignment.origins], dtype=np.bool_),
        is_cut=np.array([is_cut[list(origin)].any() for origin in alignment.origins], dtype=np.bool_),
    )


def _placed(annotation: Mapping[str, Any], sheets: Mapping[int, DamagedSheet]) -> Row:
    """The annotation with all its places moved."""
    new: Row = deepcopy(dict(annotation))
    by_page: dict[int, list[Row]] = {}
    for entry in places(new):
        by_page.setdefault(entry["page"], []).append(entry)
    for number, entries in by_page.items():
        quads, _ = sheets[number].in_points(np.array([entry["box"] for entry in entries], dtype=np.float32))
        boxes = quads_to_boxes(quads).tolist()
        for entry, quad, box in zip(entries, quads.tolist(), boxes, strict=True):
            entry["quad"], entry["box"] = quad, box
    return new


def _share_read_right(pages: list[Page], readings: list[_Read]) -> float:
    right = sum(
        page.words[origin[0]] == word
        for page, new in zip(pages, readings, strict=True)
        for origin, word in zip(new.alignment.origins, new.page.words, strict=True)
        if len(origin) == 1
    )
    total = sum(len(page.words) for page in pages)
    return right / total if total else 1.0
