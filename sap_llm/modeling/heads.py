"""The heads on top of a backbone, and the whole network.

Belongs here: document class, subtype, the scores of words (header and line fields, tables, blocks, and where each of
them starts) and the document vector. Which backbone is below them is configuration (`backbones`); what their scores
mean for a document is `decoding`, `line_items`, `table_decoding` and `layout_decoding`.

All scores of words are one product: at these widths every further layer costs more than its columns. Fields that
training never showed are left out while training, which a softmax over all of them would make a tenth slower, and are
put out of the question afterwards, so that nobody who reads the scores has to know of them.

The subtype is read from the title beside the document vector. It is one word in one title of a few dozen documents,
among hundreds of words that are rarer still: from the pooled document alone the head learnt companies by heart, and
never said anything but STANDARD. The class stays without the title: with it, documents whose title is missing or
misleading went to the wrong class more often.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sap_llm.modeling.backbones.build import build_reader
from sap_llm.modeling.backbones.shapes import BackboneShape
from sap_llm.modeling.labels import BLOCK_KINDS, BLOCK_START, LabelSet

_POOL_HEADS = 4
_MASKED = -1e4  # finite, so that a row without words gives no NaN


class Scores(NamedTuple):
    """Logits of a batch; field names are also the ONNX output names."""

    document_class: Tensor  # [batch, classes]
    subtype: Tensor  # [batch, subtypes]; only those of one class compete
    header: Tensor  # [batch, words, 1 + header fields]
    line: Tensor  # [batch, words, 1 + line fields]
    row_start: Tensor  # [batch, words], of a line item
    starts: Tensor  # [batch, words, 4], see `labels.VALUE_START`
    table: Tensor  # [batch, words]
    block: Tensor  # [batch, words, 1 + kinds of blocks]
    vector: Tensor  # [batch, width], unit length


class MultitaskModel(nn.Module):
    """Backbone and heads."""

    def __init__(self, shape: BackboneShape, labels: LabelSet, *, folder: Path | None = None) -> None:
        super().__init__()
        self.encoder = build_reader(shape, folder=folder)
        width = self.encoder.width
        self.pool = nn.Linear(width, _POOL_HEADS)
        self.gather = nn.Linear(3 * width, 2 * width)
        self.spread = nn.Linear(2 * width, width)
        self.title = 1 + labels.header_fields.index("document_title")  # its tag
        self.document_class = nn.Linear(width, len(labels.classes))
        self.subtype = nn.Linear(2 * width, max(1, len(labels.subtypes)))
        self.sizes = _sizes(len(labels.header_fields), len(labels.line_fields))
        self.word_scores = nn.Linear(width, sum(self.sizes))
        silenced = torch.zeros(sum(self.sizes), dtype=torch.bool)
        for first, fields in ((1, labels.header_fields), (1 + self.sizes[0], labels.line_fields)):
            for place, name in enumerate(fields, start=first):
                silenced[place] = name in labels.untaught
        self.register_buffer("silenced", silenced, persistent=False)
        trained = (labels.trained_header_fields, labels.trained_line_fields)
        self.trained_sizes = _sizes(len(trained[0]), len(trained[1]))
        line, rest = self.sizes[0], self.sizes[0] + self.sizes[1]
        columns = [0, *(1 + index for index in trained[0]), line, *(line + 1 + index for index in trained[1])]
        self.register_buffer("columns", torch.tensor([*columns, *range(rest, sum(self.sizes))]), persistent=False)

    def forward(
        self,
        characters: Tensor,
        hashes: Tensor,
        shapes: Tensor,
        boxes: Tensor,
        lines: Tensor,
        above: Tensor,
        mask: Tensor,
    ) -> Scores:
        """Score a padded batch; arguments as in `backbones.protocol.Reader`.

        In training mode the columns of header and line are those of `LabelSet.trained_header_fields` and
        `trained_line_fields` (see `shards.for_training`), else all.
        """
        local, vectors = self.encoder(characters, hashes, shapes, boxes, lines, above, mask)
        header, line, row_start, starts, table, block = self._words(vectors)
        document = self._document(vectors, mask)
        titled = torch.cat([document, self._titled(local, header, mask)], dim=-1)
        return Scores(
            document_class=self.document_class(document),
            subtype=self.subtype(titled),
            header=header,
            line=line,
            row_start=row_start.squeeze(-1),
            starts=starts,
            table=table.squeeze(-1),
            block=block,
            vector=nn.functional.normalize(document, dim=-1),
        )

    def _words(self, vectors: Tensor) -> tuple[Tensor, ...]:
        if self.training:
            weight, bias = self.word_scores.weight[self.columns], self.word_scores.bias[self.columns]
            scores, sizes = nn.functional.linear(vectors, weight, bias), self.trained_sizes
        else:
            scores, sizes = self.word_scores(vectors).masked_fill(self.silenced, _MASKED), self.sizes
        parts: tuple[Tensor, ...] = torch.split(scores, sizes, dim=-1)
        return parts

    def _titled(self, local: Tensor, header: Tensor, mask: Tensor) -> Tensor:
        """Mean of the words as such, weighted by how surely the header tagger takes each for the title."""
        tagged = torch.log_softmax(header.float(), dim=-1)[..., self.title]
        weights = torch.softmax(tagged + (1.0 - mask) * _MASKED, dim=1).to(local.dtype)
        return (weights[..., None] * local).sum(dim=1)

    def _document(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Attention pooling in slices, beside greatest value and mean: a title is one word of hundreds."""
        batch, words, width = vectors.shape
        weights = torch.softmax(self.pool(vectors) + (1.0 - mask)[..., None] * _MASKED, dim=1)  # [batch, words, heads]
        slices = vectors.view(batch, words, _POOL_HEADS, width // _POOL_HEADS)
        attended = (weights[..., None] * slices).sum(dim=1).reshape(batch, width)
        mean = (vectors * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1.0)
        greatest = (vectors + (1.0 - mask)[..., None] * _MASKED).amax(dim=1)
        return self.spread(nn.functional.gelu(self.gather(torch.cat([attended, greatest, mean], dim=-1))))


def _sizes(header_fields: int, line_fields: int) -> list[int]:
    """Columns of the scores of words, in the order of `labels.WORD_SCORES`."""
    return [1 + header_fields, 1 + line_fields, 1, BLOCK_START + 1, 1, 1 + len(BLOCK_KINDS)]
