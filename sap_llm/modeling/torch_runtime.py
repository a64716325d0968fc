"""The network on torch: loading weights and scoring padded batches.

Belongs here: what needs torch at run time. The same interface on ONNX Runtime is `onnx_runtime`; choosing is
`runtimes`.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor

from sap_llm.modeling.features import PaddedFeatures, PaddedWords, network_inputs
from sap_llm.modeling.folder import WEIGHTS, ModelConfig
from sap_llm.modeling.heads import DocumentModel


def tensors(batch: PaddedWords, *, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Network inputs of a batch as tensors on `device`."""
    return tuple(torch.from_numpy(array).to(device) for array in network_inputs(batch))


def load_network(folder: Path, config: ModelConfig) -> DocumentModel:
    """The network of a model folder, in evaluation mode."""
    model = DocumentModel(config.encoder, config.label_set)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval()


class TorchRuntime:
    """Scores batches with torch."""

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self._network = load_network(folder, config)

    def __call__(self, batch: PaddedFeatures) -> dict[str, npt.NDArray[np.float32]]:
        """Scores by name, see `heads.Scores`."""
        with torch.inference_mode():
            scores = self._network(*tensors(batch))
        return {name: value.numpy() for name, value in scores._asdict().items()}
