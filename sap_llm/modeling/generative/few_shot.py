"""Similar documents as examples in the prompt.

Belongs here: choosing cases by vector from what is given, and their form. Where they come from is the business of the
caller: documents of the training split, or of the process memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.generative.answers import parsed
from sap_llm.modeling.generative.facts import to_json
from sap_llm.modeling.generative.prompts import Case
from sap_llm.schema.page import Page


class CaseBook:
    """Documents with right answers, found by the vectors of documents like them."""

    def __init__(self, cases: Sequence[Case], vectors: npt.NDArray[np.float32]) -> None:
        """Take cases and, parallel to them, vectors float32 [n, width] of unit length."""
        if len(cases) != len(vectors):
            raise ValueError(f"{len(cases)} cases, {len(vectors)} vectors")
        self._cases, self._vectors = tuple(cases), vectors

    def nearest(self, vector: npt.NDArray[np.float32], *, count: int) -> list[Case]:
        """The cases of the greatest cosine with a vector of unit length, most similar first; ties by position."""
        if not self._cases:
            return []
        order = np.argsort(-(self._vectors @ vector), kind="stable")[:count]
        return [self._cases[int(place)] for place in order]


def case_of(pages: Sequence[Page], answer: str) -> Case:
    """A case from a document and its right answer to `extract`; places are left out: they are another page's."""
    value = parsed(answer)
    if value is None:
        raise ValueError("the answer is no JSON object")
    return Case(text="\n".join(page.text() for page in pages), answer=to_json(_placeless(value)))


def _placeless(answer: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: found["value"] for name, found in answer["fields"].items()}
    items = [{key: value for key, value in item.items() if key not in ("page", "box")} for item in answer["line_items"]]
    return {**answer, "fields": fields, "line_items": items}
