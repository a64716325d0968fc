"""From weights to an ONNX graph, and from fp32 to 8-bit integers.

Belongs here: torch.onnx export, the check against torch, and dynamic quantisation by ONNX Runtime. Whether the outcome
is worth having is `variant`.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from sap_llm.modeling.features import AFFIX_BUCKETS, CHARACTER_IDS, CHARACTERS, INPUT_NAMES, SHAPE_BITS, WINDOW_WORDS
from sap_llm.modeling.heads import Scores
from sap_llm.modeling.released_model import TURNED
from sap_llm.modeling.torch_runtime import load_network

_OPSET = 18
_MOST_BATCH = 256
_CHECKED_SHAPES = ((1, 17), (3, 120), (2, WINDOW_WORDS))


class _Tuple(nn.Module):
    """The exporter wants a plain tuple."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(*inputs))


def export_onnx(folder: Path, config: Any, target: Path) -> float:
    """Write the graph of a model folder with dynamic batch and word axes.

    Args:
        folder: Model folder with weights.
        config: Its `ModelConfig`.
        target: The .onnx file; weights are inside it.

    Returns:
        Greatest absolute difference to torch over all outputs and several shapes.
    """
    network = load_network(folder, config)
    batch = torch.export.Dim("batch", min=1, max=_MOST_BATCH)
    words = torch.export.Dim("words", min=2, max=WINDOW_WORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about torch's own deprecations
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Tuple(network),
            example_inputs(2, 24),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(INPUT_NAMES),
            output_names=list(Scores._fields),
            # the wrapper takes *inputs: one tuple of seven shapes
            dynamic_shapes=(tuple({0: batch, 1: words} for _ in INPUT_NAMES),),
            verbose=False,
        )
    assert program is not None
    program.save(str(target))
    _name_weights(target, network)
    return max_difference(network, target)


def _name_weights(graph: Path, network: nn.Module) -> None:
    """Give constants that are a parameter turned over its name, which the exporter's folding takes from them.

    A graph whose weights have names can be the start of a training (`modeling.released_model`).
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(graph))
    turned = {
        value.detach().numpy().T.tobytes(): f"network.{name}{TURNED}"
        for name, value in network.named_parameters()
        if value.ndim == 2
    }
    names = {
        entry.name: turned[content]
        for entry in model.graph.initializer
        if (content := numpy_helper.to_array(entry).tobytes()) in turned
    }
    for entry in model.graph.initializer:
        entry.name = names.get(entry.name, entry.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, str(graph))


def max_difference(network: nn.Module, graph: Path) -> float:
    """Greatest absolute difference between torch and ONNX Runtime on random inputs of several shapes."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch, words in _CHECKED_SHAPES:
        inputs = example_inputs(batch, words)
        with torch.inference_mode():
            expected = network(*inputs)
        feed = {name: value.numpy() for name, value in zip(INPUT_NAMES, inputs, strict=True)}
        for value, right in zip(session.run(None, feed), expected, strict=True):
            worst = max(worst, float(np.abs(value - right.numpy()).max()))
    return worst


def quantize_int8(graph: Path, target: Path) -> None:
    """Dynamic INT8 of the products with constant weights; activations are quantised while running."""
    prepared = target.with_suffix(".prepared.onnx")
    logging.getLogger().addFilter(_is_no_advice)
    try:
        quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(
            str(prepared),
            str(target),
            op_types_to_quantize=["MatMul", "Gemm"],
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    finally:
        logging.getLogger().removeFilter(_is_no_advice)
        prepared.unlink(missing_ok=True)


def example_inputs(batch: int, words: int) -> tuple[Tensor, ...]:
    """Random network inputs, the same in every process."""
    generator = torch.Generator().manual_seed(0)

    def integers(most: int, *shape: int) -> Tensor:
        return torch.randint(0, most, (batch, words, *shape), generator=generator)

    mask = torch.ones(batch, words)
    mask[-1, words // 2 :] = 0.0
    return (
        integers(CHARACTER_IDS, CHARACTERS),
        integers(AFFIX_BUCKETS, 3),
        integers(2, SHAPE_BITS).float(),
        integers(1000, 4).float().sort(dim=-1).values,
        integers(40).float().sort(dim=-1).values,
        integers(words),
        mask,
    )


def _is_no_advice(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()
