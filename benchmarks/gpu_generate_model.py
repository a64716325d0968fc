"""Documents and variants of `gpu_generate`, and how a variant is set up and taken down.

Belongs here: the prompts of one page picture each, the list of variants, and the call that a variant times. The model
is built by `gpu_packed_model`; what is checked is in `gpu_generate_checks`.
"""

import functools
import gc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.gpu_packed_model import SCALES, SEED, build_model
from sap_llm.modeling.generative.fast_decoding import FastGenerator, FastOptions

TEXT_BEFORE, TEXT_AFTER = 16, 34  # tokens of the prompt beside those of the picture


@dataclass(frozen=True, kw_only=True)
class Size:
    """What differs between the real thing and a trial."""

    grid: tuple[int, int]  # patches of the picture, high and wide; four make a token
    written: int  # tokens of an answer
    batch_divisor: int
    prefill_tokens: int

    @property
    def shown(self) -> int:
        """Tokens of the picture."""
        return math.prod(self.grid) // 4


SIZES = {
    "7b": Size(grid=(72, 56), written=300, batch_divisor=1, prefill_tokens=34_000),  # 32 prompts
    "debug": Size(grid=(16, 12), written=12, batch_divisor=8, prefill_tokens=256),
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to answer the same documents."""

    name: str
    rows: int
    fast: FastOptions | None = None  # None: generate of transformers
    compiled_vision: bool = False
    static: bool = False  # of transformers: its own static cache, compiled by it
    repetitions: int = 3
    seconds: float  # what it is reckoned to take
    optional: bool = False  # left out where that leaves too little time for those that are not


_BEST = FastOptions(compiled=True)
VARIANTS = (
    Variant(name="stock_32", rows=32, seconds=125),
    Variant(name="eager_32", rows=32, fast=FastOptions(graph=False, bucket=1408), seconds=25),
    Variant(name="graph_32", rows=32, fast=FastOptions(bucket=1408), seconds=20),
    Variant(name="graph_bucket_32", rows=32, fast=FastOptions(), seconds=20),
    Variant(name="compiled_32", rows=32, fast=_BEST, compiled_vision=True, seconds=40),
    Variant(name="compiled_128", rows=128, fast=_BEST, compiled_vision=True, seconds=60),
    Variant(name="compiled_256", rows=256, fast=_BEST, compiled_vision=True, seconds=95),
    Variant(
        name="fp8_256", rows=256, fast=replace(_BEST, fp8=True), compiled_vision=True, seconds=85, optional=True
    ),
    Variant(name="graph_256", rows=256, fast=FastOptions(), repetitions=1, seconds=40, optional=True),
    Variant(
        name="products_256", rows=256, fast=replace(_BEST, attention="products"), compiled_vision=True,
        repetitions=1, seconds=45, optional=True,
    ),
    Variant(name="stock_8", rows=8, seconds=90, optional=True),
    Variant(name="graph_bucket_8", rows=8, fast=FastOptions(), seconds=15, optional=True),
    Variant(name="compiled_64", rows=64, fast=_BEST, compiled_vision=True, seconds=40, optional=True),
    Variant(name="stock_128", rows=128, repetitions=1, seconds=70, optional=True),
    Variant(name="stock_static_32", rows=32, static=True, repetitions=1, seconds=120, optional=True),
)  # fmt: skip


@dataclass(kw_only=True)
class Bench:
    """The model, and the documents that it is asked about."""

    size: Size
    device: torch.device
    model: Any
    fast: FastGenerator | None = None  # of the variant at work


def build(name: str, device: torch.device) -> Bench:
    """A model with random weights in bf16, ready to generate."""
    model = build_model(SCALES[name], device).eval()
    model.config.text_config.use_cache = True
    model.generation_config.use_cache = True
    # The ids that `inputs` writes must lie in the vocabulary of the trial too.
    vocabulary = SCALES[name].vocabulary
    for place, key in enumerate(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")):
        setattr(model.config, key, vocabulary - 1 - place)
    return Bench(size=SIZES[name], device=device, model=model)


def inputs(bench: Bench, rows: int, *, seed: int = SEED) -> dict[str, torch.Tensor]:
    """Prompts as the processor of transformers would give them: some text, a page picture, some text."""
    random = torch.Generator(bench.device).manual_seed(seed)
    size, config = bench.size, bench.model.config
    usual = config.text_config.vocab_size - 8
    draw = functools.partial(torch.randint, 16, usual, generator=random, device=bench.device)
    fill = functools.partial(torch.full, device=bench.device)
    before, after = draw((rows, TEXT_BEFORE - 1)), draw((rows, TEXT_AFTER - 1))
    start, end = (fill((rows, 1), one) for one in (config.vision_start_token_id, config.vision_end_token_id))
    shown = fill((rows, size.shown), config.image_token_id)
    ids = torch.cat([before, start, shown, end, after], dim=1)
    vision = config.vision_config
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    patches = (rows * math.prod(size.grid), width)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == config.image_token_id).int(),
        "image_grid_thw": torch.tensor([[1, *size.grid]] * rows, device=bench.device),
        "pixel_values": torch.randn(patches, generator=random, device=bench.device, dtype=torch.bfloat16),
    }


def prepared(bench: Bench, variant: Variant) -> Callable[[dict[str, torch.Tensor], int], torch.Tensor]:
    """A call that continues inputs by exactly so many tokens."""
    torch.compiler.reset()
    bench.fast = None
    for block in bench.model.model.visual.blocks:
        vars(block).pop("_compiled_call_impl", None)
        if variant.compiled_vision:
            block.compile(dynamic=False)
    if variant.fast is None:
        return functools.partial(_stock, bench, variant)
    options = replace(variant.fast, prefill_tokens=bench.size.prefill_tokens)
    bench.fast = FastGenerator(bench.model, options)
    return functools.partial(_fast, bench.fast)


def _fast(fast: FastGenerator, given: dict[str, torch.Tensor], written: int) -> torch.Tensor:
    return fast.generate(given, most_tokens=written)


def _stock(bench: Bench, variant: Variant, given: dict[str, torch.Tensor], written: int) -> torch.Tensor:
    extra = {"cache_implementation": "static"} if variant.static else {}
    lengths = {"max_new_tokens": written, "min_new_tokens": written}
    with torch.inference_mode():
        whole = bench.model.generate(
            **given, do_sample=False, use_cache=True, eos_token_id=None, pad_token_id=0, **lengths, **extra
        )
    found: torch.Tensor = whole[:, given["input_ids"].shape[1] :]
    return found


def tidy(bench: Bench) -> None:
    """Give back what a failed or finished variant held."""
    bench.fast = None
    for block in bench.model.model.visual.blocks:
        vars(block).pop("_compiled_call_impl", None)
    torch.compiler.reset()
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
