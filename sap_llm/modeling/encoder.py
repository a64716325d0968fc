"""The compact layout encoder: word features and boxes to one vector per word.

Belongs here: embedding of `features` arrays and the transformer with relative two-dimensional attention (rotary
positions over both x edges, y, the line and the reading order). What the vectors are used for is `heads`.

Source: small-model prototype of this project; without the rotary positions its F1 on unseen layouts fell by a fifth,
absolute x and y embeddings did not replace them. Rotary embedding: Su et al. 2021, arXiv:2104.09864.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.features import AFFIX_BUCKETS, CHARACTER_IDS, CHARACTERS, SCALE, SHAPE_BITS, WORD_BUCKETS

_CHARACTER_WIDTH = 16
_HASH_WIDTHS = (64, 32, 32)
_GEOMETRY = 6
_NEIGHBOUR_WIDTH = 64
_ALONG_LINE = (1, 2, -1)  # words before (positive) and after

# longest and shortest wavelength of each rotary axis; x and y in thousandths of the page width
_AXES = {
    "x0": (3000.0, 40.0),
    "x1": (3000.0, 40.0),
    "y": (6000.0, 60.0),
    "line": (300.0, 4.0),
    "order": (1000.0, 4.0),
}
_SHARES = {"x0": 0.22, "x1": 0.16, "y": 0.22, "line": 0.22, "order": 0.18}


class LayoutEncoder(nn.Module):
    """Words [batch, words] -> local and contextual vectors, each [batch, words, width]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        if config.width % config.heads or config.head_width % 2:
            raise ValueError(f"width {config.width} does not split into {config.heads} heads of even width")
        self.config = config
        self.embedding = WordEmbedding(config)
        self.neighbours = Neighbours(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        axes, frequencies = rotary_plan(config.head_width // 2)
        self.register_buffer("axes", axes, persistent=False)
        self.register_buffer("frequencies", frequencies, persistent=False)

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
        """Encode a padded batch to each word with its neighbours, and each word in its document.

        Args:
            characters: int64 [batch, words, 16].
            hashes: int64 [batch, words, 3].
            shapes: float32 [batch, words, SHAPE_BITS].
            boxes: float32 [batch, words, 4], thousandths of the page width.
            lines: float32 [batch, words].
            above: int64 [batch, words], index of the word above.
            mask: float32 [batch, words], 1 where there is a word.
        """
        vectors = local = self.neighbours(self.embedding(characters, hashes, shapes, boxes), lines, above)
        order = torch.cumsum(mask, dim=1)
        middle = (boxes[..., 1] + boxes[..., 3]) / 2
        positions = torch.stack([boxes[..., 0], boxes[..., 2], middle, lines, order], dim=-1)
        angles = positions.index_select(-1, self.axes) * self.frequencies
        cosine, sine = torch.cos(angles)[:, None], torch.sin(angles)[:, None]  # [batch, 1, words, pairs]
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        for block in self.blocks:
            vectors = block(vectors, cosine, sine, bias)
        return local, self.norm(vectors)


class WordEmbedding(nn.Module):
    """Characters, hashes, shape bits and the box's own geometry of each word -> [batch, words, width]."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTER_IDS, _CHARACTER_WIDTH)
        sizes = (WORD_BUCKETS, AFFIX_BUCKETS, AFFIX_BUCKETS)
        self.hashes = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(sizes, _HASH_WIDTHS, strict=True))
        for table in (self.characters, *self.hashes):
            nn.init.normal_(table.weight, std=0.1)
        inner = CHARACTERS * _CHARACTER_WIDTH + sum(_HASH_WIDTHS) + SHAPE_BITS + _GEOMETRY
        self.inner = nn.Linear(inner, 2 * config.width)
        self.outer = nn.Linear(2 * config.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, characters: Tensor, hashes: Tensor, shapes: Tensor, boxes: Tensor) -> Tensor:
        """Embed; shapes as in `LayoutEncoder.forward`."""
        unit = boxes / SCALE
        size = unit[..., 2:] - unit[..., :2]
        geometry = torch.cat([unit[..., 0::2], unit[..., 1:2].clamp(max=3.0), size, size[..., 1:2] * 10], dim=-1)
        parts = [self.characters(characters).flatten(2)]
        parts += [table(hashes[..., index]) for index, table in enumerate(self.hashes)]
        joined = torch.cat([*parts, shapes, geometry], dim=-1)
        return self.dropout(self.norm(self.outer(F.gelu(self.inner(joined)))))


class Neighbours(nn.Module):
    """Adds to each word what its neighbours say: two before and one after on its line, and the one above.

    Labels stand there. Attention can learn it, but takes many more documents to do so.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.summary = nn.Linear(config.width, _NEIGHBOUR_WIDTH)
        self.joined = nn.Linear((len(_ALONG_LINE) + 1) * _NEIGHBOUR_WIDTH, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, vectors: Tensor, lines: Tensor, above: Tensor) -> Tensor:
        """Vectors [batch, words, width], lines [batch, words], above int64 [batch, words] -> [batch, words, width]."""
        summary = self.summary(vectors)
        parts = []
        for offset in _ALONG_LINE:
            moved, line = _shifted(summary, offset), _shifted(lines + 1.0, offset)
            parts.append(moved * (line == lines + 1.0)[..., None])
        index = above[..., None].expand(-1, -1, _NEIGHBOUR_WIDTH)
        parts.append(torch.gather(summary, 1, index))
        return self.norm(vectors + self.joined(F.gelu(torch.cat(parts, dim=-1))))


def _shifted(values: Tensor, offset: int) -> Tensor:
    """Values along axis 1 moved so that place i shows place i - offset; zeros come in at the edge."""
    padding = (0, 0) * (values.ndim - 2) + ((offset, 0) if offset > 0 else (0, -offset))
    padded = F.pad(values, padding)
    return padded[:, : values.shape[1]] if offset > 0 else padded[:, -offset:]


class Block(nn.Module):
    """Pre-norm transformer block with rotary attention."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, nn.Dropout(config.dropout)
        self.scale = config.head_width**-0.5
        self.before_attention, self.before_feedforward = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.queries_keys_values = nn.Linear(config.width, 3 * config.width)
        self.attended = nn.Linear(config.width, config.width)
        inner = int(config.width * config.expansion)
        self.expand, self.contract = nn.Linear(config.width, inner), nn.Linear(inner, config.width)

    def forward(self, vectors: Tensor, cosine: Tensor, sine: Tensor, bias: Tensor) -> Tensor:
        """Attend and transform; `bias` [batch, 1, 1, words] is added to the attention scores."""
        batch, words, width = vectors.shape
        joined = self.queries_keys_values(self.before_attention(vectors))
        joined = joined.view(batch, words, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys = rotate(joined[:2], cosine, sine)
        if queries.is_cuda:
            attended = F.scaled_dot_product_attention(queries, keys, joined[2], bias.to(queries.dtype))
        else:  # torch's fused CPU kernel is 4x slower backwards in bf16 at these lengths
            scores = torch.matmul(queries * self.scale, keys.transpose(2, 3)) + bias.to(queries.dtype)
            attended = torch.matmul(torch.softmax(scores, dim=-1).to(queries.dtype), joined[2])
        attended = attended.transpose(1, 2).reshape(batch, words, width)
        vectors = vectors + self.dropout(self.attended(attended))
        return vectors + self.dropout(self.contract(F.gelu(self.expand(self.before_feedforward(vectors)))))


def rotary_plan(pairs: int) -> tuple[Tensor, Tensor]:
    """Axis index int64 [pairs] and angular frequency float32 [pairs] of every rotated pair of a head."""
    counts = [max(1, round(share * pairs)) for share in _SHARES.values()]
    counts[0] += pairs - sum(counts)
    axes: list[int] = []
    frequencies: list[float] = []
    for axis, (count, (longest, shortest)) in enumerate(zip(counts, _AXES.values(), strict=True)):
        for step in range(count):
            wavelength = longest * (shortest / longest) ** (step / max(1, count - 1))
            axes.append(axis)
            frequencies.append(2 * math.pi / wavelength)
    return torch.tensor(axes), torch.tensor(frequencies)


def rotate(values: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of the last axis by its angle."""
    first, second = values.chunk(2, dim=-1)
    cosine, sine = cosine.to(values.dtype), sine.to(values.dtype)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
