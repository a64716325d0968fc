"""Layout scores: which blocks of a page were found.

Belongs here: comparing the layout blocks of annotations. The structure inside a table is `tables`.

A predicted block is right when a true one of its kind and page overlaps it by at least half (intersection over union of
the boxes, as object detection counts), each true block once; the best overlaps are matched first.
"""

from dataclasses import dataclass
from typing import Any

from sap_llm.evaluation.fields import STRICT_OVERLAP, Rows, Score, latest, overlap


@dataclass(frozen=True, kw_only=True)
class LayoutScores:
    """Micro counts over all blocks, and by kind."""

    overall: Score
    by_kind: dict[str, Score]


def score_layout(truth_rows: Rows, predicted_rows: Rows) -> LayoutScores:
    """Compare the blocks of all documents whose truth has some.

    Args:
        truth_rows: Rows of `tables.ANNOTATIONS`.
        predicted_rows: The same for the predictions.
    """
    predictions = latest(predicted_rows)
    by_kind: dict[str, Score] = {}
    for document_id, truth in latest(truth_rows).items():
        if not truth["layout_blocks"]:
            continue
        found = predictions.get(document_id, {"layout_blocks": ()})["layout_blocks"]
        for key in {(block["page"], block["kind"]) for block in (*truth["layout_blocks"], *found)}:
            wanted, given = (
                [block["box"] for block in blocks if (block["page"], block["kind"]) == key]
                for blocks in (truth["layout_blocks"], found)
            )
            by_kind[key[1]] = by_kind.get(key[1], Score()) + _matched(wanted, given)
    return LayoutScores(overall=sum(by_kind.values(), Score()), by_kind=dict(sorted(by_kind.items())))


def _matched(truth: list[Any], predicted: list[Any]) -> Score:
    pairs = sorted(
        ((overlap(one, other), i, j) for i, one in enumerate(truth) for j, other in enumerate(predicted)), reverse=True
    )
    hit: set[int] = set()
    used: set[int] = set()
    for share, i, j in pairs:
        if share >= STRICT_OVERLAP and i not in hit and j not in used:
            hit.add(i)
            used.add(j)
    return Score(
        true_positives=len(hit), false_positives=len(predicted) - len(hit), false_negatives=len(truth) - len(hit)
    )
