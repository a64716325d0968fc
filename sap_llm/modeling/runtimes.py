"""Opening a model folder as a `Predictor`, on torch or on ONNX Runtime.

Belongs here: choosing the runtime. Each runtime's own code, with its heavy import, is in `torch_runtime` and
`onnx_runtime` and is loaded only when chosen.
"""

from pathlib import Path
from typing import Literal

from sap_llm.modeling.folder import GRAPH, WEIGHTS, read_config
from sap_llm.modeling.predictor import EncoderPredictor, Runtime
from sap_llm.schema.errors import ConfigurationError

RuntimeName = Literal["auto", "torch", "onnx"]


def load_predictor(folder: Path, *, runtime: RuntimeName = "auto", threads: int = 0) -> EncoderPredictor:
    """Open a model folder.

    Args:
        folder: Holds config.json and model.safetensors or model.onnx.
        runtime: "auto" takes the one whose file is there, torch first.
        threads: Of ONNX Runtime; 0 for one per core. Torch's thread count is the process's own.

    Raises:
        ConfigurationError: The folder is no model folder, or has no file for that runtime.
    """
    config = read_config(folder)
    chosen = runtime
    if chosen == "auto":
        chosen = "torch" if (folder / WEIGHTS).exists() else "onnx"
    needed = folder / (WEIGHTS if chosen == "torch" else GRAPH)
    if not needed.exists():
        raise ConfigurationError(
            f"no {needed.name} for runtime {chosen!r}", where=str(folder), remedy="Choose the other runtime."
        )
    return EncoderPredictor(config, _open(folder, chosen, threads=threads))


def _open(folder: Path, runtime: str, *, threads: int) -> Runtime:
    if runtime == "torch":
        from sap_llm.modeling.torch_runtime import TorchRuntime

        return TorchRuntime.open(folder, read_config(folder))
    from sap_llm.modeling.onnx_runtime import OnnxRuntime

    return OnnxRuntime(folder, threads=threads)
