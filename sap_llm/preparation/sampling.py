"""Which of the documents that may be learned from are learned from: all, or so many of each class.

Belongs here: the numbers by class and the choice, over the job's decisions as one Arrow table. It is made on one node
and not in Spark: a rank within a class needs all rows of the class in one place, the largest class has a third of all
rows, and a decision is a few dozen bytes.

What validates and tests is never thinned out: measures of two training sets must stay comparable.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sap_llm.preparation.plan import CLASS_QUOTA, STATUS_LEFT_OUT
from sap_llm.preparation.splits import TRAIN, group_position


class Sampling(BaseModel):
    """How many training documents of each class are learned from. Exact: a quota is a number, not a probability."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["all", "capped", "balanced"] = Field(
        default="all",
        description="all: no quota. capped: of each class at most per_class. balanced: of each class as many as the "
        "smallest class has, yet no class is cut below per_class",
    )
    per_class: int | None = Field(default=None, ge=1, description="documents; needed unless the mode is all")

    @model_validator(mode="after")
    def _has_a_number(self) -> "Sampling":
        if (self.per_class is None) != (self.mode == "all"):
            raise ValueError(f"sampling {self.mode} {'needs' if self.mode != 'all' else 'takes no'} per_class")
        return self

    def quota(self, counts: Mapping[str, int]) -> int:
        """How many documents of a class are taken at most.

        Args:
            counts: Training documents by class, of the classes that have any.
        """
        if self.per_class is None or not counts:
            return max(counts.values(), default=0)
        return self.per_class if self.mode == "capped" else max(self.per_class, min(counts.values()))


def sample(prepared: pa.Table, sampling: Sampling, *, seed: int) -> pa.Table:
    """Turn documents over their class's quota into `left_out`; the same ones whatever the order of the rows.

    Of a class those are taken whose hash of seed and id comes first, so that a higher quota keeps all that a lower one
    takes, and a new document displaces at most one.

    Args:
        prepared: Columns document_id, document_type, split, status and reason of `plan.PREPARED`, among others.
        sampling: The quotas.
        seed: Of the choice.
    """
    if sampling.mode == "all":
        return prepared
    places = np.flatnonzero(pc.equal(prepared.column("split"), TRAIN).fill_null(False).to_numpy())
    learned = prepared.take(pa.array(places))
    names, classes = np.unique(learned.column("document_type").to_numpy(zero_copy_only=False), return_inverse=True)
    counts = np.bincount(classes, minlength=len(names))
    ids = learned.column("document_id").to_pylist()
    positions = np.array([group_position(f"sample:{document_id}", seed) for document_id in ids])
    order = np.lexsort((np.array(ids), positions, classes))
    ranks = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = sampling.quota(dict(zip(names.tolist(), counts.tolist(), strict=True)))
    is_left_out = np.zeros(prepared.num_rows, dtype=bool)
    is_left_out[places[order[ranks >= quota]]] = True
    mask = pa.array(is_left_out)
    changes = {"status": STATUS_LEFT_OUT, "reason": CLASS_QUOTA, "split": pa.scalar(None, pa.string())}
    for name, value in changes.items():
        place = prepared.schema.get_field_index(name)
        column = pc.if_else(mask, value, prepared.column(name))
        prepared = prepared.set_column(place, prepared.schema.field(name), column)
    return prepared
