"""One row for each field of a truth, of the header or of a line, with its place on the page as numbers.

Belongs here: the flattening of `tables.ANNOTATIONS`. Pages are `pages`, sums are `sums`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sap_llm.preparation.suites.pages import four_edges, is_upright, outside
from sap_llm.schema.taxonomy import load_taxonomy

_ABOUT = ("document_id", "source", "share_of", "annotator", "document_type")


def flat_fields(truths: pa.Table, pages: pa.Table) -> pa.Table:
    """Fields of annotations.

    Args:
        truths: Rows of `tables.ANNOTATIONS`, `source` replaced by the document's, and `share_of`.
        pages: document_id, page_number, width, height, words (how many).

    Returns:
        `_ABOUT`, place (`header`, `line 3`), level, field, type (of the taxonomy; null for an unknown field), value,
        value_length, confidence, page, is_page (there is such a page, or none is named), is_box, outside_points,
        first_word, words_beyond (last word's index above the page's last; negative or 0 when it exists).
    """
    truths = truths.combine_chunks()
    headers, owners = _flatten(truths.column("fields"))
    lines, line_owners = _flatten(truths.column("line_items"))
    inside, field_lines = _flatten(pc.struct_field(lines, "fields"))
    numbers = pc.struct_field(lines, "line_number").to_numpy(zero_copy_only=False)
    places = np.concatenate(
        [
            np.full(len(headers), "header", dtype=object),
            np.char.add("line ", numbers[field_lines].astype(np.int64).astype(str)).astype(object)
            if len(field_lines)
            else np.empty(0, dtype=object),
        ]
    )
    fields = pa.concat_arrays([headers, inside])
    parents = np.concatenate([owners, line_owners[field_lines]]).astype(np.int64)
    level = np.where(np.arange(len(parents)) < len(headers), "header", "line")
    columns = {name: truths.column(name).take(pa.array(parents)) for name in _ABOUT}
    value = pc.struct_field(fields, "value")
    columns |= {
        "place": pa.array(places, type=pa.string()),
        "level": pa.array(level.astype(object), type=pa.string()),
        "field": pc.struct_field(fields, "field"),
        "type": _types(pc.struct_field(fields, "field")),
        "value": value,
        "value_length": pc.utf8_length(value),
        "confidence": pc.struct_field(fields, "confidence"),
        "page": pc.struct_field(fields, "page"),
    }
    return pa.table({**columns, **_on_page(columns["document_id"], fields, pages)})


def _on_page(documents: pa.ChunkedArray, fields: pa.StructArray, pages: pa.Table) -> dict[str, pa.Array]:
    page = pc.struct_field(fields, "page")
    where = _page_index(documents, page, pages)
    found = pages.take(where)
    width, height = (_floats(found.column(name)) for name in ("width", "height"))
    boxes = pc.struct_field(fields, "box")
    edges = four_edges(boxes)
    out = outside(edges, width, height)
    first, last = _words(pc.struct_field(fields, "word_ids"))
    beyond = last - (_floats(found.column("words")) - 1)
    return {
        "is_page": pc.or_(pc.is_null(page), pc.is_valid(where)),
        "is_box": pa.array(is_upright(edges) | pc.is_null(boxes).to_numpy(zero_copy_only=False)),
        "outside_points": pa.array(out, mask=np.isnan(out)),
        "first_word": pa.array(first, mask=np.isnan(first)),
        "words_beyond": pa.array(beyond, mask=np.isnan(beyond)),
    }


def _page_index(documents: pa.ChunkedArray, page: pa.Array, pages: pa.Table) -> pa.Array:
    """Row of `pages` for each field; null where it is on no page, or on one that does not exist."""
    known = _page_keys(pages.column("document_id"), pages.column("page_number"))
    return pc.index_in(_page_keys(documents, page), value_set=known)


def _page_keys(documents: pa.ChunkedArray, numbers: pa.Array | pa.ChunkedArray) -> pa.Array:
    flat = documents.combine_chunks() if isinstance(documents, pa.ChunkedArray) else documents
    pages = numbers.combine_chunks() if isinstance(numbers, pa.ChunkedArray) else numbers
    return pc.binary_join_element_wise(flat, pages.cast(pa.string()), "/")


def _words(word_ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest word index of each field; NaN where it has no words."""
    lengths = pc.fill_null(pc.list_value_length(word_ids), 0).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(word_ids).to_numpy(zero_copy_only=False).astype(np.float64)
    first, last = np.full(len(lengths), np.nan), np.full(len(lengths), np.nan)
    filled = lengths > 0
    if filled.any():
        starts = (np.cumsum(lengths) - lengths)[filled]
        first[filled], last[filled] = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return first, last


def _types(names: pa.Array) -> pa.Array:
    kinds = {entry.name: entry.type for entry in load_taxonomy().fields}
    known = pc.index_in(names, value_set=pa.array(list(kinds)))
    return pa.array(list(kinds.values())).take(known)


def _flatten(lists: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The elements of lists and, for each, the index of its list."""
    flat = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    return pc.list_flatten(flat), pc.list_parent_indices(flat).to_numpy()


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    values: np.ndarray = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    return values
