"""INT8 variants: the graph equals torch, the gate refuses what is no gain, the stage says so in its manifest."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sap_llm.compression.variant import Document, Measured, judge, measure
from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.shapes import BackboneShape, LayoutLMv3Shape
from sap_llm.modeling.folder import GRAPH, WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.released_model import released_weights
from sap_llm.modeling.runtimes import load_predictor
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore, DatasetWriter
from tests.support.toy_training import toy_tables, toy_training_set

SHAPE = EncoderConfig(width=64, layers=2, heads=2)


def measured(f1: float, latency: float) -> Measured:
    return Measured(f1=f1, latency_p50_ms=latency, latency_p95_ms=latency * 2)


@pytest.mark.parametrize(
    ("f1", "latency", "accepted", "reason"),
    [
        (0.90, 5.0, True, "2.00 times as fast"),
        (0.896, 5.0, True, "0.40 points"),
        (0.89, 5.0, False, "loses 1.00 points"),
        (0.90, 10.0, False, "not faster"),
        (0.80, 20.0, False, "not faster: 20.00 ms a document, parent 10.00 ms; loses 10.00 points"),
    ],
)
def test_a_variant_must_be_faster_and_nearly_as_good(f1: float, latency: float, accepted: bool, reason: str) -> None:
    verdict = judge(measured(0.90, 10.0), measured(f1, latency), most_f1_loss_points=0.5)
    assert verdict.accepted is accepted
    assert reason in verdict.reason


def random_model(folder: Path, shape: BackboneShape = SHAPE) -> ModelConfig:
    """A model folder with random weights."""
    import torch
    from safetensors.torch import save_file

    from sap_llm.modeling.heads import MultitaskModel

    torch.manual_seed(3)
    config = ModelConfig(taxonomy_version="1", backbone=shape, labels=default_labels().to_json())
    folder.mkdir(parents=True)
    weights = MultitaskModel(shape, config.label_set).state_dict()
    # no two alike, as in a trained model: the exporter writes equal constants once
    save_file({name: value + 0.01 * torch.randn_like(value) for name, value in weights.items()}, folder / WEIGHTS)
    write_config(folder, config)
    return config


def test_a_training_can_start_from_the_int8_graph(tmp_path: Path) -> None:
    from sap_llm.compression.export import export_onnx, quantize_int8
    from sap_llm.modeling.torch_runtime import load_network

    config = random_model(tmp_path / "parent")
    export_onnx(tmp_path / "parent", config, tmp_path / "plain.onnx")
    (tmp_path / "variant").mkdir()
    quantize_int8(tmp_path / "plain.onnx", tmp_path / "variant" / GRAPH)
    expected = {name: value.numpy() for name, value in load_network(tmp_path / "parent", config).state_dict().items()}
    weights = released_weights(tmp_path / "variant", {name: value.shape for name, value in expected.items()})
    for name, value in expected.items():
        step = np.abs(value).max() / 127  # at most half a step of its column's scale is lost
        assert np.abs(weights[name] - value).max() <= step / 2 + 1e-6, name
    with pytest.raises(ConfigurationError, match="Set backbone to that of the released model"):
        released_weights(tmp_path / "variant", {"encoder.norm.weight": (65,)})


def toy_documents(count: int) -> list[Document]:
    _, pages, annotations = toy_tables(count, seed=5)
    return [
        Document(document_id=page["document_id"], pages=[Page.from_row(page)], truth=truth)
        for page, truth in zip(pages.to_pylist(), annotations.to_pylist(), strict=True)
    ]


def test_a_model_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no model folder"):
        load_predictor(tmp_path)
    random_model(tmp_path / "model")
    with pytest.raises(ConfigurationError, match=r"no model\.onnx"):
        load_predictor(tmp_path / "model", runtime="onnx")


def test_an_unknown_variant_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    from sap_llm.compression.stage import QuantizedModelsConfig, build_quantized_models

    nothing = DatasetRef(name="multitask_model/r1", version="x")
    with pytest.raises(ConfigurationError, match="Known: int8"):
        build_quantized_models(
            StageContext(store=DatasetStore(tmp_path)),
            config=QuantizedModelsConfig(),
            model=nothing,
            training_set=nothing,
            release="r1",
            variant="int2",  # type: ignore[arg-type]
        )


def test_only_the_compact_encoder_becomes_a_variant(tmp_path: Path) -> None:
    from sap_llm.compression.stage import QuantizedModelsConfig, build_quantized_models

    context = StageContext(store=DatasetStore(tmp_path))

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        random_model(writer.scratch / "model", LayoutLMv3Shape(size="debug"))
        return {}

    model = build(
        context, name="multitask_model/r1", stage_version="1", config=StageConfig(), inputs={}, produce=produce
    ).ref
    with pytest.raises(ConfigurationError, match="no INT8 variant of the backbone layoutlmv3"):
        build_quantized_models(
            context,
            config=QuantizedModelsConfig(),
            model=model,
            training_set=toy_training_set(context, 10),
            release="r1",
        )


def test_predictions_do_not_depend_on_the_batch_they_came_in(tmp_path: Path) -> None:
    random_model(tmp_path / "model")
    predictor = load_predictor(tmp_path / "model")
    documents = [document.pages for document in toy_documents(7)]
    together = predictor.score(documents)
    for pages, scores in zip(documents, together, strict=True):
        alone = predictor.score([pages])[0]
        for name in scores:
            np.testing.assert_allclose(scores[name], alone[name], atol=2e-4)
    vector = predictor.predict(documents[0]).vector
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)


def test_a_document_without_words_gets_an_empty_prediction(tmp_path: Path) -> None:
    random_model(tmp_path / "model")
    prediction = load_predictor(tmp_path / "model").predict([])
    assert (prediction.fields, prediction.line_items) == ((), ())


@pytest.mark.slow
def test_the_graph_equals_torch_and_int8_is_smaller(tmp_path: Path) -> None:
    from sap_llm.compression.export import export_onnx, quantize_int8

    config = random_model(tmp_path / "model")
    plain = tmp_path / "plain.onnx"
    assert export_onnx(tmp_path / "model", config, plain) < 1e-4
    folder = tmp_path / "int8"
    folder.mkdir()
    quantize_int8(plain, folder / GRAPH)
    write_config(folder, config)
    assert (folder / GRAPH).stat().st_size < plain.stat().st_size
    documents = toy_documents(4)
    found = measure({"parent": load_predictor(tmp_path / "model"), "int8": load_predictor(folder)}, documents)
    assert 0 < found["int8"].latency_p50_ms <= found["int8"].latency_p95_ms


@pytest.mark.slow
def test_the_stage_records_whether_the_variant_is_accepted(tmp_path: Path) -> None:
    from sap_llm.compression.stage import QuantizedModelsConfig, build_quantized_models

    context = StageContext(store=DatasetStore(tmp_path / "datasets"))
    training_set = toy_training_set(context, 50)

    def produce(writer: Any) -> dict[str, Any]:
        random_model(writer.path("model/x").parent.parent / "made")
        for path in (writer.scratch / "made").iterdir():
            path.rename(writer.path(f"model/{path.name}"))
        (writer.scratch / "made").rmdir()
        return {}

    model = build(context, name="multitask_model/r1", stage_version="1", config=StageConfig(), produce=produce).ref
    built = build_quantized_models(
        context,
        config=QuantizedModelsConfig(validation_documents=8, calibration_windows=10, threads=1),
        model=model,
        training_set=training_set,
        release="r1",
    )
    metrics = built.manifest.metrics
    assert isinstance(metrics["accepted"], bool)
    assert metrics["accepted"] == (metrics["latency_ratio"] > 1 and metrics["f1_loss"] <= 0.005)
    assert metrics["reason"]
    assert metrics["documents"] == 8
    assert metrics["size_ratio"] > 1
    assert load_predictor(built.dataset.path("model")).config.precision == "int8"
