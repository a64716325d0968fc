"""Where two answers about one document differ: field by field, value and place, many pairs at once.

Belongs here: which answers stand, and comparing pairs of them in columns (a hundred thousand documents are a matter of
seconds). What the differences amount to is `agreement` (kappa), `adjudication` (who is right) and `annotator_report`
(who errs how).

Two mentions of a field are the same when their values are equal by type (`schema.values.equal`) and they point to the
same words, or to boxes that overlap (`evaluation.fields.STRICT_OVERLAP`); a mention that points nowhere is compared by
value alone. Of several mentions of a field, each must have its like on the other side. Cells of line items are compared
by value and by the position of their line.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.evaluation.fields import STRICT_OVERLAP
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import equal

Array = npt.NDArray[Any]
HUMAN = "human"

_KEY = ("document_id", "annotator", "revision")


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Annotations of people and, row by row, the answers that brought them; sorted by document and annotator."""

    annotations: pa.Table
    answers: pa.Table

    @property
    def documents(self) -> Array:
        """Number of each row's document, from 0, int64 [rows]; rows of one document stand together."""
        return _codes(self.annotations.column("document_id"))


def standing(annotations: pa.Table, answers: pa.Table) -> tuple[Answered, Answered]:
    """The latest revision of each person about each document, and all arbitrations.

    An arbitration is an answer that names what it decides on; it is no independent opinion, and each one is kept.

    Args:
        annotations: Rows of `tables.ANNOTATIONS`; those that are not by people are left out.
        answers: Rows of `schema.annotation.ANSWERS`, one for each of theirs.

    Raises:
        ValueError: An annotation of a person has no answer, or an answer no annotation.
    """
    people = annotations.filter(pc.equal(annotations.column("source"), HUMAN))
    own = dict(zip(_keys(people), range(people.num_rows), strict=True))
    given = _keys(answers)
    if own.keys() != set(given) or len(own) != people.num_rows or len(given) != people.num_rows:
        odd = next(iter(own.keys() ^ set(given)), "a key that is there twice")
        raise ValueError(f"annotations and answers do not belong together: {odd}")
    decides = pc.greater(pc.list_value_length(answers.column("decides_on")), 0).to_pylist()
    latest: dict[tuple[str, str], int] = {}
    arbitrations = []
    for row in sorted(range(len(given)), key=given.__getitem__):
        if decides[row]:
            arbitrations.append(row)
        else:
            latest[given[row][:2]] = row  # a later revision replaces an earlier one

    def taken(rows: list[int]) -> Answered:
        places = pa.array([own[given[row]] for row in rows], pa.int64())
        return Answered(annotations=people.take(places), answers=answers.take(pa.array(rows, pa.int64())))

    return taken(list(latest.values())), taken(arbitrations)


def pairs_within(documents: Array) -> tuple[Array, Array]:
    """All pairs of rows of one document, as (left rows, right rows); `documents` is as `Answered.documents`."""
    left: list[Array] = []
    right: list[Array] = []
    largest = int(np.bincount(documents).max()) if len(documents) else 0
    for lag in range(1, largest):
        rows = np.flatnonzero(documents[:-lag] == documents[lag:])
        left.append(rows)
        right.append(rows + lag)
    if not left:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    order = np.lexsort((np.concatenate(right), np.concatenate(left)))
    return np.concatenate(left)[order], np.concatenate(right)[order]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Pairs of annotations, and every field that at least one side of a pair names.

    Attributes:
        left: Row of the left annotation of each pair.
        right: Row of the right one.
        names: Field names by code.
        pair: Of each compared field: its pair.
        field: Its code.
        line: 0 in the header, else which of the line items, from 1.
        has_left: The left side names it.
        has_right: The right side names it.
        is_same: Both name it, with equal values and at the same place.
        is_same_value: Both name it with equal values, wherever.
        boxes: The pairs of boxes of those fields.
    """

    left: Array
    right: Array
    names: tuple[str, ...]
    pair: Array
    field: Array
    line: Array
    has_left: Array
    has_right: Array
    is_same: Array
    is_same_value: Array
    boxes: "BoxPairs"


@dataclass(frozen=True, kw_only=True)
class BoxPairs:
    """For each box of the left side, the box of that field on the right side that overlaps it most.

    Attributes:
        pair: Pair of annotations.
        field: Code of the field.
        left: Box, float32 [n, 4].
        right: Box, float32 [n, 4].
        overlap: Intersection over union, 0 on different pages.
    """

    pair: Array
    field: Array
    left: Array
    right: Array
    overlap: Array


def compare(annotations: pa.Table, left: Array, right: Array) -> Compared:
    """Compare pairs of annotations; `left` and `right` are rows of the table."""
    mentions = _Mentions.of(annotations)
    left_pair, left_mention = mentions.of_rows(left)
    right_pair, right_mention = mentions.of_rows(right)
    slots = int(mentions.slot.max(initial=0)) + 1
    left_key, right_key = (
        pair * slots + mentions.slot[mention]
        for pair, mention in ((left_pair, left_mention), (right_pair, right_mention))
    )
    order = np.argsort(right_key, kind="stable")
    ordered = right_key[order]
    one, found = _runs(np.searchsorted(ordered, left_key), np.searchsorted(ordered, left_key, side="right"))
    other = order[found]
    same_value = mentions.same_value(left_mention[one], right_mention[other])
    overlap = mentions.overlap(left_mention[one], right_mention[other])
    same = same_value & mentions.same_place(left_mention[one], right_mention[other], overlap)
    keys, places = np.unique(np.concatenate([left_key, right_key]), return_inverse=True)
    sides = len(left_key)

    def complete(is_like: Array) -> Array:
        """Keys whose every mention has its like on the other side."""
        has_like = np.zeros(len(places), bool)
        has_like[one[is_like]] = True
        has_like[sides + other[is_like]] = True
        found: Array = np.bincount(places, weights=~has_like, minlength=len(keys)) == 0
        return found

    return Compared(
        left=left,
        right=right,
        names=mentions.names,
        pair=keys // slots,
        field=keys % slots % max(1, len(mentions.names)),
        line=keys % slots // max(1, len(mentions.names)),
        has_left=np.bincount(places[:sides], minlength=len(keys)) > 0,
        has_right=np.bincount(places[sides:], minlength=len(keys)) > 0,
        is_same=complete(same),
        is_same_value=complete(same_value),
        boxes=mentions.box_pairs(left_pair, left_mention, right_mention, one, other, overlap),
    )


@dataclass(frozen=True, kw_only=True)
class _Mentions:
    """Every value of every annotation, in columns; sorted by annotation."""

    names: tuple[str, ...]
    rows: int
    row: Array
    slot: Array  # line * len(names) + code of the field; line 0 is the header
    value: Array  # code
    values: tuple[str, ...]
    page: Array  # 0: none
    box: Array  # [n, 4], nan: none
    words: pa.ListArray

    @classmethod
    def of(cls, annotations: pa.Table) -> "_Mentions":
        header = annotations.column("fields").combine_chunks()
        lines = annotations.column("line_items").combine_chunks()
        line_row = pc.list_parent_indices(lines).to_numpy()
        starts = np.searchsorted(line_row, line_row)  # where the lines of the same annotation begin
        cells = pc.struct_field(lines.flatten(), "fields")
        cell_line = pc.list_parent_indices(cells).to_numpy()
        entries = pa.concat_arrays([header.flatten(), cells.flatten()])
        row = np.concatenate([pc.list_parent_indices(header).to_numpy(), line_row[cell_line]]).astype(np.int64)
        line = np.concatenate(
            [np.zeros(len(header.flatten()), np.int64), 1 + (np.arange(len(line_row)) - starts)[cell_line]]
        )
        encoded = pc.struct_field(entries, "field").dictionary_encode()
        names = tuple(encoded.dictionary.to_pylist())
        slot = line * len(names) + encoded.indices.to_numpy(zero_copy_only=False)
        kept = np.flatnonzero(pc.is_valid(pc.struct_field(entries, "value")).to_numpy(zero_copy_only=False))
        kept = kept[np.argsort(row[kept], kind="stable")]
        entries = entries.take(pa.array(kept))
        values = pc.struct_field(entries, "value").dictionary_encode()
        return cls(
            names=names,
            rows=annotations.num_rows,
            row=row[kept],
            slot=slot[kept],
            value=values.indices.to_numpy(zero_copy_only=False),
            values=tuple(values.dictionary.to_pylist()),
            page=pc.fill_null(pc.struct_field(entries, "page"), 0).to_numpy(zero_copy_only=False),
            box=_boxes(pc.struct_field(entries, "box")),
            words=pc.struct_field(entries, "word_ids"),
        )

    def of_rows(self, rows: Array) -> tuple[Array, Array]:
        """All mentions of the annotations `rows`: position in `rows`, mention."""
        return _runs(np.searchsorted(self.row, rows), np.searchsorted(self.row, rows, side="right"))

    def same_value(self, left: Array, right: Array) -> Array:
        """Whether the values mean the same; spelled the same, there is nothing to read."""
        same: Array = self.value[left] == self.value[right]
        open_ = np.flatnonzero(~same)
        codes = self.slot[left[open_]] % max(1, len(self.names))
        asked = np.stack([codes, self.value[left[open_]], self.value[right[open_]]], axis=1)
        distinct, inverse = np.unique(asked, axis=0, return_inverse=True)
        kinds = [load_taxonomy().field(name).type for name in self.names]
        found = [equal(self.values[one], self.values[two], kinds[code]) for code, one, two in distinct.tolist()]
        same[open_] = np.array(found, bool)[inverse.reshape(-1)]
        return same

    def overlap(self, left: Array, right: Array) -> Array:
        """Intersection over union of the boxes; nan where one has none, 0 on different pages."""
        one, other = self.box[left].astype(np.float64), self.box[right].astype(np.float64)
        shared = np.maximum(np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2]), 0).prod(axis=1)
        both = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1) - shared
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(both == 0, 0.0, shared / both)
        return np.where((self.page[left] == self.page[right]) | np.isnan(found), found, 0.0)

    def same_place(self, left: Array, right: Array, overlap: Array) -> Array:
        """Whether both point to the same words or to boxes that overlap; true where one points nowhere."""
        lengths = pc.fill_null(pc.list_value_length(self.words), 0).to_numpy(zero_copy_only=False)
        has_words, has_box = lengths > 0, ~np.isnan(self.box[:, 0])
        shown = (self.page > 0) & (has_words | has_box)
        same: Array = ~(shown[left] & shown[right]) | (overlap >= STRICT_OVERLAP)
        on_page = self.page[left] == self.page[right]
        alike = np.flatnonzero(~same & on_page & has_words[left] & (lengths[left] == lengths[right]))
        one, other = (
            self.words.take(pa.array(side[alike])).flatten().to_numpy(zero_copy_only=False) for side in (left, right)
        )
        own = np.repeat(np.arange(len(alike)), lengths[left[alike]])
        same[alike] = np.bincount(own, weights=one != other, minlength=len(alike)) == 0
        return same

    def box_pairs(
        self, left_pair: Array, left_mention: Array, right_mention: Array, one: Array, other: Array, overlap: Array
    ) -> BoxPairs:
        """The most overlapping counterpart of each box of the header that has any."""
        boxed = np.flatnonzero(~np.isnan(overlap) & (self.slot[left_mention[one]] < len(self.names)))
        boxed = boxed[np.lexsort((-overlap[boxed], one[boxed]))]
        first = np.ones(len(boxed), bool)
        first[1:] = one[boxed[1:]] != one[boxed[:-1]]
        best = boxed[first]
        return BoxPairs(
            pair=left_pair[one[best]],
            field=self.slot[left_mention[one[best]]],
            left=self.box[left_mention[one[best]]],
            right=self.box[right_mention[other[best]]],
            overlap=overlap[best],
        )


def _boxes(column: pa.Array) -> Array:
    """Boxes [n, 4]; nan where there is none."""
    boxes = np.full((len(column), 4), np.nan, np.float32)
    there = np.flatnonzero(pc.equal(pc.fill_null(pc.list_value_length(column), 0), 4).to_numpy(zero_copy_only=False))
    boxes[there] = column.take(pa.array(there)).flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    return boxes


def _runs(starts: Array, stops: Array) -> tuple[Array, Array]:
    """All whole numbers of each range `starts[i]..stops[i]`: which range, which number."""
    counts = stops - starts
    owner = np.repeat(np.arange(len(starts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - starts, counts)


def _codes(column: pa.ChunkedArray) -> Array:
    found: Array = column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _keys(table: pa.Table) -> list[tuple[str, str, int]]:
    return list(zip(*(table.column(name).to_pylist() for name in _KEY), strict=True))
