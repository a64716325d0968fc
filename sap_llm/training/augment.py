"""Damage done to training documents at the level of word features: where generalisation comes from.

Belongs here: masking of words, hashes and characters, other digits, copied values, stretched and jittered pages. Damage
to images and OCR text is `augmentation`. Everything is drawn from the given generator, so a step can be repeated.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sap_llm.modeling.labels import HEADER_FIELDS, OUTSIDE
from sap_llm.training.batches import Batch
from sap_llm.training.config import AugmentationConfig

Array = npt.NDArray[Any]
_ZERO = ord("0") - 31  # character id of the digit 0, see modeling.features
_COPIED = tuple(
    HEADER_FIELDS.index(name) + 1
    for name in ("seller_name", "buyer_name", "document_number", "order_reference", "customer_number")
)


def damage(batch: Batch, config: AugmentationConfig, generator: np.random.Generator) -> None:
    """Damage a batch in place."""
    _copy_values(batch, config.value_copying, generator)
    _replace_digits(batch, config.digit_replacement, generator)
    _mask_words(batch, config, generator)
    _move(batch, config, generator)


def _copy_values(batch: Batch, rate: float, generator: np.random.Generator) -> None:
    """Give the words of some names and numbers the text of others of the same field in the batch."""
    for label in _COPIED:
        documents, words = np.nonzero(batch.header_labels == label)
        chosen = generator.random(len(batch.mask))[documents] < rate
        if not chosen.any():
            continue
        donor = generator.integers(len(documents), size=int(chosen.sum()))
        to, source = (documents[chosen], words[chosen]), (documents[donor], words[donor])
        for values in (batch.characters, batch.hashes, batch.shapes):
            values[to] = values[source]


def _replace_digits(batch: Batch, rate: float, generator: np.random.Generator) -> None:
    is_digit: Array = (batch.characters >= _ZERO) & (batch.characters < _ZERO + 10)
    is_digit &= (generator.random(batch.mask.shape) < rate)[..., None]
    batch.characters[is_digit] = generator.integers(_ZERO, _ZERO + 10, size=int(is_digit.sum()), dtype=np.uint8)


def _mask_words(batch: Batch, config: AugmentationConfig, generator: np.random.Generator) -> None:
    shape = batch.mask.shape
    whole = generator.random(shape) < config.word_masking
    unlabelled: Array = np.asarray((batch.header_labels == OUTSIDE) & (batch.line_labels <= OUTSIDE))
    loses_labels: Array = np.asarray(generator.random(shape[0]) < config.label_dropout_documents)
    whole |= unlabelled & loses_labels[:, None] & (generator.random(shape) < config.label_dropout_words)
    batch.characters[whole] = 0
    batch.shapes[whole] = 0
    batch.hashes[whole | (generator.random(shape) < config.hash_masking)] = 0
    batch.characters[generator.random(batch.characters.shape, dtype=np.float32) < config.character_masking] = 0


def _move(batch: Batch, config: AugmentationConfig, generator: np.random.Generator) -> None:
    count = len(batch.mask)
    for first in (0, 1):
        stretch = 1.0 + generator.uniform(-config.scale, config.scale, (count, 1, 1))
        shift = generator.uniform(-config.shift, config.shift, (count, 1, 1))
        batch.boxes[:, :, first::2] = batch.boxes[:, :, first::2] * stretch + shift
    jitter = generator.normal(0.0, config.jitter, (*batch.mask.shape, 2)).astype(np.float32)
    batch.boxes += np.concatenate([jitter, jitter], axis=-1)
