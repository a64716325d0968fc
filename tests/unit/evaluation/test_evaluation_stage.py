"""The evaluation of a model on a training set's test documents, from stored tables to the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sap_llm.evaluation.pictures import MOST_BYTES
from sap_llm.evaluation.predictor import BaselinePrediction
from sap_llm.evaluation.stage import EmptyTestError, ModelEvaluationConfig, build_model_evaluation
from sap_llm.schema.clock import FrozenClock
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.page import Page
from sap_llm.schema.releases import TRAINING_DOCUMENTS
from sap_llm.schema.tables import ANNOTATIONS, conform
from sap_llm.storage.build import BuildResult, StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore
from tests.support.toy_corpus import annotation, toy_document, write_corpus

CONFIG = ModelEvaluationConfig(
    fields=("document_number", "document_date", "net_amount", "total_amount"),
    real_fields=("document_number", "total_amount"),
    most_documents={"unseen_layouts": 8},
    class_support=2,
    batch_documents=3,
    pictures=3,
)


@dataclass(frozen=True)
class Placed(BaselinePrediction):
    """A finding with the vector of its document."""

    vector: np.ndarray


def _vector(pages: Sequence[Page]) -> np.ndarray:
    """Two numbers that depend on the words."""
    return np.array([len(pages[0].words), len(pages)], dtype=np.float32)


class Reader:
    """Knows all truths by the text of the page, and errs where it is told to."""

    def __init__(self, documents: Sequence[dict[str, Any]], wrong: Sequence[str]) -> None:
        self.rows = {" ".join(document["text"].split()): annotation(document) for document in documents}
        self.wrong = wrong

    def predict_many(self, documents: Sequence[Sequence[Page]]) -> list[BaselinePrediction]:
        """Rows of truth, with the total changed in the wrong documents."""
        return [Placed(self._row(pages), _vector(pages)) for pages in documents]

    def _row(self, pages: Sequence[Page]) -> dict[str, Any]:
        row = self.rows[" ".join(pages[0].words)]
        fields = [dict(field) for field in row["fields"]]
        if row["document_id"] in self.wrong:
            for field in fields:
                field["value"] = "0.01" if field["field"] == "total_amount" else field["value"]
        return row | {"fields": fields, "source": "model"}


def training_set_of(context: StageContext, documents: list[dict[str, Any]], *, split: str = "test") -> DatasetRef:
    corpora: dict[str, DatasetRef] = {}
    for name in ("synthetic_docs/0000-0001", "public_docs/zugferd"):
        own = [row for row in documents if (row["source"] == "zugferd") == name.startswith("public")]
        corpora[name] = write_corpus(context, name, own)

    def annotated(writer: Any) -> dict[str, Any]:
        writer.write_table("annotations", conform([annotation(row) for row in documents], ANNOTATIONS), ANNOTATIONS)
        return {}

    truths = build(
        context, name="annotated_docs/r1", stage_version="1", config=StageConfig(), inputs=corpora, produce=annotated
    )

    def prepared(writer: Any) -> dict[str, Any]:
        rows = [
            row
            | {
                "input": "public_docs/zugferd" if row["source"] == "zugferd" else "synthetic_docs/0000-0001",
                "has_truth": True,
                "is_flagged": False,
                "split": split if row["role"] == "train" else "test",
                "text_sha256": row["sha256"],
                "word_count": 1,
                "character_count": 101,
                "digit_share": 0.1,
                "upper_share": 0.1,
                "amount_count": 1,
                "date_count": 1,
            }
            for row in documents
        ]
        table = conform(
            [{name: row.get(name) for name in TRAINING_DOCUMENTS.names} for row in rows], TRAINING_DOCUMENTS
        )
        writer.write_table("documents", table, TRAINING_DOCUMENTS)
        return {}

    inputs = {"annotated_docs/r1": truths.ref, **corpora}
    return build(
        context, name="training_set/r1", stage_version="1", config=StageConfig(), inputs=inputs, produce=prepared
    ).ref


def _model(context: StageContext, note: str = "one") -> DatasetRef:
    def produce(writer: Any) -> dict[str, Any]:
        writer.path("model/config.json").write_text(note)
        return {}

    return build(
        context,
        name="multitask_model/r1",
        stage_version="1",
        config=StageConfig(),
        fingerprint={"note": note},
        produce=produce,
    ).ref


def _documents() -> list[dict[str, Any]]:
    unseen = [toy_document(f"u{n}", is_test_layout=True, split_group="test") for n in range(12)]
    known = [toy_document(f"k{n}") for n in range(6)]
    real = [
        toy_document(f"r{n}", source="zugferd", role="test_only", truth="xml", split_group=f"vendor {n % 3}")
        for n in range(6)
    ]
    return [*unseen, *known, *real]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> StageContext:
    """An empty store on a day in 2025."""
    clock = FrozenClock(datetime(2025, 6, 1, tzinfo=UTC))
    return StageContext(store=DatasetStore(tmp_path_factory.mktemp("store")), clock=clock)


@pytest.fixture(scope="module")
def wrong() -> list[str]:
    """Ids of the documents whose total is misread: all of one vendor."""
    return [row["document_id"] for row in _documents() if row["split_group"] == "vendor 0"]


@pytest.fixture(scope="module")
def built(context: StageContext, wrong: list[str]) -> BuildResult:
    """The evaluation of a reader that errs on one vendor."""
    documents = _documents()
    return build_model_evaluation(
        context,
        config=CONFIG,
        model=_model(context),
        training_set=training_set_of(context, documents),
        release="r1",
        load_predictor=lambda folder: Reader(documents, wrong if (folder / "config.json").exists() else []),
    )


def test_headline_numbers_are_of_unseen_layouts(built: BuildResult) -> None:
    metrics = built.manifest.metrics
    assert metrics["headline_test"] == "unseen_layouts"
    assert metrics["documents_unseen_layouts"] == 8
    assert (metrics["class_accuracy"], metrics["field_f1"], metrics["field_f1_strict"]) == (1, 1, 1)
    assert 0.9 < metrics["field_f1_baseline"] <= 1
    assert metrics["ece"] == 0
    assert metrics["seconds_per_document"] >= 0


def test_real_documents_are_averaged_over_groups(built: BuildResult) -> None:
    metrics = built.manifest.metrics
    # One group of three reads its number right and its total wrong: F1 0.5 there, 1 elsewhere.
    assert metrics["header_f1_real"] == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-4)
    assert metrics["header_f1_real_low"] < metrics["header_f1_real"] < metrics["header_f1_real_high"]
    assert metrics["groups_real"] == 3
    assert "header_f1_real_baseline" in metrics
    assert metrics["field_f1_zugferd"] == metrics["field_f1_real"]


def test_tables_hold_predictions_embeddings_and_scores(built: BuildResult) -> None:
    dataset = built.dataset
    tested = set(dataset.table("documents").column("document_id").to_pylist())
    assert len(tested) == 8 + 6 + 6
    assert set(dataset.table("predictions").column("document_id").to_pylist()) == tested
    assert set(dataset.table("embeddings").column("document_id").to_pylist()) == tested
    scores = dataset.table("scores").to_pylist()
    assert {(row["predictor"], row["test"]) for row in scores} == {
        (predictor, test) for predictor in ("model", "baseline") for test in ("unseen_layouts", "known_layouts", "real")
    }
    assert {row["slice"] for row in scores} >= {"all", "field", "type", "language", "source", "group"}


def test_the_report_shows_tables_and_small_pictures(built: BuildResult) -> None:
    report = built.dataset.path("report.md").read_text()
    for part in ("baseline F1", "True class, predicted as", "`total_amount`", "Most confident errors", "0.01"):
        assert part in report
    pictures = list(built.dataset.path("pictures").glob("*.png"))
    assert len(pictures) == 3
    for picture in pictures:
        assert f"pictures/{picture.name}" in report
        assert picture.stat().st_size <= MOST_BYTES
        pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
        assert (pixels[..., 1] > pixels[..., 0] + 60).any()  # a right value is drawn in green


def test_the_test_version_is_that_of_the_documents_alone(
    context: StageContext, built: BuildResult, wrong: list[str]
) -> None:
    documents = _documents()
    training_set = built.manifest.inputs["training_set/r1"]
    again = build_model_evaluation(
        context,
        config=CONFIG,
        model=_model(context, "two"),
        training_set=training_set,
        release="r1",
        load_predictor=lambda _: Reader(documents, []),
    )
    assert not again.is_reused
    assert again.manifest.metrics["test_version"] == built.manifest.metrics["test_version"]
    assert again.manifest.metrics["header_f1_real"] == 1
    fewer = build_model_evaluation(
        context,
        config=CONFIG.model_copy(update={"most_documents": {"unseen_layouts": 7}}),
        model=_model(context),
        training_set=training_set,
        release="r1",
        load_predictor=lambda _: Reader(documents, wrong),
    )
    assert fewer.manifest.metrics["test_version"] != built.manifest.metrics["test_version"]


def test_without_test_documents_nothing_is_claimed(context: StageContext) -> None:
    documents = [toy_document(f"k{n}") for n in range(3)]
    with pytest.raises(EmptyTestError, match="no document to test on"):
        build_model_evaluation(
            context,
            config=CONFIG,
            model=_model(context),
            training_set=training_set_of(context, documents, split="train"),
            release="r2",
            load_predictor=lambda _: Reader(documents, []),
        )


def test_the_page_itself_can_stand_behind_the_boxes(context: StageContext, built: BuildResult, tmp_path: Path) -> None:
    from sap_llm.evaluation.pictures import draw_page
    from tests.support.toy_corpus import page

    document = toy_document("u0")
    below = tmp_path / "page.png"
    Image.new("RGB", (595, 842), "black").save(below)
    truth = annotation(document)["fields"]
    arguments = {"predicted": truth, "truth": truth, "outcomes": []}
    plain = draw_page(Page.from_row(page(document)), **arguments)
    dark = draw_page(Page.from_row(page(document)), **arguments, background=lambda _: below.read_bytes())
    shades = [np.asarray(Image.open(_saved(tmp_path, data)).convert("L")).mean() for data in (plain, dark)]
    assert shades[1] < shades[0]


def _saved(folder: Path, data: bytes) -> Path:
    path = folder / f"{len(data)}.png"
    path.write_bytes(data)
    return path


def test_the_projects_own_model_fits_the_protocol(context: StageContext) -> None:
    """An untrained encoder is evaluated through its real runtime: bad scores, but complete and below the baseline."""
    from safetensors.torch import save_file

    from sap_llm.modeling.architecture import EncoderConfig
    from sap_llm.modeling.folder import WEIGHTS, ModelConfig, write_config
    from sap_llm.modeling.heads import MultitaskModel
    from sap_llm.modeling.labels import default_labels
    from sap_llm.modeling.runtimes import load_predictor
    from sap_llm.schema.taxonomy import taxonomy_version

    encoder = EncoderConfig(width=40, layers=1, heads=5)

    def produce(writer: Any) -> dict[str, Any]:
        folder = writer.path("model/config.json").parent
        config = ModelConfig(taxonomy_version=taxonomy_version(), backbone=encoder, labels=default_labels().to_json())
        write_config(folder, config)
        save_file(MultitaskModel(encoder, default_labels()).state_dict(), folder / WEIGHTS)
        return {}

    model = build(
        context, name="multitask_model/untrained", stage_version="1", config=StageConfig(), produce=produce
    ).ref
    found = build_model_evaluation(
        context,
        config=CONFIG,
        model=model,
        training_set=training_set_of(context, _documents()),
        release="untrained",
        load_predictor=load_predictor,
    )
    assert found.dataset.manifest.rows["predictions"] == found.dataset.manifest.rows["embeddings"] == 20
    assert found.manifest.metrics["field_f1"] < found.manifest.metrics["field_f1_baseline"]
