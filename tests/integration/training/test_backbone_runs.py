"""Rivals of the compact encoder under the same training program, by configuration alone."""

from pathlib import Path
from typing import Any

import pytest

from sap_llm.deployment import Deployment
from sap_llm.modeling.folder import read_config
from sap_llm.modeling.runtimes import load_predictor
from sap_llm.schema.page import Page
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.config import MultitaskModelConfig
from sap_llm.training.launch import choose_backend
from tests.support.toy_training import build_multitask_model, toy_tables, toy_training_set

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("backbone", "ranks"),
    [
        ({"family": "layoutlmv3", "size": "debug"}, 2),
        ({"family": "layoutlmv3", "size": "debug", "words": "subwords"}, 1),
        ({"family": "layoutlmv3", "size": "rival"}, 1),
        ({"family": "qwen2_5_vl", "size": "debug"}, 1),
    ],
    ids=["layoutlmv3-2-ranks", "layoutlmv3-subwords", "layoutlmv3-rival", "qwen2_5_vl"],
)
def test_a_backbone_is_trained_by_naming_it(backbone: dict[str, Any], ranks: int, tmp_path: Path) -> None:
    context = StageContext(store=DatasetStore(tmp_path / "datasets"))
    overrides = {
        "backbone": backbone,
        "initial": None,
        "steps": 6,
        "batch_words": 512,
        "launch.ranks": ranks,
        "launch.launcher": "auto",
    }
    config = Deployment.load("seconds").config(MultitaskModelConfig, "multitask_model", overrides)
    assert choose_backend(config.launch)[0] in ("deepspeed", "gloo")
    built = build_multitask_model(context, config=config, training_set=toy_training_set(context, 40), release="r1")
    assert built.manifest.metrics["steps"] == 6
    folder = built.dataset.path("model")
    assert read_config(folder).backbone.family == backbone["family"]
    assert (folder / "tokenizer.json").exists() == (built.manifest.configuration["backbone"].get("words") != "features")
    _, pages, _ = toy_tables(2, seed=5)
    found = load_predictor(folder).predict_many([[Page.from_row(row)] for row in pages.to_pylist()])
    assert all(sum(one.class_probabilities.values()) == pytest.approx(1.0, abs=1e-4) for one in found)
