"""Answers of the Qwen2.5-VL-7B shape on one GPU: a page picture and 50 tokens in, exactly 300 greedy tokens out.

Run it as `python3 -m benchmarks.gpu_generate`; it needs torch, transformers and numpy and prints one JSON line after
each variant and one with all at the end. The rival is `generate` of transformers in the same run, on the same random
weights and documents. `--size debug --device cpu` tries the program without a GPU. Variants are steps of a ladder: each
names one measure, so that neighbours tell what it brought.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu_generate_checks import attention_costs, check_logits, parts
from benchmarks.gpu_generate_model import SIZES, VARIANTS, Bench, Variant, build, inputs, prepared, tidy
from benchmarks.gpu_packed_model import now
from sap_llm.modeling.generative.fast_decoding import FastOptions


def measure(bench: Bench, variant: Variant) -> dict[str, Any]:
    """Time a variant: once to warm up (transformers with few tokens), then whole batches of new documents."""
    rows = max(1, variant.rows // bench.size.batch_divisor)
    written = bench.size.written
    call = prepared(bench, variant)
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = now(bench.device)
    is_short = variant.fast is None and not variant.static
    call(inputs(bench, rows), 8 if is_short else written)
    warm, times = now(bench.device) - started, []
    for repetition in range(variant.repetitions):
        given = inputs(bench, rows, seed=100 + repetition)
        started = now(bench.device)
        found = call(given, written)
        times.append(now(bench.device) - started)
        if found.shape != (rows, written):
            raise ValueError(f"{tuple(found.shape)} tokens instead of {(rows, written)}")
    middle, details = statistics.median(times), parts(bench, rows)
    if details:
        details["step_ms"] = round(1e3 * (middle - details["until_first_token_s"]) / max(1, written - 1), 2)
    peak = torch.cuda.max_memory_allocated() / 2**30 if bench.device.type == "cuda" else None
    return {
        "rows": rows,
        "documents_a_minute": round(60 * rows / middle, 1),
        "tokens_per_s": round(rows * written / middle, 1),
        "batch_s": [round(one, 3) for one in times],
        "p50_s": round(middle, 3),
        "p95_s": round(max(times), 3),  # of so few repetitions the longest is the 95th percentile
        "warm_up_s": round(warm, 2),
        "peak_gib": None if peak is None else round(peak, 1),
        **details,
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
        tidy(bench)
    return records


def ratios(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Documents a minute over those of transformers: of the same batch where it was run, and of its best batch."""
    found = {one["name"]: one["result"] for one in records if "result" in one}
    speeds = {name: one["documents_a_minute"] for name, one in found.items() if name.startswith("stock")}
    if not speeds:
        return {}
    best = max(speeds.values())
    stock = {found[name]["rows"]: speed for name, speed in speeds.items() if not name.startswith("stock_static")}
    return {
        name: {
            "to_best_stock": round(one["documents_a_minute"] / best, 2),
            **(
                {"to_stock_of_the_batch": round(one["documents_a_minute"] / stock[one["rows"]], 2)}
                if one["rows"] in stock
                else {}
            ),
        }
        for name, one in found.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Measure; 1 if a check or a variant failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variants", nargs="*", default=[], choices=[one.name for one in VARIANTS])
    parser.add_argument("--limit-s", type=float, default=480.0, help="wall seconds for all")
    options = parser.parse_args(arguments)
    started, device = time.perf_counter(), torch.device(options.device)
    bench = build(options.size, device)
    head = {
        "card": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "parameters": sum(one.numel() for one in bench.model.parameters()),
        "prompt_tokens": inputs(bench, 1)["input_ids"].shape[1],
        "written_tokens": bench.size.written,
        "ready_s": round(time.perf_counter() - started, 1),
    }
    _say(head)
    plain = FastOptions(prefill_tokens=bench.size.prefill_tokens)
    checks = [_guarded("check_logits", functools.partial(check_logits, bench, plain))]
    if device.type == "cuda":
        checks.append(_guarded("check_logits_fp8", functools.partial(check_logits, bench, replace(plain, fp8=True))))
    checks.append(_guarded("attention_of_a_step", functools.partial(attention_costs, device, options.size)))
    tidy(bench)
    records = run_all(bench, options.variants, limit_s=options.limit_s, started=started)
    wall = round(time.perf_counter() - started, 1)
    _say({**head, "wall_s": wall, "ratios": ratios(records), "checks": checks, "all": records})
    return int(any("error" in one for one in (*checks, *records)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
