"""The vision-language model made without a network: seeds, token ids, a folder that transformers reads by itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sap_llm.modeling.qwen import (
    CHAT_TEMPLATE,
    SPECIAL_TOKENS,
    QwenShape,
    build_processor,
    build_qwen,
    load_qwen,
    qwen_config,
    save_qwen,
)
from sap_llm.schema.errors import ConfigurationError

SHAPE = QwenShape(size="debug", vocabulary=600, min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 30)
TEXTS = ["Invoice number 4711, total 1,234.56 EUR", "Rechnung Straße 12", '{"document_type": "SUPPLIER_INVOICE"}'] * 4
CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Read it."}]}
]


def test_importing_the_shapes_loads_neither_torch_nor_transformers() -> None:
    code = "import sys, sap_llm.modeling.qwen; assert not {'torch', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    first = build_qwen(SHAPE, seed=3).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    second, other = build_qwen(SHAPE, seed=3).state_dict(), build_qwen(SHAPE, seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("size", "billions"), [("7b", 8.29), ("72b", 73.4)])
def test_the_large_shapes_have_the_parameters_of_the_released_checkpoints(size: Any, billions: float) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(qwen_config(QwenShape(size=size)))
    assert sum(value.numel() for value in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.05)


def test_the_token_ids_of_a_trained_tokenizer_are_those_of_the_configuration() -> None:
    processor, config = build_processor(TEXTS, SHAPE), qwen_config(SHAPE)
    ids = processor.tokenizer.convert_tokens_to_ids
    assert [ids(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert (config.image_token_id, config.vision_start_token_id) == (ids("<|image_pad|>"), ids("<|vision_start|>"))
    assert config.text_config.eos_token_id == processor.tokenizer.eos_token_id == ids("<|im_end|>")
    assert len(processor.tokenizer) <= SHAPE.vocabulary_size


def test_any_text_survives_the_tokenizer() -> None:
    tokenizer = build_processor(TEXTS, SHAPE).tokenizer
    text = "Straße 漢字\n\t1,234.56 €  ☃ <|im_end|>"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_chat_template_opens_with_a_system_message_and_shows_images_where_they_stand() -> None:
    processor = build_processor(TEXTS, SHAPE)
    text = processor.apply_chat_template(CONVERSATION, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Read it.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_saved_folder_is_read_back_alike_and_by_transformers_itself(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    model, processor = build_qwen(SHAPE, seed=1).eval(), build_processor(TEXTS, SHAPE)
    save_qwen(tmp_path / "model", model, processor)
    text = processor.apply_chat_template(CONVERSATION, add_generation_prompt=True)
    images = [Image.new("RGB", (300, 400), "white")]
    batch = processor(text=[text], images=images, return_tensors="pt")
    loaded, other = load_qwen(tmp_path / "model")
    again = other(text=[text], images=images, return_tensors="pt")
    assert other.chat_template == CHAT_TEMPLATE
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    expected = model(**batch).logits
    assert torch.equal(loaded(**again).logits, expected)
    assert torch.equal(AutoModelForImageTextToText.from_pretrained(tmp_path / "model")(**batch).logits, expected)
    assert loaded.generation_config.eos_token_id == processor.tokenizer.eos_token_id


def test_limits_given_with_a_folder_replace_its_own(tmp_path: Path) -> None:
    save_qwen(tmp_path / "model", build_qwen(SHAPE, seed=1), build_processor(TEXTS, SHAPE))
    smaller = SHAPE.model_copy(update={"max_pixels": 28 * 28 * 16})
    assert build_processor(tmp_path / "model").image_processor.size["longest_edge"] == SHAPE.max_pixels
    assert build_processor(tmp_path / "model", smaller).image_processor.size["longest_edge"] == smaller.max_pixels


def test_a_missing_folder_is_named_and_never_looked_up_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such model folder"):
        load_qwen(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="vision-language model"):
        load_qwen(tmp_path / "empty")
