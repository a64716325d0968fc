"""What holding answers to a schema costs a token, and what it buys: `generate` with and without it, in turns.

Both sides write as many tokens with the same model of random weights, a debug body under a vocabulary of the released
model's size, or a small one. The body is so small that nearly all the time is that of vocabulary and processors: with a
real body the share is smaller, the milliseconds are the same. The tokenizer is made up (bytes, pairs of printable
characters, triples of letters), as no released one may be fetched; llguidance walks a tree of it as of a real one.
"""

import itertools
import statistics
import string
import time
from typing import Any

import torch
from transformers import LogitsProcessorList, Qwen2Tokenizer

from benchmarks.measure import Measure, lower_is_better
from sap_llm.modeling.generative.answer_schema import answer_schema
from sap_llm.modeling.generative.answers import parsed
from sap_llm.modeling.generative.constrained import Grammars, SchemaProcessor, is_compliant
from sap_llm.modeling.qwen import END, PAD, SPECIAL_TOKENS, QwenShape, build_qwen

RUNS = 3
ROWS = 4
MOST_TOKENS = 320
RELEASED, SMALL = 152_064, 4096
SCHEMA = answer_schema("extract", pages=2, longest_side=1288)


def run() -> dict[str, Measure]:
    """CPU milliseconds of a step on both sides; every constrained answer has to be of the schema."""
    found: dict[str, Measure] = {}
    for vocabulary in (SMALL, RELEASED):
        bench = Bench(vocabulary)
        bench.write(is_constrained=True)  # warm-up
        sides: tuple[list[float], list[float]] = ([], [])
        shares = [0.0, 0.0]
        for _ in range(RUNS):
            for side, is_constrained in enumerate((True, False)):
                milliseconds, shares[side] = bench.write(is_constrained=is_constrained)
                sides[side].append(milliseconds)
        assert shares[0] == 1.0
        ours, rival = (statistics.median(side) for side in sides)
        print(
            f"{vocabulary} tokens: {ours:.2f} ms a step of {ROWS} rows (min {min(sides[0]):.2f}), without a schema "
            f"{rival:.2f} (min {min(sides[1]):.2f}), so {(ours - rival) / ROWS:.3f} ms more a token; of the schema are "
            f"{shares[0]:.0%} of the answers, without it {shares[1]:.0%}"
        )
        found[f"generate_step_{vocabulary}_tokens"] = lower_is_better(
            ours=ours, rival=rival, rival_name="unconstrained generate", unit=f"CPU ms a step of {ROWS} rows", runs=RUNS
        )
    return found


class Bench:
    """A model under a vocabulary, and a prompt."""

    def __init__(self, vocabulary: int) -> None:
        torch.set_num_threads(1)
        self.model = build_qwen(QwenShape(size="debug", vocabulary=vocabulary), seed=7).eval()
        self.grammars = Grammars(made_up_tokenizer(vocabulary), vocabulary=vocabulary)
        self.prompt = torch.randint(300, 400, (ROWS, 64), generator=torch.Generator().manual_seed(7))

    def write(self, *, is_constrained: bool) -> tuple[float, float]:
        """CPU milliseconds of a step that writes a token on every row, and the share of answers of the schema."""
        processors: list[Any] = []
        if is_constrained:
            processors = [SchemaProcessor(self.grammars, [SCHEMA] * ROWS, most_tokens=MOST_TOKENS)]
        started = time.process_time()
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=self.prompt,
                attention_mask=torch.ones_like(self.prompt),
                max_new_tokens=MOST_TOKENS,
                do_sample=True,  # random weights repeat themselves otherwise
                logits_processor=LogitsProcessorList(processors),
            )[:, self.prompt.shape[1] :]
        seconds = time.process_time() - started
        right = sum(is_compliant(parsed(self._text(row)), SCHEMA) for row in written.tolist())
        return 1000 * seconds / written.shape[1], right / ROWS

    def _text(self, tokens: list[int]) -> str:
        ends = self.grammars.ends
        length = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
        return self.grammars.bytes_of(tokens[:length]).decode(errors="replace")


def made_up_tokenizer(vocabulary: int) -> Any:
    """A byte-level tokenizer of exactly so many tokens, or as many as there are pairs and triples for."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*SPECIAL_TOKENS, *sorted(ByteLevel.alphabet())]
    printable = string.printable[:94]
    merges = list(itertools.product(printable, repeat=2))
    merges += [(first + second, third) for first, second, third in itertools.product(string.ascii_letters, repeat=3)]
    merges = merges[: vocabulary - len(tokens)]
    tokens += [first + second for first, second in merges]
    return Qwen2Tokenizer(
        vocab={token: place for place, token in enumerate(tokens)},
        merges=merges,
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[token for token in SPECIAL_TOKENS if token not in (PAD, END)],
    )
