"""The network on ONNX Runtime: opening the graph and scoring padded batches.

Belongs here: what needs onnxruntime at run time. Exporting and quantising the graph is `compression`.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from sap_llm.modeling.features import INPUT_NAMES, PaddedWords, network_inputs
from sap_llm.modeling.folder import GRAPH


class OnnxRuntime:
    """Scores batches with ONNX Runtime on the CPU."""

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads  # 0: as many as cores
        self._session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, batch: PaddedWords) -> dict[str, npt.NDArray[np.float32]]:
        """Scores by name, see `heads.Scores`."""
        feed = dict(zip(INPUT_NAMES, network_inputs(batch), strict=True))
        return dict(zip(self._outputs, self._session.run(None, feed), strict=True))
