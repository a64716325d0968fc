"""The matrix of candidates: what is measured, what stays empty and how it is filled, and whose quality is shown."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.shapes import DonutShape, LayoutLMv3Shape
from sap_llm.modeling.comparison.candidates import Candidate, Evaluated, all_candidates, evaluations_of
from sap_llm.modeling.comparison.languages import coverage, features_round_trip, round_trip_of
from sap_llm.modeling.comparison.matrix import NO_TOTAL, report, row
from sap_llm.modeling.comparison.plan import Measured
from sap_llm.modeling.comparison.stage import BaseComparisonConfig, build_base_comparison
from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.shards import SHARD_SCHEMA, encode_shard
from sap_llm.reading.pdf import render_page
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore
from tests.support.typeset_corpus import typeset_corpus

MEASURED = Measured(latency_p50_ms=2.0, latency_p95_ms=4.0, latency_mean_ms=2.5, peak_bytes=7_000_000)
EVALUATION = DatasetRef(name="model_evaluation/r1", version="0123456789abcdef")


@dataclass(frozen=True)
class House:
    context: StageContext
    training_set: DatasetRef


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A training set over six typeset invoices, the odd ones on test layouts."""
    store = DatasetStore(tmp_path_factory.mktemp("house") / "datasets")
    context = StageContext(store=store, clock=FrozenClock(datetime(2026, 1, 1, tzinfo=UTC)))
    corpus = typeset_corpus(context)
    tables = {name: corpus.table(name) for name in ("documents", "pages", "annotations")}

    def annotated(writer: Any) -> dict[str, Any]:
        writer.write_table("annotations", tables["annotations"], tables["annotations"].schema)
        return {}

    inputs = {corpus.ref.name: corpus.ref}
    truths = build(
        context, name="annotated_docs/r1", stage_version="1", config=StageConfig(), inputs=inputs, produce=annotated
    ).ref

    def prepared(writer: Any) -> dict[str, Any]:
        documents = tables["documents"]
        count = documents.num_rows
        splits = ["test" if flag else "train" for flag in documents.column("is_test_layout").to_pylist()]
        documents = documents.append_column("input", [[corpus.ref.name] * count]).append_column("split", [splits])
        shards = encode_shard(documents, tables["pages"], tables["annotations"])
        writer.write_table("documents", documents, documents.schema)
        writer.write_table("shards", shards, SHARD_SCHEMA)
        return {}

    training_set = build(
        context, name="training_set/r1", stage_version="1", config=StageConfig(), produce=prepared,
        inputs=inputs | {"annotated_docs/r1": truths},
    ).ref  # fmt: skip
    return House(context, training_set)


def _evaluation(house: House, shape: EncoderConfig, *, field_f1: float) -> DatasetRef:
    def trained(writer: Any) -> dict[str, Any]:
        folder = writer.path(f"model/{WEIGHTS}").parent
        write_config(folder, ModelConfig(taxonomy_version="1", backbone=shape, labels=default_labels().to_json()))
        return {}

    version = {"stage_version": str(shape.width), "config": StageConfig()}
    model = build(house.context, name="multitask_model/r1", inputs={}, produce=trained, **version).ref
    return build(
        house.context,
        name="model_evaluation/r1",
        inputs={model.name: model, house.training_set.name: house.training_set},
        produce=lambda _: {"field_f1": field_f1, "class_accuracy": 0.9},
        **version,
    ).ref


def _row(candidate: Candidate, measured: Measured | None = MEASURED, **changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "parameters": 1_000_000,
        "coverages": {},
        "price_per_hour": 3.6,
        "release": "r1",
        "can_be_measured": True,
    }
    return row(candidate, measured=measured, **values | changed)


@pytest.mark.slow
def test_candidates_are_measured_on_the_same_pages_and_told(house: House) -> None:
    config = BaseComparisonConfig(
        measured=("compact/debug", "layoutlmv3/debug", "qwen2_5_vl/debug", "donut/debug", "doc_router/debug"),
        documents=3, language_documents=3, rounds=1, most_tokens=4, hardware="a test", price_per_hour=1.0,
    )  # fmt: skip
    named = _evaluation(house, EncoderConfig(size="debug"), field_f1=0.71)
    other = _evaluation(house, EncoderConfig(width=48, layers=1, heads=2), field_f1=0.62)
    evaluations = evaluations_of(house.context.store, "r1", house.training_set)
    assert set(evaluations) == {named, other}
    arguments: dict[str, Any] = {
        "config": config, "training_set": house.training_set, "evaluations": evaluations, "release": "r1",
        "render": lambda content, number, scale: render_page(content, page_number=number, scale=scale),
    }  # fmt: skip
    built = build_base_comparison(house.context, **arguments)
    rows = {(one["candidate"], one["use"]): one for one in built.dataset.table("matrix").to_pylist()}
    run = {key for key, one in rows.items() if one["latency_p50_ms"] is not None}
    assert run == {
        ("compact/debug", "reads"), ("layoutlmv3/debug", "reads"), ("qwen2_5_vl/debug", "reads"),
        ("qwen2_5_vl/debug", "writes"), ("donut/debug", "writes"), ("doc_router/debug", "triages"),
        (f"compact/{other.version[:8]}", "reads"),
    }  # fmt: skip
    for key in run:
        assert 0 < rows[key]["latency_p50_ms"] <= rows[key]["latency_p95_ms"]
        assert rows[key]["cost_per_1000"] > 0
        assert rows[key]["languages"].startswith("de ")
    assert rows["doc_router/debug", "triages"]["latency_p50_ms"] < rows["donut/debug", "writes"]["latency_p50_ms"]
    assert rows["layoutlmv3/debug", "reads"]["peak_bytes"] > 890_000 * 4  # its weights alone
    assert rows["compact/debug", "reads"]["field_f1"] == 0.71
    assert rows["layoutlmv3/debug", "reads"]["field_f1"] is None
    assert rows["qwen2_5_vl/72b", "writes"]["bf16_bytes"] == pytest.approx(146.8e9, rel=0.01)
    assert rows["qwen2_5_vl/72b", "writes"]["peak_bytes"] is None
    assert built.manifest.metrics["measured"] == len(run)
    text = built.dataset.path("report.md").read_text()
    assert NO_TOTAL in text
    assert "sap-llm build base-comparison --release r1 --set 'measured=[qwen2_5_vl/72b]'" in text
    assert build_base_comparison(house.context, **arguments).is_reused


@pytest.mark.slow
def test_without_pictures_writers_are_not_run_and_it_is_said(house: House) -> None:
    config = BaseComparisonConfig(
        measured=("donut/debug",), measures_trained=False, documents=1, rounds=1, hardware="a test", price_per_hour=1.0
    )
    built = build_base_comparison(
        house.context, config=config, training_set=house.training_set, evaluations=[], release="r1"
    )
    rows = {(one["candidate"], one["use"]): one for one in built.dataset.table("matrix").to_pylist()}
    assert rows["donut/debug", "writes"]["latency_p50_ms"] is None
    assert "PDF files" in rows["donut/debug", "writes"]["filled_by"][0]


def test_an_unknown_candidate_is_refused(house: House) -> None:
    config = BaseComparisonConfig(measured=("gpt/9",), hardware="a test", price_per_hour=1.0)
    with pytest.raises(ConfigurationError, match="no candidate gpt/9"):
        build_base_comparison(
            house.context, config=config, training_set=house.training_set, evaluations=[], release="r2"
        )


def test_cost_follows_from_latency_and_price() -> None:
    found = _row(Candidate(name="compact/tiny", use="reads", shape=EncoderConfig(size="tiny")))
    assert found["cost_per_1000"] == 0.0025  # 1,000 times 2.5 ms of 3.6 an hour
    assert found["int4_bytes"] == 500_000


def test_every_empty_cell_has_its_command() -> None:
    shape = LayoutLMv3Shape(size="rival")
    empty = _row(Candidate(name="layoutlmv3/rival", use="reads", shape=shape), None)
    assert [said.partition(":")[0] for said in empty["filled_by"]] == [
        "latency, memory, cost", "languages", "quality"
    ]  # fmt: skip
    assert "--set 'backbone={family: layoutlmv3, size: rival}' --set initial=null`" in empty["filled_by"][2]
    trained = Candidate(
        name="layoutlmv3/rival", use="reads", shape=shape, evaluation=EVALUATION, quality={"field_f1": 0.5}
    )
    full = _row(trained, coverages={"de": coverage(["Rechnung"], features_round_trip)})
    assert full["filled_by"] == []
    assert full["field_f1"] == 0.5


def test_a_writer_names_the_stage_that_trains_it_or_says_that_there_is_none() -> None:
    rows = {one.key: _row(one)["filled_by"][-1] for one in all_candidates() if one.use == "writes"}
    assert "`sap-llm build instructed-model --release r1`" in rows["qwen2_5_vl/7b writes"]
    assert "`size: 7b`" in rows["qwen2_5_vl/7b writes"]
    assert rows["donut/tiny writes"] == "quality: no stage of this release trains it"


def test_the_report_gives_no_total() -> None:
    rows = [_row(one) for one in all_candidates()]
    text = report(rows, hardware="x", documents=3, price="1 USD", most_tokens=8)
    heads = next(line for line in text.splitlines() if line.startswith("| candidate"))
    assert "total" not in heads.lower()
    assert NO_TOTAL in text


def test_quality_goes_to_the_shape_that_was_trained() -> None:
    one = Evaluated(evaluation=EVALUATION, shape=EncoderConfig(size="tiny"), quality={"field_f1": 0.8})
    rows = {candidate.key: candidate for candidate in all_candidates([one])}
    assert rows["compact/tiny reads"].quality == {"field_f1": 0.8}
    assert sum(bool(candidate.quality) for candidate in rows.values()) == 1
    strange = Evaluated(evaluation=EVALUATION, shape=EncoderConfig(width=40), quality={"field_f1": 0.6})
    assert {candidate.name for candidate in all_candidates([strange]) if candidate.quality} == {"compact/01234567"}


def test_features_keep_latin_words_of_sixteen_characters() -> None:
    found = coverage(["Größe", "Überweisung", "Donaudampfschifffahrtsgesellschaft"], features_round_trip)
    assert found.words == 3
    assert found.surviving_words == pytest.approx(2 / 3)
    assert found.surviving_characters == pytest.approx((5 + 11 + 16) / 50)
    assert found.tokens_per_word == 1.0


def test_bytes_keep_every_language_at_a_token_a_byte() -> None:
    candidate = Candidate(name="donut/debug", use="writes", shape=DonutShape(size="debug"))
    round_trip = round_trip_of(candidate, texts=(), tokenizers={})
    assert round_trip is not None
    found = coverage(["Größe", "Año", "Łódź"], round_trip)
    assert found.surviving_words == 1.0
    assert found.tokens_per_word == pytest.approx((8 + 5 + 8) / 3)


def test_a_published_tokenizer_that_is_not_here_has_no_figures() -> None:
    published = Candidate(name="layoutlmv3/base", use="reads", shape=LayoutLMv3Shape(size="base"))
    assert round_trip_of(published, texts=(), tokenizers={}) is None
    with pytest.raises(ConfigurationError, match="no tokenizer"):
        round_trip_of(published, texts=(), tokenizers={"layoutlmv3/base": "/nowhere/tokenizer.json"})
