"""How right answers are: what each is held against, and the share of its fields that are equal to that.

Belongs here: the references and the annotation quality score. What people say alike, right or not, is `agreement`;
which mistakes repeat is `habits`.

The reference of a document is its arbitration, else the answer of the QA lead. An answer's fields are its class, its
subtype (where either side names one) and every header field and cell of a line item that either side names; it is
right where both have equal values (`comparison`). The annotation quality score is the share of right fields of the
answers of queues other than QA, on the documents that the QA lead answered: these are a random sample, whereas
arbitrated documents are by choice the hard ones, and the share on those is given beside it.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sap_llm.annotation.adjudication import Resolution
from sap_llm.annotation.comparison import Answered, Compared, compare

Array = npt.NDArray[Any]
QA = "qa_lead"
_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Right fields of some answers.

    Attributes:
        right: Fields equal to the reference.
        fields: Fields that were judged.
        documents: Documents that they come from.
        low: Lower end of the 95 % interval: Wilson's, with documents as trials, because the fields of one document
            err together. It is rather too wide than too narrow.
        high: Upper end.
    """

    right: int
    fields: int
    documents: int
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """Right fields of all; None where none was judged."""
        return self.right / self.fields if self.fields else None

    def __str__(self) -> str:
        """The figure as reports print it."""
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})" if self.share is not None else "not measured"


def wilson(share: float, trials: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); 0 to 1 without trials."""
    if trials <= 0:
        return 0.0, 1.0
    square = _Z * _Z / trials
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, kw_only=True)
class Held:
    """Answers, each beside what it is held against.

    Attributes:
        annotations: All rows that the pairs are of.
        annotators: Who gave the left answer of each pair.
        has_reference: The right side is a reference; else it is another person's answer, right or not.
        is_sampled: The QA lead answered the document.
        compared: The comparison of the pairs.
    """

    annotations: pa.Table
    annotators: Array
    has_reference: Array
    is_sampled: Array
    compared: Compared

    def documents(self) -> list[str]:
        """Document of each pair."""
        ids = self.annotations.column("document_id").to_pylist()
        return [ids[row] for row in self.compared.left.tolist()]

    def labels(self, column: str) -> tuple[Array, Array]:
        """Class or subtype of the left and of the right side of each pair."""
        values = np.array(self.annotations.column(column).to_pylist(), dtype=object)
        return values[self.compared.left], values[self.compared.right]


def held_against(opinions: Answered, resolution: Resolution) -> Held:
    """Pair each answer with the arbitration of its document, else with QA's answer, else with each other answer."""
    settled = resolution.truths.column("document_id").to_pylist()
    chosen = [row for row, name in enumerate(settled) if resolution.settled_by[name] == "arbitration"]
    annotations = pa.concat_tables([opinions.annotations, resolution.truths.take(pa.array(chosen, pa.int64()))])
    arbitration = {settled[row]: opinions.annotations.num_rows + place for place, row in enumerate(chosen)}
    facts = opinions.answers.select(["document_id", "queue", "created_at"]).to_pylist()
    qa: dict[str, int] = {}
    rows_of: dict[str, list[int]] = {}
    for row, fact in enumerate(facts):
        rows_of.setdefault(fact["document_id"], []).append(row)
        known = qa.get(fact["document_id"])
        if fact["queue"] == QA and (known is None or facts[known]["created_at"] <= fact["created_at"]):
            qa[fact["document_id"]] = row
    pairs: list[tuple[int, int, bool, bool]] = []
    for name, rows in rows_of.items():
        reference = arbitration.get(name, qa.get(name))
        judged = [row for row in rows if facts[row]["queue"] != QA]
        if reference is not None:
            pairs += [(row, reference, True, name in qa) for row in judged]
        else:
            pairs += [(row, other, False, False) for row in rows for other in rows if row != other]
    sides = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2)
    flags = np.array([pair[2:] for pair in pairs], bool).reshape(-1, 2)
    people = np.array(annotations.column("annotator").to_pylist(), dtype=object)
    return Held(
        annotations=annotations,
        annotators=people[sides[:, 0]],
        has_reference=flags[:, 0],
        is_sampled=flags[:, 1],
        compared=compare(annotations, sides[:, 0], sides[:, 1]),
    )


def quality_of(held: Held, pairs: Array) -> Quality:
    """Quality of the answers of some pairs.

    Args:
        held: Answers beside what they are held against.
        pairs: Flags by pair; those without a reference are not judged.
    """
    pairs = pairs & held.has_reference
    compared = held.compared
    rows = pairs[compared.pair]
    right, fields = int(compared.is_same_value[rows].sum()), int(rows.sum())
    for column in ("document_type", "document_subtype"):
        one, other = held.labels(column)
        asked = pairs & ((one != None) | (other != None))  # noqa: E711 (elementwise)
        right, fields = right + int((one == other)[asked].sum()), fields + int(asked.sum())
    documents = len(set(compared.right[pairs].tolist()))
    low, high = wilson(right / fields, documents) if fields else (0.0, 1.0)
    return Quality(right=right, fields=fields, documents=documents, low=low, high=high)
