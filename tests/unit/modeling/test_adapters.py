"""Adapters on one base: where they sit, that the base stays as it is, and that all ways to use them agree.

Tolerances: float32 1e-5 of the largest logit, the rounding of sums taken in another order; bfloat16 4e-2 of it, since a
merged weight keeps 8 bits of mantissa where the unmerged update is added in float32.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sap_llm.modeling.adapters import (
    BASE,
    AdapterCard,
    AdapterMismatchError,
    AdapterSet,
    LoraShape,
    attach,
    base_digest,
    read_card,
    save_adapter,
)
from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, load_qwen, save_qwen

SHAPE = QwenShape(size="debug", vocabulary=600)
STAGES = ("inbox", "routing")
TOLERANCE = {"float32": 1e-5, "bfloat16": 4e-2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_qwen(folder, build_qwen(SHAPE, seed=3), build_processor(["one text and another text"], SHAPE))
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters after some steps each, in folders of their own."""
    folder = tmp_path_factory.mktemp("adapters")
    torch.manual_seed(0)
    model = attach(load_qwen(base)[0], LoraShape(), STAGES)
    for number, name in enumerate(STAGES):
        _train(model, name, seed=number)
        card = AdapterCard(
            document_stage=name, base="instructed_model/r1@abc", base_digest=base_digest(base),
            taxonomy_version="1", lora=LoraShape(),
        )  # fmt: skip
        assert save_adapter(folder / name, model, card) == (folder / name / "adapter_model.safetensors").stat().st_size
    return {name: folder / name for name in STAGES}


def _train(model: Any, name: str, *, seed: int) -> None:
    model.set_adapter(name)
    model.train()
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=2e-2)
    inputs = _inputs(seed)
    for _ in range(4):
        loss = model(**inputs, labels=inputs["input_ids"]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _inputs(seed: int, rows: int = 2) -> dict[str, torch.Tensor]:
    ids = torch.randint(20, 500, (rows, 24), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _open(base: Path, trained: dict[str, Path], dtype: str = "float32") -> AdapterSet:
    return AdapterSet.open(load_qwen(base, dtype=dtype)[0], digest=base_digest(base), adapters=trained)


@torch.no_grad()
def _logits(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**inputs).logits.float()


def test_the_expression_hits_the_text_tower_alone() -> None:
    model = attach(build_qwen(SHAPE, seed=3), LoraShape(), ["inbox"])
    hit = [name for name, module in model.named_modules() if hasattr(module, "lora_A")]
    assert len(hit) == 7 * 2  # seven products in each of two layers
    assert all("language_model.layers" in name for name in hit)


def test_bare_names_would_hit_the_vision_tower() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["q_proj", "gate_proj", "up_proj", "down_proj"])
    model = get_peft_model(build_qwen(SHAPE, seed=3), config)
    assert any("visual" in name for name, module in model.named_modules() if hasattr(module, "lora_A"))


def test_only_the_adapter_that_is_trained_has_gradients_and_it_is_held_in_float32() -> None:
    model = attach(build_qwen(SHAPE, seed=3).bfloat16(), LoraShape(), STAGES)
    model.set_adapter("routing")
    trained = {name: value.dtype for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert all(".routing." in name for name in trained)
    assert set(trained.values()) == {torch.float32}


def test_an_untrained_adapter_changes_no_bit() -> None:
    model = build_qwen(SHAPE, seed=3).eval()
    expected = _logits(model, _inputs(9))
    assert torch.equal(_logits(attach(model, LoraShape(), STAGES).eval(), _inputs(9)), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_base_is_bit_equal_with_adapters_disabled(base: Path, trained: dict[str, Path], dtype: str) -> None:
    expected = _logits(load_qwen(base, dtype=dtype)[0], _inputs(9))
    opened = _open(base, trained, dtype)
    assert not torch.equal(_logits(opened.model, _inputs(9)), expected)
    with opened.disabled():
        assert torch.equal(_logits(opened.model, _inputs(9)), expected)


def test_switching_back_and_forth_leads_to_the_same_bits(base: Path, trained: dict[str, Path]) -> None:
    opened = _open(base, trained)
    assert (opened.names, opened.active) == (STAGES, "routing")
    first = _logits(opened.model, _inputs(9))
    opened.switch("inbox")
    other = _logits(opened.model, _inputs(9))
    opened.switch("routing")
    assert torch.equal(_logits(opened.model, _inputs(9)), first)
    assert not torch.equal(other, first)


def test_a_mixed_batch_gives_each_row_what_its_own_adapter_gives(base: Path, trained: dict[str, Path]) -> None:
    opened, inputs = _open(base, trained), _inputs(9, rows=4)
    names = ["routing", BASE, "inbox", "routing"]
    with torch.no_grad():
        mixed = opened.mixed(names, **inputs)
    for row, name in enumerate(names):
        single = {key: value[row : row + 1] for key, value in inputs.items()}
        if name == BASE:
            with opened.disabled():
                alone = _logits(opened.model, single)
        else:
            opened.switch(name)
            alone = _logits(opened.model, single)
        torch.testing.assert_close(mixed[row], alone[0], rtol=0, atol=float(alone.abs().max()) * 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", STAGES)
def test_merged_and_unmerged_outputs_agree(base: Path, trained: dict[str, Path], dtype: str, name: str) -> None:
    opened = _open(base, trained, dtype)
    opened.switch(name)
    unmerged = _logits(opened.model, _inputs(9))
    merged = opened.merge(name)
    assert type(merged).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert not any("lora" in key for key in merged.state_dict())
    tolerance = float(unmerged.abs().max()) * TOLERANCE[dtype]
    torch.testing.assert_close(_logits(merged, _inputs(9)), unmerged, rtol=0, atol=tolerance)
    with_none = _logits(load_qwen(base, dtype=dtype)[0], _inputs(9))
    assert (unmerged - with_none).abs().max() > 4 * tolerance  # else the comparison would say nothing


def test_a_merged_model_is_saved_and_read_as_a_plain_one(base: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    opened = _open(base, trained)
    merged = opened.merge("routing")
    save_qwen(tmp_path, merged, load_qwen(base)[1])  # type: ignore[arg-type]
    assert torch.equal(_logits(load_qwen(tmp_path)[0], _inputs(9)), _logits(merged, _inputs(9)))


def test_peft_alone_reads_an_adapter_folder(base: Path, trained: dict[str, Path]) -> None:
    from peft import PeftModel

    plain = PeftModel.from_pretrained(load_qwen(base)[0], str(trained["inbox"])).eval()
    opened = _open(base, trained)
    opened.switch("inbox")
    assert torch.equal(_logits(plain, _inputs(9)), _logits(opened.model, _inputs(9)))
    assert read_card(trained["inbox"]).document_stage == "inbox"


def test_a_mix_of_one_is_that_one_and_no_name_that_means_something_else_is_taken(
    base: Path, trained: dict[str, Path]
) -> None:
    opened = _open(base, trained)
    opened.switch("inbox")
    alone = _logits(opened.model, _inputs(9))
    opened.add_mix("same", {"inbox": 1.0})
    opened.add_mix("halves", {"inbox": 0.5, "routing": 0.5})
    opened.switch("same")
    torch.testing.assert_close(_logits(opened.model, _inputs(9)), alone, rtol=0, atol=float(alone.abs().max()) * 1e-5)
    opened.switch("halves")
    assert not torch.equal(_logits(opened.model, _inputs(9)), alone)
    with pytest.raises(ValueError, match="document stage"):
        opened.add_mix("routing", {"inbox": 1.0})
    with pytest.raises(ValueError, match="torch's own"):
        opened.add_mix("half", {"inbox": 1.0})


def test_another_base_is_refused(base: Path, trained: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    save_qwen(other, build_qwen(SHAPE, seed=4), build_processor(["one text and another text"], SHAPE))
    with pytest.raises(AdapterMismatchError, match=r"trained on instructed_model/r1@abc .*Load the base"):
        AdapterSet.open(load_qwen(other)[0], digest=base_digest(other), adapters=trained)


def test_a_base_with_another_tokenizer_is_another_base(base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other")
    assert base_digest(other) == base_digest(base)
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert base_digest(other) != base_digest(base)


def test_another_stages_adapter_is_refused(base: Path, trained: dict[str, Path]) -> None:
    swapped = {"extraction": trained["inbox"]}
    with pytest.raises(AdapterMismatchError, match="the adapter of inbox, not of extraction"):
        AdapterSet.open(load_qwen(base)[0], digest=base_digest(base), adapters=swapped)


def test_names_that_are_not_open_are_refused(base: Path, trained: dict[str, Path]) -> None:
    opened = _open(base, trained)
    with pytest.raises(AdapterMismatchError, match=r"no adapter extraction is open.*inbox, routing"):
        opened.switch("extraction")
    with pytest.raises(AdapterMismatchError, match="no adapter extraction"):
        opened.mixed(["inbox", "extraction"], **_inputs(9))


def test_a_folder_without_weights_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(AdapterMismatchError, match="no weights"):
        base_digest(tmp_path)
