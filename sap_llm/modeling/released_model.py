"""The model that comes with the package: trained on synthetic documents alone, for whoever has no model yet.

Belongs here: finding a released model by name, and its weights as the start of a training. A released model is a model
folder below `released/` with an INT8 graph, config.json, model_card.md and SHA256SUMS; it never changes: another one
gets another name. Which model a deployment prefers is the registry's matter.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.folder import GRAPH
from sap_llm.schema.errors import ConfigurationError

TURNED = ".T"
"""Ends the name of a weight that the graph holds turned over: as the right side of a product."""
SUMS = "SHA256SUMS"
_FOLDER = Path(__file__).parent / "released"

Array = npt.NDArray[Any]


def released_models() -> tuple[str, ...]:
    """Names of the released models, the newest last."""
    names = (path.parent.name for path in _FOLDER.glob(f"*/{GRAPH}"))
    return tuple(sorted(names, key=lambda name: (len(name), name)))  # reader-10 is newer than reader-9


def newest_released() -> str:
    """Name of the newest released model.

    Raises:
        ConfigurationError: The package came without one.
    """
    if not released_models():
        raise ConfigurationError(
            "no released model", where=str(_FOLDER), remedy="Get the package anew, or train a model: `make demo`."
        )
    return released_models()[-1]


def released_folder(name: str) -> Path:
    """The model folder of a released model.

    Raises:
        ConfigurationError: There is no such model, or a file is not the one that was released.
    """
    folder = _FOLDER / name
    if name not in released_models():
        known = ", ".join(released_models()) or "none in this checkout"
        raise ConfigurationError(f"no released model {name!r}", where=str(_FOLDER), remedy=f"Known: {known}.")
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, file = line.partition("  ")
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest:
            raise ConfigurationError(
                f"{file} is not the file that was released",
                where=str(folder),
                remedy="Get the package anew; a Git LFS pointer or a changed line ending would do this.",
            )
    return folder


def released_weights(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Weights of a network from its INT8 graph, float32, by parameter name: what a fine-tuning starts from.

    Args:
        folder: A model folder whose graph names its weights after the parameters (see `compression.export`).
        shapes: Of the network's parameters and buffers, by name.

    Raises:
        ConfigurationError: The graph lacks one of them, or has it in another shape.
    """
    import onnx
    from onnx import numpy_helper

    held = {
        entry.name.removeprefix("network."): numpy_helper.to_array(entry)
        for entry in onnx.load(str(folder / GRAPH)).graph.initializer
    }
    weights = {}
    for name, shape in shapes.items():
        value = _value(held, name)
        if value is None or value.shape != shape:
            found = "nothing" if value is None else f"one of shape {value.shape}"
            raise ConfigurationError(
                f"weight {name} of shape {shape}: the graph holds {found}",
                where=str(folder / GRAPH),
                remedy="Set backbone to that of the released model (its config.json), or initial to null.",
            )
        weights[name] = np.ascontiguousarray(value, dtype=np.float32)
    return weights


def _value(held: Mapping[str, Array], name: str) -> Array | None:
    if name in held:
        return held[name]
    for form in (f"{name}{TURNED}", f"{name}_Transposed"):  # what export and ONNX Runtime's quantiser call it
        if f"{form}_quantized" in held:
            steps = held[f"{form}_quantized"].astype(np.float32) - held[f"{form}_zero_point"].astype(np.float32)
            return np.asarray(steps * held[f"{form}_scale"]).T
    return None
