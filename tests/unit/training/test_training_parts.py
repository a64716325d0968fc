"""Losses, batches, augmentation, schedule and checkpoints, each on its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.modeling.labels import HEADER_FIELDS, IGNORED, LINE_FIELDS
from sap_llm.modeling.shards import Shard
from sap_llm.schema.errors import ConfigurationError
from sap_llm.training import checkpoint as checkpoints
from sap_llm.training.augment import damage
from sap_llm.training.batches import BatchPlan, collate
from sap_llm.training.config import AugmentationConfig, LossWeights
from sap_llm.training.engine import is_broken, learning_rate_factor
from sap_llm.training.losses import DocumentLoss, Losses, Targets, header_loss
from sap_llm.training.validate import gather_scores, word_f1

UNHARMED = AugmentationConfig(
    word_masking=0,
    hash_masking=0,
    character_masking=0,
    label_dropout_documents=0,
    label_dropout_words=0,
    digit_replacement=0,
    value_copying=0,
    scale=0,
    shift=0,
    jitter=0,
)


def random_shard(lengths: list[int], seed: int = 0) -> Shard:
    generator = np.random.default_rng(seed)
    count = sum(lengths)
    return Shard(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        class_ids=np.arange(len(lengths), dtype=np.int16),
        subtype_ids=np.full(len(lengths), IGNORED, dtype=np.int16),
        known_fields=np.ones((len(lengths), len(HEADER_FIELDS)), dtype=np.bool_),
        known_line_fields=np.ones((len(lengths), len(LINE_FIELDS)), dtype=np.bool_),
        is_first=np.ones(len(lengths), dtype=np.bool_),
        document_ids=[f"d{row}" for row in range(len(lengths))],
        characters=generator.integers(1, 95, (count, 16), dtype=np.uint8),
        hashes=generator.integers(1, 4000, (count, 3)).astype(np.uint16),
        shapes=generator.integers(0, 2**24, count).astype(np.uint32),
        boxes=generator.integers(0, 1000, (count, 4)).astype(np.int16),
        lines=generator.integers(0, 60, count).astype(np.int16),
        above=np.zeros(count, dtype=np.int16),
        header_labels=generator.integers(0, 20, count).astype(np.int16),
        line_labels=generator.integers(0, 8, count).astype(np.int8),
        row_starts=generator.integers(0, 2, count).astype(np.int8),
        table_labels=generator.integers(0, 2, count).astype(np.int8),
        block_labels=generator.integers(0, 7, count).astype(np.int8),
        starts=generator.integers(0, 16, count).astype(np.uint8),
    )


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=80), ranks=st.integers(1, 3), seed=st.integers(0, 9))
def test_an_epoch_shows_every_document_and_repeats_itself(lengths: list[int], ranks: int, seed: int) -> None:
    plans = [BatchPlan(np.array(lengths), words=1000 * ranks, ranks=ranks, seed=seed) for _ in range(2)]
    steps = next(step for step in range(10**6) if plans[0].locate(step)[0] == 1)
    seen: list[int] = []
    for step in reversed(range(steps)):  # any order: a step's number is the whole data position
        for rank in range(ranks):
            rows = plans[0].rows(step, rank)
            assert rows.tolist() == plans[1].rows(step, rank).tolist()
            assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= 1000
            seen.extend(rows.tolist())
    assert set(seen) == set(range(len(lengths)))


def test_epochs_differ_in_order() -> None:
    plan = BatchPlan(np.arange(1, 200), words=2000, ranks=1, seed=1)
    first = [plan.rows(step, 0).tolist() for step in range(5)]
    start = next(step for step in range(10**4) if plan.locate(step)[0] == 1)
    assert first != [plan.rows(start + step, 0).tolist() for step in range(5)]


def test_collating_pads_with_nothing_to_learn_from() -> None:
    shard = random_shard([3, 40])
    batch = collate(shard, np.array([1, 0]))
    assert batch.mask.sum(axis=1).tolist() == [40, 3]
    assert (batch.characters[0, :40] == shard.characters[3:]).all()
    assert (batch.header_labels[1, 3:] == IGNORED).all()
    assert (batch.row_starts[1, 3:] == IGNORED).all()
    assert batch.characters[1, 3:].sum() == 0


def test_no_damage_at_rate_zero_and_the_same_damage_from_the_same_seed() -> None:
    shard = random_shard([30, 50, 20])
    rows = np.array([0, 1, 2])
    untouched, zero = collate(shard, rows), collate(shard, rows)
    damage(zero, UNHARMED, np.random.default_rng(1))
    damaged = [collate(shard, rows) for _ in range(2)]
    for batch in damaged:
        damage(batch, AugmentationConfig(), np.random.default_rng(5))
    for name, value in vars(untouched).items():
        assert np.array_equal(value, getattr(zero, name)), name
        assert np.array_equal(getattr(damaged[0], name), getattr(damaged[1], name)), name
        if name.endswith("labels"):
            assert np.array_equal(value, getattr(damaged[0], name)), name
    assert not np.array_equal(untouched.boxes, damaged[0].boxes)


def test_digit_replacement_leaves_letters_and_hashes_alone() -> None:
    shard = random_shard([60])
    before, after = collate(shard, np.array([0])), collate(shard, np.array([0]))
    damage(after, UNHARMED.model_copy(update={"digit_replacement": 1.0}), np.random.default_rng(0))
    was_digit = (before.characters >= 17) & (before.characters <= 26)
    changed = before.characters != after.characters
    assert changed.any()
    assert not (changed & ~was_digit).any()
    assert ((after.characters[was_digit] >= 17) & (after.characters[was_digit] <= 26)).all()
    assert np.array_equal(before.hashes, after.hashes)


def test_unknown_fields_are_as_right_as_outside_on_untagged_words() -> None:
    logits = torch.zeros(1, 2, 4)
    logits[0, :, 3] = 8.0  # the model is sure of field 2
    labels = torch.tensor([[0, 0]])
    silent = header_loss(logits, labels, torch.tensor([[True, True, False]]))
    speaking = header_loss(logits, labels, torch.tensor([[True, True, True]]))
    assert silent < 0.05 < speaking
    assert float(header_loss(logits, labels, torch.zeros(1, 3, dtype=torch.bool))) == 0.0


SHAPES = {
    "document_class": (2, 4),
    "subtype": (2, 5),
    "header": (2, 3, 20),
    "line": (2, 3, 8),
    "row_start": (2, 3),
    "starts": (2, 3, 4),
    "table": (2, 3),
    "block": (2, 3, 7),
}
LABELS = {"header_labels": 20, "line_labels": 8, "row_starts": 2, "table_labels": 2, "block_labels": 7}
LOSS = {"subtype_ranges": {0: (0, 2), 1: (2, 5)}, "subtypes": 5}


def scores_and_targets(**labels: Any) -> tuple[Any, Targets]:
    from sap_llm.modeling.heads import Scores

    torch.manual_seed(0)
    scores = Scores(
        **{name: torch.randn(shape, requires_grad=True) for name, shape in SHAPES.items()}, vector=torch.zeros(2, 4)
    )
    ignored = torch.full((2, 3), IGNORED)
    defaults: dict[str, Any] = dict.fromkeys(LABELS, ignored)
    defaults |= {"class_ids": ignored[:, 0], "subtype_ids": ignored[:, 0]}
    defaults |= {"known_fields": torch.ones(2, 19, dtype=torch.bool), "starts": torch.zeros(2, 3, dtype=torch.uint8)}
    defaults |= {"known_line_fields": torch.ones(2, 7, dtype=torch.bool)}
    return scores, Targets(**(defaults | labels))


def gradients(scores: Any) -> dict[str, torch.Tensor]:
    return {name: getattr(scores, name).grad for name in SHAPES}


def lost(scores: Any, targets: Targets) -> Losses:
    loss = DocumentLoss(LossWeights(), **LOSS)
    return loss(scores, targets, loss.counts(targets))


def test_labels_that_say_nothing_cost_nothing_and_have_no_share() -> None:
    scores, targets = scores_and_targets()
    losses = lost(scores, targets)
    assert float(losses.total.detach()) == 0.0
    assert not any(float(share) for share in losses.labelled.values())
    losses.total.backward()
    assert all(float(gradient.abs().sum()) == 0.0 for gradient in gradients(scores).values())


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    losses = lost(
        *scores_and_targets(
            class_ids=torch.tensor([1, 0]),
            subtype_ids=torch.tensor([3, 0]),
            header_labels=torch.ones(2, 3, dtype=torch.int64),
            line_labels=torch.zeros(2, 3, dtype=torch.int64),
            table_labels=torch.ones(2, 3, dtype=torch.int64),
            block_labels=torch.ones(2, 3, dtype=torch.int64),
        )
    )
    shares = {"classification": 0.3, "extraction": 0.4, "line_items": 0.2, "table": 0.2, "subtype": 0.1, "layout": 0.05}
    expected = sum(share * float(losses.parts[name]) for name, share in shares.items())
    assert float(losses.total.detach()) == pytest.approx(expected)
    assert all(float(share) == 1.0 for share in losses.labelled.values())


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_two_pieces_share_a_batch_as_one_has_it(data: st.DataObject) -> None:
    """Whatever of the labels is missing in which piece: nothing is averaged with a zero, nothing is no number."""

    def drawn(most: int, *shape: int) -> torch.Tensor:
        count = int(np.prod(shape))
        values = st.one_of(
            st.just([IGNORED] * count), st.lists(st.integers(-1, most - 1), min_size=count, max_size=count)
        )
        return torch.tensor(data.draw(values)).view(shape)

    labels = {name: drawn(most, 2, 3) for name, most in LABELS.items()}
    labels |= {"class_ids": drawn(4, 2), "subtype_ids": drawn(5, 2), "starts": drawn(16, 2, 3).clamp(min=0).byte()}
    whole_scores, whole = scores_and_targets(**labels)
    lost(whole_scores, whole).total.backward()
    loss = DocumentLoss(LossWeights(), **LOSS)
    pieces = [Targets(**{name: value[number : number + 1] for name, value in vars(whole).items()}) for number in (0, 1)]
    counts = sum(loss.counts(piece) for piece in pieces) / 2
    summed = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    for number, piece in enumerate(pieces):
        scores, _ = scores_and_targets()
        own = type(scores)(*(value[number : number + 1] for value in scores))
        loss(own, piece, counts).total.backward()
        for name, gradient in gradients(scores).items():
            summed[name] += gradient / 2  # as the engines average
    for name, gradient in gradients(whole_scores).items():
        torch.testing.assert_close(summed[name], gradient, atol=1e-6, rtol=1e-4)


def test_only_subtypes_of_the_same_class_compete() -> None:
    scores, targets = scores_and_targets(subtype_ids=torch.tensor([3, IGNORED]))
    lost(scores, targets).total.backward()
    gradient = scores.subtype.grad
    assert float(gradient[0, :2].abs().sum()) == 0.0
    assert float(gradient[0, 2:].abs().sum()) > 0.0
    assert float(gradient[1].abs().sum()) == 0.0


def test_the_rate_rises_then_falls_to_almost_nothing() -> None:
    rates = [learning_rate_factor(step, steps=100, warmup_share=0.1) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[9] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


@pytest.mark.parametrize(("norm", "weight", "expected"), [
    (None, 1.0, False), (2.0, 1.0, False), (torch.tensor(float("inf")), 1.0, True), (2.0, float("nan"), True),
])  # fmt: skip
def test_a_step_breaks_weights_also_where_a_rank_holds_none_to_look_at(
    norm: Any, weight: float, expected: bool
) -> None:
    class Left:
        module = torch.nn.Linear(2, 2)
        gradient_norm = norm

    torch.nn.init.constant_(Left.module.weight, weight)
    assert is_broken(Left()) is expected  # type: ignore[arg-type]


def test_a_half_written_checkpoint_is_never_resumed_from(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None
    for step in (10, 20, 30):
        checkpoints.prepare(tmp_path)
        (checkpoints.scratch(tmp_path) / "weights").write_text(str(step))
        checkpoints.commit(tmp_path, step=step, progress={"curve": [step]}, keep=2)
    checkpoints.prepare(tmp_path)
    (checkpoints.scratch(tmp_path) / "weights").write_text("killed here")
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 30
    assert (found.folder / "weights").read_text() == "30"
    assert found.progress() == {"curve": [30]}
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000020", "step-00000030"]


def test_a_field_that_a_truth_does_not_speak_about_is_no_error_of_the_model() -> None:
    shard = random_shard([12, 12])
    silent, speaking = shard.known_fields.copy(), shard.known_fields.copy()
    silent[:, 5], speaking[:, 5] = False, True

    def said(known: np.ndarray, label: int = 0) -> float:
        judged = replace(shard, known_fields=known, header_labels=np.full_like(shard.header_labels, label))

        def says_field_5(batch: Any) -> dict[str, Any]:
            header = np.zeros((*batch.mask.shape, 1 + known.shape[1]), dtype=np.float32)
            header[..., 0], header[..., 6] = 1.0, 2.0
            words = batch.mask.shape
            line = np.zeros((*words, 1 + shard.known_line_fields.shape[1]), dtype=np.float32)
            flat = {"row_start": np.zeros(words), "table": np.zeros(words), "block": np.zeros((*words, 7))}
            classes = {"document_class": np.zeros((len(words), 50)), "subtype": np.zeros((len(words), 50))}
            return {"header": header, "line": line, "starts": np.zeros((*words, 4)), **flat, **classes}

        gathered = gather_scores(says_field_5, judged, most=2)
        return float((gathered["header_tags"] > 0).mean())

    assert said(silent) == 0.0
    assert said(speaking) == 1.0
    assert said(silent, label=6) == 1.0, "a truth of the core that says more is right"


def test_word_f1_counts_wrong_fields_twice_and_unknown_words_never() -> None:
    truth = np.array([1, 2, 0, -1, 3])
    assert word_f1(np.array([1, 2, 0, 5, 3]), truth) == 1.0
    assert word_f1(np.array([1, 3, 0, 0, 0]), truth) == pytest.approx(2 * 1 / (2 + 3))
    assert word_f1(np.zeros(3, dtype=int), np.zeros(3, dtype=int)) == 0.0


def test_checkpointing_activations_gives_the_same_gradients_and_keeps_less() -> None:
    from sap_llm.modeling.architecture import EncoderConfig
    from sap_llm.modeling.encoder import LayoutEncoder
    from sap_llm.training.engine import _checkpoint_activations

    documents, words = 2, 48
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randint(0, 200, (documents, words, 16), generator=generator),
        torch.randint(0, 4000, (documents, words, 3), generator=generator),
        torch.rand(documents, words, 24, generator=generator),
        torch.rand(documents, words, 4, generator=generator) * 1000,
        torch.arange(words).float().expand(documents, words),
        torch.zeros(documents, words, dtype=torch.int64),
        torch.ones(documents, words),
    )
    torch.manual_seed(1)
    encoder = LayoutEncoder(EncoderConfig(width=64, layers=2, heads=2, dropout=0.1))

    def gradients_and_kept() -> tuple[list[torch.Tensor], int]:
        kept: list[int] = []

        def pack(value: torch.Tensor) -> torch.Tensor:
            kept.append(value.numel())
            return value

        torch.manual_seed(2)  # the dropout
        encoder.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            encoder(*inputs)[1].square().sum().backward()
        return [value.grad.clone() for value in encoder.parameters() if value.grad is not None], sum(kept)

    plain, all_of_it = gradients_and_kept()
    _checkpoint_activations(encoder)
    again, less = gradients_and_kept()
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert less < all_of_it
    with pytest.raises(ConfigurationError, match="Linear cannot compute activations again"):
        _checkpoint_activations(torch.nn.Linear(2, 2))
