"""LayoutLMv3 as a backbone: the network of transformers, over words or over subwords that are pooled to words.

Belongs here: what stands before its first layer and around its position biases. The heads are `modeling.heads`; the
shape is `shapes`.

Two things differ from transformers' own forward pass, both options of the shape. Each word also sees its neighbours
before the first layer: without, a LayoutLMv3 from random weights does not generalise to unseen layouts. And the
relative position biases are trained: transformers computes them without gradient, which suits weights that were
trained elsewhere, and leaves random ones at random.

Source: Huang et al. 2022, arXiv:2204.08387.
"""

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LayoutLMv3Config, LayoutLMv3Model
from transformers.models.layoutlmv3.modeling_layoutlmv3 import LayoutLMv3Encoder

from sap_llm.modeling.backbones.protocol import Reader
from sap_llm.modeling.backbones.shapes import LayoutLMv3Shape
from sap_llm.modeling.backbones.subwords import TOKENIZER, Subwords, pool, spread
from sap_llm.modeling.encoder import Neighbours, WordEmbedding

_PAGE = 1000.0  # the largest coordinate that LayoutLMv3 knows
_A4 = 2.0**0.5  # height of a page by its width: one page is scaled as the checkpoints' were
_PADDING = 1  # id of the padding token, RoBERTa's
_IMAGE_PARTS = ("patch_embed", "cls_token", "pos_embed", "LayerNorm", "norm")


class LayoutLMv3Backbone(Reader):
    """Words [batch, words] -> local and contextual vectors, each [batch, words, width]."""

    def __init__(self, shape: LayoutLMv3Shape) -> None:
        super().__init__()
        model, subwords = _opened(shape)
        self.shape: LayoutLMv3Shape = _resolved(shape, model.config, subwords)
        self.width, self.subwords = self.shape.width, subwords
        if self.shape.learns_biases:
            encoder = LearningEncoder(model.config)
            encoder.load_state_dict(model.encoder.state_dict())
            model.encoder = encoder
        self.model = model
        self.embedding = None if subwords else WordEmbedding(self.shape.width, dropout=self.shape.dropout)
        self.neighbours = Neighbours(self.shape.width) if self.shape.sees_neighbours else None
        _freeze_unused(model, embeds_tokens=subwords is not None)

    def forward(
        self,
        characters: Tensor,
        hashes: Tensor,
        shapes: Tensor,
        boxes: Tensor,
        lines: Tensor,
        above: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Encode a padded batch, see `protocol.Reader`."""
        places = page_boxes(boxes, mask)
        if self.embedding is not None:
            local = self._among_neighbours(self.embedding(characters, hashes, shapes, boxes), lines, above)
            return local, self._encode(local, places, mask)
        assert self.subwords is not None
        pieces = self.subwords.cut(characters, mask, most=self.shape.positions - _PADDING - 1)
        embedded = self.model.embeddings.word_embeddings(pieces.ids)
        size = {"batch": mask.shape[0], "words": mask.shape[1]}
        local = pool(embedded, pieces, **size)
        if self.neighbours is not None:
            local = self._among_neighbours(local, lines, above)
            embedded = embedded + spread(local, pieces)
        return local, pool(self._encode(embedded, spread(places, pieces), pieces.mask), pieces, **size)

    def _among_neighbours(self, vectors: Tensor, lines: Tensor, above: Tensor) -> Tensor:
        vectors = vectors.to(lines.dtype)
        return vectors if self.neighbours is None else self.neighbours(vectors, lines, above)

    def _encode(self, embedded: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        # transformers takes length and padding from the ids even where vectors are given; 0 is any token but padding
        padding = (mask == 0).long() * _PADDING
        found = self.model(input_ids=padding, inputs_embeds=embedded, bbox=boxes, attention_mask=mask)
        vectors: Tensor = found.last_hidden_state
        return vectors

    def save_files(self, folder: Path) -> None:
        """Write what a model folder needs beside weights and shape."""
        if self.subwords is not None:
            self.subwords.save(folder)


class LearningEncoder(LayoutLMv3Encoder):
    """LayoutLMv3's layers with position biases that get gradients."""

    def _cal_1d_pos_emb(self, position_ids: Tensor) -> Tensor:
        # positions run on alike in every row: one row's biases serve all
        one = position_ids[:1]
        return self._biases(one, self.rel_pos_bias, bins=self.rel_pos_bins, farthest=self.max_rel_pos)

    def _cal_2d_pos_emb(self, bbox: Tensor) -> Tensor:
        limits = {"bins": self.rel_2d_pos_bins, "farthest": self.max_rel_2d_pos}
        return self._biases(bbox[..., 0], self.rel_pos_x_bias, **limits) + self._biases(
            bbox[..., 3], self.rel_pos_y_bias, **limits
        )

    def _biases(self, places: Tensor, weights: nn.Linear, *, bins: int, farthest: int) -> Tensor:
        """Bias of each pair of places [rows, tokens] for each head: [rows, heads, tokens, tokens]."""
        distances = places.unsqueeze(-2) - places.unsqueeze(-1)
        buckets = self.relative_position_bucket(distances, num_buckets=bins, max_distance=farthest)
        return F.embedding(buckets, weights.weight.t()).permute(0, 3, 1, 2)


def page_boxes(boxes: Tensor, mask: Tensor) -> Tensor:
    """Boxes [batch, words, 4] in thousandths of the page width, y running on, as LayoutLMv3's whole 0..1000.

    A page of A4's proportions fills the range as in the published model; a document that is longer is shrunk to fit.
    """
    lowest = (boxes[..., 3] * mask).amax(dim=1).clamp(min=_PAGE * _A4)
    scaled = boxes.clone()
    scaled[..., 1::2] *= (_PAGE / lowest)[:, None, None]
    return scaled.round().long().clamp(0, int(_PAGE)) * (mask > 0).long()[..., None]


def hugging_face_config(shape: LayoutLMv3Shape, subwords: Subwords | None = None) -> LayoutLMv3Config:
    """The configuration of transformers that has this shape, with room for the tokens where it names no vocabulary."""
    coordinate = round(shape.width / 6)  # four edges and two lengths share the width: 128 of 768, 171 and 170 of 1024
    return LayoutLMv3Config(
        vocab_size=shape.vocabulary or (subwords.tokenizer.get_vocab_size() if subwords else _PADDING + 2),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=int(shape.width * shape.expansion),
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
        max_position_embeddings=shape.positions,
        coordinate_size=coordinate,
        shape_size=(shape.width - 4 * coordinate) // 2,
        visual_embed=shape.has_image_weights,
        type_vocab_size=1,
    )


def _opened(shape: LayoutLMv3Shape) -> tuple[Any, Subwords | None]:
    """The network, random or of a checkpoint, and its tokenizer where it reads subwords."""
    if shape.pretrained is None:
        subwords = Subwords.open(shape.tokenizer) if shape.words == "subwords" else None
        return LayoutLMv3Model(hugging_face_config(shape, subwords)), subwords
    from transformers import AutoTokenizer

    model = LayoutLMv3Model.from_pretrained(shape.pretrained)
    if shape.words == "features":
        return model, None
    if shape.tokenizer is not None:
        return model, Subwords.open(shape.tokenizer)
    return model, Subwords(AutoTokenizer.from_pretrained(shape.pretrained).backend_tokenizer)


def _resolved(shape: LayoutLMv3Shape, found: Any, subwords: Subwords | None) -> LayoutLMv3Shape:
    """The shape by which a model folder is opened: the checkpoint's figures, and files beside the weights."""
    return shape.model_copy(
        update={
            "size": None if shape.pretrained else shape.size,
            "width": found.hidden_size,
            "layers": found.num_hidden_layers,
            "heads": found.num_attention_heads,
            "expansion": found.intermediate_size / found.hidden_size,
            "positions": found.max_position_embeddings,
            "vocabulary": found.vocab_size,
            "has_image_weights": found.visual_embed,
            "tokenizer": TOKENIZER if subwords else None,
            "pretrained": None,
        }
    )


def _freeze_unused(model: nn.Module, *, embeds_tokens: bool) -> None:
    """Weights that reading words never touches get no gradient; an optimizer would only decay them."""
    for name, value in model.named_parameters():
        if name.split(".")[0] in _IMAGE_PARTS or (not embeds_tokens and "word_embeddings" in name):
            value.requires_grad_(False)
