"""The vision-language model of the Qwen2.5-VL family: its shapes, random weights, tokenizer and model folder.

Belongs here: everything needed to make one without a network, in the form that `from_pretrained` of transformers reads.
Prompts, boxes and decoding are `generative`; training it is `sap_llm.training`. Importing this loads neither torch nor
transformers.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sap_llm.schema.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Qwen2_5_VLForConditionalGeneration

    from sap_llm.modeling.qwen_processor import DocumentProcessor

Size = Literal["debug", "tiny", "7b", "72b"]
PIXEL_MULTIPLE = 28
"""Sides of a resized image are multiples of this: patches of 14 pixels, merged two by two."""

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (
    PAD,
    START,
    END,
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
"""In the order of Qwen2.5-VL. A tokenizer made here gives them the ids 0, 1, 2 and so on."""

CHAT_TEMPLATE = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Gives the same text as the template that Qwen2.5-VL is released with, for text and images."""


class _Preset(BaseModel):
    """Dimensions in which the sizes differ; 7b and 72b are those of the released checkpoints."""

    model_config = ConfigDict(frozen=True)

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vision_width: int
    vision_inner: int
    vision_layers: int
    vision_heads: int
    vision_full_attention: tuple[int, ...]


_PRESETS: dict[Size, _Preset] = {
    "debug": _Preset(
        vocabulary=1024, width=64, inner=128, layers=2, heads=4, key_value_heads=2,
        vision_width=32, vision_inner=64, vision_layers=2, vision_heads=2, vision_full_attention=(1,),
    ),
    "tiny": _Preset(
        vocabulary=4096, width=128, inner=384, layers=4, heads=4, key_value_heads=2,
        vision_width=64, vision_inner=128, vision_layers=4, vision_heads=4, vision_full_attention=(1, 3),
    ),
    "7b": _Preset(
        vocabulary=152_064, width=3584, inner=18_944, layers=28, heads=28, key_value_heads=4,
        vision_width=1280, vision_inner=3420, vision_layers=32, vision_heads=16, vision_full_attention=(7, 15, 23, 31),
    ),
    "72b": _Preset(
        vocabulary=152_064, width=8192, inner=29_568, layers=80, heads=64, key_value_heads=8,
        vision_width=1280, vision_inner=3456, vision_layers=32, vision_heads=16, vision_full_attention=(7, 15, 23, 31),
    ),
}  # fmt: skip


class QwenShape(BaseModel):
    """Shape of the model and limits of its images, as configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size = "debug"
    vocabulary: int | None = Field(default=None, ge=512, description="rows of the embedding; None: as the size has")
    min_pixels: int = Field(default=56 * 56, description="of a resized image")
    max_pixels: int = Field(default=1280 * 28 * 28, description="of a resized image; 28 x 28 of them are one token")

    @model_validator(mode="after")
    def _limits(self) -> "QwenShape":
        if not 4 * PIXEL_MULTIPLE**2 <= 4 * self.min_pixels <= self.max_pixels:  # else no size suits both, see frame
            raise ValueError(f"need {PIXEL_MULTIPLE**2} <= min_pixels and 4 min_pixels <= max_pixels")
        return self

    @property
    def vocabulary_size(self) -> int:
        """Rows of the embedding, and the most tokens that a tokenizer of this shape may have."""
        return self.vocabulary or _PRESETS[self.size].vocabulary


def qwen_config(shape: QwenShape) -> Any:
    """The `Qwen2_5_VLConfig` of a shape, with the token ids of `build_processor`."""
    from transformers import Qwen2_5_VLConfig

    preset, ids = _PRESETS[shape.size], {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    half = preset.width // preset.heads // 2
    rows = half * 3 // 8  # 16, 24, 24 of 64 in the released models: time, height, width
    ends: dict[str, Any] = {"bos_token_id": ids[PAD], "eos_token_id": ids[END], "pad_token_id": ids[PAD]}
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": shape.vocabulary_size,
            "hidden_size": preset.width,
            "intermediate_size": preset.inner,
            "num_hidden_layers": preset.layers,
            "num_attention_heads": preset.heads,
            "num_key_value_heads": preset.key_value_heads,
            "max_position_embeddings": 128_000,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [half - 2 * rows, rows, rows],
            },
            **ends,
        },
        vision_config={
            "depth": preset.vision_layers,
            "hidden_size": preset.vision_width,
            "intermediate_size": preset.vision_inner,
            "num_heads": preset.vision_heads,
            "out_hidden_size": preset.width,
            "fullatt_block_indexes": list(preset.vision_full_attention),
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        **ends,
    )


def build_qwen(shape: QwenShape, *, seed: int) -> "Qwen2_5_VLForConditionalGeneration":
    """The model with random weights (float32, CPU), the same for the same seed; torch's own generator is left alone."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(qwen_config(shape))
    _set_ends(model)
    return model


def build_processor(source: Path | Iterable[str], shape: QwenShape | None = None) -> "DocumentProcessor":
    """The processor of a model folder, or one whose byte-level BPE is trained on texts.

    Args:
        source: A model folder, or the texts to train on. Training is deterministic in the texts and their order.
        shape: Bounds vocabulary and image size of a trained one; for a folder, given limits replace the folder's.

    Raises:
        ConfigurationError: The folder holds no processor.
    """
    from transformers import AutoTokenizer, Qwen2VLImageProcessorPil

    from sap_llm.modeling.qwen_processor import DocumentProcessor

    limits = {"min_pixels": shape.min_pixels, "max_pixels": shape.max_pixels} if shape else {}
    if not isinstance(source, Path):
        shape = shape or QwenShape()
        tokenizer = train_tokenizer(source, vocabulary=shape.vocabulary_size)
        return DocumentProcessor(Qwen2VLImageProcessorPil(**limits), tokenizer, CHAT_TEMPLATE)
    folder = _own(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, **limits)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "no processor of a vision-language model", where=folder, remedy="Train the model again."
        ) from error
    return DocumentProcessor(images, tokenizer, tokenizer.chat_template or CHAT_TEMPLATE)


def train_tokenizer(texts: Iterable[str], *, vocabulary: int) -> Any:
    """A `Qwen2Tokenizer` of at most `vocabulary` tokens: Qwen's splitting and special tokens, merges from the texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    blank = Qwen2Tokenizer().backend_tokenizer
    trained = Tokenizer(models.BPE())
    trained.normalizer, trained.pre_tokenizer = blank.normalizer, blank.pre_tokenizer
    trained.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    state = json.loads(trained.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=state["vocab"],
        merges=[tuple(pair) for pair in state["merges"]],
        unk_token=PAD,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[token for token in SPECIAL_TOKENS if token not in (PAD, END)],
    )


def save_qwen(folder: Path, model: "Qwen2_5_VLForConditionalGeneration", processor: "DocumentProcessor") -> None:
    """Write a model folder: safetensors, config.json, generation_config.json, tokenizer and processor."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def load_qwen(
    folder: Path, *, dtype: str = "float32", attention: str = "sdpa", sharding: Mapping[str, Any] | None = None
) -> tuple["Qwen2_5_VLForConditionalGeneration", "DocumentProcessor"]:
    """Model (in evaluation mode) and processor of a folder.

    Args:
        folder: As `save_qwen` writes it, or a released checkpoint's.
        dtype: Name of torch's type of the weights.
        attention: Implementation by the name that transformers gives it.
        sharding: DeepSpeed's configuration of ZeRO stage 3, under which each weight is cut over the ranks once read.

    Raises:
        ConfigurationError: It is no such folder.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration

    if sharding is not None:
        from transformers.integrations import HfDeepSpeedConfig

        kept = HfDeepSpeedConfig(dict(sharding))  # from_pretrained looks whether there is one
        assert kept.is_zero3()
    try:
        model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            _own(folder), dtype=dtype, attn_implementation=attention
        )
    except OSError as error:
        raise ConfigurationError(
            "no folder of a vision-language model", where=str(folder), remedy="Train the model again."
        ) from error
    return model, build_processor(folder)


def with_weights(folder: Path, weights: Mapping[str, "Tensor"], *, dtype: str) -> "Qwen2_5_VLForConditionalGeneration":
    """The model of a folder with other weights, which become its own; the folder's are not read.

    Args:
        folder: As for `load_qwen`.
        weights: By name, all of them.
        dtype: Name of torch's type that they are turned into.
    """
    import torch
    from transformers import AutoConfig, GenerationConfig, Qwen2_5_VLForConditionalGeneration

    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(_own(folder)))
    kind = getattr(torch, dtype)
    model.load_state_dict({name: value.to(kind) for name, value in weights.items()}, assign=True)
    model.config.dtype = kind
    model.generation_config = GenerationConfig.from_pretrained(folder)
    return model


def _own(folder: Path) -> str:
    """The folder as transformers takes it: a name that is no folder would be looked up on a hub."""
    if not folder.is_dir():
        raise ConfigurationError("no such model folder", where=str(folder), remedy="Train or register a model.")
    return str(folder)


def _set_ends(model: "Qwen2_5_VLForConditionalGeneration") -> None:
    ids = model.config.text_config
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(ids, name))
