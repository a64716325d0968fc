"""The heads on top of a backbone, and the whole network.

Belongs here: document class, subtype, header and line field tags, row starts, and the document vector. Which backbone
is below them is configuration (`backbones`); what their scores mean for a document is `decoding`.

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
from sap_llm.modeling.labels import LabelSet

_POOL_HEADS = 4
_MASKED = -1e4  # finite, so that a row without words gives no NaN


class Scores(NamedTuple):
    """Logits of a batch; field names are also the ONNX output names."""

    document_class: Tensor  # [batch, classes]
    subtype: Tensor  # [batch, subtypes]; only those of one class compete
    header: Tensor  # [batch, words, 1 + header fields]
    line: Tensor  # [batch, words, 1 + line fields]
    row_start: Tensor  # [batch, words]
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
        self.header = nn.Linear(width, 1 + len(labels.header_fields))
        self.line = nn.Linear(width, 1 + len(labels.line_fields))
        self.row_start = nn.Linear(width, 1)

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
        """Score a padded batch; arguments as in `backbones.protocol.Reader`."""
        local, vectors = self.encoder(characters, hashes, shapes, boxes, lines, above, mask)
        header = self.header(vectors)
        document = self._document(vectors, mask)
        titled = torch.cat([document, self._titled(local, header, mask)], dim=-1)
        return Scores(
            document_class=self.document_class(document),
            subtype=self.subtype(titled),
            header=header,
            line=self.line(vectors),
            row_start=self.row_start(vectors).squeeze(-1),
            vector=nn.functional.normalize(document, dim=-1),
        )

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
