"""Rows of `annotations` as Label Studio results: what a prediction shows to a person.

Belongs here: page points to percent boxes, fields to regions, rows and relations. The way back is `region_answers`, the
tags that the results stand on are `labelling_config`.

A region's `meta` keeps what box and text cannot say: the value beside the printed text, word ids, cells of a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sap_llm.annotation import labelling_config as config
from sap_llm.schema.taxonomy import load_taxonomy

Row = dict[str, Any]
Box = Sequence[float]


def to_results(row: Mapping[str, Any], page_sizes: Sequence[tuple[float, float]]) -> list[Row]:
    """A row of `annotations` as the `result` list of a prediction or an annotation.

    Args:
        row: Mapping with the columns of `tables.ANNOTATIONS`; the class must be in the taxonomy.
        page_sizes: Width and height in points of pages 1, 2, ...
    """
    writer = _Writer(page_sizes)
    kind, subtype = row["document_type"], row.get("document_subtype")
    writer.choice(config.DOCUMENT_TYPE, kind, float(row["type_confidence"]))
    if subtype in {entry.name for entry in load_taxonomy().document_class(kind).subtypes}:
        writer.choice(config.subtype_tag(kind), subtype, float(row["type_confidence"]))
    unprinted = []
    for index, field in enumerate(row["fields"]):
        if field["box"] is not None:
            writer.field(f"field{index}", field)
        elif field["value"] is not None:
            unprinted.append(f"{field['field']}={field['value']}")
    places = [_place(item) for item in row["line_items"]]
    for index, (item, place) in enumerate(zip(row["line_items"], places, strict=True)):
        writer.line_item(f"row{index}", item, place, [known for known in places if known is not None])
        unprinted += _unprinted(item)
    for index, table in enumerate(row["tables"]):
        kept = {name: table[name] for name in ("rows", "columns", "cells")}
        writer.region(f"table{index}", config.TABLE_LABEL, table["page"], table["box"], kept)
    labels = {kind: label for label, kind in config.BLOCK_LABELS.items()}
    for index, block in enumerate(row["layout_blocks"]):
        kept = {"word_ids": block["word_ids"]}
        writer.region(f"block{index}", labels[block["kind"]], block["page"], block["box"], kept)
    if unprinted:
        writer.text(config.UNPRINTED, config.UNPRINTED, unprinted)
    return writer.results


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a row is shown; `kept` says if the page has no box of it, and the boxes of its fields made this one."""

    page: int
    box: Box
    kept: Mapping[str, Any]


def is_inside(box: Box, row: Box) -> bool:
    """Whether the centre of a box lies in a row's box."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return row[0] <= x <= row[2] and row[1] <= y <= row[3]


def _place(item: Mapping[str, Any]) -> Place | None:
    placed = [field for field in item["fields"] if field["box"] is not None]
    if item["box"] is not None:
        return Place(page=item["page"], box=item["box"], kept={})
    if not placed:
        return None
    page = item["page"] or placed[0]["page"]
    boxes = [field["box"] for field in placed if field["page"] == page] or [placed[0]["box"]]
    return Place(page=page, box=_around(boxes), kept={"has_no_box": True, "page": item["page"]})


def _unprinted(item: Mapping[str, Any]) -> list[str]:
    silent = [field for field in item["fields"] if field["box"] is None and field["value"] is not None]
    return [f"{item['line_number']}.{field['field']}={field['value']}" for field in silent]


class _Writer:
    def __init__(self, page_sizes: Sequence[tuple[float, float]]) -> None:
        self._sizes = page_sizes
        self.results: list[Row] = []

    def choice(self, tag: str, value: str, score: float) -> None:
        self._add(tag, tag, "choices", {"choices": [value]}, score=score)

    def text(self, identifier: str, tag: str, texts: list[str]) -> None:
        self._add(identifier, tag, "textarea", {"text": texts})

    def field(self, identifier: str, field: Mapping[str, Any]) -> None:
        shown = field["printed"] if field["printed"] is not None else field["value"]
        kept = {name: field[name] for name in ("value", "printed", "word_ids")}
        self.region(
            identifier, field["field"], field["page"], field["box"], kept, text=shown, score=float(field["confidence"])
        )

    def line_item(self, identifier: str, item: Mapping[str, Any], place: Place | None, rows: Sequence[Place]) -> None:
        """Regions of a row and its fields; where boxes do not tell whose they are, a relation ties them."""
        if place is None:
            return
        self.region(identifier, config.ROW_LABEL, place.page, place.box, place.kept, text=str(item["line_number"]))
        for index, field in enumerate(field for field in item["fields"] if field["box"] is not None):
            name = f"{identifier}field{index}"
            self.field(name, field)
            if [row for row in rows if row.page == field["page"] and is_inside(field["box"], row.box)] != [place]:
                relation = {"type": "relation", "from_id": name, "to_id": identifier, "direction": "right"}
                self.results.append(relation | {"labels": [config.ROW_OF]})

    def region(
        self,
        identifier: str,
        label: str,
        page: int,
        box: Box,
        kept: Mapping[str, Any],
        *,
        text: str | None = None,
        score: float | None = None,
    ) -> None:
        width, height = self._sizes[page - 1]
        place = percent(box, width, height) | {"rotation": 0}
        about = {
            "item_index": page - 1,
            "original_width": round(width),
            "original_height": round(height),
            "image_rotation": 0,
        }
        meta = {"label": label, "box": [float(edge) for edge in box], "shown": text, **kept}
        more = about | {"meta": meta} | ({} if score is None else {"score": score})
        self._add(identifier, config.tag_of()[label], "rectanglelabels", place | {"rectanglelabels": [label]}, **more)
        if text is not None:
            self._add(identifier, config.TRANSCRIPTION, "textarea", place | {"text": [text]}, **about)

    def _add(self, identifier: str, tag: str, kind: str, value: Row, **more: Any) -> None:
        self.results.append(
            {"id": identifier, "from_name": tag, "to_name": config.PAGE, "type": kind, "value": value, **more}
        )


def _around(boxes: Sequence[Box]) -> list[float]:
    return [
        *(min(box[edge] for box in boxes) for edge in (0, 1)),
        *(max(box[edge] for box in boxes) for edge in (2, 3)),
    ]


def percent(box: Box, width: float, height: float) -> dict[str, float]:
    """A box in points as Label Studio gives it: upper left corner and size, in percent of the page."""
    x0, y0, x1, y1 = (float(edge) for edge in box)
    return {
        "x": x0 / width * 100,
        "y": y0 / height * 100,
        "width": (x1 - x0) / width * 100,
        "height": (y1 - y0) / height * 100,
    }
