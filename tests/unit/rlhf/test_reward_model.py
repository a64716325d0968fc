"""A reward model of the debug shape, taught on documents with planted corrections: it ranks held-out ones, unhacked.

The planted errors show in an answer's form (a value missing, date and amount exchanged). That a blank model of two
layers compares values with the page is not shown here, and was not found.
"""

import json
import random

import pytest
import torch
from PIL import Image

from sap_llm.modeling.qwen import QwenShape, build_processor
from sap_llm.rlhf.answers import as_json, verifiable_reward
from sap_llm.rlhf.reward import (
    Comparison,
    RewardConfig,
    RewardModel,
    build_reward_model,
    hardened,
    measure_reward_model,
    preference_loss,
    train_reward_model,
)

SHAPE = QwenShape(size="debug", min_pixels=28 * 28, max_pixels=4 * 28 * 28)


def _comparison(chance: random.Random) -> Comparison:
    """A receipt, its truth, and the answer before a person put date and amount right."""
    date = f"2026-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    amount, number = f"{chance.randint(1, 999)}.{chance.randint(0, 99):02}", f"R-{chance.randint(100, 999)}"
    truth = {"document_date": date, "document_number": number, "document_type": "RECEIPT", "total_amount": amount}
    planted = dict(truth)
    if chance.random() < 0.5:
        del planted[chance.choice(["document_date", "document_number", "total_amount"])]
    else:
        planted |= {"document_date": amount, "total_amount": date}
    return Comparison(
        text=f"Receipt {number} of {date} total {amount}", chosen=as_json(truth), rejected=as_json(planted), margin=0.5
    )


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    chance = random.Random(3)
    return [_comparison(chance) for _ in range(160)]


@pytest.fixture(scope="module")
def blank(comparisons: list[Comparison]) -> RewardModel:
    texts = [text for one in comparisons[:120] for text in (one.text, one.chosen, one.rejected)]
    return build_reward_model(SHAPE, build_processor(texts, SHAPE), seed=5)


@pytest.fixture(scope="module")
def trained(blank: RewardModel, comparisons: list[Comparison]) -> RewardModel:
    model = build_reward_model(SHAPE, blank.processor, seed=5)
    pairs = [pair for one in comparisons[:120] for pair in (one, one, one, *hardened(one))]
    losses = train_reward_model(model, pairs, RewardConfig(steps=150, pairs_a_step=16, learning_rate=3e-3), seed=7)
    assert sum(losses[-20:]) < sum(losses[:20]) / 2
    return model


@pytest.mark.slow
def test_it_ranks_held_out_corrections(trained: RewardModel, comparisons: list[Comparison]) -> None:
    measured = measure_reward_model(trained, comparisons[120:])
    assert measured["accuracy"] > 0.87
    assert 0 <= measured["calibration_error"] < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("hack", ["{}", "silent", "unclosed", "twice", "padded"])
def test_what_only_looks_good_loses(trained: RewardModel, comparisons: list[Comparison], hack: str) -> None:
    names = ["{}", "silent", "unclosed", "twice", "padded"]
    hacked = [list(hardened(one))[names.index(hack)] for one in comparisons[120:]]
    assert measure_reward_model(trained, hacked)["accuracy"] > 0.95


def test_hardened_answers_are_worse_by_the_verifiable_reward(comparisons: list[Comparison]) -> None:
    for one in comparisons[:10]:
        truth = json.loads(one.chosen)
        found = list(hardened(one))
        assert len(found) == 5
        assert all(verifiable_reward(pair.rejected, truth) < 1 for pair in found)
        assert max(found, key=lambda pair: len(pair.rejected)).rejected != one.chosen


def test_only_the_last_two_layers_and_the_head_learn() -> None:
    shape = QwenShape(size="tiny", min_pixels=28 * 28, max_pixels=4 * 28 * 28)
    model = build_reward_model(shape, build_processor(["a receipt"], shape), seed=1)
    learns = {name for name, one in model.backbone.named_parameters() if one.requires_grad}
    assert learns
    assert all(name.startswith(("language_model.layers.2.", "language_model.layers.3.", "language_model.norm"))
               for name in learns)  # fmt: skip
    assert len(model.parameters()) == len(learns) + 2


def test_a_score_depends_on_the_picture_and_not_on_the_neighbours(blank: RewardModel) -> None:
    black, white = Image.new("RGB", (56, 56), "black"), Image.new("RGB", (56, 56), "white")
    texts, answers = ["Receipt R-1", "Receipt R-1 of 2026-01-01"], ["{}", '{"total_amount":"1.00"}']
    with torch.no_grad():
        both = blank.score(texts, answers, [black, white])
        alone = blank.score(texts[:1], answers[:1], [black])
        other = blank.score(texts[:1], answers[:1], [white])
    torch.testing.assert_close(both[:1], alone, rtol=1e-3, atol=1e-4)
    assert float((alone - other).abs()) > 1e-5


def test_a_margin_asks_for_more_than_being_ahead() -> None:
    ahead, behind = torch.tensor([1.0]), torch.tensor([0.0])
    without = preference_loss(ahead, behind, torch.tensor([0.0]))
    assert preference_loss(ahead, behind, torch.tensor([2.0])) > without
    assert preference_loss(ahead, behind, torch.tensor([1.0])) == pytest.approx(torch.tensor(2.0).log().item())
    with pytest.raises(ValueError, match="no pair"):
        train_reward_model(None, [], RewardConfig(steps=1, pairs_a_step=1, learning_rate=1.0), seed=1)  # type: ignore[arg-type]
