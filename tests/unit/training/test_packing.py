"""Packing: every text once, full budgets, and a model that computes the same as text by text."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.modeling import packed_attention
from sap_llm.modeling.qwen import SPECIAL_TOKENS, QwenShape, build_qwen
from sap_llm.training.packing import IGNORED, Sequenced, best_fit, build, image_positions
from sap_llm.training.token_loss import chunked_cross_entropy, save_matmuls

IMAGE = SPECIAL_TOKENS.index("<|image_pad|>")
VISION_START, VISION_END = (SPECIAL_TOKENS.index(f"<|vision_{edge}|>") for edge in ("start", "end"))
LENGTHS = (17, 2, 33, 9)
BUDGET = 72


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=80), budget=st.integers(50, 120))
def test_best_fit_places_every_document_once_within_the_budget(lengths: list[int], budget: int) -> None:
    packs = best_fit(lengths, budget)
    assert sorted(one for pack in packs for one in pack) == list(range(len(lengths)))
    assert all(sum(lengths[one] for one in pack) <= budget for pack in packs)
    assert sum(2 * sum(lengths[one] for one in pack) < budget for pack in packs) <= 1  # two such would have been one


def test_best_fit_refuses_what_no_budget_takes() -> None:
    with pytest.raises(ValueError, match="document 1 has 9 tokens"):
        best_fit([3, 9], 8)


def test_document_lengths_fill_nearly_all_of_the_budgets() -> None:
    lengths = np.random.default_rng(1).lognormal(7.0, 0.75, 1024).clip(16, 4096).astype(int)
    packs = best_fit(lengths.tolist(), 16_384)
    assert lengths.sum() / (len(packs) * 16_384) > 0.97


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7), spare=st.integers(0, 5))
def test_labels_are_the_next_token_of_the_same_document(lengths: list[int], spare: int) -> None:
    budget, start = sum(lengths) + spare, 0
    documents = [Sequenced(tokens=np.arange(100 * place, 100 * place + one)) for place, one in enumerate(lengths)]
    pack = build(documents, budget, filler=0)
    for one in documents:
        end = start + len(one)
        assert pack.labels[start:end].tolist() == [*one.tokens[1:].tolist(), IGNORED]
        assert pack.positions[:, start:end].tolist() == [list(range(len(one)))] * 3
        start = end
    assert (pack.labels[start:] == IGNORED).all()
    assert pack.real_tokens == sum(lengths)
    assert pack.targets == sum(lengths) - len(lengths)


def test_a_pack_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        build([Sequenced(tokens=np.arange(5))], 4, filler=0)


@pytest.fixture(scope="module")
def model() -> Any:
    model = build_qwen(QwenShape(size="debug"), seed=5)
    model.train()
    return model


def documents() -> list[Sequenced]:
    random = np.random.default_rng(3)
    return [Sequenced(tokens=random.integers(20, 1000, one)) for one in LENGTHS]


def inputs_of(pack: Any) -> dict[str, Any]:
    return {
        "input_ids": torch.from_numpy(pack.tokens)[None],
        "position_ids": torch.from_numpy(pack.positions)[:, None],
        "document_bounds": torch.from_numpy(pack.bounds),
        "longest_document": pack.longest,
        "use_cache": False,
    }


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def separate(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and gradients of the mean loss, document by document with the stock attention."""
    model.set_attn_implementation({"text_config": "sdpa"})
    targets = sum(LENGTHS) - len(LENGTHS)
    logits = []
    for one in documents():
        tokens = torch.from_numpy(one.tokens)[None]
        out = model(input_ids=tokens, use_cache=False).logits
        logits.append(out[0])
        torch.nn.functional.cross_entropy(out[0, :-1], tokens[0, 1:], reduction="sum").div(targets).backward()
    return torch.cat(logits).detach(), gradients(model)


@pytest.mark.parametrize("way", ["by_document", "by_mask"])
def test_packed_documents_give_the_logits_and_gradients_of_separate_ones(
    model: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, expected = separate(model)
    model.set_attn_implementation({"text_config": packed_attention.register()})
    if way == "by_mask":  # the way of a compiled graph, and of a GPU without bf16
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    pack = build(documents(), BUDGET, filler=0, bounds_size=9)
    hidden = model.model(**inputs_of(pack)).last_hidden_state[0]
    torch.testing.assert_close(model.lm_head(hidden)[: pack.real_tokens], logits, atol=1e-5, rtol=1e-4)
    labels = torch.from_numpy(pack.labels)
    chunked_cross_entropy(hidden, model.lm_head.weight, labels, divisor=pack.targets, chunk=16).backward()
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, atol=1e-6, rtol=1e-3, msg=name)


def test_a_document_does_not_see_its_neighbours(model: Any) -> None:
    model.set_attn_implementation({"text_config": packed_attention.register()})
    first, *others = documents()
    seen = []
    for stranger in (0, 500):
        changed = [Sequenced(tokens=np.full(len(one), 30 + stranger)) for one in others]
        hidden = model.model(**inputs_of(build([first, *changed], BUDGET, filler=stranger))).last_hidden_state
        seen.append(hidden[0, : len(first)])
    assert torch.equal(*seen)


def test_packed_attention_refuses_a_call_without_bounds(model: Any) -> None:
    model.set_attn_implementation({"text_config": packed_attention.register()})
    with pytest.raises(ValueError, match="document_bounds"):
        model(input_ids=torch.ones(1, 4, dtype=torch.long), use_cache=False)


def test_saving_matmuls_gives_the_same_gradients(model: Any) -> None:
    model.set_attn_implementation({"text_config": packed_attention.register()})
    pack = build(documents(), BUDGET, filler=0)
    found = []
    for keep in (None, save_matmuls):
        if keep:
            model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": keep})
        hidden = model.model(**inputs_of(pack)).last_hidden_state[0]
        hidden.square().mean().backward()
        found.append(gradients(model))
    model.gradient_checkpointing_disable()
    for name, one in found[0].items():
        assert torch.equal(one, found[1][name]), name


GRIDS = [(1, 4, 8), (1, 8, 4)]


def pictured() -> list[Sequenced]:
    """A document with text, two images one behind the other and text, and a document of text alone."""
    run = [[VISION_START, *[IMAGE] * (height * width // 4), VISION_END] for _, height, width in GRIDS]
    tokens = np.array([50, 51, *run[0], *run[1], 60, 61, 62])
    positions = image_positions(tokens, GRIDS, image_token=IMAGE, merge=2)
    return [Sequenced(tokens=np.arange(70, 81)), Sequenced(tokens=tokens, positions=positions)]


def test_image_positions_are_those_of_the_model(model: Any) -> None:
    document = pictured()[1]
    tokens = torch.from_numpy(document.tokens)[None]
    expected, _ = model.model.get_rope_index(
        tokens, mm_token_type_ids=(tokens == IMAGE).int(), image_grid_thw=torch.tensor(GRIDS)
    )
    assert document.positions.tolist() == expected[:, 0].tolist()


@pytest.mark.parametrize("grids", [[(1, 4, 8)], [(1, 4, 8), (1, 8, 8)], [*GRIDS, (1, 2, 2)]])
def test_images_that_do_not_match_their_tokens_are_refused(grids: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="image"):
        image_positions(pictured()[1].tokens, grids, image_token=IMAGE, merge=2)


def test_packed_documents_with_images_give_the_logits_and_gradients_of_separate_ones(model: Any) -> None:
    pixels = torch.randn(sum(height * width for _, height, width in GRIDS), 1176)
    images = {"pixel_values": pixels, "image_grid_thw": torch.tensor(GRIDS)}
    model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
    logits = []
    for one in pictured():
        tokens = torch.from_numpy(one.tokens)[None]
        extra = {} if one.positions is None else {**images, "mm_token_type_ids": (tokens == IMAGE).int()}
        out = model(input_ids=tokens, use_cache=False, **extra).logits[0]
        out.square().sum().backward()
        logits.append(out.detach())
    expected = gradients(model)
    name = packed_attention.register()
    model.set_attn_implementation({"text_config": name, "vision_config": name})
    pack = build(pictured(), 64, filler=0)
    hidden = model.model(**inputs_of(pack), **images).last_hidden_state[0, : pack.real_tokens]
    out = model.lm_head(hidden)
    torch.testing.assert_close(out, torch.cat(logits), atol=1e-5, rtol=1e-4)
    out.square().sum().backward()
    found = gradients(model)
    model.set_attn_implementation({"text_config": "sdpa", "vision_config": "sdpa"})
    assert any("visual" in name for name in expected)
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, atol=1e-4, rtol=1e-3, msg=name)


@settings(deadline=None, max_examples=25)
@given(tokens=st.integers(1, 40), chunk=st.integers(1, 50), seed=st.integers(0, 99))
def test_the_chunked_loss_is_the_plain_one(tokens: int, chunk: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 8, generator=generator, requires_grad=True)
    weight = torch.randn(30, 8, generator=generator, requires_grad=True)
    labels = torch.randint(-1, 30, (tokens,), generator=generator)
    labels[labels < 0] = IGNORED
    losses = []
    for chunked in (True, False):
        if chunked:
            loss = chunked_cross_entropy(hidden, weight, labels, divisor=7, chunk=chunk)
        else:
            loss = torch.nn.functional.cross_entropy(hidden @ weight.T, labels, reduction="sum") / 7
        gradient = torch.autograd.grad(3 * loss, (hidden, weight))
        losses.append((loss, *gradient))
    for ours, plain in zip(*losses, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)
