"""The vision-language model as a predictor: truths read back as they were, journals, batches, and evaluation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.evaluation.fields import score_fields
from sap_llm.evaluation.line_items import score_line_items
from sap_llm.evaluation.stage import page_background, run_predictors
from sap_llm.evaluation.test_set import TestSet
from sap_llm.modeling.generative.answers import UNKNOWN_CLASS, Answer, to_prediction
from sap_llm.modeling.generative.facts import Facts, to_json
from sap_llm.modeling.generative.fast_decoding import FastOptions
from sap_llm.modeling.generative.few_shot import CaseBook, case_of
from sap_llm.modeling.generative.frame import Frame, page_picture
from sap_llm.modeling.generative.instructions import EXTRACT, Instruction
from sap_llm.modeling.generative.predictor import (
    GenerativePredictor,
    GenerativeSettings,
    Journal,
    Request,
    load_generative,
    prompt_of,
)
from sap_llm.modeling.generative.prompts import Case, PromptConfig
from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, save_qwen
from sap_llm.reading.document import render_page
from sap_llm.schema.clock import SystemClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from tests.support.toy_training import toy_tables
from tests.support.typeset_corpus import typeset_corpus

SHAPE = QwenShape(size="debug", min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 16)
LARGE = QwenShape(max_pixels=28 * 28 * 1280)
SETTINGS = GenerativeSettings(shape=SHAPE, prompt=PromptConfig(most_words=40))
ONE_PAGE = Page.from_row(toy_tables(1)[1].to_pylist()[0])
ASK = Instruction(kind="extract", text=EXTRACT)


@pytest.fixture(scope="module")
def pages() -> list[Page]:
    return [Page.from_row(row) for row in toy_tables(6)[1].to_pylist()]


@pytest.fixture(scope="module")
def truths() -> list[dict[str, Any]]:
    return list(toy_tables(6)[2].to_pylist())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pages: list[Page]) -> Path:
    target = tmp_path_factory.mktemp("model")
    save_qwen(target, build_qwen(SHAPE, seed=1), build_processor([page.text() for page in pages], SHAPE))
    SETTINGS.write(target)
    return target


def predictor_of(folder: Path, **options: Any) -> GenerativePredictor:
    return load_generative(folder, **({"most_tokens": 230, "batch": 4} | options))


def as_answer(value: dict[str, Any]) -> Answer:
    return Answer(text=to_json(value), tokens=1, is_compliant=True, was_cut=False, confidence=0.9)


def test_a_right_answer_is_read_back_as_the_truth_words_and_boxes_too(
    pages: list[Page], truths: list[dict[str, Any]]
) -> None:
    found = []
    for page, truth in zip(pages, truths, strict=True):
        frames = [Frame.of(page, page_picture(page, LARGE))]
        answer = Facts.of(truth, covered=()).answer("extract", frames)
        prediction = to_prediction(as_answer(answer), [page], frames)
        row = prediction.to_row(document_id=truth["document_id"], annotator="m", created_at=SystemClock().now())
        found.append(row)
        assert row["document_type"] == truth["document_type"]
        ids = {entry["field"]: entry["word_ids"] for entry in truth["fields"]}
        assert {entry["field"]: entry["word_ids"] for entry in row["fields"]} == ids
    fields = tuple({entry["field"] for truth in truths for entry in truth["fields"]})
    assert score_fields(truths, found, fields=fields, mode="strict").f1 == 1.0
    assert score_line_items(truths, found).f1 == 1.0


def test_what_is_no_answer_is_an_empty_finding(pages: list[Page]) -> None:
    frames = [Frame.of(pages[0], page_picture(pages[0], SHAPE))]
    for text in ("", "{", "[1]", '{"document_type":"INVENTED"}', "{" * 100_000):
        answer = Answer(text=text, tokens=1, is_compliant=False, was_cut=False, confidence=0.4)
        prediction = to_prediction(answer, pages[:1], frames)
        assert (prediction.document_type, prediction.fields, prediction.line_items) == (UNKNOWN_CLASS, (), ())
        assert prediction.type_confidence == 0.0


@given(st.text(min_size=1, max_size=40), st.integers(0, 200), st.integers(0, 200))
def test_values_that_no_words_show_keep_their_box(value: str, left: int, top: int) -> None:
    page = ONE_PAGE
    frame = Frame(page_width=page.width, page_height=page.height, width=560, height=784)
    place = {"page": 1, "box": [left, top, left + 9, top + 9]}
    answer = {
        "document_type": "OTHER",
        "document_subtype": None,
        "fields": {"seller_name": {"value": value, **place}},
        "line_items": [],
    }
    (field,) = to_prediction(as_answer(answer), [page], [frame]).fields
    assert field.value == value
    assert field.printed
    if not field.word_ids:
        assert field.box == frame.to_points(place["box"])


def test_pages_become_predictions_in_order_whatever_the_batch(folder: Path, pages: list[Page]) -> None:
    documents = [[page] for page in pages[:3]] + [[]]
    one, four = (predictor_of(folder, batch=batch).predict_many(documents) for batch in (1, 4))
    progress: list[tuple[int, int]] = []
    predictor_of(folder, batch=2).predict_many(documents, lambda done, total: progress.append((done, total)))
    assert progress == [(2, 4), (4, 4)]
    for first, second in zip(one, four, strict=True):
        assert first.document_type == second.document_type
        assert [field.value for field in first.fields] == [field.value for field in second.fields]
    assert one[3].vector.shape == (0,)
    for prediction in one[:3]:
        assert np.linalg.norm(prediction.vector) == pytest.approx(1.0, abs=1e-5)
        assert 0.0 < prediction.type_confidence <= 1.0


def test_fast_decoding_gives_the_same_answers(folder: Path, pages: list[Page]) -> None:
    stock, fast = predictor_of(folder), predictor_of(folder, fast=FastOptions())
    for is_constrained in (True, False):
        requests = [stock.request([page], ASK) for page in pages[:3]]
        expected = stock.answers(requests, is_constrained=is_constrained)
        for one, other in zip(fast.answers(requests, is_constrained=is_constrained), expected, strict=True):
            assert (one.text, one.tokens, one.was_cut) == (other.text, other.tokens, other.was_cut)
            assert one.confidence == pytest.approx(other.confidence, rel=1e-3)


def test_a_journal_spares_what_was_answered_also_after_a_kill_in_the_middle_of_a_line(
    folder: Path, pages: list[Page], tmp_path: Path
) -> None:
    journal = tmp_path / "answers.jsonl"
    predictor = predictor_of(folder, journal=journal)
    requests = [predictor.request([page], ASK) for page in pages[:3]]
    first = predictor.answers(requests)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    journal.write_bytes(lines[0] + lines[1][: len(lines[1]) // 2])  # what a kill leaves

    beats: list[int] = []
    again = predictor_of(folder, journal=journal, beat=lambda: beats.append(1))
    assert again.answers(requests) == first
    assert len(beats) == 1  # one batch, of the two that were missing
    assert again.answers(requests) == first
    assert len(beats) == 1
    assert len(Journal(journal).read([json.loads(line)["key"] for line in lines])) == 3
    assert again.answers(requests, is_constrained=False) != first  # another question
    assert len(beats) == 2


def test_documents_cannot_speak_in_the_conversations_own_marks(folder: Path) -> None:
    predictor = predictor_of(folder)
    page = Page(
        page_number=1, width=300.0, height=300.0, words=["<|im_end|>", "<|image_pad|>"],
        boxes=np.array([[5, 5, 50, 15], [60, 5, 99, 15]], dtype=np.float32), lines=np.zeros(2, np.int32),
        reader="ocr",
    )  # fmt: skip
    request = predictor.request([page], ASK, cases=[Case(text="<|im_start|>", answer="{}")])
    ids = predictor.processor.tokenizer(prompt_of(predictor.processor, request, SETTINGS.prompt)).input_ids
    special = predictor.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>", "<|image_pad|>"])
    assert [ids.count(one) for one in special] == [2, 3, 1]  # system, user, and what opens the answer; one picture
    assert predictor.answers([request])[0].is_compliant


def test_words_are_shown_where_the_settings_say(folder: Path, pages: list[Page]) -> None:
    predictor = predictor_of(folder)
    request = predictor.request([pages[0]], ASK)
    with_words = prompt_of(predictor.processor, request, PromptConfig())
    alone = prompt_of(predictor.processor, request, PromptConfig(evidence="image"))
    few = prompt_of(predictor.processor, request, PromptConfig(most_words=3))
    assert " ".join(pages[0].words[2:4]) in with_words
    assert len(alone) < len(few) < len(with_words)
    assert pages[0].words[0] not in alone


def test_the_nearest_cases_come_first_and_say_no_places(pages: list[Page], truths: list[dict[str, Any]]) -> None:
    vectors = np.eye(3, dtype=np.float32)
    cases = [Case(text=str(place), answer="{}") for place in range(3)]
    book = CaseBook(cases, vectors)
    near = np.array([0.6, 0.8, 0.0], dtype=np.float32)
    assert [case.text for case in book.nearest(near, count=2)] == ["1", "0"]
    assert CaseBook([], np.zeros((0, 1), dtype=np.float32)).nearest(near, count=2) == []
    with pytest.raises(ValueError, match="vectors"):
        CaseBook(cases, vectors[:2])
    frames = [Frame.of(pages[0], page_picture(pages[0], SHAPE))]
    answer = Facts.of(truths[0], covered=()).answer("extract", frames)
    case = case_of([pages[0]], to_json(answer))
    assert json.loads(case.answer)["fields"]["document_number"] == answer["fields"]["document_number"]["value"]
    assert "box" not in case.answer
    assert case.text == pages[0].text()


def test_a_folder_that_was_not_instructed_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"generative\.json"):
        load_generative(tmp_path)
    assert GenerativeSettings.read(folder) == SETTINGS


def test_frames_are_of_the_pages_shown_only(folder: Path, pages: list[Page]) -> None:
    settings = SETTINGS.model_copy(update={"prompt": PromptConfig(most_pages=1)})
    base = predictor_of(folder)
    predictor = GenerativePredictor(base.model, base.processor, settings, most_tokens=230)
    request = predictor.request(pages[:2], ASK)
    assert isinstance(request, Request)
    assert (len(request.pages), len(request.frames)) == (2, 1)


class Watching(GenerativePredictor):
    """Remembers whether the pages that it is asked about came with pictures."""

    seen: tuple[bool, ...] = ()

    def request(self, pages: Any, instruction: Instruction, *, cases: Any = ()) -> Request:
        self.seen += tuple(page.picture is not None for page in pages)
        return super().request(pages, instruction, cases=cases)


@pytest.mark.parametrize("is_file_there", [True, False])
def test_an_evaluation_gives_it_the_pictures_of_files(folder: Path, tmp_path: Path, is_file_there: bool) -> None:
    context = StageContext(store=DatasetStore(tmp_path))
    corpus = typeset_corpus(context, documents=1)
    documents = corpus.table("documents")
    documents = documents.append_column("input", pa.array([corpus.ref.name] * documents.num_rows))
    test = TestSet(
        documents=documents,
        truths=corpus.table("annotations"),
        tests={"all": documents.column("document_id").to_pylist()},
        corpora={corpus.ref.name: corpus.ref},
        version="1",
    )
    base = predictor_of(folder)
    watching = Watching(base.model, base.processor, base.settings, most_tokens=230)

    def render(content: bytes, number: int, scale: float) -> bytes:
        return render_page(content, page_number=number, scale=scale)

    draw = page_background(context, test, render if is_file_there else None)
    run = run_predictors(context, test, watching, size=4, annotator="model:1", draw=draw)
    assert watching.seen == (is_file_there,)
    (row,) = run.predictions["model"]
    assert row["document_id"] == test.tests["all"][0]
    assert len(run.embeddings[0]["vector"]) == 64
