"""Filters of public corpora: what is refused, why, and that nothing is lost."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.schema.page import Page
from sap_llm.sources.alignment import align
from sap_llm.sources.corpus import SourceDocument
from sap_llm.sources.filters import DocumentFilters, refusal
from sap_llm.sources.truth import Truth


def _page(*words: str) -> Page:
    boxes = np.array([[10.0 * index, 0.0, 10.0 * index + 9, 9.0] for index in range(len(words))], dtype=np.float32)
    return Page(
        page_number=1, width=600, height=800, words=list(words), boxes=boxes.reshape(-1, 4),
        lines=np.zeros(len(words), dtype=np.int32), reader="source",
    )  # fmt: skip


def _document(**changes: object) -> SourceDocument:
    pages = [_page("TOTAL", "12.50")]
    truth = Truth(document_type="RECEIPT", header={"total_amount": "12.50"})
    document = SourceDocument(
        document_id="doc-1", name="1.png", source="x", role="train", content=b"1", media_type="image/png", pages=pages,
        truth=truth, aligned=align(pages, truth, language="en"), language="en", quality=0.7,
    )  # fmt: skip
    return replace(document, **changes)  # type: ignore[arg-type]


_EMPTY = Truth(document_type="FORM")


@pytest.mark.parametrize(
    ("filters", "changes", "reason"),
    [
        ({}, {}, None),
        ({"min_quality": 0.8}, {}, "low_quality"),
        ({"min_quality": 0.7}, {}, None),
        ({"min_characters": 11}, {}, "short_text"),
        ({"min_characters": 10}, {}, None),
        ({"most_pages": 1}, {"pages": [_page("a"), _page("b")]}, "too_many_pages"),
        ({"languages": ("de", "fr")}, {}, "language"),
        ({"languages": ("de", "fr")}, {"language": None}, None),
        ({"needs_truth": True}, {"truth": _EMPTY, "aligned": align([], _EMPTY, language=None)}, "no_truth"),
        ({"needs_truth": False}, {"truth": _EMPTY, "aligned": align([], _EMPTY, language=None)}, None),
        ({"min_quality": 1.0, "min_characters": 99}, {"pages": []}, None),
    ],
)
def test_each_rule_refuses_with_its_reason(
    filters: dict[str, object], changes: dict[str, object], reason: str | None
) -> None:
    fault = refusal(_document(**changes), DocumentFilters.model_validate(filters))
    assert (fault and fault.reason) == reason
    if fault:
        assert fault.row()["payload"] is not None
        assert fault.detail.endswith(".")


def test_a_truth_about_another_document_is_refused() -> None:
    truth = Truth(document_type="RECEIPT", header={"total_amount": "99.00", "seller_city": "Bonn", "iban": "x"})
    document = _document(truth=truth)
    document = replace(document, aligned=align(document.pages, truth, language="en"))
    fault = refusal(document, DocumentFilters())
    assert fault is not None
    assert "0 of 2" in fault.detail  # the city has no label on paper and is not asked for


@given(quality=st.floats(0, 1), least=st.floats(0, 1))
def test_quality_alone_decides_by_its_bound(quality: float, least: float) -> None:
    fault = refusal(_document(quality=quality), DocumentFilters(min_quality=least))
    assert (fault is not None) == (quality < least)
