"""Ids made of content: equal content, equal id; any difference, another id."""

from typing import Any

import pytest

from sap_llm.pmg.feedback import Feedback, feedback_id
from sap_llm.pmg.ingest import extraction_content, extraction_id
from sap_llm.schema.manifest import DatasetRef

MODEL = DatasetRef(name="multitask_model/r1", version="aa")


def prediction(value: str = "1.00", confidence: float = 0.9) -> dict[str, Any]:
    field = {
        "field": "total_amount",
        "value": value,
        "printed": value,
        "page": 1,
        "box": [1.0, 2.0, 3.0, 4.04],
        "confidence": confidence,
    }
    return {
        "document_type": "RECEIPT",
        "document_subtype": None,
        "type_confidence": 0.5,
        "fields": [field],
        "line_items": [],
    }


def test_extraction_id_follows_multitask_model_and_content() -> None:
    def made(document: str = "d", model: DatasetRef = MODEL, **changes: Any) -> str:
        return extraction_id(document, model, extraction_content(prediction(**changes)))

    other = DatasetRef(name="multitask_model/r1", version="bb")
    assert made() == made()
    assert len({made(), made("e"), made(model=other), made(value="2.00"), made(confidence=0.8)}) == 5


def test_feedback_id_follows_what_was_said() -> None:
    def said(user: str = "ana", after: str = "2", reason: str = "", kind: Any = "correction") -> str:
        corrections: dict[str, dict[str, str | None]] = {
            "b": {"before": "1", "after": after},
            "a": {"before": None, "after": "x"},
        }
        entry = Feedback(document_id="d", kind=kind, user_id=user, corrections=corrections, reason=reason)
        return feedback_id(entry, "ex-1")

    assert said() == said()
    assert len({said(), said(user="bo"), said(after="3"), said(reason="typo")}) == 4


@pytest.mark.parametrize(
    ("kind", "corrections"), [("correction", {}), ("approval", {"a": {}}), ("rejection", {"a": {}}), ("praise", {})]
)
def test_feedback_that_contradicts_itself_is_refused(kind: Any, corrections: Any) -> None:
    with pytest.raises(ValueError, match=r"kind|correction"):
        Feedback(document_id="d", kind=kind, user_id="ana", corrections=corrections)
