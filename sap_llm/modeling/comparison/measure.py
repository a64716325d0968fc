"""The launched program that measures candidates: `python -m sap_llm.modeling.comparison.measure --plan F --out F`.

Belongs here: making a candidate's network, timing it document by document, and its memory; parameters and languages are
asked for beside, since the libraries are here. It is a process of its own,
because each candidate is measured in a fork of it: what one candidate took does not hide in what another left behind,
and the libraries are imported once. What is measured and where it goes is the plan's.

Weights are random, for time and memory do not depend on them; a writer writes as many tokens as the plan says.
"""

import argparse
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sap_llm.modeling.backbones.registry import parameters_of
from sap_llm.modeling.comparison.candidates import Candidate
from sap_llm.modeling.comparison.languages import coverages
from sap_llm.modeling.comparison.plan import Answer, Measured, MeasurePlan
from sap_llm.schema.page import Page

_LIBRARIES = (
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "sap_llm.modeling.backbones.layoutlmv3",
    "sap_llm.modeling.backbones.donut",
    "sap_llm.modeling.backbones.qwen_reader",
    "sap_llm.modeling.qwen_processor",
    "sap_llm.modeling.torch_runtime",
)
PROMPT = "Extract the document as JSON."


def measure(plan: MeasurePlan, candidate: Candidate) -> Measured | None:
    """Make the network of a candidate and time it; None where it wants pictures and there are none."""
    before = _resident_bytes(plan.device)
    torch.manual_seed(plan.seed)
    documents = [[Page.from_row(row) for row in rows] for rows in json.loads(Path(plan.pages).read_text())]
    calls: list[Callable[[], object]] = []
    if candidate.use == "writes":
        if plan.pictures is None:
            return None
        write = _writer(plan, candidate)
        with np.load(plan.pictures) as held:
            pictures = [held[f"arr_{number}"] for number in range(len(documents))]
        calls = [lambda picture=picture: write(picture) for picture in pictures]  # type: ignore[misc]
    else:
        read = _reader(plan, candidate)
        calls = [lambda pages=pages: read(pages) for pages in documents]  # type: ignore[misc]
    best = np.full(len(calls), np.inf)
    calls[0]()  # warm
    for _ in range(plan.rounds):
        for place, call in enumerate(calls):
            began = time.perf_counter()
            call()
            _wait(plan.device)
            best[place] = min(best[place], (time.perf_counter() - began) * 1000.0)
    return Measured(
        latency_p50_ms=round(float(np.percentile(best, 50)), 3),
        latency_p95_ms=round(float(np.percentile(best, 95)), 3),
        latency_mean_ms=round(float(best.mean()), 3),
        peak_bytes=max(0, _peak_bytes(plan.device) - before),
    )


def _reader(plan: MeasurePlan, candidate: Candidate) -> Callable[[list[Page]], object]:
    """From pages to scores (features, network and heads), or to the triage; decoding is the same for all."""
    from sap_llm.modeling.backbones.doc_router import DocRouter, blank_weights
    from sap_llm.modeling.backbones.shapes import DonutShape, RouterShape
    from sap_llm.modeling.folder import ModelConfig
    from sap_llm.modeling.heads import MultitaskModel
    from sap_llm.modeling.labels import default_labels
    from sap_llm.modeling.predictor import EncoderPredictor
    from sap_llm.modeling.torch_runtime import TorchRuntime

    labels, shape = default_labels(), candidate.shape
    if isinstance(shape, RouterShape):
        return DocRouter(shape, labels.classes, blank_weights(shape, classes=len(labels.classes))).route
    assert not isinstance(shape, DonutShape)
    network = MultitaskModel(shape, labels).eval().to(plan.device)
    config = ModelConfig(taxonomy_version="", backbone=shape, labels=labels.to_json())
    predictor = EncoderPredictor(config, TorchRuntime(network))
    return lambda pages: predictor.score([pages])


def _writer(plan: MeasurePlan, candidate: Candidate) -> Callable[[Any], object]:
    """From a picture to tokens, greedily."""
    from sap_llm.modeling.backbones.shapes import DonutShape, QwenReaderShape

    shape = candidate.shape
    if isinstance(shape, DonutShape):
        from sap_llm.modeling.backbones.donut import Donut

        donut = Donut(shape).eval().to(plan.device)
        donut.model.generation_config.eos_token_id = None  # random weights would stop by chance
        return lambda picture: donut.generate(picture[None], most_tokens=plan.most_tokens)
    assert isinstance(shape, QwenReaderShape)
    return _qwen_writer(plan, shape.model)


def _qwen_writer(plan: MeasurePlan, shape: Any) -> Callable[[Any], object]:
    from PIL import Image

    from sap_llm.modeling.qwen import build_processor, build_qwen

    model = build_qwen(shape, seed=plan.seed).eval().to(plan.device)
    model.generation_config.eos_token_id = None
    processor = build_processor(plan.texts, shape)
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)

    def write(picture: Any) -> object:
        inputs = processor(text=[prompt], images=[Image.fromarray(picture).convert("RGB")], return_tensors="pt")
        with torch.inference_mode():
            return model.generate(**inputs.to(plan.device), max_new_tokens=plan.most_tokens, do_sample=False)

    return write


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _resident_bytes(device: str) -> int:
    import psutil

    return 0 if device != "cpu" else int(psutil.Process().memory_info().rss)


def _peak_bytes(device: str) -> int:
    if device != "cpu":
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _in_fork(plan: MeasurePlan, candidate: Candidate) -> Measured | None:
    """Measure in a child of this process, which has imported what is needed and started no thread."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                torch.set_num_threads(plan.threads)
                measured = measure(plan, candidate)
                Path(answer.name).write_text(measured.model_dump_json() if measured else "null")
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        if ended != 0:
            raise RuntimeError(f"measuring {candidate.key} ended with status {ended}")
        found = json.loads(Path(answer.name).read_text())
    return None if found is None else Measured.model_validate(found)


def main() -> None:
    """Measure what the plan names, count and look at all of its candidates, and write the answer."""
    parser = argparse.ArgumentParser(description="Measure candidates for the base model.")
    parser.add_argument("--plan", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    plan = MeasurePlan.model_validate_json(arguments.plan.read_text())
    for name in _LIBRARIES:  # once, before the forks
        importlib.import_module(name)
    figures = {one.key: _in_fork(plan, one) for one in plan.candidates if one.key in plan.run}
    by_name = {one.name: one for one in plan.candidates}
    answer = Answer(
        figures=figures,
        parameters={name: parameters_of(one.shape) for name, one in by_name.items()},
        coverages=coverages(by_name.values(), words=plan.words, texts=plan.texts, tokenizers=plan.tokenizers),
    )
    arguments.out.write_text(answer.model_dump_json())


if __name__ == "__main__":
    main()
