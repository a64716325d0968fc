"""From the words of a batch to the tokens of a vocabulary, and from vectors of tokens back to vectors of words.

Belongs here: what every backbone with a tokenizer shares. The words are read from the character ids of `features`, so
that shards, damage and renaming in training serve all families alike. What the tokens are embedded with is the
backbone's file; training a tokenizer is `qwen.train_tokenizer`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sap_llm.modeling.features import word_texts
from sap_llm.modeling.qwen import SPECIAL_TOKENS, train_tokenizer
from sap_llm.schema.errors import ConfigurationError

TOKENIZER = "tokenizer.json"
BYTE_TOKENS = 256 + len(SPECIAL_TOKENS)
_CACHE_WORDS = 200_000


@dataclass(frozen=True)
class Pieces:
    """Tokens of a padded batch, in rows of whole words; a long document has several rows.

    Attributes:
        ids: int64 [rows, tokens].
        words: int64 [rows, tokens], place of the token's word in the flattened batch [batch x words].
        mask: float32 [rows, tokens], 1 where there is a token.
    """

    ids: Tensor
    words: Tensor
    mask: Tensor


class Subwords:
    """Cuts words with a byte-level tokenizer, remembering words already seen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._known: dict[bytes, list[int]] = {}

    @classmethod
    def open(cls, path: str | None) -> "Subwords":
        """The tokenizer of a file (or of a folder that holds `tokenizer.json`); without one, bytes are the tokens.

        Raises:
            ConfigurationError: There is no such file, or it is no tokenizer.
        """
        if path is None:
            return cls(train_tokenizer((), vocabulary=BYTE_TOKENS).backend_tokenizer)
        file = Path(path) / TOKENIZER if Path(path).is_dir() else Path(path)
        try:
            return cls(Tokenizer.from_file(str(file)))
        except Exception as error:  # the library raises plain Exception
            raise ConfigurationError("no tokenizer", where=str(file), remedy="Name a tokenizer.json.") from error

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`."""
        self.tokenizer.save(str(folder / TOKENIZER))

    def cut(self, characters: Tensor, mask: Tensor, *, most: int) -> Pieces:
        """Tokens of all words.

        Args:
            characters: int64 [batch, words, 16].
            mask: float32 [batch, words].
            most: Tokens of a row; a document that has more goes on in another row.
        """
        words = characters.shape[1]
        flat = characters.reshape(-1, characters.shape[-1]).to(torch.uint8).cpu().numpy()
        real = (mask > 0).cpu().numpy()
        rows: list[tuple[list[int], list[int]]] = []
        for document, present in enumerate(real):
            places = document * words + np.flatnonzero(present)
            rows += _rows(self._tokens(flat[places]), places.tolist(), most=most)
        return _padded(rows, device=characters.device)

    def _tokens(self, characters: npt.NDArray[np.uint8]) -> list[list[int]]:
        keys = [row.tobytes() for row in characters]
        fresh = {key: place for place, key in enumerate(keys) if key not in self._known}
        if fresh:
            if len(self._known) > _CACHE_WORDS:
                self._known, fresh = {}, {key: place for place, key in enumerate(keys)}
            texts = word_texts(characters[list(fresh.values())])
            self._known |= dict(zip(fresh, self.encode(texts), strict=True))
        return [self._known[key] for key in keys]

    def encode(self, words: Iterable[str]) -> list[list[int]]:
        """Token ids of each word, which stands behind a space as in a running text."""
        found = self.tokenizer.encode_batch([f" {word}" for word in words], add_special_tokens=False)
        return [encoding.ids for encoding in found]


def pool(vectors: Tensor, pieces: Pieces, *, batch: int, words: int) -> Tensor:
    """Mean over the tokens of each word: [rows, tokens, width] -> [batch, words, width]; zero where no word is."""
    weights = pieces.mask.reshape(-1, 1).to(vectors.dtype)
    places = pieces.words.reshape(-1)
    sums = vectors.new_zeros(batch * words, vectors.shape[-1])
    sums = sums.index_add(0, places, vectors.reshape(-1, vectors.shape[-1]) * weights)
    counts = weights.new_zeros(batch * words, 1).index_add(0, places, weights)
    return (sums / counts.clamp(min=1.0)).view(batch, words, -1)


def spread(values: Tensor, pieces: Pieces) -> Tensor:
    """What the words have, for each of their tokens: [batch, words, ...] -> [rows, tokens, ...]."""
    flat = values.reshape(-1, *values.shape[2:])
    return flat.index_select(0, pieces.words.reshape(-1)).view(*pieces.words.shape, *values.shape[2:])


def _rows(tokens: list[list[int]], places: list[int], *, most: int) -> list[tuple[list[int], list[int]]]:
    rows: list[tuple[list[int], list[int]]] = [([], [])]
    for own, place in zip(tokens, places, strict=True):
        kept = own[:most]
        if len(rows[-1][0]) + len(kept) > most:
            rows.append(([], []))
        rows[-1][0].extend(kept)
        rows[-1][1].extend([place] * len(kept))
    return rows


def _padded(rows: list[tuple[list[int], list[int]]], *, device: torch.device) -> Pieces:
    longest = max(1, *(len(ids) for ids, _ in rows))
    joined = np.zeros((3, len(rows), longest), dtype=np.int64)
    for row, (ids, places) in enumerate(rows):
        joined[0, row, : len(ids)], joined[1, row, : len(ids)], joined[2, row, : len(ids)] = ids, places, 1
    ids, places, mask = torch.from_numpy(joined).to(device)
    return Pieces(ids=ids, words=places, mask=mask.float())
