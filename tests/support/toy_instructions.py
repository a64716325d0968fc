"""What the stage `instructed_model` consumes, small: a vision-language model of random weights and instruction pairs.

Belongs here: the two datasets by the names that the stage looks for. The toy documents are `toy_training`'s.
"""

from typing import Any

from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, save_qwen
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetWriter
from sap_llm.training.instructions import InstructionPairsConfig, build_instruction_pairs
from tests.support.toy_training import toy_tables, toy_training_set

SHAPE = QwenShape(size="debug", min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 16)


def toy_instructions(context: StageContext, *, documents: int = 20, **changes: Any) -> dict[str, DatasetRef]:
    """Inputs of the stage by asset."""
    values = {
        "pairs": {"train": 48, "validation": 8, "test": 0},
        "min_pixels": SHAPE.min_pixels,
        "max_pixels": SHAPE.max_pixels,
        "prompt": {"most_words": 60, "case_words": 20},
    }
    pairs = build_instruction_pairs(
        context,
        config=InstructionPairsConfig.model_validate(values | changes),
        training_set=toy_training_set(context, documents),
        release="r1",
    )
    return {"instruction_pairs": pairs.ref, "domain_model": toy_domain_model(context)}


def toy_domain_model(context: StageContext) -> DatasetRef:
    """`domain_model/r1` that has learned nothing yet."""

    def produce(writer: DatasetWriter) -> dict[str, Any]:
        texts = [row["words"] for row in toy_tables(40)[1].to_pylist()]
        processor = build_processor(
            [" ".join(words) for words in texts] + ['{"value":"1.00","page":1,"box":[1]}'], SHAPE
        )
        save_qwen(writer.path("model/config.json").parent, build_qwen(SHAPE, seed=3), processor)
        return {}

    return build(context, name="domain_model/r1", stage_version="toy", config=StageConfig(), produce=produce).ref
