"""The text tower of Qwen2.5-VL as a backbone: it reads the words' tokens, and its vectors are pooled to words.

Belongs here: making a reader of the model that `qwen` builds or loads. Its picture tower and its head of tokens are
left out; answering in words is `generative`.

The tower attends backwards only, as it was trained to: a word's vector knows what stands before it. Where a word stands
on the page goes into the height and width rows of M-RoPE, in the same units as for the patches of a page image, so a
checkpoint that has seen pages has seen such positions.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sap_llm.modeling.backbones.protocol import Reader
from sap_llm.modeling.backbones.shapes import QwenReaderShape
from sap_llm.modeling.backbones.subwords import TOKENIZER, Subwords, pool, spread
from sap_llm.modeling.qwen import PIXEL_MULTIPLE, qwen_config
from sap_llm.schema.errors import ConfigurationError

_PAGE_PIXELS = 1000.0  # width of the page image whose patches the places are counted in: boxes are thousandths of it
_MOST_TOKENS = 4096  # of a row; a window of 512 words has about a third of it


class QwenReader(Reader):
    """Words [batch, words] -> local and contextual vectors, each [batch, words, width]."""

    def __init__(self, shape: QwenReaderShape) -> None:
        super().__init__()
        tower, self.subwords = _opened(shape)
        self.shape: QwenReaderShape = shape.model_copy(
            update={
                "size": None if shape.pretrained else shape.size,
                "model": shape.model.model_copy(update={"vocabulary": tower.config.vocab_size}),
                "tokenizer": TOKENIZER,
                "pretrained": None,
            }
        )
        self.tower = tower
        self.width: int = tower.config.hidden_size

    def forward(
        self,
        characters: Tensor,
        hashes: Tensor,  # noqa: ARG002  # the protocol's
        shapes: Tensor,  # noqa: ARG002
        boxes: Tensor,
        lines: Tensor,  # noqa: ARG002
        above: Tensor,  # noqa: ARG002
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Encode a padded batch, see `protocol.Reader`."""
        pieces = self.subwords.cut(characters, mask, most=_MOST_TOKENS)
        embedded = self.tower.embed_tokens(pieces.ids)
        order = (torch.cumsum(pieces.mask, dim=1) - 1).clamp(min=0)
        positions = torch.stack([order, order, order])
        if self.shape.sees_places:
            middles = spread((boxes[..., :2] + boxes[..., 2:]) / 2, pieces)
            patches = (middles * (_PAGE_PIXELS / 1000.0 / PIXEL_MULTIPLE)).clamp(min=0)
            positions = torch.stack([order, patches[..., 1], patches[..., 0]])
        found = self.tower(
            inputs_embeds=embedded,
            attention_mask=pieces.mask.long(),
            position_ids=positions.round().long(),
            use_cache=False,
        )
        size = {"batch": mask.shape[0], "words": mask.shape[1]}
        return pool(embedded, pieces, **size), pool(found.last_hidden_state, pieces, **size)

    def save_files(self, folder: Path) -> None:
        """Write what a model folder needs beside weights and shape."""
        self.subwords.save(folder)


def _opened(shape: QwenReaderShape) -> tuple[Any, Subwords]:
    """The text tower, random or of a checkpoint, and its tokenizer."""
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLTextModel

    if shape.pretrained is None:
        return Qwen2_5_VLTextModel(qwen_config(shape.model).text_config), Subwords.open(shape.tokenizer)
    tower = Qwen2_5_VLForConditionalGeneration.from_pretrained(shape.pretrained).model.language_model
    named = qwen_config(shape.model).text_config
    if any(getattr(tower.config, name) != getattr(named, name) for name in ("hidden_size", "num_hidden_layers")):
        raise ConfigurationError(
            f"the checkpoint is {tower.config.num_hidden_layers} layers of width {tower.config.hidden_size}, "
            f"size {shape.model.size} is not",
            where=shape.pretrained,
            remedy="Name its size at backbone.model.size.",
        )
    if shape.tokenizer is not None:
        return tower, Subwords.open(shape.tokenizer)
    return tower, Subwords(AutoTokenizer.from_pretrained(shape.pretrained).backend_tokenizer)
