"""Planted near-duplicates are found, strangers are not joined, and groups hold across corpora."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa

from sap_llm.annotation.groups import join_groups
from sap_llm.reading.near_duplicates import (
    SIGNATURES,
    Union,
    near_pairs,
    read_signatures,
    signatures,
    write_signatures,
)
from sap_llm.schema.manifest import DatasetRef
from sap_llm.schema.releases import ANNOTATED_DOCUMENTS
from sap_llm.schema.tables import DOCUMENTS, conform
from sap_llm.storage.build import StageConfig, StageContext, build
from sap_llm.storage.store import DatasetStore
from tests.support.toy_corpus import toy_document

_VOCABULARY = [f"word{chr(97 + index % 26)}{chr(97 + index // 26)}" for index in range(600)]


def _text(chance: random.Random) -> list[str]:
    return [
        str(chance.randrange(10_000)) if chance.random() < 0.2 else chance.choice(_VOCABULARY)
        for _ in range(chance.randint(60, 200))
    ]


def _variant(words: list[str], chance: random.Random) -> list[str]:
    """The same form: other numbers, a line less, one word in twenty changed."""
    start = chance.randrange(len(words))
    kept = words[:start] + words[start + 6 :]
    return [
        str(chance.randrange(10_000))
        if word.isdigit()
        else chance.choice(_VOCABULARY)
        if chance.random() < 0.05
        else word
        for word in kept
    ]


def _groups(texts: list[list[str]]) -> list[int]:
    union = Union(len(texts))
    for left, right in near_pairs(signatures(texts)):
        union.join(left, right)
    return [union.find(index) for index in range(len(texts))]


def test_planted_near_duplicates_are_recalled_and_strangers_stay_apart() -> None:
    chance = random.Random(3)
    families = [
        [base, *(_variant(base, chance) for _ in range(size))] for size in [1, 2, 5] * 60 for base in [_text(chance)]
    ]
    families.append([base := _text(chance), *(_variant(base, chance) for _ in range(150))])  # one form very many use
    texts, owner = [], []
    for number, family in enumerate(families):
        texts += family
        owner += [number] * len(family)
    order = list(range(len(texts)))
    chance.shuffle(order)
    found = _groups([texts[index] for index in order])
    truth = [owner[index] for index in order]
    planted = hits = joined = 0
    for left in range(len(truth)):
        for right in range(left):
            is_same, is_found = truth[left] == truth[right], found[left] == found[right]
            planted += is_same
            hits += is_same and is_found
            joined += is_found
    assert planted > 11_000
    assert hits / planted >= 0.95
    assert hits == joined  # nothing but near-duplicates was joined


def test_pages_without_words_resemble_nothing() -> None:
    assert near_pairs(signatures([[], [], ["a"], ["a"]])) == [(2, 3)]
    assert near_pairs(signatures([])) == []
    assert near_pairs(signatures([["a"]])) == []


def test_signatures_are_kept_as_they_are(tmp_path: Path) -> None:
    matrix = signatures([["a", "b"], []])
    write_signatures(tmp_path / "s.parquet", ["one", "two"], matrix)
    read = read_signatures(tmp_path / "s.parquet")
    assert list(read) == ["one", "two"]
    assert np.array_equal(np.stack(list(read.values())), matrix)


def test_near_duplicates_of_two_corpora_are_one_group_with_the_strictest_role(tmp_path: Path) -> None:
    context = StageContext(store=DatasetStore(tmp_path))
    chance = random.Random(5)
    texts = [_text(chance) for _ in range(6)]
    learned = {"a": texts[0], "b": texts[1], "c": texts[2]}
    tested = {"d": _variant(texts[0], chance), "e": texts[3]}
    corpora = {
        "public_docs/one": _corpus(context, "public_docs/one", learned),
        "public_docs/two": _corpus(context, "public_docs/two", tested),
        "synthetic_docs/0": _corpus(context, "synthetic_docs/0", {"f": texts[1]}, is_signed=False),
    }
    rows = [_row(name, "public_docs/one", "train", group="g" if name in "ac" else name) for name in learned]
    rows += [_row(name, "public_docs/two", "test_only", group=name) for name in tested]
    rows.append(_row("f", "synthetic_docs/0", "train", group="f"))
    schema = pa.schema([*DOCUMENTS, ANNOTATED_DOCUMENTS.field("input")])
    documents, joined = join_groups(context.store, corpora, conform(rows, schema))
    assert joined == 1
    placed = {row["vendor"]: (row["split_group"], row["role"]) for row in documents.to_pylist()}
    assert placed["a"] == placed["c"] == placed["d"] == ("d", "test_only")
    assert placed["b"] == ("b", "train")
    assert placed["e"] == ("e", "test_only")
    assert placed["f"] == ("f", "train")  # a corpus without signatures takes no part


def _row(name: str, source: str, role: str, *, group: str) -> dict[str, object]:
    return toy_document(name, input=source, role=role, split_group=group, vendor=name)


def _corpus(context: StageContext, name: str, texts: dict[str, list[str]], *, is_signed: bool = True) -> DatasetRef:
    def produce(writer: object) -> dict[str, object]:
        if is_signed:
            ids = [str(toy_document(key)["document_id"]) for key in texts]
            write_signatures(writer.path(SIGNATURES), ids, signatures(list(texts.values())))  # type: ignore[attr-defined]
        return {}

    return build(context, name=name, stage_version="1", config=StageConfig(), produce=produce).ref
