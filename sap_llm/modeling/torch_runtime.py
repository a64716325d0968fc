"""The network on torch: loading weights and scoring padded batches.

Belongs here: what needs torch at run time. The same interface on ONNX Runtime is `onnx_runtime`; choosing is
`runtimes`.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sap_llm.modeling.features import PaddedWords, network_inputs
from sap_llm.modeling.folder import WEIGHTS, ModelConfig
from sap_llm.modeling.heads import MultitaskModel


def tensors(batch: PaddedWords, *, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Network inputs of a batch as tensors on `device`."""
    return tuple(torch.from_numpy(array).to(device) for array in network_inputs(batch))


def load_network(folder: Path, config: ModelConfig) -> MultitaskModel:
    """The network of a model folder, in evaluation mode."""
    model = MultitaskModel(config.backbone, config.label_set, folder=folder)
    model.load_state_dict(load_file(folder / WEIGHTS))
    model.eval()
    return model


class TorchRuntime:
    """Scores batches with torch, on the device where the network is."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    @classmethod
    def open(cls, folder: Path, config: ModelConfig) -> "TorchRuntime":
        """The network of a model folder."""
        return cls(load_network(folder, config))

    def __call__(self, batch: PaddedWords) -> dict[str, npt.NDArray[np.float32]]:
        """Scores by name, see `heads.Scores`."""
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            scores = self._network(*tensors(batch, device=device))
        return {name: value.float().cpu().numpy() for name, value in scores._asdict().items()}
