"""From a shape to a network: the one place that knows which class belongs to which family.

Belongs here: choosing the class, importing its libraries only then, and finding the files of a model folder. What a
network offers is `protocol`; the classes are in the families' modules.
"""

from pathlib import Path

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.backbones.protocol import Reader
from sap_llm.modeling.backbones.shapes import BackboneShape, LayoutLMv3Shape
from sap_llm.schema.errors import ConfigurationError


def build_reader(shape: BackboneShape, *, folder: Path | None = None) -> Reader:
    """The network of a shape: random weights of torch's own generator, or the checkpoint's that the shape names.

    Args:
        shape: Of any family that reads words.
        folder: Model folder that the shape was stored in; its files are meant.

    Raises:
        ConfigurationError: The tokenizer or the checkpoint is not there, or does not fit the shape.
    """
    if isinstance(shape, EncoderConfig):
        from sap_llm.modeling.encoder import LayoutEncoder

        return LayoutEncoder(shape)
    if folder is not None and shape.tokenizer is not None:
        shape = shape.model_copy(update={"tokenizer": str(folder / shape.tokenizer)})
    try:
        if isinstance(shape, LayoutLMv3Shape):
            from sap_llm.modeling.backbones.layoutlmv3 import LayoutLMv3Backbone

            return LayoutLMv3Backbone(shape)
        from sap_llm.modeling.backbones.qwen_reader import QwenReader

        return QwenReader(shape)
    except OSError as error:  # what transformers raises for a folder, a hub or a network that is not there
        if shape.pretrained is None:
            raise
        raise ConfigurationError(
            f"no checkpoint of the family {shape.family}",
            where=shape.pretrained,
            remedy="Name a folder with config.json and weights at backbone.pretrained, or a hub name where there is a "
            "network.",
        ) from error
