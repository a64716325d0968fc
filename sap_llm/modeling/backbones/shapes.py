"""Shapes of the families as configuration, importable without torch; the union that a stage's `backbone:` key takes.

Belongs here: what can be said about a backbone in YAML and in a model's config.json. Making the network of a shape is
`build`; counting its parameters is `registry`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from sap_llm.modeling.architecture import EncoderConfig, NamedShape
from sap_llm.modeling.qwen import QwenShape


class LayoutLMv3Shape(NamedShape):
    """LayoutLMv3 of transformers, over words or over their subwords.

    `base` and `large` are the published shapes; `rival` is the compact encoder's `small` with LayoutLMv3's network.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "debug": {"width": 32, "layers": 2, "heads": 2, "dropout": 0.0},
        "tiny": {"width": 128, "layers": 4, "heads": 4, "expansion": 2.0, "dropout": 0.0},
        "rival": {"width": 256, "layers": 6, "heads": 4, "expansion": 3.0, "dropout": 0.05},
        "base": {
            "width": 768, "layers": 12, "heads": 12, "expansion": 4.0, "words": "subwords", "positions": 514,
            "vocabulary": 50_265, "has_image_weights": True, "sees_neighbours": False,
        },
        "large": {
            "width": 1024, "layers": 24, "heads": 16, "expansion": 4.0, "words": "subwords", "positions": 514,
            "vocabulary": 50_265, "has_image_weights": True, "sees_neighbours": False,
        },
    }  # fmt: skip

    family: Literal["layoutlmv3"] = "layoutlmv3"
    width: int = Field(default=128, description="of a word's vector")
    layers: int = 4
    heads: int = 4
    expansion: float = Field(default=3.0, description="inner width of the feed-forward part by outer width")
    dropout: float = 0.1
    words: Literal["features", "subwords"] = Field(
        default="features", description="embed the project's word features, or the tokens of the word and pool them"
    )
    sees_neighbours: bool = Field(
        default=True, description="add to each word what stands before, after and above it, before the first layer"
    )
    learns_biases: bool = Field(
        default=True, description="train the relative position biases; transformers computes them without gradient"
    )
    positions: int = Field(default=514, description="rows of the order embedding; two are not used", ge=4)
    vocabulary: int | None = Field(default=None, description="rows of the token embedding; None: as many as tokens")
    has_image_weights: bool = Field(default=False, description="hold the picture's embedding, as checkpoints do")
    tokenizer: str | None = Field(
        default=None, description="tokenizer.json of the subwords; None: bytes, or the checkpoint's own"
    )
    pretrained: str | None = Field(default=None, description="folder or hub name whose weights and shape are taken")

    @model_validator(mode="after")
    def _fits(self) -> "LayoutLMv3Shape":
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width {self.width} must be even and a multiple of its {self.heads} heads")
        return self


class QwenReaderShape(NamedShape):
    """The text tower of a Qwen2.5-VL as a reader: vectors of words from the tokens of the words."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"model": {"size": name}} for name in ("debug", "tiny", "7b", "72b")
    }

    family: Literal["qwen2_5_vl"] = "qwen2_5_vl"
    model: QwenShape = QwenShape()
    sees_places: bool = Field(
        default=True, description="place each token on the page in M-RoPE's height and width, as a patch of it is"
    )
    tokenizer: str | None = Field(default=None, description="tokenizer.json; None: bytes, or the checkpoint's own")
    pretrained: str | None = Field(
        default=None, description="folder or hub name of a vision-language model whose text tower is taken"
    )


class DonutShape(NamedShape):
    """Donut: a Swin encoder of the page's picture and a decoder that writes the answer, token by token.

    `base` is the published shape. Pictures are gray; a checkpoint of colours gets the gray three times.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "debug": {
            "picture": (192, 144), "width": 16, "depths": (1, 1, 1), "heads": (1, 2, 4), "window": 4,
            "decoder_width": 64, "decoder_layers": 1, "decoder_heads": 2, "positions": 256,
        },
        "tiny": {
            "picture": (448, 320), "width": 32, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window": 7,
            "decoder_width": 256, "decoder_layers": 2, "decoder_heads": 4, "positions": 512,
        },
        "base": {
            "picture": (2560, 1920), "channels": 3, "width": 128, "depths": (2, 2, 14, 2), "heads": (4, 8, 16, 32),
            "window": 10, "decoder_width": 1024, "decoder_layers": 4, "decoder_heads": 16, "positions": 1536,
            "vocabulary": 57_525,
        },
    }  # fmt: skip

    family: Literal["donut"] = "donut"
    picture: tuple[int, int] = Field(default=(448, 320), description="height and width in pixels that are looked at")
    channels: Literal[1, 3] = 1
    width: int = Field(default=32, description="of a patch's vector in the first stage; doubles with each")
    depths: tuple[int, ...] = Field(default=(2, 2, 2, 2), description="blocks of each stage")
    heads: tuple[int, ...] = Field(default=(1, 2, 4, 8), description="of each stage")
    window: int = Field(default=7, description="side of an attention window in patches")
    decoder_width: int = 256
    decoder_layers: int = 2
    decoder_heads: int = 4
    positions: int = Field(default=512, description="most tokens of an answer")
    vocabulary: int | None = Field(default=None, description="rows of the token embedding; None: as many as tokens")
    tokenizer: str | None = Field(default=None, description="tokenizer.json of the values; None: bytes")
    pretrained: str | None = Field(default=None, description="folder or hub name whose weights and shape are taken")


class RouterShape(NamedShape):
    """The light triage model: linear in hashes of words for the class, and in a few figures for the difficulty."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "debug": {"buckets": 1024, "words": 128},
        "tiny": {"buckets": 4096, "words": 384},
    }

    family: Literal["doc_router"] = "doc_router"
    buckets: int = Field(default=4096, description="of word hashes; fewer mean more collisions", ge=16, le=8192)
    words: int = Field(default=384, description="looked at, from the start of the document", ge=1)


BackboneShape = Annotated[EncoderConfig | LayoutLMv3Shape | QwenReaderShape, Field(discriminator="family")]
"""What reads words: the value of `backbone:` in configs/<profile>/multitask_model.yaml, told apart by `family`."""
