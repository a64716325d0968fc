"""The two sides of `gpu_packed`: the model, the documents of a round, and a step's batches and loss by variant.

Belongs here: shapes of the trial, the stock and the packed way to feed the model, and the measures that a variant
switches on. Timing is `gpu_packed`; whether both compute the same, `gpu_packed_checks`. Needs torch, transformers and
numpy only.
"""

import functools
import gc
import math
import time
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from sap_llm.modeling import packed_attention
from sap_llm.training import packing
from sap_llm.training.token_loss import chunked_cross_entropy, save_matmuls

ROWS = 4  # documents of one stock batch
BUDGET, SMALL_BUDGET = 16_384, 8192  # tokens of a pack; the documents of a round fill whole ones of both
LIMIT = 4096  # tokens of the longest document
MEAN, SPREAD = 1480, 0.75  # log-normal lengths; cut at the limit their mean is about 1,400
SEED = 8
PADDING = 0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to do the same step."""

    name: str
    packed: bool = True
    by_length: bool = False  # stock only: documents of like length in one batch
    budget: int = BUDGET
    chunked_loss: bool = False  # else all logits at once, in float32
    keep: str = "nothing"  # of a layer's activations: nothing (all computed again), matmuls, all
    compiled: bool = False
    joined_qkv: bool = False  # one product instead of three
    zero3: bool = False  # the same step inside DeepSpeed; it takes the model for good, so it comes last
    seconds: float = 15.0  # what it is reckoned to take
    optional: bool = False  # left out where that leaves too little time for those that are not


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What differs between the real thing and a trial."""

    text: dict[str, Any]
    vision: dict[str, Any]
    vocabulary: int
    budget_divisor: int  # budgets and lengths are divided by it
    packs: int  # full budgets of one round
    rounds: int  # timed
    chunk: int  # tokens of one chunk of the loss


SCALES = {
    "7b": Scale(
        text={
            "hidden_size": 3584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision={
            "hidden_size": 1280,
            "out_hidden_size": 3584,
        },  # the width that transformers takes by default is not 7B's
        vocabulary=152_064,
        budget_divisor=1,
        packs=2,
        rounds=2,
        chunk=4096,
    ),
    "debug": Scale(
        text={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
        },
        vision={"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64},
        vocabulary=1024,
        budget_divisor=64,
        packs=2,
        rounds=2,
        chunk=64,
    ),
}


@dataclass(kw_only=True)
class Bench:
    """The model with its optimizer, and the documents of a round."""

    scale: Scale
    device: torch.device
    groups: list[list[packing.Sequenced]]  # each fills a small budget
    model: Any
    optimizer: Any = None

    @property
    def documents(self) -> list[packing.Sequenced]:
        """All of a round, in random order."""
        documents = np.empty(sum(map(len, self.groups)), object)
        documents[:] = [one for group in self.groups for one in group]
        return list(_shuffled(documents))

    @property
    def parameters(self) -> int:
        """N of 6N: those of the text tower with embedding and output, as the baseline of the documentation counts."""
        return sum(one.numel() for one in trained(self.model))


def trained(model: Any) -> list[torch.nn.Parameter]:
    """Parameters that text alone reaches."""
    return [*model.model.language_model.parameters(), *model.lm_head.parameters()]


def draw_documents(scale: Scale) -> list[list[packing.Sequenced]]:
    """The documents of a round by the small budget that they fill, out of a window of 1,024 log-normal lengths.

    A round is too short for chance to even out. So of 500 draws that one is taken whose mean length and whose share of
    real tokens in stock batches are nearest to those of the window.
    """
    random = np.random.default_rng(SEED)
    drawn = random.lognormal(math.log(MEAN) - SPREAD**2 / 2, SPREAD, 1024).clip(64, LIMIT) // scale.budget_divisor
    lengths = drawn.astype(int).clip(2)
    packs = packing.best_fit(lengths.tolist(), SMALL_BUDGET // scale.budget_divisor)
    wanted = _habits(random.permutation(lengths))
    best: tuple[float, list[list[int]]] = (math.inf, [])
    for _ in range(500):
        chosen = [packs[one] for one in random.permutation(len(packs))[: scale.packs * BUDGET // SMALL_BUDGET]]
        distance = float(np.abs(_habits(_shuffled(lengths[np.concatenate(chosen)])) / wanted - 1).sum())
        best = min(best, (distance, chosen))

    def document(length: int) -> packing.Sequenced:
        return packing.Sequenced(tokens=random.integers(1, scale.vocabulary, length))

    return [[document(int(lengths[one])) for one in group] for group in best[1]]


def _habits(lengths: Any) -> Any:
    """Mean length, and the share of real tokens in stock batches."""
    starts = range(0, len(lengths), ROWS)
    padded = sum(lengths[one : one + ROWS].max() * len(lengths[one : one + ROWS]) for one in starts)
    return np.array([lengths.mean(), lengths.sum() / padded])


def _shuffled(items: Any) -> Any:
    """In the one random order in which the stock side meets a round's documents."""
    return items[np.random.default_rng(SEED).permutation(len(items))]


def build_model(scale: Scale, device: torch.device) -> Any:
    """Random weights in bf16, made on the device."""
    text = {"vocab_size": scale.vocabulary, "max_position_embeddings": 128_000, "use_cache": False, **scale.text}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=scale.vision, tie_word_embeddings=False)
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.train()


def prepare(bench: Bench, variant: Variant) -> None:
    """Give the model the attention, the checkpointing and the compilation of a variant."""
    model, layers = bench.model, bench.model.model.language_model.layers
    torch.compiler.reset()
    model.set_attn_implementation({"text_config": packed_attention.IMPLEMENTATION if variant.packed else "sdpa"})
    model.gradient_checkpointing_disable()
    if variant.keep != "all":
        extra = {"context_fn": save_matmuls} if variant.keep == "matmuls" else {}
        model.gradient_checkpointing_enable({"use_reentrant": False, **extra})
    for layer in layers:
        vars(layer).pop("_compiled_call_impl", None)
        vars(layer.self_attn).pop("forward", None)
        if variant.joined_qkv:
            layer.self_attn.forward = types.MethodType(_joined_forward, layer.self_attn)
        if variant.compiled:
            layer.compile(fullgraph=True, dynamic=False)


def _joined_forward(self: Any, hidden_states: torch.Tensor, *, position_embeddings: Any, **rest: Any) -> Any:
    """The stock attention layer with three products in one; the weights stay apart, as the model folder has them."""
    parts = (self.q_proj, self.k_proj, self.v_proj)
    weight, bias = torch.cat([one.weight for one in parts]), torch.cat([one.bias for one in parts])
    joined = torch.nn.functional.linear(hidden_states, weight, bias)
    sizes = [one.out_features for one in parts]
    query, key, value = (
        one.view(*hidden_states.shape[:2], -1, self.head_dim).transpose(1, 2) for one in joined.split(sizes, dim=-1)
    )
    query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
    bounds = {name: rest[name] for name in ("document_bounds", "longest_document")}
    attend = AttentionInterface()[packed_attention.IMPLEMENTATION]
    out, _ = attend(self, query, key, value, None, scaling=self.scaling, **bounds)
    return self.o_proj(out.reshape(*hidden_states.shape[:2], -1)), None


def batches(bench: Bench, variant: Variant) -> list[dict[str, Any]]:
    """A round's micro-batches on the device."""
    put = functools.partial(torch.as_tensor, device=bench.device)
    if variant.packed:
        return [_packed_batch(pack, put) for pack in _packs(bench, variant)]
    documents = sorted(bench.documents, key=len) if variant.by_length else bench.documents
    groups = [documents[start : start + ROWS] for start in range(0, len(documents), ROWS)]
    return [_padded_batch(group, put) for group in groups]


def _packs(bench: Bench, variant: Variant) -> Iterator[packing.Pack]:
    together = variant.budget // SMALL_BUDGET
    for start in range(0, len(bench.groups), together):
        documents = [one for group in bench.groups[start : start + together] for one in group]
        budget = variant.budget // bench.scale.budget_divisor
        yield packing.build(documents, budget, filler=PADDING, bounds_size=64)


def _packed_batch(pack: packing.Pack, put: Callable[[Any], torch.Tensor]) -> dict[str, Any]:
    return {
        "inputs": {
            "input_ids": put(pack.tokens)[None],
            "position_ids": put(pack.positions)[:, None],
            "document_bounds": put(pack.bounds),
            "longest_document": LIMIT,  # the same in every pack, so that one compilation serves all
            "use_cache": False,
        },
        "labels": put(pack.labels),
    }


def _padded_batch(documents: Sequence[packing.Sequenced], put: Callable[[Any], torch.Tensor]) -> dict[str, Any]:
    longest = max(len(one) for one in documents)
    tokens, labels = np.full((len(documents), longest), PADDING), np.full((len(documents), longest), packing.IGNORED)
    mask = np.zeros((len(documents), longest), np.int64)
    for row, one in enumerate(documents):
        tokens[row, : len(one)] = labels[row, : len(one)] = one.tokens
        mask[row, : len(one)] = 1
    inputs = {"input_ids": put(tokens), "attention_mask": put(mask), "labels": put(labels), "use_cache": False}
    return {"inputs": inputs}


def loss_of(bench: Bench, variant: Variant, batch: dict[str, Any], targets: int) -> torch.Tensor:
    """A micro-batch's share of the round's mean loss over its targets."""
    if not variant.packed:
        loss: torch.Tensor = bench.model(**batch["inputs"], num_items_in_batch=targets).loss
        return loss
    hidden = bench.model.model(**batch["inputs"]).last_hidden_state[0]
    if variant.chunked_loss:
        head = bench.model.lm_head.weight
        chunk = bench.scale.chunk
        return chunked_cross_entropy(
            hidden, head, batch["labels"], divisor=targets, chunk=chunk, compiled=variant.compiled
        )
    logits = bench.model.lm_head(hidden).float()
    return torch.nn.functional.cross_entropy(logits, batch["labels"], reduction="sum") / targets


def one_round(bench: Bench, variant: Variant, prepared: Sequence[dict[str, Any]], targets: int) -> float:
    """Forward and backward over all micro-batches and one optimizer step; the mean loss."""
    total = torch.zeros((), device=bench.device)
    for batch in prepared:
        loss = loss_of(bench, variant, batch, targets)
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(trained(bench.model), 1.0, foreach=True)
    bench.optimizer.step()
    bench.optimizer.zero_grad(set_to_none=True)
    return float(total)


def now(device: torch.device) -> float:
    """Seconds of a clock, when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def forget(bench: Bench) -> None:
    """Give back what a failed or finished variant held."""
    for one in bench.model.parameters():
        one.grad = None
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
