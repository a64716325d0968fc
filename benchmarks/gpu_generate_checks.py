"""Whether both sides of `gpu_generate` compute the same, and where the time of a batch goes.

Belongs here: logits of ours and of transformers under the same given answer, the time of the step's attention by the
way it is computed. The variants are in `gpu_generate_model`.
"""

import functools
from typing import Any

import torch

from benchmarks.gpu_generate_model import Bench, inputs
from benchmarks.gpu_packed_model import SCALES, SEED, now
from sap_llm.modeling.generative.fast_decoding import FastGenerator, FastOptions, attend_fused, attend_products

TOLERANCE = 2.0  # times the distance of transformers from itself with another attention, in bf16 through all layers
_ROWS, _STEPS = 4, 8


class _Given:
    """A logits processor that remembers the scores and lets the given answer be chosen."""

    def __init__(self, answer: torch.Tensor) -> None:
        self._answer = answer
        self.seen: list[torch.Tensor] = []

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        given = self._answer[:, len(self.seen)]
        self.seen.append(scores.clone())
        return torch.nn.functional.one_hot(given, scores.shape[1]).to(scores.dtype)


def check_logits(bench: Bench, options: FastOptions) -> dict[str, Any]:
    """Relative distance of logits, step by step, from one forward of transformers over prompt and answer.

    Raises:
        ValueError: It is beyond the tolerance; not for FP8, which rounds more.
    """
    torch.manual_seed(SEED)
    given = inputs(bench, _ROWS)
    answer = torch.randint(16, bench.model.config.text_config.vocab_size - 8, (_ROWS, _STEPS), device=bench.device)
    processor = _Given(answer)
    fast = FastGenerator(bench.model, options)
    fast.generate(given, most_tokens=_STEPS, processors=[processor])
    ours = torch.stack(processor.seen, dim=1)
    stock, eager = (_stock_logits(bench, given, answer, name) for name in ("sdpa", "eager"))
    distances = [round(_distance(ours[:, step], stock[:, step]), 5) for step in range(_STEPS)]
    usual = [round(_distance(eager[:, step], stock[:, step]), 5) for step in range(_STEPS)]
    found = {
        "ours_from_stock": distances,
        "stock_from_itself_eager": usual,
        "same_argmax": round(float((ours.argmax(-1) == stock.argmax(-1)).float().mean()), 4),
        "same_argmax_stock_eager": round(float((eager.argmax(-1) == stock.argmax(-1)).float().mean()), 4),
    }
    if not bool(ours.isfinite().all()) or (max(distances) > TOLERANCE * max(usual) and not options.fp8):
        raise ValueError(f"logits differ: {found}")
    return found


def _stock_logits(bench: Bench, given: dict[str, torch.Tensor], answer: torch.Tensor, attention: str) -> torch.Tensor:
    more = torch.ones_like(answer)
    whole = {
        **given,
        "input_ids": torch.cat([given["input_ids"], answer], dim=1),
        "attention_mask": torch.cat([given["attention_mask"], more], dim=1),
        "mm_token_type_ids": torch.cat([given["mm_token_type_ids"], 0 * more.int()], dim=1),
    }
    bench.model.set_attn_implementation({"text_config": attention})
    try:
        with torch.inference_mode():
            logits = bench.model(**whole, use_cache=False, logits_to_keep=_STEPS + 1).logits
    finally:
        bench.model.set_attn_implementation({"text_config": "sdpa"})
    found: torch.Tensor = logits[:, :-1].float()
    return found


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def attention_costs(device: torch.device, name: str) -> dict[str, float]:
    """Microseconds of one layer's attention in a step, and GB/s of the cache that it reads."""
    text = SCALES[name].text
    heads, key_heads = text["num_attention_heads"], text["num_key_value_heads"]
    width = text["hidden_size"] // heads
    rows, tokens = (256, 1280) if device.type == "cuda" else (2, 64)
    make = functools.partial(torch.randn, device=device, dtype=torch.bfloat16)
    query = make(rows, heads, width)
    keys, values = (make(rows, key_heads, tokens + 128, width)[:, :, :tokens] for _ in range(2))
    mask = torch.zeros(rows, tokens, device=device, dtype=torch.bfloat16)
    costs = {}
    for way, attend in (("fused", attend_fused), ("products", attend_products)):
        for _ in range(3):
            attend(query, keys, values, mask)
        started = now(device)
        for _ in range(20):
            attend(query, keys, values, mask)
        seconds = (now(device) - started) / 20
        costs[f"{way}_us"] = round(seconds * 1e6, 1)
        costs[f"{way}_gb_per_s"] = round(2 * keys.numel() * 2 / seconds / 1e9, 1)
    return costs


def parts(bench: Bench, rows: int) -> dict[str, float]:
    """Seconds of a batch's pictures, and until all its first tokens, pictures included, by the generator at work."""
    fast = bench.fast
    if fast is None:
        return {}
    given = inputs(bench, rows)
    with torch.no_grad():
        started = now(bench.device)
        fast._pictures(given["pixel_values"], given["image_grid_thw"])  # noqa: SLF001 - a part of what is timed
        pictures = now(bench.device) - started
    started = now(bench.device)
    fast.generate(given, most_tokens=1)
    first = now(bench.device) - started
    return {"pictures_s": round(pictures, 3), "until_first_token_s": round(first, 3)}
