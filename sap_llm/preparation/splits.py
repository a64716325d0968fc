"""Which split a document belongs to, and the proof that splits share nothing.

Belongs here: the rule in Python and the check of its result. The same rule as Spark expressions is `job`; a test
holds the two together.

The rule: a document that may only test (role `test_only`, or a test layout) tests; one of role `develop` validates.
Every other document follows its `split_group`, whose hash falls into one of three intervals.
"""

import hashlib
from collections.abc import Iterable

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
TEST_ONLY = "test_only"  # the role
HASH_DIGITS = 12  # hexadecimal; 48 bits fit a double exactly
_EXAMPLES = 5


class SplitShares(BaseModel):
    """Shares of the groups, not of the documents: a large group moves whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = 0.70
    validation: float = 0.15
    test: float = 0.15

    @model_validator(mode="after")
    def _sums_to_one(self) -> "SplitShares":
        if min(self.train, self.validation, self.test) < 0 or abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("split shares must be positive and sum to 1")
        return self


def group_position(split_group: str, seed: int) -> float:
    """Where a group lies in [0, 1): the first 48 bits of the sha256 of `seed:group`."""
    digest = hashlib.sha256(f"{seed}:{split_group}".encode()).hexdigest()
    return int(digest[:HASH_DIGITS], 16) / float(16**HASH_DIGITS)


def split_of(split_group: str, *, role: str, is_test_layout: bool, seed: int, shares: SplitShares) -> str:
    """The split of one document."""
    if role == TEST_ONLY or is_test_layout:
        return TEST
    if role == "develop":
        return VALIDATION
    position = group_position(split_group, seed)
    if position < shares.train:
        return TRAIN
    return VALIDATION if position < shares.train + shares.validation else TEST


def leaks(documents: pa.Table) -> list[str]:
    """Every way in which the splits of `documents` are not disjoint, as sentences; empty when they are.

    Args:
        documents: Columns document_id, split, split_group, sha256, text_sha256, layout, role, is_test_layout.

    A group, a file and a normalised text may be in one split only. A test layout and a `test_only` document are never
    learned from.
    """
    rows = documents.select(
        ["document_id", "split", "split_group", "sha256", "text_sha256", "layout", "role", "is_test_layout"]
    ).to_pylist()
    found = [f"{row['document_id']} has no known split ({row['split']})" for row in rows if row["split"] not in SPLITS]
    found += _in_several("group", ((row["split_group"], row["split"]) for row in rows))
    found += _in_several("file", ((row["sha256"], row["split"]) for row in rows))
    found += _in_several("text", ((row["text_sha256"], row["split"]) for row in rows))
    test_layouts = {row["layout"] for row in rows if row["is_test_layout"] and row["layout"]}
    for row in rows:
        if row["split"] == TEST:
            continue
        if row["role"] == TEST_ONLY:
            found.append(f"{row['document_id']} may only test, but is in {row['split']}")
        if row["role"] == "develop" and row["split"] == TRAIN:
            found.append(f"{row['document_id']} is for development, but is in {TRAIN}")
        if row["is_test_layout"] or row["layout"] in test_layouts:
            found.append(f"{row['document_id']} has test layout {row['layout']}, but is in {row['split']}")
    return found


def _in_several(what: str, pairs: Iterable[tuple[str | None, str]]) -> list[str]:
    splits: dict[str, set[str]] = {}
    for key, split in pairs:
        if key is not None:
            splits.setdefault(key, set()).add(split)
    shared = [f"{what} {key} is in {' and '.join(sorted(names))}" for key, names in splits.items() if len(names) > 1]
    return shared if len(shared) <= _EXAMPLES else [*shared[:_EXAMPLES], f"... {len(shared)} {what}s in several splits"]
