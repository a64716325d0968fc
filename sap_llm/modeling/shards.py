"""Token shards: documents as feature and label lists, one row per window, ready for training.

Belongs here: the Arrow schema of a shard, making one from the corpus tables and reading one back into arrays. Who
writes them (the preparation stage) and who draws batches from them (`training.batches`) is elsewhere.

List columns are flat: n words give 16 n characters, 3 n hashes, 4 n box edges. Labels follow `labels`: 0 is outside,
i + 1 is field i, -1 says nothing; `word_labels` makes them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.modeling.features import (
    CHARACTERS,
    WordEncoder,
    encode_words,
    windows,
)
from sap_llm.modeling.labels import (
    HEADER_FIELDS,
    IGNORED,
    LINE_FIELDS,
    OUTSIDE,
    LabelSet,
    default_labels,
    has_line_truth,
    known_fields,
)
from sap_llm.modeling.word_labels import word_labels
from sap_llm.schema.page import Page

SHARD_SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # train | validation | test; null before splitting
        pa.field("source", pa.string(), nullable=False),
        pa.field("window", pa.int16(), nullable=False),  # 0 is the first; only it carries the class
        pa.field("first_word", pa.int32(), nullable=False),  # index in the document's words, pages concatenated
        pa.field("words", pa.int32(), nullable=False),
        pa.field("class_id", pa.int16(), nullable=False),
        pa.field("subtype_id", pa.int16(), nullable=False),
        pa.field("known_fields", pa.list_(pa.int16()), nullable=False),  # header fields that the truth speaks about
        pa.field("known_line_fields", pa.list_(pa.int16()), nullable=False),
        pa.field("characters", pa.list_(pa.uint8()), nullable=False),
        pa.field("hashes", pa.list_(pa.uint16()), nullable=False),
        pa.field("shapes", pa.list_(pa.uint32()), nullable=False),
        pa.field("boxes", pa.list_(pa.int16()), nullable=False),  # thousandths of the page width
        pa.field("lines", pa.list_(pa.int16()), nullable=False),
        pa.field("above", pa.list_(pa.int16()), nullable=False),  # index in the row of the word above, see features
        pa.field("header_labels", pa.list_(pa.int16()), nullable=False),
        pa.field("line_labels", pa.list_(pa.int8()), nullable=False),
        pa.field("row_starts", pa.list_(pa.int8()), nullable=False),  # 1 on the first word of a line item
        pa.field("table_labels", pa.list_(pa.int8()), nullable=False),
        pa.field("block_labels", pa.list_(pa.int8()), nullable=False),
        pa.field("starts", pa.list_(pa.uint8()), nullable=False),  # bit sets, see word_labels
    ]
)

_TRUST = {"human": 0, "synthetic": 1, "xml": 1, "export": 2}


def encode_shard(
    documents: pa.Table,
    pages: pa.Table,
    annotations: pa.Table,
    *,
    labels: LabelSet | None = None,
) -> pa.Table:
    """Turn corpus tables into a shard.

    Args:
        documents: `tables.DOCUMENTS` columns document_id, source, and `split` where it is known.
        pages: `tables.PAGES` rows of these documents.
        annotations: `tables.ANNOTATIONS` rows; per document the most trusted and newest truth is taken (a person's
            before the source's own). Pre-annotations by models are never labels.
        labels: Label lists; those of the current taxonomy by default.

    Returns:
        Table of `SHARD_SCHEMA`, documents in the order given. A document without words gives no row; one without
        truth gives rows whose labels all say nothing.
    """
    lists = labels or default_labels()
    truths = _truths(annotations)
    by_document: dict[str, list[dict[str, Any]]] = {}
    columns = [
        "document_id",
        "page_number",
        "width",
        "height",
        "words",
        "boxes",
        "lines",
    ]
    for batch in pages.select(columns).to_batches():
        for row in _page_rows(batch):
            by_document.setdefault(row["document_id"], []).append(row)
    has_split = "split" in documents.schema.names
    encoder = WordEncoder()
    rows: list[dict[str, Any]] = []
    for document in documents.select(["document_id", "source", *(["split"] if has_split else [])]).to_pylist():
        own = sorted(
            by_document.get(document["document_id"], []),
            key=lambda row: row["page_number"],
        )
        rows.extend(_document_rows(document, own, truths.get(document["document_id"]), lists, encoder))
    return _table(rows)


@dataclass(frozen=True)
class Shard:
    """A shard in memory: flat arrays with one offset per row.

    Row i has words `offsets[i]:offsets[i + 1]` in every word array.
    """

    offsets: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int16]
    subtype_ids: npt.NDArray[np.int16]
    known_fields: npt.NDArray[np.bool_]  # [rows, header fields]
    known_line_fields: npt.NDArray[np.bool_]  # [rows, line fields]
    is_first: npt.NDArray[np.bool_]
    document_ids: list[str]
    characters: npt.NDArray[np.uint8]
    hashes: npt.NDArray[np.uint16]
    shapes: npt.NDArray[np.uint32]
    boxes: npt.NDArray[np.int16]
    lines: npt.NDArray[np.int16]
    above: npt.NDArray[np.int16]
    header_labels: npt.NDArray[np.int16]
    line_labels: npt.NDArray[np.int8]
    row_starts: npt.NDArray[np.int8]
    table_labels: npt.NDArray[np.int8]
    block_labels: npt.NDArray[np.int8]
    starts: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.class_ids)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Words of each row."""
        return np.diff(self.offsets)


def read_shard(table: pa.Table, *, split: str | None = None) -> Shard:
    """Open a shard table (of one split, when named) as flat arrays; numeric columns are not copied row by row."""
    if split is not None:
        table = table.filter(pc.equal(table.column("split"), split))
    table = table.combine_chunks()
    counts = table.column("words").to_numpy().astype(np.int64)
    return Shard(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        class_ids=table.column("class_id").to_numpy(),
        subtype_ids=table.column("subtype_id").to_numpy(),
        known_fields=_flags(table, "known_fields", len(HEADER_FIELDS)),
        known_line_fields=_flags(table, "known_line_fields", len(LINE_FIELDS)),
        is_first=table.column("window").to_numpy() == 0,
        document_ids=table.column("document_id").to_pylist(),
        characters=_flat(table, "characters").reshape(-1, CHARACTERS),
        hashes=_flat(table, "hashes").reshape(-1, 3),
        shapes=_flat(table, "shapes"),
        boxes=_flat(table, "boxes").reshape(-1, 4),
        lines=_flat(table, "lines"),
        above=_flat(table, "above"),
        header_labels=_flat(table, "header_labels"),
        line_labels=_flat(table, "line_labels"),
        row_starts=_flat(table, "row_starts"),
        table_labels=_flat(table, "table_labels"),
        block_labels=_flat(table, "block_labels"),
        starts=_flat(table, "starts"),
    )


def untaught(shard: Shard) -> frozenset[str]:
    """Fields that no word of a shard is tagged with."""
    shown = {HEADER_FIELDS[tag - 1] for tag in np.unique(shard.header_labels).tolist() if tag > OUTSIDE}
    shown |= {LINE_FIELDS[tag - 1] for tag in np.unique(shard.line_labels).tolist() if tag > OUTSIDE}
    return frozenset({*HEADER_FIELDS, *LINE_FIELDS} - shown)


class FieldTruth:
    """Counts how many training documents and words show each field, over shard tables that are added one by one."""

    def __init__(self) -> None:
        self._documents: Counter[str] = Counter()
        self._words: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count a shard table; all windows of a document are in one table."""
        shard = read_shard(table, split="train")
        _, documents = np.unique(np.array(shard.document_ids, dtype=str), return_inverse=True)
        owner = np.repeat(documents, shard.lengths)
        for names, tags in ((HEADER_FIELDS, shard.header_labels), (LINE_FIELDS, shard.line_labels)):
            shown = tags > OUTSIDE
            pairs = np.unique(np.stack([owner[shown], tags[shown]]), axis=1)
            self._documents.update(names[tag - 1] for tag in pairs[1].tolist())
            self._words.update(names[tag - 1] for tag in tags[shown].tolist())

    def rows(self) -> list[dict[str, Any]]:
        """Rows of `releases.FIELD_TRUTH` in the order of the labels."""
        return [
            {"field": name, "level": level, "train_documents": self._documents[name], "train_words": self._words[name]}
            for level, names in (("header", HEADER_FIELDS), ("line", LINE_FIELDS))
            for name in names
        ]


def for_training(shard: Shard, labels: LabelSet) -> Shard:
    """The shard in the columns that the heads compute in training, see `heads.MultitaskModel`.

    Its truths are silent about fields that none of them shows: that such are absent is not learnt from it.
    """
    missing = untaught(shard)
    header, header_tags = _columns(labels.trained_header_fields, len(HEADER_FIELDS))
    line, line_tags = _columns(labels.trained_line_fields, len(LINE_FIELDS))
    return replace(
        shard,
        known_fields=shard.known_fields[:, header] & [HEADER_FIELDS[index] not in missing for index in header],
        known_line_fields=shard.known_line_fields[:, line] & [LINE_FIELDS[index] not in missing for index in line],
        header_labels=header_tags[shard.header_labels],
        line_labels=line_tags[shard.line_labels].astype(np.int8),
    )


def _columns(fields: Sequence[int], count: int) -> tuple[list[int], npt.NDArray[np.int16]]:
    """The fields, and the new tag by the old one; the last entry is that of `IGNORED`."""
    tags = np.full(count + 2, IGNORED, dtype=np.int16)
    tags[OUTSIDE] = OUTSIDE
    tags[np.asarray(fields) + 1] = np.arange(len(fields)) + 1
    return list(fields), tags


def _flags(table: pa.Table, name: str, width: int) -> npt.NDArray[np.bool_]:
    flags = np.zeros((table.num_rows, width), dtype=np.bool_)
    counts = pc.list_value_length(table.column(name)).to_numpy()
    flags[np.repeat(np.arange(table.num_rows), counts), _flat(table, name)] = True
    return flags


def _flat(table: pa.Table, name: str) -> npt.NDArray[Any]:
    column = table.column(name)
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.zeros(0, dtype=column.type.value_type.to_pandas_dtype())


def _truths(annotations: pa.Table) -> dict[str, dict[str, Any]]:
    wanted = pc.is_in(annotations.column("source"), value_set=pa.array(list(_TRUST)))
    best: dict[str, dict[str, Any]] = {}
    names = [
        "document_id",
        "source",
        "revision",
        "document_type",
        "document_subtype",
        "fields",
        "line_items",
        "tables",
        "layout_blocks",
    ]
    for row in annotations.filter(wanted).select(names).to_pylist():
        rank = (-_TRUST[row["source"]], row["revision"])
        held = best.get(row["document_id"])
        if held is None or rank > (-_TRUST[held["source"]], held["revision"]):
            best[row["document_id"]] = row
    return best


def _page_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    light: list[dict[str, Any]] = batch.select(["document_id", "page_number", "width", "height", "words"]).to_pylist()
    for name, width in (("boxes", 4), ("lines", 1)):
        column = batch.column(name)
        counts = np.asarray(pc.list_value_length(column)).astype(np.int64)
        values = column.flatten()
        flat = (values.flatten() if width > 1 else values).to_numpy(zero_copy_only=False)
        stops = np.cumsum(counts)
        for row, stop, count in zip(light, stops, counts, strict=True):
            part = flat[(stop - count) * width : stop * width]
            row[name] = part.reshape(-1, 4) if width > 1 else part
    return light


def _document_rows(
    document: Mapping[str, Any],
    pages: Sequence[Mapping[str, Any]],
    annotation: Mapping[str, Any] | None,
    lists: LabelSet,
    encoder: WordEncoder,
) -> list[dict[str, Any]]:
    features = encode_words([_page(page) for page in pages], encoder)
    if not len(features):
        return []
    truth = word_labels(pages, annotation, has_lines=has_line_truth(document["source"]))
    kind = annotation["document_type"] if annotation else None
    subtype = annotation["document_subtype"] if annotation else None
    known = known_fields(document["source"], annotation["source"] if annotation else "")
    rows = []
    for number, (start, stop) in enumerate(windows(len(features))):
        part = features.window(start, stop)
        rows.append(
            {
                "document_id": document["document_id"],
                "split": document.get("split"),
                "source": document["source"],
                "window": number,
                "first_word": start,
                "words": stop - start,
                "class_id": lists.class_id(kind) if number == 0 else IGNORED,
                "subtype_id": lists.subtype_id(kind, subtype) if number == 0 else IGNORED,
                "known_fields": known[0],
                "known_line_fields": known[1],
                "characters": part.characters,
                "hashes": part.hashes,
                "shapes": part.shapes,
                "boxes": part.boxes,
                "lines": part.lines,
                "above": part.above,
                "header_labels": truth.header[start:stop],
                "line_labels": truth.line[start:stop],
                "row_starts": truth.row_start[start:stop],
                "table_labels": truth.table[start:stop],
                "block_labels": truth.block[start:stop],
                "starts": truth.starts[start:stop],
            }
        )
    return rows


def _page(row: Mapping[str, Any]) -> Page:
    return Page.from_row({**row, "reader": "", "quality": 1.0})


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns: list[pa.Array] = []
    for field in SHARD_SCHEMA:
        values = [row[field.name] for row in rows]
        if pa.types.is_list(field.type) and not field.name.startswith("known_"):
            kind = field.type.value_type
            flat = [np.ascontiguousarray(value).reshape(-1) for value in values]
            offsets = np.concatenate([[0], np.cumsum([len(part) for part in flat])]).astype(np.int32)
            joined = np.concatenate(flat) if flat else np.zeros(0, dtype=kind.to_pandas_dtype())
            columns.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(joined, type=kind), type=field.type))
        else:
            columns.append(pa.array(values, type=field.type))
    return pa.Table.from_arrays(columns, schema=SHARD_SCHEMA)
