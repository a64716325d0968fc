"""The triage model: what it is fitted on, whether its chances mean what they say, and its folder."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import save_file

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.doc_router import FIGURES, DocRouter, Triage
from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import default_labels
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore
from sap_llm.training.doc_router import DocRouterConfig, _fit_difficulty, build_doc_router
from tests.support.toy_training import TITLES, toy_tables, toy_training_set

CONFIG = DocRouterConfig(shape={"size": "debug"}, validation_documents=60, right_f1=0.2)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"), clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))


def _untrained_model(context: StageContext) -> DatasetRef:
    def produce(writer: object) -> dict[str, object]:
        model = MultitaskModel(EncoderConfig(size="debug"), default_labels())
        folder = writer.path(f"model/{WEIGHTS}").parent
        save_file(model.state_dict(), folder / WEIGHTS)
        write_config(
            folder,
            ModelConfig(taxonomy_version="1", backbone=model.encoder.shape, labels=default_labels().to_json()),
        )
        return {}

    return build(
        context, name="multitask_model/r1", stage_version="toy", config=StageConfig(), inputs={}, produce=produce
    ).ref


def test_it_tells_classes_apart_and_is_found_again(context: StageContext) -> None:
    arguments = {"model": _untrained_model(context), "training_set": toy_training_set(context, 200), "release": "r1"}
    built = build_doc_router(context, config=CONFIG, **arguments)
    metrics = built.manifest.metrics
    assert metrics["class_accuracy"] > 0.95
    assert metrics["class_ece"] < 0.1
    assert metrics["documents"] == 40
    assert metrics["small_model_right"] == 0.0  # it was never trained
    routes = built.dataset.table("routes")
    assert 0 < metrics["judged_documents"] < routes.num_rows
    assert min(routes.column("difficulty").to_pylist()) > 0.9
    assert build_doc_router(context, config=CONFIG, **arguments).is_reused
    router = DocRouter.load(built.dataset.path("model"))
    _, known_pages, _ = toy_tables(200)
    by_id = {row["document_id"]: Page.from_row(row) for row in known_pages.to_pylist()}
    for route in routes.slice(0, 5).to_pylist():  # the folder holds the very model that was measured
        assert router.route([by_id[route["document_id"]]]).difficulty == pytest.approx(route["difficulty"], abs=1e-6)
    _, pages, annotations = toy_tables(20, seed=9)
    triages = [router.route([Page.from_row(row)]) for row in pages.to_pylist()]
    truths = annotations.column("document_type").to_pylist()
    assert [triage.document_type for triage in triages] == truths
    assert set(truths) == set(TITLES)
    assert all(triage.pages == 1 and triage.quality == 1.0 for triage in triages)


def test_table_rows_and_quality_are_counted(context: StageContext) -> None:
    arguments = {"model": _untrained_model(context), "training_set": toy_training_set(context, 100), "release": "r1"}
    router = DocRouter.load(build_doc_router(context, config=CONFIG, **arguments).dataset.path("model"))
    found: Triage = router.route([_page(["10,00", "20,00", "x", "7"], [0, 0, 1, 2], quality=0.9), _page(
        ["1.234,50", "3,00"], [0, 0], quality=0.5)])  # fmt: skip
    assert (found.pages, found.words, found.table_rows, found.quality) == (2, 6, 2, 0.5)
    assert router.route([_page([], [], quality=0.0)]).words == 0


def _page(words: list[str], lines: list[int], *, quality: float) -> Page:
    boxes = np.tile(np.array([0, 0, 9, 9], dtype=np.float32), (len(words), 1))
    return Page(
        page_number=1, width=595, height=842, words=words, boxes=boxes, lines=np.array(lines, dtype=np.int32),
        reader="ocr", quality=quality,
    )  # fmt: skip


def test_difficulty_is_a_chance() -> None:
    generator = np.random.default_rng(3)
    figures = generator.normal(size=(4000, len(FIGURES))).astype(np.float32)
    chances = 1.0 / (1.0 + np.exp(-(figures[:, 2] * 1.5 - 0.5)))
    found = _fit_difficulty(figures, generator.random(4000) < chances)
    scores = ((figures - found["center"]) / found["spread"]) @ found["difficulty_weights"] + found["difficulty_bias"]
    assert np.abs(1.0 / (1.0 + np.exp(-scores)) - chances).max() < 0.1


def test_without_two_classes_it_says_so(context: StageContext) -> None:
    ref = toy_training_set(context, 100)
    dataset = context.store.open(ref)
    shards = dataset.table("shards").filter(pa.compute.equal(dataset.table("shards").column("class_id"), 0))

    def produce(writer: object) -> dict[str, object]:
        writer.write_table("shards", shards, shards.schema)
        return {}

    one = build(
        context, name="training_set/r2", stage_version="toy", config=StageConfig(), inputs=dataset.manifest.inputs,
        produce=produce,
    ).ref  # fmt: skip
    with pytest.raises(ConfigurationError, match="fewer than two classes"):
        build_doc_router(context, config=CONFIG, model=_untrained_model(context), training_set=one, release="r2")
