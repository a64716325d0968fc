"""Instruction pairs: right by their schema, deterministic, by split, and nothing is lost without a reason."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sap_llm.modeling.generative.answer_schema import KINDS
from sap_llm.modeling.generative.constrained import is_compliant
from sap_llm.modeling.generative.frame import Frame
from sap_llm.modeling.generative.instructions import Instruction
from sap_llm.reading.document import render_page
from sap_llm.schema.errors import ConfigurationError, UnreadableDocumentError
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetStore
from sap_llm.training.instructions import InstructionPairsConfig, build_instruction_pairs
from tests.support.toy_training import toy_training_set
from tests.support.typeset_training import typeset_training_set

COUNTS = {"train": 60, "validation": 12, "test": 0}


def config(**changes: Any) -> InstructionPairsConfig:
    return InstructionPairsConfig.model_validate({"pairs": COUNTS, "max_pixels": 28 * 28 * 30} | changes)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def made(context: StageContext, *, documents: int = 30, **changes: Any) -> Dataset:
    training_set = toy_training_set(context, documents)
    return build_instruction_pairs(context, config=config(**changes), training_set=training_set, release="r1").dataset


def rows(dataset: Dataset, table: str) -> list[dict[str, Any]]:
    return list(dataset.table(table).to_pylist())


def test_every_answer_is_of_its_schema_and_says_what_the_truth_says(context: StageContext) -> None:
    dataset = made(context)
    pages = {row["document_id"]: row for row in rows(dataset, "pages")}
    (annotated,) = (ref for name, ref in context.store.open(toy_training_set(context, 30)).manifest.inputs.items()
                    if name.startswith("annotated_docs"))  # fmt: skip
    truths = {row["document_id"]: row for row in rows(context.store.open(annotated), "annotations")}
    for pair in rows(dataset, "pairs"):
        page = pages[pair["document_id"]]
        picture = Image.open(io.BytesIO(page["content"]))
        frame = Frame.of(Page.from_row(page), picture)
        answer = json.loads(pair["answer"])
        instruction = Instruction(kind=pair["kind"], text=pair["instruction"], field=pair["field"])
        assert is_compliant(answer, instruction.schema([frame]))
        truth = truths[pair["document_id"]]
        values = {entry["field"]: entry for entry in truth["fields"]}
        if pair["kind"] == "extract":
            assert answer["document_type"] == truth["document_type"]
            assert {name: found["value"] for name, found in answer["fields"].items()} == {
                name: entry["value"] for name, entry in values.items()
            }
            for name, found in answer["fields"].items():
                assert found["box"] == list(frame.to_pixels(values[name]["box"]))
            assert len(answer["line_items"]) == len(truth["line_items"])
        if pair["kind"] == "extract_field":
            found = answer[pair["field"]]
            assert (found is None) == (pair["field"] not in values) == pair["is_unanswerable"]
        if pair["instruction"] == "How many line items does it have?":
            assert answer == {"answer": str(len(truth["line_items"]))}
        if pair["instruction"] == "By when is it to be paid?":
            assert answer == {"answer": None}  # the toy documents have no due date


def test_the_same_seed_gives_the_same_pairs_and_another_gives_others(context: StageContext, tmp_path: Path) -> None:
    other = StageContext(store=DatasetStore(tmp_path / "elsewhere"))
    first = made(context)
    assert first.manifest.data_version == made(other).manifest.data_version
    assert first.manifest.data_version != made(context, seed=8).manifest.data_version


def test_counts_are_kept_by_split_and_kind(context: StageContext) -> None:
    dataset = made(context)
    metrics = dataset.manifest.metrics
    assert (metrics["pairs_train"], metrics["pairs_validation"], metrics["pairs_test"]) == (60, 12, 0)
    assert all(metrics[f"pairs_{kind}"] for kind in KINDS)
    assert sum(metrics[f"pairs_{kind}"] for kind in KINDS) == metrics["pairs"] == dataset.manifest.rows["pairs"]
    assert 0 < metrics["pairs_unanswerable"] < 30
    assert metrics["pictures_drawn"] == dataset.manifest.rows["pages"] == metrics["documents"]
    pairs = rows(dataset, "pairs")
    assert len({pair["pair_id"] for pair in pairs}) == len({(one["document_id"], one["instruction"]) for one in pairs})
    splits = {row["document_id"]: row["split"] for row in rows(dataset, "documents")}
    assert all(pair["split"] == splits[pair["document_id"]] for pair in pairs)
    judged = {row["document_id"] for row in rows(dataset, "annotations")}
    assert judged == {document for document, split in splits.items() if split != "train"}


def test_few_documents_are_asked_more_and_never_twice_the_same(context: StageContext) -> None:
    dataset = made(context, documents=10, pairs={"train": 400, "validation": 2, "test": 0})
    metrics = dataset.manifest.metrics
    assert metrics["pairs_train"] < 400 == metrics["pairs_wanted"] - 2
    pairs = rows(dataset, "pairs")
    assert len({(pair["document_id"], pair["instruction"]) for pair in pairs}) == len(pairs)


def test_a_kind_without_weight_and_fields_not_wanted_do_not_occur(context: StageContext) -> None:
    dataset = made(context, shares={"extract_field": 1.0}, fields=["total_amount", "iban"], absent_share=0.5)
    pairs = rows(dataset, "pairs")
    assert {pair["kind"] for pair in pairs} == {"extract_field"}
    assert {pair["field"] for pair in pairs} == {"total_amount", "iban"}


def test_what_cannot_be_asked_about_is_in_quarantine_with_its_reason(
    context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tests.support.toy_training as toy

    plain = toy.toy_tables

    def spoilt(count: int, *, seed: int = 0) -> tuple[pa.Table, pa.Table, pa.Table]:
        documents, pages, annotations = plain(count, seed=seed)
        truths = annotations.to_pylist()
        next(entry for entry in truths[1]["fields"] if entry["field"] == "document_date")["value"] = "28 July"
        return documents, pages.filter(pa.array([place != 2 for place in range(count)])), pa.Table.from_pylist(
            [row for place, row in enumerate(truths) if place != 3], schema=annotations.schema
        )  # fmt: skip

    monkeypatch.setattr(toy, "toy_tables", spoilt)
    dataset = made(context, documents=6, pairs={"train": 20, "validation": 8, "test": 0})
    found = {row["record"]: (row["reason"], row["field"]) for row in rows(dataset, "quarantine")}
    assert found == {
        "doc-0-1": ("off_schema", "document_date"),
        "doc-0-2": ("no_pages", None),
        "doc-0-3": ("no_truth", None),
    }
    asked = {row["document_id"] for row in rows(dataset, "pairs")}
    assert asked == {"doc-0-0", "doc-0-4", "doc-0-5"} == {row["document_id"] for row in rows(dataset, "pages")}


def test_files_are_rendered_and_boxes_lie_on_the_ink_of_their_words(context: StageContext) -> None:
    dataset = build_instruction_pairs(
        context,
        config=config(
            max_pixels=28 * 28 * 900, shares={"extract": 1.0}, pairs={"train": 4, "validation": 2, "test": 0}
        ),
        training_set=typeset_training_set(context),
        release="r1",
        render=lambda content, number, scale: render_page(content, page_number=number, scale=scale),
    ).dataset
    assert dataset.manifest.metrics["pictures_rendered"] == dataset.manifest.rows["pages"] > 0
    pages = {row["document_id"]: row for row in rows(dataset, "pages")}
    for pair in rows(dataset, "pairs"):
        gray = np.asarray(Image.open(io.BytesIO(pages[pair["document_id"]]["content"])).convert("L"))
        answer = json.loads(pair["answer"])
        assert answer["fields"]["total_amount"]["value"] == "267.75"
        assert len(answer["line_items"]) == 2
        for name, found in answer["fields"].items():
            x0, y0, x1, y1 = found["box"]
            assert gray[y0:y1, x0:x1].min() < 128, name
            assert gray[y0:y1, x1 + 1].min() > 180, name  # the gap behind a value


def test_a_file_that_cannot_be_rendered_is_set_aside_with_the_readers_reason(context: StageContext) -> None:
    calls = []

    def fails_once(content: bytes, number: int, scale: float) -> bytes:
        calls.append(number)
        if len(calls) == 1:
            raise UnreadableDocumentError("the file is damaged", where="page 1", remedy="Save it again.")
        return render_page(content, page_number=number, scale=scale)

    dataset = build_instruction_pairs(
        context,
        config=config(),
        training_set=typeset_training_set(context),
        release="r1",
        render=fails_once,
    ).dataset
    (row,) = rows(dataset, "quarantine")
    assert row["reason"] == "unreadable"
    assert "damaged" in row["detail"]
    assert dataset.manifest.metrics["documents"] == 5


def test_nothing_to_learn_from_is_an_error_for_the_user(context: StageContext) -> None:
    with pytest.raises(ConfigurationError, match="no document"):
        made(context, documents=0)
    with pytest.raises(ConfigurationError, match="weight 0"):
        made(context, shares={"classify": 0.0})
