"""Damaged copies of a folder of documents: pictures, their annotation JSON with boxes and quads, and an index.

Reading what `folder` wrote, and writing copies that can be continued after a stop, belongs here. The damage itself is
`augmentation`; the form of the JSON is `schema.damaged`. A copy's JSON is written after its pictures, the index last.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sap_llm.augmentation.config import DamageConfig, load_preset
from sap_llm.augmentation.geometry import Picture, boxes_to_quads, clip_quads, quads_to_boxes
from sap_llm.augmentation.picture import LEAST_LIKENESS, DamagedPicture, likeness
from sap_llm.augmentation.stream import LEAST_VISIBLE, WHOLLY_VISIBLE, DamagedSheet, copy_id, damaged_pages
from sap_llm.reading.pdf import raster_pages, read_pdf
from sap_llm.schema.damaged import DamagedForm, DamagedPageForm
from sap_llm.schema.document import DocumentForm, PageForm
from sap_llm.schema.errors import ConfigurationError, SourceError
from sap_llm.schema.page import Page, Quads
from sap_llm.storage.build import Progress, silent
from sap_llm.storage.whole import write_whole
from sap_llm.synthetic.claimed_folder import claim, writable
from sap_llm.synthetic.folder import INDEX
from sap_llm.synthetic.rows import Row
from sap_llm.synthetic.workers import in_order

_FORM_VERSION = "1"  # of files and damages; another one does not continue a folder
_POINTS_PER_INCH = 72


class DamageRequest(BaseModel):
    """What is wanted; equal requests of equal sources give the same files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    severity: int
    copies: int = Field(default=2, ge=1)
    seed: int = Field(ge=0)
    dots_per_inch: int = Field(default=150, ge=50, le=600)

    def config(self) -> DamageConfig:
        """The preset's values.

        Raises:
            ConfigurationError: There is no such preset or severity.
        """
        return load_preset(self.preset, self.severity)


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What a run did: copies made now, and copies that were there."""

    made: int
    kept: int


def damage_folder(
    source: Path, target: Path, request: DamageRequest, *, workers: int = 1, progress: Progress = silent
) -> Copied:
    """Write `<copy id>.json` and a picture a page for damaged copies of all documents, then `index.jsonl`.

    A run that was stopped is continued by the same call and ends with the same files.

    Raises:
        ConfigurationError: No such preset; the source has no index; the target cannot be written or holds other things.
        SourceError: A file of the source is missing or not the one that its annotation describes.
    """
    request.config()
    index = _source_index(source)
    documents = [json.loads(line) for line in index.decode().splitlines()]
    entries: list[Row] = []
    made = 0
    with writable(target):
        claim(target, _asked(request, index))
        work = partial(_copies, source=source, target=target, request=request)
        with closing(in_order(work, documents, workers=workers)) as finished:
            for done, (of_document, new) in enumerate(finished, start=1):
                entries += of_document
                made += new
                progress("documents", done=done, total=len(documents))
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries]
        write_whole(target / INDEX, "".join(lines).encode())
    return Copied(made=made, kept=len(entries) - made)


def _source_index(source: Path) -> bytes:
    try:
        return (source / INDEX).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the folder has no index ({error.strerror})",
            where=str(source / INDEX),
            remedy="Name a folder that `sap-llm synthetic generate` has finished.",
        ) from error


def _asked(request: DamageRequest, index: bytes) -> str:
    asked = {
        "form": _FORM_VERSION,
        "source": hashlib.sha256(index).hexdigest(),
        "request": request.model_dump(),
        "values": request.config().model_dump(),
    }
    return json.dumps(asked, indent=2)


def _copies(document: Row, *, source: Path, target: Path, request: DamageRequest) -> tuple[list[Row], int]:
    """Index entries of a document's copies, and how many were made now (runs in a worker)."""
    import cv2

    cv2.setNumThreads(1)  # the other cores have other workers
    found: dict[int, DamagedForm] = {}
    for copy in range(1, request.copies + 1):
        kept = _kept(target, copy_id(document["document_id"], request.config(), seed=request.seed, copy=copy))
        if kept is not None:
            found[copy] = kept
    missing = [copy for copy in range(1, request.copies + 1) if copy not in found]
    if missing:
        original = _Original.load(source, document, request.dots_per_inch)
        for copy in missing:
            found[copy] = _write_copy(original, target, request, copy)
    return [_entry(found[copy], document) for copy in sorted(found)], len(missing)


def _kept(target: Path, document_id: str) -> DamagedForm | None:
    """A copy whose files are all there and belong together."""
    try:
        form = DamagedForm.model_validate_json((target / f"{document_id}.json").read_bytes())
        contents = [(target / page.image).read_bytes() for page in form.pages]
    except (FileNotFoundError, ValidationError):
        return None
    are_right = all(
        hashlib.sha256(content).hexdigest() == page.image_sha256
        for content, page in zip(contents, form.pages, strict=True)
    )
    return form if are_right else None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Original:
    """A document of the source with its pages as words and as pictures."""

    form: DocumentForm
    pages: list[Page]
    pictures: list[Picture]

    @classmethod
    def load(cls, source: Path, document: Row, dots_per_inch: int) -> "_Original":
        file = source / document["file"]
        try:
            content = file.read_bytes()
            form = DocumentForm.model_validate_json((source / document["annotation"]).read_bytes())
        except (OSError, ValidationError) as error:
            raise SourceError(
                f"the document cannot be read ({' '.join(str(error).split())[:200]})",
                where=str(file),
                remedy="Run `sap-llm synthetic generate` on the folder again: it makes anew what is missing.",
            ) from error
        if hashlib.sha256(content).hexdigest() != document["sha256"]:
            raise SourceError(
                "the file is not the one that the index names",
                where=str(file),
                remedy="Run `sap-llm synthetic generate` on the folder again: it makes anew what is damaged.",
            )
        pages, _ = read_pdf(content, name=file.name)
        scale = dots_per_inch / _POINTS_PER_INCH
        return cls(form=form, pages=pages, pictures=list(raster_pages(content, name=file.name, scale=scale)))


def _write_copy(original: _Original, target: Path, request: DamageRequest, copy: int) -> DamagedForm:
    source_id = original.form.document_id
    document_id = copy_id(source_id, request.config(), seed=request.seed, copy=copy)
    sheets = damaged_pages(
        original.pages, original.pictures, request.config(), document_id=source_id, seed=request.seed, copy=copy
    )
    pages: list[DamagedPageForm] = []
    for sheet, truth in zip(sheets, original.form.pages, strict=True):
        content, suffix = _encoded(sheet.result)
        name = f"{document_id}-{sheet.page.page_number}{suffix}"
        write_whole(target / name, content)
        pages.append(_page_form(sheet, truth, name, hashlib.sha256(content).hexdigest()))
    about = {"original": source_id, "copy": copy} | request.model_dump(exclude={"copies"})
    form = DamagedForm(
        document_id=document_id,
        pages=pages,
        metadata=original.form.metadata | {"damage": about},
        **original.form.model_dump(include={"document_type", "document_subtype", "language"}),
    )
    text = json.dumps(form.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(target / f"{document_id}.json", text.encode())
    return form


def _page_form(sheet: DamagedSheet, truth: PageForm, name: str, sha256: str) -> DamagedPageForm:
    places = _Places(picture=sheet.picture, damaged=sheet.result)
    to_pixels = sheet.picture.shape[1] / truth.image_width
    rows = {
        "page_number": truth.page_number,
        "image": name,
        "image_sha256": sha256,
        "image_width": sheet.picture.shape[1],
        "image_height": sheet.picture.shape[0],
        "damages": list(sheet.result.damages),
        "words": places.words(sheet.page.words, sheet.words),
        "line_items": places.moved(truth.line_items, to_pixels),
        "tables": places.moved(truth.tables, to_pixels),
    }
    return DamagedPageForm.model_validate(rows | places.fields(truth, to_pixels))


def _encoded(damaged: DamagedPicture) -> tuple[bytes, str]:
    """The file that the damage ended with, or a PNG without loss."""
    import cv2

    if damaged.jpeg is not None:
        return damaged.jpeg, ".jpg"
    pixels = damaged.pixels if damaged.pixels.ndim == 2 else cv2.cvtColor(damaged.pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", pixels)[1].tobytes(), ".png"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Places of the undamaged picture in the damaged one."""

    picture: Picture
    damaged: DamagedPicture

    def words(self, texts: Sequence[str], quads: Quads) -> list[Row]:
        moved, boxes, visible = self._move(quads)
        clear = likeness(self.picture, self.damaged, quads) >= LEAST_LIKENESS
        return [
            {
                "text": text,
                "bbox": box,
                "quad": quad,
                "is_cut": bool(seen < WHOLLY_VISIBLE),
                "is_legible": bool(legible),
            }
            for text, box, quad, seen, legible in zip(texts, boxes, moved, visible, clear, strict=True)
            if seen >= LEAST_VISIBLE
        ]

    def fields(self, page: PageForm, to_pixels: float) -> dict[str, Any]:
        """Fields that are still on the page, and names of those that left it."""
        rows, quads = self._placed(page.fields, to_pixels)
        _, _, visible = self._move(quads)
        clear = (likeness(self.picture, self.damaged, quads) >= LEAST_LIKENESS).tolist()
        kept, lost, at = [], [], 0
        for row in rows:
            if row["bbox"] is None:  # known, but not printed
                kept.append(row | {"is_legible": False})
                continue
            if visible[at] >= LEAST_VISIBLE:
                kept.append(row | {"is_legible": clear[at]})
            else:
                lost.append(row["field_name"])
            at += 1
        return {"fields": kept, "lost_fields": lost}

    def moved(self, entries: Sequence[BaseModel], to_pixels: float) -> list[Row]:
        return self._placed(entries, to_pixels)[0]

    def _placed(self, entries: Sequence[BaseModel], to_pixels: float) -> tuple[list[Row], Quads]:
        """The entries with moved boxes, and the quads of those that have a box where they were."""
        rows: list[Row] = [entry.model_dump() for entry in entries]
        printed = [row for row in rows if row["bbox"] is not None]
        quads = boxes_to_quads(np.array([row["bbox"] for row in printed], dtype=np.float32) * np.float32(to_pixels))
        moved, boxes, _ = self._move(quads)
        for row, quad, box in zip(printed, moved, boxes, strict=True):
            row["quad"], row["bbox"] = quad, box
        return [row | {"quad": row.get("quad")} for row in rows], quads

    def _move(self, quads: Quads) -> tuple[list[Any], list[Any], npt.NDArray[np.float32]]:
        height, width = self.picture.shape[:2]
        moved, visible = clip_quads(self.damaged.warp.quads(quads), (width, height))
        edges = quads_to_boxes(moved)
        boxes = np.concatenate([np.floor(edges[:, :2]), np.ceil(edges[:, 2:])], axis=1).astype(int).tolist()
        return np.round(moved.astype(np.float64), 2).tolist(), boxes, visible


def _entry(form: DamagedForm, document: Row) -> Row:
    inherited = (
        "document_type",
        "document_subtype",
        "language",
        "world",
        "chain",
        "vendor",
        "layout",
        "is_test_layout",
    )
    return {
        "document_id": form.document_id,
        "original": document["document_id"],
        "annotation": f"{form.document_id}.json",
        "images": [page.image for page in form.pages],
        "pages": len(form.pages),
    } | {name: document[name] for name in inherited}
