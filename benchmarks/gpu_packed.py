"""Full fine-tuning of the Qwen2.5-VL-7B shape on one GPU: documents packed without padding beside the stock way.

Run it as `python3 -m benchmarks.gpu_packed`; it needs torch, transformers and numpy (DeepSpeed for one variant) and
prints one JSON line after each variant and one with all at the end. Both sides train the same documents, text only, the
vision tower idle: random weights, weights, gradients and AdamW's states in bf16, clipped gradients, one optimizer step
a round of documents. `--size debug --device cpu` tries the program without a GPU. Variants are steps of a ladder: each
names one measure, so that neighbours tell what it brought.
"""

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu_packed_checks import ceiling, check_attention, check_loss, optimizer_costs
from benchmarks.gpu_packed_model import (
    SCALES,
    SMALL_BUDGET,
    Bench,
    Variant,
    batches,
    build_model,
    draw_documents,
    forget,
    now,
    one_round,
    prepare,
    trained,
)
from benchmarks.gpu_packed_zero import zero3_step
from sap_llm.modeling import packed_attention

PEAK_FLOPS = 989e12  # dense bf16 of the card by its datasheet; the share of it is the MFU

_OURS = Variant(name="best", chunked_loss=True, keep="all", compiled=True, seconds=45)
VARIANTS = (
    Variant(name="stock_padded", packed=False, seconds=25),
    Variant(name="packed"),
    Variant(name="packed_loss", chunked_loss=True),
    Variant(name="packed_loss_matmuls", chunked_loss=True, keep="matmuls"),
    replace(_OURS, name="packed_loss_compiled"),
    replace(_OURS, name="packed_loss_compiled_qkv", joined_qkv=True, optional=True),
    Variant(name="stock_by_length", packed=False, by_length=True, seconds=20, optional=True),
    replace(_OURS, name="packed_loss_compiled_8k", budget=SMALL_BUDGET, optional=True),
    Variant(name="packed_matmuls_8k", budget=SMALL_BUDGET, keep="matmuls"),
    Variant(name="packed_matmuls_8k_zero3", budget=SMALL_BUDGET, keep="matmuls", zero3=True, seconds=35),
)


def measure(bench: Bench, variant: Variant) -> dict[str, Any]:
    """Time a variant: two micro-batches to warm up, then whole rounds."""
    prepare(bench, variant)
    real = sum(len(one) for one in bench.documents)
    targets = real - len(bench.documents)
    prepared = batches(bench, variant)
    computed = sum(batch["inputs"]["input_ids"].numel() for batch in prepared)
    step: Callable[[Sequence[dict[str, Any]]], float] = functools.partial(one_round, bench, variant, targets=targets)
    if variant.zero3:
        bench.optimizer = None
        forget(bench)
        step = zero3_step(bench.model, len(prepared), targets, device=bench.device)
    elif bench.optimizer is None:
        fused = bench.device.type == "cuda"
        bench.optimizer = torch.optim.AdamW(trained(bench.model), lr=1e-6, weight_decay=0.0, fused=fused)
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = now(bench.device)
    step(prepared if variant.zero3 else prepared[:2])
    warm = now(bench.device) - started
    times, loss = [], math.nan
    for _ in range(bench.scale.rounds):
        started = now(bench.device)
        loss = step(prepared)
        times.append(now(bench.device) - started)
    speeds = sorted(real / one for one in times)
    return {
        "real_tokens_per_s": [round(one, 1) for one in speeds],
        "mfu_6n": round(6 * bench.parameters * speeds[-1] / PEAK_FLOPS, 4),
        "fill": round(real / computed, 4),
        "micro_batches": len(prepared),
        "warm_up_s": round(warm, 2),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if bench.device.type == "cuda" else None,
        "loss": round(loss, 4),
    }


def _say(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _guarded(name: str, call: Callable[[], Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        result = {"name": name, "result": call()}
    except Exception as error:  # noqa: BLE001 - GPU minutes are scarce: whatever fails, the other variants still run
        result = {"name": name, "error": f"{type(error).__name__}: {error}"[:600]}
    result["wall_s"] = round(time.perf_counter() - started, 1)
    _say(result)
    return result


def run_all(bench: Bench, wanted: Sequence[str], *, limit_s: float, started: float) -> list[dict[str, Any]]:
    """All wanted variants for which time is left, none of which can spoil another."""
    records = []
    chosen = [one for one in VARIANTS if not wanted or one.name in wanted]
    for number, variant in enumerate(chosen):
        left = limit_s - (time.perf_counter() - started)
        later = sum(one.seconds for one in chosen[number + 1 :] if variant.optional and not one.optional)
        if left < variant.seconds + later:
            records.append(
                {"name": variant.name, "left_out": f"{left:.0f} s left, {variant.seconds + later:.0f} needed"}
            )
            _say(records[-1])
            continue
        records.append(_guarded(variant.name, functools.partial(measure, bench, variant)))
        forget(bench)
    return records


def ratios_to_stock(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Real tokens a second of each variant over those of the stock side, best round beside best round."""
    best = {one["name"]: one["result"]["real_tokens_per_s"][-1] for one in records if "result" in one}
    stock = best.get(VARIANTS[0].name)
    return {name: round(speed / stock, 2) for name, speed in best.items()} if stock else {}


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 if a variant failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SCALES), default="7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variants", nargs="*", default=[], choices=[one.name for one in VARIANTS])
    parser.add_argument("--limit-s", type=float, default=240.0, help="wall seconds for all")
    options = parser.parse_args(arguments)
    started, device = time.perf_counter(), torch.device(options.device)
    packed_attention.register()
    scale = SCALES[options.size]
    checks = [
        _guarded("check_attention", lambda: check_attention(device)),
        _guarded("check_loss", lambda: check_loss(device)),
        _guarded("matmul_tflops", lambda: ceiling(device)),
    ]
    bench = Bench(scale=scale, device=device, groups=draw_documents(scale), model=build_model(scale, device))
    lengths = [len(one) for one in bench.documents]
    head = {
        "card": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "parameters_text": bench.parameters,
        "parameters_all": sum(one.numel() for one in bench.model.parameters()),
        "documents": len(lengths),
        "real_tokens": sum(lengths),
        "mean_length": round(sum(lengths) / len(lengths)),
        "longest": max(lengths),
        "ready_s": round(time.perf_counter() - started, 1),
    }
    _say(head)
    checks.append(_guarded("optimizer_step_s", lambda: optimizer_costs(bench)))
    records = run_all(bench, options.variants, limit_s=options.limit_s, started=started)
    ratios = ratios_to_stock(records)
    _say(
        {**head, "wall_s": round(time.perf_counter() - started, 1), "ratios": ratios, "checks": checks, "all": records}
    )
    return int(any("error" in one for one in (*checks, *records)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
