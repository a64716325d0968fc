"""Truths of real orders as answers: they are of their schema, and are read back as they were."""

from pathlib import Path
from typing import Any

import pytest

from sap_llm.evaluation.fields import score_fields
from sap_llm.evaluation.line_items import score_line_items
from sap_llm.modeling.generative.answers import Answer, to_prediction
from sap_llm.modeling.generative.constrained import is_compliant
from sap_llm.modeling.generative.facts import Facts, to_json
from sap_llm.modeling.generative.frame import Frame, page_picture
from sap_llm.modeling.generative.instructions import EXTRACT, Instruction
from sap_llm.modeling.qwen import QwenShape
from sap_llm.schema.clock import SystemClock
from sap_llm.schema.page import Page
from sap_llm.sources.public import PublicDocsConfig, build_public_docs
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore


@pytest.mark.slow
def test_right_answers_about_real_orders_lose_nothing_of_the_truth(shared_data: Path, tmp_path: Path) -> None:
    context = StageContext(store=DatasetStore(tmp_path))
    corpus = build_public_docs(
        context, config=PublicDocsConfig(max_documents=12), corpus="order-x", folder=shared_data
    ).dataset
    pages: dict[str, list[Page]] = {}
    for row in corpus.table("pages").to_pylist():
        pages.setdefault(row["document_id"], []).append(Page.from_row(row))
    truths = [row for row in corpus.table("annotations").to_pylist() if row["document_id"] in pages]
    assert len(truths) >= 10
    found: list[dict[str, Any]] = []
    for truth in truths:
        shown = pages[truth["document_id"]]
        frames = [Frame.of(page, page_picture(page, QwenShape())) for page in shown]
        facts = Facts.of(truth, covered=())
        assert facts.misfit() is None
        answer = facts.answer("extract", frames)
        assert is_compliant(answer, Instruction(kind="extract", text=EXTRACT).schema(frames))
        written = Answer(text=to_json(answer), tokens=1, is_compliant=True, was_cut=False, confidence=1.0)
        prediction = to_prediction(written, shown, frames)
        found.append(prediction.to_row(document_id=truth["document_id"], annotator="m", created_at=SystemClock().now()))
    fields = tuple(sorted({entry["field"] for truth in truths for entry in truth["fields"]}))
    assert score_fields(truths, found, fields=fields).f1 == 1.0
    assert score_fields(truths, found, fields=fields, mode="strict").f1 > 0.98  # words are found again, not remembered
    assert score_line_items(truths, found).f1 == 1.0
