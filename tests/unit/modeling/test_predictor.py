"""The way from pages to a prediction and its annotation JSON, with a network that has learnt nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.candidates import Scroll
from sap_llm.modeling.features import WINDOW_WORDS
from sap_llm.modeling.folder import CONFIG, ModelConfig, read_config, write_config
from sap_llm.modeling.further_fields import decode_further_fields
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import HEADER_FIELDS, LINE_FIELDS, WORD_SCORES, default_labels
from sap_llm.modeling.normalise import manner_of
from sap_llm.modeling.predictor import EncoderPredictor
from sap_llm.modeling.protocol import PredictedBlock, PredictedCell, PredictedTable, Prediction
from sap_llm.modeling.torch_runtime import TorchRuntime
from sap_llm.schema.document import DocumentForm
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.page import Page
from sap_llm.schema.tables import ANNOTATIONS, conform

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def page_of(words: list[str], number: int = 1) -> Page:
    lines = np.arange(len(words), dtype=np.int32) // 6
    left = (np.arange(len(words), dtype=np.float32) % 6) * 80 + 40
    boxes = np.stack([left, lines * 9.0, left + 60, lines * 9.0 + 8], axis=1).astype(np.float32)
    return Page(page_number=number, width=595, height=842, words=words, boxes=boxes, lines=lines, reader="")


def config_of(untaught: frozenset[str]) -> ModelConfig:
    labels = replace(default_labels(), untaught=untaught)
    return ModelConfig(
        taxonomy_version="x", backbone=EncoderConfig(width=32, layers=1, heads=2), labels=labels.to_json()
    )


def test_a_long_document_is_read_whole_and_its_finding_is_an_annotation() -> None:
    untaught = frozenset({*HEADER_FIELDS[30:], *LINE_FIELDS[9:]})
    config = config_of(untaught)
    torch.manual_seed(3)
    network = MultitaskModel(config.backbone, config.label_set).eval()
    with torch.no_grad():
        network.word_scores.weight.mul_(8.0)  # bold, so that it finds something
    predictor = EncoderPredictor(config, TorchRuntime(network))
    pages = [page_of([f"W{place}" for place in range(WINDOW_WORDS)]), page_of(["12.50", "Total"] * 60, 2)]
    (scores,) = predictor.score([pages])
    for name in WORD_SCORES:
        assert len(scores[name]) == WINDOW_WORDS + 120, name
    prediction = predictor.predict(pages)
    row = prediction.to_row(document_id="doc-1", annotator="model:x", created_at=NOW)
    table = conform([row], ANNOTATIONS)
    assert table.num_rows == 1
    assert row["layout_blocks"]
    said = {entry["field"] for entry in row["fields"]}
    said |= {entry["field"] for item in row["line_items"] for entry in item["fields"]}
    assert not said & untaught
    sizes = [(page.width, page.height) for page in pages]
    form = DocumentForm.from_row(row, page_sizes=sizes, pages=pages)
    assert sum(len(page.blocks) for page in form.pages) == len(row["layout_blocks"])
    json.dumps(form.model_dump(mode="json"))


def test_the_annotation_json_has_boxes_of_cells_spans_and_blocks() -> None:
    page = page_of(["Sum", "of", "all", "9.50"])
    cells = (
        PredictedCell(row=0, column=0, row_span=1, column_span=2, text="Sum of all", box=page.box_of([0, 1, 2]),
                      word_ids=(0, 1, 2)),
        PredictedCell(row=0, column=2, row_span=1, column_span=1, text="9.50", box=page.box_of([3]), word_ids=(3,)),
    )  # fmt: skip
    prediction = Prediction(
        document_type="SUPPLIER_INVOICE", document_subtype=None, type_confidence=1.0, fields=(), line_items=(),
        tables=(PredictedTable(page=1, box=page.box_of([0, 3]), rows=1, columns=3, cells=cells),),
        blocks=(PredictedBlock(page=1, kind="table", box=page.box_of([0, 3]), word_ids=(0, 1, 2, 3), confidence=1.0),),
    )  # fmt: skip
    row = prediction.to_row(document_id="doc-1", annotator="model:x", created_at=NOW)
    (shown,) = DocumentForm.from_row(row, page_sizes=[(595, 842)], pages=[page]).pages
    (table,) = shown.tables
    assert table.cells == [["Sum of all", "", "9.50"]]
    assert [box is None for box in table.cell_boxes[0]] == [False, True, False]
    assert [(span.column, span.column_span) for span in table.spans] == [(0, 2)]
    assert [block.kind for block in shown.blocks] == ["table"]


def test_further_fields_are_read_by_their_type() -> None:
    page = page_of(["Valid", "31.12.2026", "Plant", "1000"])
    names = ("valid_to", "plant", "cost_center")
    likely = np.zeros((4, 3), dtype=np.float32)
    likely[1, 0] = likely[3, 1] = 0.9
    likely[3, 2] = 0.2  # not likely enough
    found = decode_further_fields([page], likely, names, Scroll.of([page]), manner_of(page.words))
    assert [(field.field, field.value) for field in found] == [("valid_to", "2026-12-31"), ("plant", "1000")]


def test_a_folder_of_an_earlier_release_is_refused_with_the_remedy(tmp_path: Path) -> None:
    write_config(tmp_path, config_of(frozenset()))
    assert read_config(tmp_path).label_set == default_labels()
    content = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps(content | {"format_version": 1}))
    with pytest.raises(ConfigurationError, match="train it again"):
        read_config(tmp_path)
