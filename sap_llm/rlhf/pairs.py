"""Preference pairs: of one document, the answer that a person preferred and the one it is better than.

Belongs here: which feedback makes a pair, how much better its better answer is, and in which split it lies. What
corrections do to values is `answers`, the dataset is `stage`; recording feedback is `pmg.feedback`.

A correction says that the corrected answer beats the extraction as it was. An approval says that every value is right,
so a copy in which one of them is changed is known to be worse; it is a pair only if the configuration asks for it.
A rejection says nothing about what would be better, so it makes none.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sap_llm.rlhf.answers import (
    DOCUMENT_TYPE,
    CorrectionError,
    Values,
    as_json,
    changed_places,
    corrected,
    field_of,
    values_of,
)
from sap_llm.schema.taxonomy import load_taxonomy


class MarginConfig(BaseModel):
    """How much a wrong value costs the business, as the margin that a reward model shall keep."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field_weights: dict[str, float] = Field(description="by field or document_type; 1 for the others")
    business_weights: dict[str, float] = Field(description="by class; 1 for the others")
    scale: float = Field(gt=0, description="margin of one wrong value of weight 1")
    most: float = Field(gt=0, description="largest margin, however much is wrong")

    @field_validator("field_weights")
    @classmethod
    def _known_fields(cls, weights: dict[str, float]) -> dict[str, float]:
        return _known(weights, {field.name for field in load_taxonomy().fields} | {DOCUMENT_TYPE})

    @field_validator("business_weights")
    @classmethod
    def _known_classes(cls, weights: dict[str, float]) -> dict[str, float]:
        return _known(weights, {entry.name for entry in load_taxonomy().classes})

    def margin(self, document_type: str, places: Sequence[str]) -> float:
        """`scale` times the weights of the wrong places and of the class, at most `most`."""
        wrong = sum(self.field_weights.get(field_of(place), 1.0) for place in places)
        return min(self.most, self.scale * wrong * self.business_weights.get(document_type, 1.0))


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """One extraction with all that people said about it, oldest word first.

    `feedback` are properties of Feedback nodes: id, kind, user_id, corrections (JSON).
    """

    document_id: str
    extraction_id: str
    content: str
    feedback: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PreferencePair:
    """Two answers about the same document; `places` are those at which they differ."""

    document_id: str
    extraction_id: str
    document_type: str
    kind: str  # correction | approval
    feedback_ids: tuple[str, ...]
    chosen: str
    rejected: str
    places: tuple[str, ...]
    margin: float


def pairs_of(reviewed: Reviewed, *, margins: MarginConfig, damaged_copies: int, seed: int) -> list[PreferencePair]:
    """The pairs that the feedback about one extraction makes; empty where it says nothing about what is better.

    Of one person the newest word counts. The words of several people are combined as long as they agree.

    Args:
        reviewed: The extraction and its feedback.
        margins: Weights of fields and classes.
        damaged_copies: Pairs that an approval makes at most; 0 makes none.
        seed: For the choice of what is damaged.

    Raises:
        CorrectionError: People disagree, or a correction does not fit the extraction.
        ValueError: The extraction or a correction is no JSON of the expected form.
    """
    values = values_of(reviewed.content)
    newest = {entry["user_id"]: entry for entry in reviewed.feedback}.values()
    corrections = [entry for entry in newest if entry["kind"] == "correction"]
    approvals = [entry for entry in newest if entry["kind"] == "approval"]
    if approvals and len(approvals) < len(newest):
        raise CorrectionError("people_disagree", "", "approved by one person, not by another")
    if corrections:
        better = corrected(values, _combined(corrections))
        return [_pair(reviewed, "correction", corrections, better, values, margins)]
    if not approvals:
        return []
    worse = damaged(values, copies=damaged_copies, seed=f"{seed}:{reviewed.extraction_id}")
    return [_pair(reviewed, "approval", approvals, values, copy, margins) for copy in worse]


def damaged(values: Mapping[str, str], *, copies: int, seed: str) -> list[Values]:
    """Different copies with one error each of the kinds that models make, at most `copies`.

    A value is missing, or two fields of the same taxonomy type have each other's values. Nothing is invented, so a
    reward model cannot learn to know the worse answer by letters that no document shows.
    """
    known = {field.name: field.type for field in load_taxonomy().fields}
    types = {place: known[field_of(place)] for place in values if field_of(place) in known}
    fields = sorted(types)
    made: list[Values] = [{key: value for key, value in values.items() if key != place} for place in fields]
    for number, first in enumerate(fields):
        made += [
            dict(values) | {first: values[second], second: values[first]}
            for second in fields[number + 1 :]
            if types[first] == types[second] and values[first] != values[second]
        ]
    return random.Random(seed).sample(made, min(copies, len(made)))  # noqa: S311 -- reproducible, no secret


def _pair(
    reviewed: Reviewed,
    kind: str,
    said: Sequence[Mapping[str, Any]],
    better: Values,
    worse: Values,
    margins: MarginConfig,
) -> PreferencePair:
    places = changed_places(better, worse)
    return PreferencePair(
        document_id=reviewed.document_id,
        extraction_id=reviewed.extraction_id,
        document_type=better[DOCUMENT_TYPE],
        kind=kind,
        feedback_ids=tuple(sorted(entry["id"] for entry in said)),
        chosen=as_json(better),
        rejected=as_json(worse),
        places=tuple(places),
        margin=margins.margin(better[DOCUMENT_TYPE], places),
    )


def _combined(corrections: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str | None]]:
    changes: dict[str, dict[str, str | None]] = {}
    for entry in corrections:
        for place, change in json.loads(entry["corrections"]).items():
            if place in changes and changes[place].get("after") != change.get("after"):
                raise CorrectionError("people_disagree", place, "corrected to different values by different people")
            changes[place] = change
    return changes


def _known(weights: dict[str, float], names: set[str]) -> dict[str, float]:
    if unknown := sorted(weights.keys() - names):
        raise ValueError(f"unknown to the taxonomy: {', '.join(unknown)}")
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("weights must not be negative")
    return weights
