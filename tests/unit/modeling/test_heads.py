"""Scores of the network: what no document of another length may change, and fields that training did not show."""

from dataclasses import replace

import numpy as np
import torch

from sap_llm.modeling.architecture import EncoderConfig
from sap_llm.modeling.features import WordEncoder, WordFeatures, encode_words, pad
from sap_llm.modeling.heads import MultitaskModel
from sap_llm.modeling.labels import CORE_HEADER_FIELDS, HEADER_FIELDS, WORD_SCORES, default_labels
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
    for name in WORD_SCORES:
        torch.testing.assert_close(getattr(alone, name)[0], getattr(beside, name)[0, :11], atol=1e-5, rtol=1e-4)


def test_training_computes_the_columns_that_reading_uses_and_untaught_fields_are_never_said() -> None:
    torch.manual_seed(1)
    untaught = frozenset({"iban", "incoterms", "cost_center", "line_batch"})
    labels = replace(default_labels(), untaught=untaught)
    model = MultitaskModel(EncoderConfig(width=32, layers=1, heads=2, dropout=0.0), labels)
    inputs = tensors(pad([features(11)]))
    with torch.inference_mode():
        trained, read = model.train()(*inputs), model.eval()(*inputs)
    columns = [0, *(1 + index for index in labels.trained_header_fields)]
    assert len(columns) == len(HEADER_FIELDS) + 1 - 2  # a field of the core is computed whatever was taught
    said = [0, *(place for place, name in enumerate(HEADER_FIELDS, start=1) if name not in untaught)]
    torch.testing.assert_close(trained.header[..., [columns.index(column) for column in said]], read.header[..., said])
    torch.testing.assert_close(trained.block, read.block)
    chances = torch.softmax(read.header, dim=-1)
    for name in untaught & set(HEADER_FIELDS):
        assert float(chances[..., HEADER_FIELDS.index(name) + 1].max()) == 0.0
    assert trained.line.shape[-1] == read.line.shape[-1] - 1
    assert HEADER_FIELDS[: len(CORE_HEADER_FIELDS)] == CORE_HEADER_FIELDS
