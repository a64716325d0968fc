"""Which texts become tokens, what is held out, and that the shards say what the texts said."""

from pathlib import Path

import pytest

from sap_llm.modeling.qwen import PAD, build_processor
from sap_llm.schema.errors import ConfigurationError
from sap_llm.storage.build import StageContext
from sap_llm.storage.store import Dataset, DatasetStore
from sap_llm.training.domain_tokens import PROCESSOR, DomainTokensConfig, _Maker
from sap_llm.training.text_shards import TextShards
from tests.support.toy_domain import toy_tokens
from tests.support.toy_training import toy_training_set


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return StageContext(store=DatasetStore(tmp_path / "datasets"))


def made(context: StageContext, **config: object) -> Dataset:
    return context.store.open(toy_tokens(context, **config))  # type: ignore[arg-type]


def test_every_text_is_in_one_split_and_nothing_measured_is_learned(context: StageContext) -> None:
    dataset = made(context)
    index = dataset.table("index").to_pylist()
    splits = {split: {row["text_id"].partition("#part")[0] for row in index if row["split"] == split} for split in
              ("train", "sap", "documents")}  # fmt: skip
    assert all(splits.values())
    assert not splits["train"] & (splits["sap"] | splits["documents"])
    assert {row["source"] for row in index if row["split"] == "sap"} == {"sap:entity_type", "sap:help_page"}
    metrics = dataset.manifest.metrics
    assert metrics["tokens_train"] == sum(row["tokens"] for row in index if row["split"] == "train")
    assert metrics["tokens_train"] == metrics["tokens_train_sap"] + metrics["tokens_train_documents"]


def test_shards_say_what_the_texts_said(context: StageContext) -> None:
    dataset = made(context)
    tokenizer = build_processor(dataset.path(PROCESSOR)).tokenizer
    texts = TextShards(dataset.path(), "sap")
    corpus = {
        row["text"] for row in dataset.sibling(dataset.manifest.inputs["sap_knowledge"]).table("corpus").to_pylist()
    }
    whole = [tokenizer.decode(texts.tokens(number)) for number in range(len(texts)) if texts.lengths[number] < 96]
    assert whole
    assert {text.removesuffix(PAD) for text in whole if text.count("\n")} & corpus
    assert int(texts.lengths.max()) <= 96


def test_documents_of_general_classes_are_only_measured(context: StageContext) -> None:
    training_set = toy_training_set(context, 1)
    maker = _Maker(context, DomainTokensConfig(), training_set, None)
    split_of = {
        (kind, split): maker._split({"document_type": kind, "split": split})
        for kind in ("OTHER", "SUPPLIER_INVOICE")
        for split in ("train", "test")
    }
    assert split_of == {
        ("OTHER", "train"): "general",
        ("OTHER", "test"): "general",
        ("SUPPLIER_INVOICE", "train"): "train",
        ("SUPPLIER_INVOICE", "test"): "documents",
    }


def test_without_sap_knowledge_the_documents_are_learned_from(context: StageContext) -> None:
    metrics = made(context, knowledge=False).manifest.metrics
    assert metrics["tokens_train_sap"] == 0
    assert metrics["tokens_train_documents"] > 0


def test_the_same_inputs_give_the_same_files(tmp_path: Path) -> None:
    versions = {
        made(StageContext(store=DatasetStore(tmp_path / name))).manifest.data_version for name in ("one", "two")
    }
    assert len(versions) == 1


def test_without_any_text_it_refuses(context: StageContext) -> None:
    with pytest.raises(ConfigurationError, match="no text to learn from"):
        made(context, documents=0, knowledge=False)
