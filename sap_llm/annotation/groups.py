"""Groups across corpora: documents of two corpora that are near-duplicates must not be torn apart by a split.

Belongs here: joining `split_group` and agreeing on one role when corpora come together. Groups within a corpus are made
by its source; exact copies are found by `preparation`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sap_llm.reading.near_duplicates import SIGNATURES, Union, near_pairs, read_signatures
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.store import DatasetStore

_ROLES = ("test_only", "develop", "train")  # the first that a group has holds for all of it


def join_groups(store: DatasetStore, corpora: Mapping[str, DatasetRef], documents: pa.Table) -> tuple[pa.Table, int]:
    """Give near-duplicates of different corpora one group and its strictest role.

    Args:
        store: Where the corpora are; those that keep no signatures take no part.
        corpora: Input datasets by name.
        documents: Rows of all of them, with `input`.

    Returns:
        The documents, and how many groups were joined to another.
    """
    rows = documents.select(["document_id", "input", "split_group", "role"]).to_pylist()
    known = {
        (name, document_id): signature
        for name, ref in sorted(corpora.items())
        if SIGNATURES in store.open(ref).manifest.files
        for document_id, signature in read_signatures(store.open(ref).path(SIGNATURES)).items()
    }
    compared = [index for index, row in enumerate(rows) if (row["input"], row["document_id"]) in known]
    if not compared:
        return documents, 0
    matrix = np.stack([known[rows[index]["input"], rows[index]["document_id"]] for index in compared])
    names = sorted({row["split_group"] for row in rows})
    numbers = {name: number for number, name in enumerate(names)}
    union = Union(len(names))
    for left, right in near_pairs(matrix):
        one, other = rows[compared[left]], rows[compared[right]]
        if one["input"] != other["input"]:  # within a corpus the source has decided
            union.join(numbers[one["split_group"]], numbers[other["split_group"]])
    merged = {name: names[union.find(number)] for name, number in numbers.items()}
    joined = sum(name != target for name, target in merged.items())
    return (_with_groups(documents, rows, merged), joined) if joined else (documents, 0)


def _with_groups(documents: pa.Table, rows: list[dict[str, Any]], merged: Mapping[str, str]) -> pa.Table:
    targets = [merged[row["split_group"]] for row in rows]
    widened = {target for name, target in merged.items() if name != target}
    strictest: dict[str, int] = {}
    for row, target in zip(rows, targets, strict=True):
        strictest[target] = min(strictest.get(target, len(_ROLES)), _ROLES.index(row["role"]))
    roles = [
        _ROLES[strictest[target]] if target in widened else row["role"]
        for row, target in zip(rows, targets, strict=True)
    ]
    for name, values in (("split_group", targets), ("role", roles)):
        place = documents.schema.get_field_index(name)
        documents = documents.set_column(place, documents.schema.field(name), pa.array(values, type=pa.string()))
    return documents
