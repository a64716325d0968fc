"""All families and their sizes, with the parameters that each shape has: counted, never typed in.

Belongs here: what `sap-llm models backbones` lists and `base_comparison` compares. A network is built on torch's meta
device, where weights have shapes and no bytes, so 72 billion of them are counted in a second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sap_llm.modeling.architecture import EncoderConfig, NamedShape
from sap_llm.modeling.backbones.doc_router import parameters as router_parameters
from sap_llm.modeling.backbones.shapes import DonutShape, LayoutLMv3Shape, QwenReaderShape, RouterShape
from sap_llm.modeling.labels import default_labels
from sap_llm.schema.errors import ConfigurationError

Kind = Literal["reads words", "writes answers", "reads words, writes answers", "triages"]
PRECISIONS: Mapping[str, float] = MappingProxyType({"bf16": 2.0, "int8": 1.0, "int4": 0.5})
"""Bytes of a weight; scales and zero points of the integers come on top."""


@dataclass(frozen=True)
class Family:
    """A family: what it does, and the shapes that it has."""

    kind: Kind
    shape: type[NamedShape]


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


def _network(shape: Any) -> Any:
    """The network of a shape; of Qwen2.5-VL the whole one, of which a reader takes the text tower."""
    if isinstance(shape, DonutShape):
        from sap_llm.modeling.backbones.donut import Donut

        return Donut(shape)
    if isinstance(shape, QwenReaderShape):
        from transformers import Qwen2_5_VLForConditionalGeneration

        from sap_llm.modeling.qwen import qwen_config

        return Qwen2_5_VLForConditionalGeneration(qwen_config(shape.model))
    from sap_llm.modeling.backbones.build import build_reader

    return build_reader(shape)


def parameters_of(shape: Any) -> int:
    """Parameters of a shape of any family, without heads."""
    if isinstance(shape, RouterShape):
        return router_parameters(shape, classes=len(default_labels().classes))
    import torch

    with torch.device("meta"):
        return sum(value.numel() for value in _network(shape).parameters())


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "compact": Family("reads words", EncoderConfig),
        "layoutlmv3": Family("reads words", LayoutLMv3Shape),
        "qwen2_5_vl": Family("reads words, writes answers", QwenReaderShape),
        "donut": Family("writes answers", DonutShape),
        "doc_router": Family("triages", RouterShape),
    }
)


def entry(family: str, size: str) -> Entry:
    """A size with its parameters counted.

    Raises:
        ConfigurationError: There is no such family or size.
    """
    known = FAMILIES.get(family)
    if known is None or size not in known.shape.sizes:
        sizes = ", ".join(f"{name}/{one}" for name, each in FAMILIES.items() for one in each.shape.sizes)
        raise ConfigurationError(f"no backbone {family}/{size}", remedy=f"Known: {sizes}.")
    return Entry(family, size, known.kind, parameters_of(known.shape(size=size)))


def entries() -> Iterator[Entry]:
    """All sizes of all families."""
    for family, known in FAMILIES.items():
        for size in known.shape.sizes:
            yield entry(family, size)
