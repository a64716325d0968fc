"""Extractions as values by place, what a correction makes of one, and how much of a known truth one gets right.

Belongs here: the form in which two answers about one document are compared, and the reward that needs no model. Which
answers form a pair is `pairs`; places and confidences of an extraction stay in the process memory.
"""

import json
from collections.abc import Mapping
from typing import Any

from sap_llm.schema.taxonomy import load_taxonomy

DOCUMENT_TYPE = "document_type"
Values = dict[str, str]
"""Value by place: `document_type`, `total_amount`, `line_items[2].line_quantity`, as corrections name them."""


class CorrectionError(ValueError):
    """A correction that does not fit its extraction: `reason` is the short code, `place` where."""

    def __init__(self, reason: str, place: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.place = reason, place


def values_of(content: str) -> Values:
    """Values of an extraction as `pmg.ingest.extraction_content` wrote it; of repeated fields the first.

    Boxes and confidences are left out: a corrected value has none, so they would tell which of two answers is which.

    Raises:
        ValueError: No such JSON (a KeyError and TypeError become one).
    """
    try:
        found = json.loads(content)
        values: Values = {DOCUMENT_TYPE: found["document_type"]}
        places = [("", found["fields"])]
        places += [(f"line_items[{line['line_number']}].", line["fields"]) for line in found["line_items"]]
        for prefix, fields in places:
            for field in fields:
                if field["value"] is not None:
                    values.setdefault(f"{prefix}{field['field']}", field["value"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an extraction ({error!r})") from error
    return values


def corrected(values: Mapping[str, str], corrections: Mapping[str, Mapping[str, str | None]]) -> Values:
    """The values after a person's corrections (place -> before, after; `after` None takes the value away).

    Raises:
        CorrectionError: An unknown place, a value that the extraction did not have, or one that is no change.
    """
    result = dict(values)
    for place, change in corrections.items():
        before, after = change.get("before"), change.get("after")
        _check_place(place, after)
        if before is not None and values.get(place) != before:
            raise CorrectionError("stale_before", place, f"corrects {before!r}, but it was {values.get(place)!r}")
        if values.get(place) == after:
            raise CorrectionError("no_change", place, f"corrects {after!r} to itself")
        if after is None:
            result.pop(place, None)
        else:
            result[place] = after
    return result


def changed_places(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Places at which two answers differ, sorted."""
    return sorted(place for place in first.keys() | second.keys() if first.get(place) != second.get(place))


def field_of(place: str) -> str:
    """The taxonomy field (or `document_type`) that a place is of."""
    return place.rpartition(".")[2]


def as_json(values: Mapping[str, str]) -> str:
    """An answer as canonical JSON, places sorted."""
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def verifiable_reward(answer: str, truth: Mapping[str, str]) -> float:
    """F1 of exactly equal values against a known truth: 1 when all are right and none is too much, 0 when none is.

    -1 for an answer that is no JSON object of strings, so that breaking the form is worse than saying nothing.
    """
    said = _read(answer)
    if said is None:
        return -1.0
    if not said and not truth:
        return 1.0
    right = sum(truth.get(place) == value for place, value in said.items())
    return 2 * right / (len(said) + len(truth))


def _read(answer: str) -> Values | None:
    try:
        said: Any = json.loads(answer)
    except ValueError:
        return None
    is_answer = isinstance(said, dict) and all(isinstance(value, str) for value in said.values())
    return said if is_answer else None


def _check_place(place: str, after: str | None) -> None:
    taxonomy = load_taxonomy()
    if place == DOCUMENT_TYPE:
        if after not in {entry.name for entry in taxonomy.classes}:
            raise CorrectionError("unknown_class", place, f"{after!r} is no document class")
        return
    line, _, name = place.rpartition(".")
    wanted = "line" if line else "header"
    known = {field.name for field in taxonomy.fields if field.level == wanted}
    if name not in known or (line and not (line.startswith("line_items[") and line.endswith("]"))):
        raise CorrectionError("unknown_field", place, f"the taxonomy has no {wanted} field {name!r}")
