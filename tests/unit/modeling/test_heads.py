"""Scores of the network that no document of another length may change."""

import numpy as np
import torch

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.features import WordEncoder, WordFeatures, encode_words, pad
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import default_labels
from sap_llm.modeling.torch_runtime import tensors
from sap_llm.schema.page import Page


def features(count: int) -> WordFeatures:
    rng = np.random.default_rng(count)
    words = ["".join(rng.choice(list("abcdefghij"), 7)) for _ in range(count)]
    top, left = np.arange(count, dtype=np.float32)[:, None] * 12, rng.uniform(20, 300, (count, 1)).astype(np.float32)
    page = Page(
        page_number=1, width=595, height=842, words=words, lines=np.arange(count, dtype=np.int32), reader="",
        boxes=np.concatenate([left, top, left + 60, top + 9], axis=1),
    )  # fmt: skip
    return encode_words([page], WordEncoder())


def test_padding_changes_no_score() -> None:
    torch.manual_seed(1)
    model = MultitaskModel(EncoderConfig(width=32, layers=2, heads=2), default_labels()).eval()
    with torch.inference_mode():
        alone = model(*tensors(pad([features(11)])))
        beside = model(*tensors(pad([features(11), features(40)])))
    for name in ("document_class", "subtype", "vector"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(beside, name)[0], atol=1e-5, rtol=1e-4)
    for name in ("header", "line", "row_start"):
        torch.testing.assert_close(getattr(alone, name)[0], getattr(beside, name)[0, :11], atol=1e-5, rtol=1e-4)
