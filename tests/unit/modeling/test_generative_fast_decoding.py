"""Fast generation writes the tokens of transformers' own `generate`: batches, paddings, pictures, ends, processors."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LogitsProcessorList

from sap_llm.modeling.generative.constrained import Grammars, SchemaProcessor
from sap_llm.modeling.generative.fast_decoding import (
    FastGenerator,
    FastOptions,
    attend_fused,
    attend_products,
)
from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen

SHAPE = QwenShape(size="debug", vocabulary=600, min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 30)
TEXTS = ["Invoice number 4711, total 1,234.56 EUR", "Rechnung Straße 12", '{"document_type": "SUPPLIER_INVOICE"}'] * 4
QUESTIONS = ["Read it.", "Which total is to be paid, and by when, in which currency?", "Type?", "Who sells?"]


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor(TEXTS, SHAPE)


@pytest.fixture(scope="module")
def model() -> Any:
    return build_qwen(SHAPE, seed=1).eval()


def inputs_of(processor: Any, pictures: list[list[tuple[int, int]]], side: str = "left") -> Any:
    """A conversation a row, with pictures of the given sizes."""
    texts, images = [], []
    for row, sizes in enumerate(pictures):
        content = [{"type": "image"}] * len(sizes) + [{"type": "text", "text": QUESTIONS[row]}]
        texts.append(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
        random = np.random.default_rng(row)
        images += [Image.fromarray(random.integers(0, 256, (high, wide, 3), np.uint8)) for wide, high in sizes]
    options = {"padding": True, "padding_side": side, "return_tensors": "pt"}
    return processor(text=texts, images=images or None, **options)


def stock(model: Any, inputs: Any, **options: Any) -> torch.Tensor:
    whole = model.generate(**inputs, do_sample=False, **options)
    written: torch.Tensor = whole[:, inputs["input_ids"].shape[1] :]
    return written


@pytest.mark.parametrize("attention", ["fused", "products"])
@pytest.mark.parametrize(
    "pictures",
    [
        [[(300, 400)]],
        [[(112, 112)], [(120, 200)], [(400, 100)], [(300, 300)]],
        [[(200, 200), (90, 300)], [], [(100, 100)]],  # several pictures, none, one
        [[], []],
    ],
)
def test_the_tokens_are_those_of_transformers(
    model: Any, processor: Any, pictures: list[list[tuple[int, int]]], attention: str
) -> None:
    inputs = inputs_of(processor, pictures)
    expected = stock(model, inputs, max_new_tokens=40, min_new_tokens=40)
    end = torch.tensor([model.generation_config.eos_token_id])

    def no_end(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # as transformers forbids it before 40 tokens
        return scores.index_fill(1, end, -torch.inf)

    fast = FastGenerator(model, FastOptions(attention=attention, bucket=16, prefill_tokens=50))
    found = fast.generate(inputs, most_tokens=40, processors=[no_end])
    assert torch.equal(found, expected)
    assert torch.equal(fast.generate(inputs, most_tokens=40, processors=[no_end]), expected)  # the cache serves again
    assert torch.equal(stock(model, inputs, max_new_tokens=40, min_new_tokens=40), expected)  # the model is unharmed


def test_padding_on_the_right_gives_the_tokens_of_padding_on_the_left(model: Any, processor: Any) -> None:
    pictures = [[(112, 112)], [(300, 200)], []]
    fast = FastGenerator(model)
    left, right = (fast.generate(inputs_of(processor, pictures, side), most_tokens=12) for side in ("left", "right"))
    assert torch.equal(left, right)


def test_rows_end_where_they_end_in_transformers(model: Any, processor: Any) -> None:
    inputs = inputs_of(processor, [[(112, 112)], [(120, 200)], [(300, 300)]])
    free = FastGenerator(model).generate(inputs, most_tokens=60)
    end = int(free[0, 5])  # a token that does come
    expected = stock(model, inputs, max_new_tokens=60, eos_token_id=end, pad_token_id=0)
    found = FastGenerator(model).generate(inputs, most_tokens=60, ends=[end], filler=0)
    assert torch.equal(found, expected)


def test_schemas_hold_it_as_they_hold_transformers(model: Any, processor: Any) -> None:
    inputs = inputs_of(processor, [[(112, 112)], [(120, 200)]])
    grammars = Grammars(processor.tokenizer, vocabulary=SHAPE.vocabulary_size)
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}

    def held() -> SchemaProcessor:
        return SchemaProcessor(grammars, [schema, schema], most_tokens=200)

    expected = stock(model, inputs, max_new_tokens=200, logits_processor=LogitsProcessorList([held()]))
    ends = [model.generation_config.eos_token_id]
    found = FastGenerator(model).generate(inputs, most_tokens=200, ends=ends, processors=[held()])
    assert torch.equal(found, expected)


def test_both_attentions_are_that_of_the_filled_part_alone() -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 8, 16), torch.randn(3, 2, 24, 16), torch.randn(3, 2, 24, 16)
    filled = torch.tensor([1, 13, 24])
    mask = torch.zeros(3, 24).masked_fill(torch.arange(24) >= filled[:, None], -torch.inf)
    for row, count in enumerate(filled.tolist()):
        one = (query[row, :, None], keys[row, :, :count], values[row, :, :count])
        truth = torch.nn.functional.scaled_dot_product_attention(*one, enable_gqa=True)[:, 0]
        for attend in (attend_fused, attend_products):
            torch.testing.assert_close(attend(query, keys, values, mask)[row], truth)


def test_adapters_are_refused_and_not_left_out(model: Any) -> None:
    import peft

    adapted = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="merge adapters first"):
        FastGenerator(adapted.get_base_model())


def test_eight_bits_are_refused_where_they_cannot_be(model: Any) -> None:
    with pytest.raises(ValueError, match="FP8 needs"):
        FastGenerator(model, FastOptions(fp8=True))
