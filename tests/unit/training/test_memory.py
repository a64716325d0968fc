"""The memory planner against autograd's own tensors, a measured run, and what is known not to fit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from sap_llm.deployment import Deployment
from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.qwen import QwenShape
from sap_llm.training.config import LaunchConfig
from sap_llm.training.domain import DOMAIN_MODEL
from sap_llm.training.memory import CONTEXT_BYTES, GIB, OutOfMemoryPlanError, Workload, plan_memory, require_memory
from sap_llm.training.networks import encoder_network, qwen_network
from sap_llm.training.preview import planned_memory
from sap_llm.training.shares import share
from sap_llm.training.stages import TRAINING_STAGES

H100 = 79.6 * GIB  # what nvidia-smi shows of 80 GB


def kept_bytes(run: Callable[[], Any], module: nn.Module, given: list[torch.Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass beside weights and what is shared by all blocks."""
    own = {value.untyped_storage().data_ptr() for value in (*module.parameters(), *given)}
    found: dict[int, int] = {}
    alive: list[torch.Tensor] = []  # a freed storage's address would be used again

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        result = run()
    assert result is not None
    return sum(found.values())


@pytest.mark.parametrize("size", ["debug", "tiny"])
def test_what_a_text_block_keeps_is_what_autograd_keeps(size: Any) -> None:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLDecoderLayer,
        Qwen2_5_VLRotaryEmbedding,
    )

    from sap_llm.modeling.qwen import qwen_config

    config = qwen_config(QwenShape(size=size)).text_config
    config._attn_implementation = "sdpa"
    block = Qwen2_5_VLDecoderLayer(config, 0).to(torch.bfloat16)
    tokens = 256
    vectors = torch.randn(1, tokens, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
    positions = Qwen2_5_VLRotaryEmbedding(config)(vectors, torch.arange(tokens)[None, None].expand(3, 1, tokens))
    measured = kept_bytes(lambda: block(vectors, position_embeddings=positions), block, list(positions))
    text = qwen_network(QwenShape(size=size)).stacks[0]
    assert text.kept_bytes * tokens == pytest.approx(measured, rel=0.02)
    assert text.blocks == config.num_hidden_layers


def test_what_an_encoder_block_keeps_is_near_what_autograd_keeps() -> None:
    from sap_llm.modeling.encoder import Block

    config = EncoderConfig(width=256, layers=6, heads=4, expansion=3.0, dropout=0.1)
    block, words, documents = Block(config), 256, 8
    vectors = torch.randn(documents, words, config.width, requires_grad=True)
    angles = torch.randn(documents, 1, words, config.head_width // 2)
    bias = torch.zeros(documents, 1, 1, words)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measured = kept_bytes(lambda: block(vectors, angles, angles, bias), block, [angles])
    stack = encoder_network(config).stacks[0]
    on_cpu = 2.0 * config.heads  # its softmax stays in bf16 under autocast; a GPU's does not
    planned = documents * words * (stack.kept_bytes + on_cpu * words)
    assert planned == pytest.approx(measured, rel=0.1)


def test_the_measured_run_of_the_7b_shape_is_met_within_five_percent() -> None:
    """4 x 4096 tokens, checkpointing, everything bf16, one H200: peak 80 GiB by torch, which sees no CUDA context."""
    network = qwen_network(QwenShape(size="7b"))
    assert network.parameters == pytest.approx(8.29e9, rel=0.001)
    launch = LaunchConfig(
        launcher="gloo", accelerator="cuda", weights="bf16", zero_stage=0, activation_checkpointing=True
    )
    plan = plan_memory(Workload(network=network, tokens=4 * 4096, longest=4096), launch, is_sharded=False)
    assert (plan.peak - CONTEXT_BYTES) / GIB == pytest.approx(80, rel=0.05)
    assert plan.fits(131 * GIB)


@pytest.mark.parametrize(
    ("keep", "is_compiled", "tokens", "gib"),
    [("nothing", False, 16_384, 76.6), ("matmuls", False, 16_384, 122.2), ("matmuls", False, 8_192, 101.2),
     ("all", True, 16_384, 135.6), ("all", True, 8_192, 101.4)],
)  # fmt: skip
def test_measured_packs_of_the_7b_shape_are_met_within_eight_percent(
    keep: Any, is_compiled: bool, tokens: int, gib: float
) -> None:
    """Peaks that `benchmarks.gpu_packed` printed on one H200: text alone, loss in chunks of 4,096, everything bf16."""
    workload = Workload(
        network=qwen_network(QwenShape(size="7b"), trainable=7_620_000_000),
        tokens=tokens,
        longest=4096,
        keep=keep,
        is_compiled=is_compiled,
        loss_tokens=4096,
    )
    launch = LaunchConfig(launcher="gloo", accelerator="cuda", weights="bf16", zero_stage=0)
    plan = plan_memory(workload, launch, is_sharded=False, accumulation=2)
    assert (plan.peak - CONTEXT_BYTES) / GIB == pytest.approx(gib, rel=0.08)


@pytest.mark.parametrize("stage", TRAINING_STAGES, ids=lambda stage: stage.name)
@pytest.mark.parametrize(("profile", "card"), [("gpu", 139.8 * GIB), ("cluster", H100)])
def test_every_stage_of_a_profile_for_gpus_fits_its_cards(stage: Any, profile: str, card: float) -> None:
    config = Deployment.load(profile, is_preview=True).config(stage.config, stage.name)
    planned = planned_memory(stage, config, is_sharded=True)
    assert planned is not None
    shares, memory = planned
    require_memory(memory, card_bytes=card, shares=shares, is_sharded=True)


def test_a_stage_that_keeps_by_its_own_key_is_told_of_that_key() -> None:
    config = Deployment.load("cluster", is_preview=True).config(DOMAIN_MODEL.config, DOMAIN_MODEL.name)
    planned = planned_memory(DOMAIN_MODEL, config.model_copy(update={"keep": "all"}), is_sharded=True)
    assert planned is not None
    with pytest.raises(OutOfMemoryPlanError, match=r"keep: matmuls: .* which fits") as caught:
        require_memory(planned[1], card_bytes=H100, shares=planned[0], is_sharded=True)
    assert "pack_tokens: 8192" in str(caught.value)
    assert "activation_checkpointing" not in str(caught.value), "domain_model refuses that key"


def test_72b_with_fp32_adam_does_not_fit_16_cards_and_the_refusal_says_what_would() -> None:
    launch = LaunchConfig(
        launcher="deepspeed",
        ranks=16,
        accelerator="cuda",
        weights="mixed",
        zero_stage=3,
        activation_checkpointing=True,
        micro_batch=1,
    )
    network, shares = qwen_network(QwenShape(size="72b")), share(256, ranks=16, micro_batch=1)
    plan = plan_memory(
        Workload(network=network, tokens=4096, longest=4096), launch, is_sharded=True, accumulation=shares.accumulation
    )
    states = sum(row.device_bytes for row in plan.rows if "/ 16" in row.what)
    assert states * 16 / 1e12 == pytest.approx(73.4e9 * 16 / 1e12, rel=0.01)  # 1.17 TB of 1.28
    with pytest.raises(OutOfMemoryPlanError) as caught:
        require_memory(plan, card_bytes=H100, shares=shares, is_sharded=True)
    said = str(caught.value)
    assert f"a rank needs {plan.peak / GIB:,.1f} GiB" in said
    assert "AdamW's moments, 8 bytes / 16" in said
    offloaded = plan_memory(
        plan.workload,
        launch.model_copy(update={"offload_optimizer": "cpu"}),
        is_sharded=True,
        accumulation=shares.accumulation,
    )
    assert offloaded.fits(H100)
    assert f"launch.offload_optimizer: cpu: {offloaded.peak / GIB:,.1f} GiB" in said
    require_memory(offloaded, card_bytes=H100, shares=shares, is_sharded=True)


@pytest.mark.parametrize("weights", ["fp32", "mixed", "bf16"])
def test_more_ranks_and_higher_stages_never_need_more_for_states(weights: Any) -> None:
    network = qwen_network(QwenShape(size="tiny"))

    def states(stage: int, ranks: int) -> float:
        launch = LaunchConfig(launcher="auto", weights=weights, zero_stage=stage, ranks=ranks)
        rows = plan_memory(Workload(network=network, tokens=8, longest=8), launch, is_sharded=True).rows
        kept = ("weights,", "gradients", "AdamW", "weights to")
        return sum(row.device_bytes for row in rows if row.what.startswith(kept))

    by_stage = [states(stage, 4) for stage in (1, 2, 3)]
    assert by_stage == sorted(by_stage, reverse=True)
    assert states(3, 16) == pytest.approx(states(3, 4) / 4)


def test_the_compact_encoder_fits_anything_and_its_activations_are_its_largest_part() -> None:
    launch = LaunchConfig(accelerator="cuda")
    network = encoder_network(EncoderConfig(width=256, layers=6, heads=4, expansion=3.0))
    plan = plan_memory(Workload(network=network, tokens=65_536, longest=512, unit="words"), launch, is_sharded=True)
    assert plan.fits(H100)
    largest = max(plan.rows, key=lambda row: row.device_bytes)
    assert largest.what.startswith("activations")
    assert "words at a time" in plan.table(H100)
