"""A toy training set with a vision-language model of random weights, and settings that train adapters in seconds.

Belongs here: what unit, pipeline and integration tests of the adapters share. The model is of the real architecture;
only its size is a toy.
"""

from typing import Any

from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, save_qwen
from sap_llm.modeling.stage_prompts import reading
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.training.adapters.config import StageAdaptersConfig
from sap_llm.training.adapters.documents import read_documents

SHAPE = QwenShape(size="debug", vocabulary=700)
SMALL: dict[str, Any] = {
    "tasks": {"page_words": 24},
    "optimizer": {"learning_rate": 2e-2, "muon_learning_rate": 0.0, "warmup_share": 0.1, "weight_decay": 0.0},
    "checkpoint": {"every_steps": 4, "every_seconds": 0.0},
    "launch": {
        "launcher": "gloo",
        "ranks": 1,
        "threads": 1,
        "precision": "fp32",
        "micro_batch": 4,
        "stop_deadline_seconds": 5.0,
    },
    "steps": 12,
    "batch_examples": 8,
    "most_tokens": 700,
    "report_every_steps": 4,
    "documents": 40,
    "validation_documents": 8,
}


def small_adapters(**changes: Any) -> StageAdaptersConfig:
    """A configuration that trains an adapter in a second or two."""
    launch = SMALL["launch"] | changes.pop("launch", {})
    return StageAdaptersConfig.model_validate(SMALL | changes | {"launch": launch})


def toy_instructed_model(context: StageContext, training_set: DatasetRef, *, seed: int = 1) -> DatasetRef:
    """An `instructed_model/r1` that has not learned anything, with a tokenizer of the training set's words."""

    def produce(writer: Any) -> dict[str, Any]:
        texts = [
            reading(document.page, words=200)
            for document in read_documents(context.store.open(training_set), split="train", most=100)
        ]
        model = build_qwen(SHAPE, seed=seed)
        # Random rows are so short that no hidden state makes any token likely; those of a trained head are long.
        model.lm_head.weight.data *= 12
        folder = writer.path("model/config.json").parent
        save_qwen(folder, model, build_processor(texts, SHAPE))
        return {}

    return build(
        context,
        name="instructed_model/r1",
        stage_version="toy",
        config=StageConfig(seed=seed),
        inputs={training_set.name: training_set},
        produce=produce,
    ).ref
