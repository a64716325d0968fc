"""Milliseconds of CPU to use adapters: switching, mixing in a batch, merging; each beside what one would do instead.

A Qwen2.5-VL of the size `tiny` with random weights and an adapter for each document stage; both sides in turns on one
thread. On a GPU the small products of the adapters cost launches instead of arithmetic: figures from here say nothing
about one.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Measure, lower_is_better

RUNS = 15
ROWS, TOKENS = 8, 256


def run() -> dict[str, Measure]:
    """All comparisons.

    Raises:
        AssertionError: Two ways of the same thing gave different logits.
    """
    import torch

    from sap_llm.modeling.adapters import AdapterSet, base_digest
    from sap_llm.modeling.qwen import load_qwen
    from sap_llm.schema.document_stages import document_stage_names

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    names = document_stage_names()
    with tempfile.TemporaryDirectory() as home, torch.no_grad():
        base, adapters = _made(Path(home), names)
        opened = AdapterSet.open(load_qwen(base)[0], digest=base_digest(base), adapters=adapters)
        ids = torch.randint(20, 4000, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        found = {**_switching(opened, base, adapters), **_mixing(opened, inputs, names), **_merging(opened, inputs)}
    torch.set_num_threads(threads)
    return found


def _switching(opened: Any, base: Path, adapters: dict[str, Path]) -> dict[str, Measure]:
    from peft import PeftModel

    from sap_llm.modeling.qwen import load_qwen

    first, second = list(adapters)[:2]
    plain = load_qwen(base)[0]
    held: list[Any] = [PeftModel.from_pretrained(plain, str(adapters[first]), adapter_name="one")]

    def there_and_back() -> None:
        opened.switch(second)
        opened.switch(first)

    def read_again() -> None:
        for name in (second, first):
            held[0].load_adapter(str(adapters[name]), adapter_name="other")
            held[0].set_adapter("other")
            held[0].delete_adapter("other")

    ours, rival = _in_turns(there_and_back, read_again)
    return {"adapter_switch": _measure(ours / 2, rival / 2, "the adapter read from its folder")}


def _mixing(opened: Any, inputs: dict[str, Any], names: tuple[str, ...]) -> dict[str, Measure]:
    import torch

    rows = [names[row % len(names)] for row in range(ROWS)]

    def mixed() -> Any:
        return opened.mixed(rows, **inputs)

    def one_after_the_other() -> Any:
        parts = []
        for row, name in enumerate(rows):
            opened.switch(name)
            parts.append(opened.model(**{key: value[row : row + 1] for key, value in inputs.items()}).logits)
        return torch.cat(parts)

    def of_one() -> Any:
        return opened.model(**inputs).logits

    difference = float((mixed() - one_after_the_other()).abs().max())
    assert difference < 1e-4, difference
    ours, rival = _in_turns(mixed, one_after_the_other)
    again, single = _in_turns(mixed, of_one)
    return {
        "mixed_batch_vs_row_by_row": _measure(ours, rival, f"{ROWS} passes of a row, switching between"),
        "mixed_batch_vs_one_adapter": _measure(again, single, "the same batch with one adapter for all rows"),
    }


def _merging(opened: Any, inputs: dict[str, Any]) -> dict[str, Measure]:
    import copy

    single = {key: value[:1] for key, value in inputs.items()}
    opened.switch("extraction")
    merged = type(opened)(copy.deepcopy(opened.model)).merge("extraction")
    difference = float((merged(**single).logits - opened.model(**single).logits).abs().max())
    assert difference < 1e-3, difference
    ours, rival = _in_turns(lambda: merged(**single), lambda: opened.model(**single))
    return {"merged_forward": _measure(ours, rival, "not merged")}


def _made(home: Path, names: tuple[str, ...]) -> tuple[Path, dict[str, Path]]:
    """A base, and adapters whose second factors are not zero, as after training."""
    import torch

    from sap_llm.modeling.adapters import AdapterCard, LoraShape, attach, base_digest, save_adapter
    from sap_llm.modeling.qwen import QwenShape, build_processor, build_qwen, load_qwen, save_qwen

    shape = QwenShape(size="tiny")
    base = home / "base"
    save_qwen(base, build_qwen(shape, seed=1), build_processor(["a few words"], shape))
    torch.manual_seed(1)
    plain = load_qwen(base)[0]
    parameters = plain.num_parameters()
    model = attach(plain, LoraShape(), names)
    for name, value in model.named_parameters():
        if "lora_B" in name:
            value.normal_(std=0.02)
    digest, adapters = base_digest(base), {}
    for name in names:
        card = AdapterCard(
            document_stage=name, base="random", base_digest=digest, taxonomy_version="-", lora=LoraShape()
        )
        size = save_adapter(home / name, model, card)
        adapters[name] = home / name
    sys.stdout.write(f"base {parameters:,} parameters, an adapter {size:,} bytes\n")
    return base, adapters


def _in_turns(ours: Callable[[], object], rival: Callable[[], object]) -> tuple[float, float]:
    """Median CPU milliseconds of each side, after one untimed call."""
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(RUNS + 1):
        for side, call in enumerate((ours, rival)):
            started = time.process_time()
            call()
            if number:
                spent[side].append(1000 * (time.process_time() - started))
    for name, values in zip(("ours", "rival"), spent, strict=True):
        sys.stdout.write(f"  {name}: CPU ms min {min(values):.2f}, median {statistics.median(values):.2f}\n")
    return statistics.median(spent[0]), statistics.median(spent[1])


def _measure(ours: float, rival: float, rival_name: str) -> Measure:
    return lower_is_better(ours=round(ours, 3), rival=round(rival, 3), rival_name=rival_name, unit="CPU ms", runs=RUNS)
