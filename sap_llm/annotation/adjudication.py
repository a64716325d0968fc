"""Which of several answers about a document counts, and which documents a senior has to decide.

Belongs here: the order of precedence and what an arbitration means. Nothing is ever changed: answers and arbitrations
are rows that stay, and this reads the present state out of them. How far people agree is `agreement`.

An arbitration (an answer that names what it decides on) counts above everything, the latest one if there are several.
Else, what two people say alike (class, subtype, values of fields and line items; where on the page does not matter)
counts, if no other group of people is as large; else, where only one person answered, the latest revision. Everything
else is a disagreement and has no truth. An answer that is later than the arbitration and differs from it brings the
document back to the seniors; until they decide again, the arbitration counts. Time decides, not the ids that the
arbitration names: an answer that is changed keeps its id, and so does the task on which seniors decide again.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sap_llm.annotation.comparison import Answered, compare, pairs_within, standing
from sap_llm.schema.annotation import DISAGREEMENTS, TASKS
from sap_llm.schema.tables import ANNOTATIONS, QUARANTINE, conform

Array = npt.NDArray[Any]
CLASS, SUBTYPE = "document_type", "document_subtype"
_SENIORS, _DISAGREEMENT = "seniors", "disagreement"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What the answers of people amount to.

    Attributes:
        truths: One annotation a document, rows of `tables.ANNOTATIONS` as they were given; sorted by document.
        settled_by: Document id to how its truth was found: `arbitration`, `agreement` or `single`.
        disagreements: Documents for the seniors, rows of `schema.annotation.DISAGREEMENTS`; sorted by document.
        refused: Arbitrations that do not count because they give no reason, rows of `tables.QUARANTINE`.
    """

    truths: pa.Table
    settled_by: dict[str, str]
    disagreements: pa.Table
    refused: pa.Table


def resolve(annotations: pa.Table, answers: pa.Table) -> Resolution:
    """Decide, document by document, which answer counts and who has to be asked.

    Args:
        annotations: Table `annotations` of `human_annotations`.
        answers: Table `answers` of `human_annotations`.

    Raises:
        ValueError: The tables do not belong together.
    """
    opinions, arbitrations = standing(annotations, answers)
    decided, refused = _latest_arbitrations(arbitrations)
    everyone = pa.concat_tables([opinions.annotations, decided.annotations])
    ids = everyone.column("document_id").to_pylist()
    opinion_rows, arbitration_of = _by_document(ids, opinions.annotations.num_rows)
    differences = _differences(everyone, opinions, arbitration_of, opinion_rows)
    facts = opinions.answers.select(["annotator", "desk_id", "created_at"]).to_pylist()
    decided_at = dict(zip(arbitration_of, decided.answers.column("created_at").to_pylist(), strict=True))
    truth_of: dict[str, tuple[int, str]] = {}
    disagreements = []
    for document_id in sorted(set(ids)):
        rows = opinion_rows.get(document_id, [])
        arbitration = arbitration_of.get(document_id)
        if arbitration is not None:
            truth_of[document_id] = (arbitration, "arbitration")
            late = [row for row in rows if facts[row]["created_at"] > decided_at[document_id]]
            on = {name for row in late for name in differences.get((row, arbitration), ())}
        else:
            winner = _largest_group(rows, differences)
            on = set() if winner is not None else _all_differences(rows, differences)
            if winner is not None:
                truth_of[document_id] = (winner, "single" if len(rows) == 1 else "agreement")
        if on:
            disagreements.append(
                {
                    "document_id": document_id,
                    "differs_on": sorted(on),
                    "annotators": [facts[row]["annotator"] for row in rows],
                    "desk_ids": [facts[row]["desk_id"] for row in rows],
                    "is_reopened": arbitration is not None,
                }
            )
    taken = pa.array([row for row, _ in truth_of.values()], pa.int64())
    return Resolution(
        truths=everyone.take(taken).select(ANNOTATIONS.names).cast(ANNOTATIONS),
        settled_by={document_id: how for document_id, (_, how) in truth_of.items()},
        disagreements=conform(disagreements, DISAGREEMENTS),
        refused=conform(refused, QUARANTINE),
    )


def arbitration_tasks(disagreements: pa.Table, inputs: Mapping[str, str]) -> pa.Table:
    """The disagreements as rows of `schema.annotation.TASKS` for the seniors; those with most at stake first.

    Args:
        disagreements: Of a `Resolution`.
        inputs: Document id to the dataset that holds its pages.

    Raises:
        KeyError: A document has no input.
    """
    return conform(
        (
            {
                "document_id": row["document_id"],
                "input": inputs[row["document_id"]],
                "queue": _SENIORS,
                "purpose": _DISAGREEMENT,
                "annotators": 1,
                # A wrong class spoils all fields of the document, so it comes before any number of them.
                "priority": len(row["differs_on"]) + 1000.0 * (CLASS in row["differs_on"]),
            }
            for row in disagreements.to_pylist()
        ),
        TASKS,
    )


def _latest_arbitrations(arbitrations: Answered) -> tuple[Answered, list[dict[str, Any]]]:
    """The arbitration that counts for each document, and quarantine rows for those without a reason."""
    latest: dict[str, tuple[Any, int]] = {}
    refused = []
    for row, answer in enumerate(arbitrations.answers.to_pylist()):
        if not (answer["why"] or "").strip():
            refused.append(
                {
                    "record": answer["document_id"],
                    "source": f"{answer['annotator']}, revision {answer['revision']} ({answer['desk_id']})",
                    "field": "why",
                    "reason": "arbitration_without_reason",
                    "detail": "An arbitration counts only with its reason; answer again and say why.",
                }
            )
            continue
        when = (answer["created_at"], answer["annotator"], answer["revision"])
        if answer["document_id"] not in latest or latest[answer["document_id"]][0] < when:
            latest[answer["document_id"]] = (when, row)
    rows = pa.array([row for _, row in latest.values()], pa.int64())
    kept = Answered(annotations=arbitrations.annotations.take(rows), answers=arbitrations.answers.take(rows))
    return kept, refused


def _by_document(ids: list[str], opinions: int) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Rows of the opinions of each document, and the row of its arbitration."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, document_id in enumerate(ids[:opinions]):
        rows[document_id].append(row)
    return rows, {document_id: opinions + row for row, document_id in enumerate(ids[opinions:])}


def _differences(
    everyone: pa.Table, opinions: Answered, arbitration_of: Mapping[str, int], rows: Mapping[str, list[int]]
) -> dict[tuple[int, int], list[str]]:
    """What two answers about one document differ on, by their rows; pairs that say the same are not there."""
    left, right = pairs_within(opinions.documents)
    against = [(row, place) for document_id, place in arbitration_of.items() for row in rows.get(document_id, [])]
    extra = np.array(against, np.int64).reshape(-1, 2)
    left, right = np.concatenate([left, extra[:, 0]]), np.concatenate([right, extra[:, 1]])
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for column in (CLASS, SUBTYPE):
        values = np.array(everyone.column(column).to_pylist(), dtype=object)
        for pair in np.flatnonzero(values[left] != values[right]).tolist():
            found[int(left[pair]), int(right[pair])].append(column)
    compared = compare(everyone, left, right)
    differing = np.flatnonzero(~compared.is_same_value)
    for pair, field in zip(compared.pair[differing].tolist(), compared.field[differing].tolist(), strict=True):
        found[int(left[pair]), int(right[pair])].append(compared.names[field])
    return dict(found)


def _largest_group(rows: list[int], differences: Mapping[tuple[int, int], list[str]]) -> int | None:
    """The first answer of the only largest group of answers that say the same; None where there is no such group."""
    groups: list[list[int]] = []
    for row in rows:
        own = next((group for group in groups if (group[0], row) not in differences), None)
        if own is None:
            groups.append([row])
        else:
            own.append(row)
    sizes = sorted((len(group) for group in groups), reverse=True)
    if len(sizes) > 1 and sizes[0] == sizes[1]:
        return None
    return max(groups, key=len)[0]


def _all_differences(rows: list[int], differences: Mapping[tuple[int, int], list[str]]) -> set[str]:
    return {name for one in rows for other in rows for name in differences.get((one, other), ())}
