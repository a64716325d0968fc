"""All families and their sizes, with the parameters that each shape has: counted, never typed in.

Belongs here: what `sap-llm models backbones` lists and `base_comparison` compares. A network is built on torch's meta
device, where weights have shapes and no bytes, so 72 billion of them are counted in a second.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.doc_router import parameters
from sap_llm.modeling.backbones.shapes import DonutShape, LayoutLMv3Shape, QwenReaderShape, RouterShape
from sap_llm.modeling.labels import default_labels
from sap_llm.schema.errors import ConfigurationError

Kind = Literal["reads words", "writes answers", "reads words, writes answers", "triages"]
PRECISIONS: Mapping[str, float] = MappingProxyType({"bf16": 2.0, "int8": 1.0, "int4": 0.5})
"""Bytes of a weight; scales and zero points of the integers come on top."""


@dataclass(frozen=True)
class Family:
    """A family, what it does, its named shapes, and how one of its networks is made to be counted."""

    kind: Kind
    sizes: tuple[str, ...]
    make: Callable[[str], Any]


@dataclass(frozen=True)
class Entry:
    """One size of a family."""

    family: str
    size: str
    kind: Kind
    parameters: int

    def weight_bytes(self, precision: str) -> int:
        """Of the weights alone, in a precision of `PRECISIONS`."""
        return int(self.parameters * PRECISIONS[precision])


def _compact(size: str) -> Any:
    from sap_llm.modeling.encoder import LayoutEncoder

    return LayoutEncoder(EncoderConfig(size=size))


def _layoutlmv3(size: str) -> Any:
    from sap_llm.modeling.backbones.layoutlmv3 import LayoutLMv3Backbone

    return LayoutLMv3Backbone(LayoutLMv3Shape(size=size))


def _qwen(size: str) -> Any:
    from transformers import Qwen2_5_VLForConditionalGeneration

    from sap_llm.modeling.qwen import qwen_config

    return Qwen2_5_VLForConditionalGeneration(qwen_config(QwenReaderShape(size=size).model))


def _donut(size: str) -> Any:
    from sap_llm.modeling.backbones.donut import Donut

    return Donut(DonutShape(size=size))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "compact": Family("reads words", tuple(EncoderConfig.sizes), _compact),
        "layoutlmv3": Family("reads words", tuple(LayoutLMv3Shape.sizes), _layoutlmv3),
        "qwen2_5_vl": Family("reads words, writes answers", tuple(QwenReaderShape.sizes), _qwen),
        "donut": Family("writes answers", tuple(DonutShape.sizes), _donut),
        "doc_router": Family("triages", tuple(RouterShape.sizes), lambda size: RouterShape(size=size)),
    }
)


def entry(family: str, size: str) -> Entry:
    """A size with its parameters counted; without heads, for a family that reads words.

    Raises:
        ConfigurationError: There is no such family or size.
    """
    known = FAMILIES.get(family)
    if known is None or size not in known.sizes:
        sizes = ", ".join(f"{name}/{one}" for name, each in FAMILIES.items() for one in each.sizes)
        raise ConfigurationError(f"no backbone {family}/{size}", remedy=f"Known: {sizes}.")
    if family == "doc_router":
        classes = len(default_labels().classes)
        return Entry(family, size, known.kind, parameters(RouterShape(size=size), classes=classes))
    import torch

    with torch.device("meta"):
        network = known.make(size)
    return Entry(family, size, known.kind, sum(value.numel() for value in network.parameters()))


def entries() -> Iterator[Entry]:
    """All sizes of all families."""
    for family, known in FAMILIES.items():
        for size in known.sizes:
            yield entry(family, size)
