"""What every backbone offers, whatever its family.

Belongs here: the two parts of the protocol. A reader gives vectors of words, for the heads (`modeling.heads`); a
generator writes the fields of a page itself. Implementations are the families' modules and `modeling.encoder`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from sap_llm.modeling.backbones.shapes import BackboneShape


class Reader(nn.Module):
    """A backbone that reads words.

    Attributes:
        shape: By which the same network is made again from a model folder; names no checkpoint.
        width: Of the vectors.
    """

    shape: BackboneShape
    width: int

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

        Returns:
            Local and contextual vectors, each [batch, words, width].
        """
        raise NotImplementedError

    def save_files(self, folder: Path) -> None:
        """Write what a model folder needs beside weights and shape, such as a tokenizer; most need nothing."""


class Generator(Protocol):
    """A backbone that writes the fields of a page."""

    def loss(self, pictures: npt.NDArray[np.uint8], answers: Sequence[Mapping[str, Any]]) -> Tensor:
        """Mean loss of the answers' tokens; pictures are gray [batch, height, width] of any one size."""
        ...

    def generate(self, pictures: npt.NDArray[np.uint8], *, most_tokens: int) -> list[Mapping[str, Any]]:
        """The answer to each picture, as far as so many tokens go; what is no answer is empty."""
        ...
