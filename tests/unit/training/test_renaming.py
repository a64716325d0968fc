"""Renaming: rare words change together within a document, common ones and amounts of information do not."""

import dataclasses

import numpy as np

from sap_llm.modeling.features import WordEncoder
from sap_llm.modeling.shards import encode_shard, read_shard
from sap_llm.training.batches import collate
from sap_llm.training.renaming import Renamer
from tests.support.toy_training import toy_tables


def test_names_change_consistently_and_labels_stay() -> None:
    shard = read_shard(encode_shard(*toy_tables(60)))
    renamer = Renamer(shard, common_share=0.3)
    rows = np.arange(20)
    before, after = collate(shard, rows), collate(shard, rows)
    renamer.rename(after, 1.0, np.random.default_rng(0))
    changed = (before.hashes != after.hashes).any(axis=2)
    assert changed.any()
    assert not changed[before.mask == 0].any()
    _, labels, _ = WordEncoder().encode(["Date", "Total", "GmbH", "Widget"])
    assert not changed[np.isin(before.hashes[..., 0], labels[:, 0])].any()
    for document in range(len(rows)):
        pairs = {
            (int(old), int(new))
            for old, new in zip(before.hashes[document, :, 0], after.hashes[document, :, 0], strict=True)
        }
        assert len(pairs) == len({old for old, _ in pairs})  # one new word for each old one
    for name in ("boxes", "lines", "above", "mask", "header_labels", "line_labels", "class_ids"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def test_no_document_is_renamed_at_rate_zero_and_the_seed_decides() -> None:
    shard = read_shard(encode_shard(*toy_tables(30)))
    renamer = Renamer(shard, common_share=0.3)
    batches = [collate(shard, np.arange(10)) for _ in range(4)]
    renamer.rename(batches[1], 0.0, np.random.default_rng(1))
    renamer.rename(batches[2], 0.7, np.random.default_rng(1))
    renamer.rename(batches[3], 0.7, np.random.default_rng(1))
    for field in dataclasses.fields(batches[0]):
        values = [getattr(batch, field.name) for batch in batches]
        assert np.array_equal(values[0], values[1])
        assert np.array_equal(values[2], values[3])
