"""The stage `stage_adapters`: batches, the loss of ranks, results that do not depend on their neighbours, plans."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from sap_llm.modeling.adapters import (
    AdapterMismatchError,
    AdapterSet,
    LoraShape,
    attach,
    base_digest,
    factors_of,
    read_card,
)
from sap_llm.modeling.qwen import build_qwen, load_qwen, qwen_config
from sap_llm.schema.errors import ConfigurationError
from sap_llm.schema.manifest import DatasetRef
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import DatasetStore
from sap_llm.training.adapters.base import Base
from sap_llm.training.adapters.batches import BatchPlan, Encoded, encode, micro_batches, padded
from sap_llm.training.adapters.documents import read_documents
from sap_llm.training.adapters.program import train
from sap_llm.training.adapters.scoring import score
from sap_llm.training.adapters.stage import STAGE_ADAPTERS, build_stage_adapters, partition_of
from sap_llm.training.adapters.tasks import examples
from sap_llm.training.adapters.trainer import AdapterTrainer
from sap_llm.training.memory import GIB, OutOfMemoryPlanError, require_memory
from sap_llm.training.model_report import curve
from sap_llm.training.packing import IGNORED
from sap_llm.training.preview import planned_memory
from sap_llm.training.report import Reporter
from sap_llm.training.stage import make_plan
from sap_llm.training.together import is_done, lead
from sap_llm.training.trainer import FileSession
from tests.support.toy_adapters import SHAPE, small_adapters, toy_instructed_model
from tests.support.toy_training import toy_training_set


class Toy:
    """A store with a training set and an instructed model."""

    def __init__(self, folder: Path) -> None:
        self.context = StageContext(store=DatasetStore(folder / "datasets"))
        self.training_set = toy_training_set(self.context, 60)
        self.model = toy_instructed_model(self.context, self.training_set)
        self.inputs = {"instructed_model": self.model, "training_set": self.training_set}

    def plan(self, stage: str, work: Path, **changes: Any) -> Any:
        partition = partition_of("r1", stage)
        config = small_adapters(**changes)
        return make_plan(
            self.context, STAGE_ADAPTERS, config=config, inputs=self.inputs, partition=partition, work=work
        )

    def train(self, stages: tuple[str, ...], work: Path, **changes: Any) -> dict[str, Path]:
        """Train in this process and return the result folders."""
        plans = [self.plan(stage, work, **changes) for stage in stages]
        train(lead(plans, self.context.store), rank=0, ranks=1, reporter=Reporter(None))
        return {stage: plan.result for stage, plan in zip(stages, plans, strict=True)}


@pytest.fixture(scope="module", autouse=True)
def one_rank() -> Iterator[None]:
    """A process group of this process alone, as the launched program has it."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("toy"))


def test_every_example_is_met_once_an_epoch_and_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    plan = BatchPlan(10, size=4, seed=3)
    steps = [plan.rows(step) for step in range(5)]
    assert sorted(row for rows in steps for row in rows) == sorted([*range(10), *range(10)])
    assert BatchPlan(10, size=4, seed=3).rows(3) == steps[3]
    assert sorted(np.concatenate(steps)[:10].tolist()) == list(range(10))


def test_only_the_answer_is_learned_and_nothing_is_cut(toy: Toy) -> None:
    documents = list(read_documents(toy.context.store.open(toy.training_set), split="train", most=10))
    processor = load_qwen(toy.context.store.open(toy.model).path("model"))[1]
    made = list(examples("classification", documents, small_adapters().tasks, seed=7))
    encoded, too_long = encode(made, processor, most_tokens=700)
    assert (len(encoded), too_long) == (10, 0)
    assert encode(made, processor, most_tokens=20) == ([], 10)
    batch = padded(encoded, pad=0)
    for row, example in enumerate(made):
        learned = batch.labels[row][batch.labels[row] != IGNORED]
        assert processor.tokenizer.decode(learned) == example.answer + "<|im_end|>"
        place = int((batch.labels[row] != IGNORED).nonzero()[0])
        assert batch.input_ids[row, place + 1] == batch.labels[row, place]


def test_accuracy_is_the_share_of_answers_that_greedy_decoding_writes(toy: Toy) -> None:
    model = attach(build_qwen(SHAPE, seed=1), LoraShape(), ["inbox"]).eval()
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(20, 600, (6, 9), generator=generator)
    expected = []
    encoded = []
    for row, prompt in enumerate(prompts):
        written = model.generate(
            input_ids=prompt[None], attention_mask=torch.ones(1, 9, dtype=torch.int64), max_new_tokens=4,
            do_sample=False, eos_token_id=None,
        )[0, 9:].tolist()  # fmt: skip
        if row % 2:
            written[row % 4] = (written[row % 4] + 1) % 600
        expected.append(row % 2 == 0)
        encoded.append(Encoded(ids=prompt.tolist() + written, answer_start=9))
    scores = score(model, micro_batches(encoded, size=4, pad=0))
    assert (scores.accuracy, scores.examples) == (sum(expected) / 6, 6)
    assert scores.token_accuracy < 1


def test_the_step_is_the_same_however_it_is_cut_into_passes(toy: Toy, tmp_path: Path) -> None:
    curves = []
    for size in (1, 4, 8):
        result = toy.train(
            ("validation",), tmp_path / str(size), launch={"micro_batch": size}, lora={"dropout": 0.0}, steps=4
        )["validation"]
        curves.append([point["loss"] for point in json.loads((result / "losses.json").read_text())])
    np.testing.assert_allclose(curves, [curves[0]] * 3, rtol=1e-4)


def test_an_adapter_learns_and_the_base_stays_bit_equal(toy: Toy, tmp_path: Path) -> None:
    folder = toy.context.store.open(toy.model).path("model")
    before = {name: value.clone() for name, value in load_qwen(folder)[0].state_dict().items()}
    plan = toy.plan("classification", tmp_path)
    base = Base(plan, torch.device("cpu"), rank=0)
    AdapterTrainer(plan, base, rank=0, ranks=1, reporter=Reporter(None)).run()
    metrics = json.loads((plan.result / "metrics.json").read_text())
    assert metrics["validation_loss"] < metrics["validation_loss_base"] - 1
    assert metrics["is_improved"]
    assert metrics["validation_examples"] == 8
    assert metrics["adapter_parameters"] * 4 < metrics["adapter_bytes"] < metrics["adapter_parameters"] * 4.5
    held = {name.replace(".base_layer", ""): value for name, value in base.model.get_base_model().state_dict().items()}
    assert all(torch.equal(held[name], value) for name, value in before.items())
    opened = AdapterSet.open(
        load_qwen(folder)[0], digest=base_digest(folder), adapters={"classification": plan.result / "adapter"}
    )
    inputs = {"input_ids": torch.arange(20, 50)[None], "attention_mask": torch.ones(1, 30, dtype=torch.int64)}
    with torch.no_grad(), opened.disabled():
        assert torch.equal(opened.model(**inputs).logits, load_qwen(folder)[0](**inputs).logits)


def test_an_adapter_is_the_same_whether_trained_alone_or_behind_another(toy: Toy, tmp_path: Path) -> None:
    together = toy.train(("routing", "classification"), tmp_path / "together", steps=4)
    alone = toy.train(("classification",), tmp_path / "alone", steps=4)
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "adapter/adapter.json"):
        assert (together["classification"] / name).read_bytes() == (alone["classification"] / name).read_bytes()
    assert read_card(together["routing"] / "adapter").document_stage == "routing"


def test_adapters_of_one_program_have_a_curve_each_and_the_launcher_hears_all(toy: Toy, tmp_path: Path) -> None:
    plans = [toy.plan(stage, tmp_path, steps=4, report_every_steps=2) for stage in ("routing", "classification")]
    leading = lead(plans, toy.context.store)
    leading.write()
    heard: list[Any] = []
    with FileSession(leading)(heard.append):
        train(leading, rank=0, ranks=1, reporter=Reporter(leading.progress_file))
    for plan in plans:
        told, kept = curve(plan), json.loads((plan.result / "losses.json").read_text())
        assert [point["step"] for point in told] == [2, 4]
        assert [point["loss"] for point in told] == [point["loss"] for point in kept]
    assert [entry["document_stage"] for entry in heard if entry["event"] == "done"] == ["routing", "classification"]


def test_gradient_checkpointing_changes_memory_and_no_number(toy: Toy, tmp_path: Path) -> None:
    curves = [
        json.loads((toy.train(("inbox",), tmp_path / str(flag), steps=4,
                               launch={"activation_checkpointing": flag})["inbox"]
                    / "losses.json").read_text())[-1]["loss"]
        for flag in (False, True)
    ]  # fmt: skip
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_bf16_trains_the_factors_in_float32(toy: Toy, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    result = toy.train(("inbox",), tmp_path, steps=4, base_weights="bf16", launch={"precision": "bf16"})["inbox"]
    weights = load_file(result / "adapter" / "adapter_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_a_stage_without_examples_says_so(toy: Toy, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no document gives an example of type_identification"):
        toy.train(("type_identification",), tmp_path)


def test_a_training_set_without_its_own_inputs_beside_it_is_refused(toy: Toy, tmp_path: Path) -> None:
    plan = toy.plan("inbox", tmp_path)
    alone = tmp_path / "inputs" / plan.inputs["training_set"].name / plan.inputs["training_set"].version
    shutil.copytree(plan.folders["training_set"], alone)
    moved = plan.model_copy(update={"folders": {**plan.folders, "training_set": str(alone)}})
    with pytest.raises(ConfigurationError, match=r"not at hand: synthetic_docs/.*a folder that all nodes see"):
        Base(moved, torch.device("cpu"), rank=0)


def test_an_unknown_document_stage_is_refused(toy: Toy) -> None:
    with pytest.raises(ConfigurationError, match="no document stage 'shipping'"):
        build_stage_adapters(
            toy.context, config=small_adapters(), instructed_model=toy.model, training_set=toy.training_set,
            release="r1", document_stages=["shipping"],
        )  # fmt: skip


def test_what_is_trained_already_is_left_out_of_the_launch(toy: Toy, tmp_path: Path) -> None:
    plans = [toy.plan(stage, tmp_path) for stage in ("inbox", "routing", "validation")]
    leading = lead(plans, toy.context.store)
    assert (leading.name, len(leading.also)) == ("stage_adapters/r1/inbox", 2)
    plans[0].result.mkdir(parents=True)
    assert not is_done(leading, toy.context.store)  # it leads two that are missing
    leading = lead(plans, toy.context.store)
    assert (leading.name, len(leading.also)) == ("stage_adapters/r1/routing", 1)
    for plan in plans[1:]:
        plan.result.mkdir(parents=True)
    assert is_done(lead(plans, toy.context.store), toy.context.store)


def test_an_adapter_of_another_release_of_the_base_is_refused(toy: Toy, tmp_path: Path) -> None:
    result = toy.train(("inbox",), tmp_path, steps=2)["inbox"]
    other: DatasetRef = toy_instructed_model(toy.context, toy.training_set, seed=2)
    folder = toy.context.store.open(other).path("model")
    with pytest.raises(AdapterMismatchError, match="trained on instructed_model/r1"):
        AdapterSet.open(load_qwen(folder)[0], digest=base_digest(folder), adapters={"inbox": result / "adapter"})


@pytest.mark.parametrize(("size", "fits"), [("7b", True), ("72b", False)])
def test_the_planner_counts_the_frozen_base_and_refuses_what_no_card_holds(size: str, fits: bool) -> None:
    config = small_adapters(
        size=size, base_weights="bf16", batch_examples=16, most_tokens=4096,
        launch={"accelerator": "cuda", "precision": "bf16", "micro_batch": 2, "activation_checkpointing": True},
    )  # fmt: skip
    planned = planned_memory(STAGE_ADAPTERS, config, is_sharded=False)
    assert planned is not None
    shares, memory = planned
    assert memory.workload.network.trainable == {"7b": 40_370_176, "72b": 210_534_400}[size]  # as peft counts
    assert memory.fits(80 * GIB) is fits
    if not fits:
        with pytest.raises(OutOfMemoryPlanError, match="a rank needs"):
            require_memory(memory, card_bytes=80 * GIB, shares=shares, is_sharded=False)
        sharded = small_adapters(
            size=size, base_weights="bf16", shard_base=True, batch_examples=16, most_tokens=4096,
            launch={"accelerator": "cuda", "precision": "bf16", "ranks": 16, "activation_checkpointing": True},
        )  # fmt: skip
        planned = planned_memory(STAGE_ADAPTERS, sharded, is_sharded=False)
        assert planned is not None
        assert planned[1].fits(80 * GIB)


def test_factors_are_counted_as_peft_makes_them() -> None:
    for shape in (LoraShape(), LoraShape(rank=4, attention=("q_proj", "v_proj"), feed_forward=())):
        model = attach(build_qwen(SHAPE, seed=1), shape, ["inbox"])
        made = sum(value.numel() for value in model.parameters() if value.requires_grad)
        assert factors_of(shape, qwen_config(SHAPE).text_config) == made
