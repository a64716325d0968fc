"""Encoded pairs: packed losses are those of each pair alone, labels are the answers, orders go through all pairs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.conversations import Conversations, places_of, settings_of
from sap_llm.training.instructions import InstructionPairsConfig, build_instruction_pairs
from sap_llm.training.packing import IGNORED
from tests.support.toy_training import toy_training_set

SHAPE = QwenShape(size="debug", min_pixels=28 * 28 * 4, max_pixels=28 * 28 * 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    context = StageContext(store=DatasetStore(tmp_path_factory.mktemp("store")))
    config = InstructionPairsConfig.model_validate(
        {
            "pairs": {"train": 24, "validation": 4, "test": 0},
            "min_pixels": SHAPE.min_pixels,
            "max_pixels": SHAPE.max_pixels,
        }
    )
    training_set = toy_training_set(context, 20)
    return build_instruction_pairs(context, config=config, training_set=training_set, release="r1").dataset.path()


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor(["Invoice Number: X-12345 Total 12.00", '{"document_type":null}'] * 5, SHAPE)


def conversations(folder: Path, processor: Any, **changes: Any) -> Conversations:
    options = {"split": "train", "most_tokens": 4096} | changes
    return Conversations(folder, processor, settings_of(folder), **options)


def test_only_the_answer_is_learned_and_all_of_it(folder: Path, processor: Any) -> None:
    pairs = conversations(folder, processor)
    encoded = pairs.encode([0, 1, 2])
    assert encoded is not None
    targets = [label for label in encoded.pack.labels.tolist() if label != IGNORED]
    expected = "".join(pairs.rows[place]["answer"] + "<|im_end|>" for place in range(3))
    assert processor.tokenizer.decode(targets) == expected
    assert encoded.pack.targets == pairs.answer_lengths[:3].sum()
    assert encoded.pack.real_tokens == len(encoded.pack.tokens)  # nothing is padding


def test_packed_pairs_lose_what_each_loses_alone(folder: Path, processor: Any) -> None:
    pairs = conversations(folder, processor)
    model = build_qwen(SHAPE, seed=2).eval()
    packed = pairs.encode([0, 5, 9])
    assert packed is not None
    alone = 0.0
    for place in (0, 5, 9):
        one = pairs.encode([place])
        assert one is not None
        inputs = one.inputs("cpu")
        plain = {name: inputs[name] for name in ("input_ids", "pixel_values", "image_grid_thw")}
        plain["mm_token_type_ids"] = (plain["input_ids"] == processor.image_token_id).long()
        logits = model(**plain).logits[0]  # transformers counts the positions itself
        alone += float(cross_entropy(logits.detach(), one.labels("cpu"), ignore_index=IGNORED, reduction="sum"))
    model.set_attn_implementation({"text_config": packed_attention.register()})
    with torch.no_grad():
        logits = model(**packed.inputs("cpu")).logits[0]
    together = float(cross_entropy(logits, packed.labels("cpu"), ignore_index=IGNORED, reduction="sum"))
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_pair_with_too_many_tokens_is_left_out(folder: Path, processor: Any) -> None:
    lengths = []
    pairs = conversations(folder, processor)
    for place in range(len(pairs)):
        one = pairs.encode([place])
        assert one is not None
        lengths.append(one.pack.real_tokens)
    limit = sorted(lengths)[len(lengths) // 2]
    some = conversations(folder, processor, most_tokens=limit).encode(range(len(pairs)))
    assert some is not None
    assert some.too_long == sum(length > limit for length in lengths) > 0
    assert some.pack.real_tokens == sum(length for length in lengths if length <= limit)
    assert conversations(folder, processor, most_tokens=5).encode([0, 1]) is None


def test_splits_are_kept_apart(folder: Path, processor: Any) -> None:
    train, validation = (conversations(folder, processor, split=split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (24, 4)
    assert not {row["document_id"] for row in train.rows} & {row["document_id"] for row in validation.rows}


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 5), st.integers(0, 30))
def test_every_epoch_goes_through_all_pairs_whatever_the_pieces(pairs: int, size: int, pieces: int, seed: int) -> None:
    batch = size * pieces
    steps = -(-2 * pairs // batch)
    seen = [
        place
        for step in range(steps)
        for piece in range(pieces)
        for place in places_of(step, piece, pieces=pieces, batch=batch, pairs=pairs, seed=seed)
    ]
    assert sorted(seen[:pairs]) == sorted(seen[pairs : 2 * pairs]) == list(range(pairs))
    whole = [
        place for step in range(steps) for place in places_of(step, 0, pieces=1, batch=batch, pairs=pairs, seed=seed)
    ]
    assert whole == seen
