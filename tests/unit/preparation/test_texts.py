"""The batch rules say of each text what their plain definitions say of it alone."""

import hashlib
import random
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sap_llm.preparation.similar import jaccard, keepers, meet, spread
from sap_llm.preparation.texts import band_rows, describe, documents_of, normalised

_AMOUNT = re.compile(r"[0-9][.,][0-9]{2}(?![0-9]|[.,/-][0-9])")
_DATE = re.compile(r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{2,4}")
_TEXTS = st.lists(
    st.one_of(
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40),
        st.text(alphabet="0123456789.,/- aAäÄ\u00a0\u200b\n", max_size=40),
    ),
    max_size=12,
)


def _plain(text: str) -> str:
    spaced = "".join(" " if unicodedata.category(char)[0] == "Z" or unicodedata.category(char) in {"Cc", "Cf"} else char
                     for char in unicodedata.normalize("NFKC", text))  # fmt: skip
    return " ".join(part for part in spaced.split(" ") if part)


def _known_to_both(text: str) -> bool:
    """Whether Python and Arrow know the same characters: their Unicode versions differ."""
    return all(unicodedata.category(char) != "Cn" for char in text)


@settings(max_examples=150, deadline=None)
@given(_TEXTS.filter(lambda texts: all(map(_known_to_both, texts))))
@example(["", "1,23", ",23", "12,345.67 1.2.2024 1.23.45", "u\u0301 \ufb01", "x" * 300])
@example([])
def test_features_are_what_their_definitions_say(texts: list[str]) -> None:
    rows = describe(pa.array(texts, pa.string()), similarity=0.8).to_pylist()
    for text, row in zip(texts, rows, strict=True):
        plain = _plain(text)
        digest = hashlib.sha256(plain.encode())
        assert row["text_sha256"] == digest.hexdigest()
        assert row["text_key"] == int.from_bytes(digest.digest()[:8], "big", signed=True)
        assert (row["character_count"], row["word_count"]) == (len(plain), len(plain.split()))
        categories = [unicodedata.category(char) for char in plain]
        solid, letters = sum(char != " " for char in plain), sum(name[0] == "L" for name in categories)
        assert row["digit_share"] == pytest.approx(categories.count("Nd") / max(1, solid))
        assert row["upper_share"] == pytest.approx(categories.count("Lu") / max(1, letters))
        assert row["amount_count"] == len(_AMOUNT.findall(plain))
        assert row["date_count"] == len(_DATE.findall(plain))
        assert len(row["bands"]) == 16 * 8
        assert len(row["triples"]) == 4 * min(len(plain.split()), max(1, len(plain.split()) - 2))


def test_letters_and_accents_become_one() -> None:
    assert normalised(pa.array(["Stra\u00dfe  Gu\u0308nther\u00a0\u2460 \ufb01n\t"])).to_pylist() == [
        "Straße Günther 1 fin"
    ]


@settings(max_examples=60, deadline=None)
@given(_TEXTS, st.integers(1, 5))
def test_a_text_is_described_the_same_in_any_company(texts: list[str], size: int) -> None:
    array = pa.array(texts, pa.string())
    whole = describe(array, similarity=0.8).to_pylist()
    parts = [describe(array.slice(start, size), similarity=0.8) for start in range(0, len(texts), size)]
    assert [row for part in parts for row in part.to_pylist()] == whole


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=12), st.integers(1, 5))
def test_pages_become_documents_wherever_batches_end(lengths: list[tuple[int, int]], size: int) -> None:
    pages = [
        {"document_id": f"d{number}", "input": f"i{of}", "page_number": page, "text": f"{number}.{page}"}
        for number, (of, count) in enumerate(lengths)
        for page in range(count)
    ]
    table = pa.Table.from_pylist(pages, schema=pa.schema({"document_id": "string", "input": "string",
                                                          "page_number": "int16", "text": "string"}))  # fmt: skip
    found = [row for batch in documents_of(table.to_batches(max_chunksize=size)) for row in batch.to_pylist()]
    assert found == [
        {"document_id": f"d{number}", "input": f"i{of}", "text": " ".join(f"{number}.{page}" for page in range(count))}
        for number, (of, count) in enumerate(lengths)
    ]


def _triples(words: list[str]) -> set[str]:
    return {" ".join(words[start : start + 3]) for start in range(len(words) - 2)}


@pytest.mark.parametrize("similarity", [0.6, 0.8, 0.9])
def test_pairs_at_the_threshold_meet_and_triples_give_the_true_similarity(similarity: float) -> None:
    chance = random.Random(5)
    vocabulary = [f"w{number}" for number in range(3000)]
    pairs = []
    while len(pairs) < 300:
        words = chance.choices(vocabulary, k=chance.randint(60, 160))
        other = [chance.choice(vocabulary) if chance.random() < (1 - similarity) / 4 else word for word in words]
        one, two = _triples(words), _triples(other)
        true = len(one & two) / len(one | two)
        if similarity <= true < similarity + 0.08:
            pairs.append((" ".join(words), " ".join(other).upper(), true))
    left, right = (
        describe(pa.array([pair[side] for pair in pairs]), similarity=similarity).to_pylist() for side in (0, 1)
    )
    assert [jaccard(one["triples"], two["triples"]) for one, two in zip(left, right, strict=True)] == pytest.approx(
        [pair[2] for pair in pairs]
    )
    bands = [[set(np.frombuffer(row["bands"], "<u8").tolist()) for row in rows] for rows in (left, right)]
    met = sum(bool(one & two) for one, two in zip(*bands, strict=True))
    assert met / len(pairs) >= 0.97
    assert 1 <= band_rows(similarity) <= 8


def test_a_band_that_all_share_costs_two_pairs_a_document() -> None:
    count = 2000
    batch = describe(pa.array(["the same form " * 9 + f"number {number}" for number in range(count)]), similarity=0.5)
    blocks = [[] for _ in range(3)]
    for block in spread(3)([batch]):
        for row in block.to_pylist():
            blocks[row["target"]].append(pa.RecordBatch.from_pylist([row]))
    pairs = [row for part in blocks for found in meet(part) for row in found.to_pylist()]
    assert count - 1 <= len({tuple(row.values()) for row in pairs}) <= 16 * 2 * count
    assert all(row["left_key"] < row["right_key"] for row in pairs)


def test_a_closed_group_has_one_keeper_and_what_may_only_test_stays() -> None:
    edges = [("11c", "11b"), ("11b", "00t"), ("00u", "11c"), ("11x", "10y")]
    table = pa.table({"left_rank": [edge[0] for edge in edges], "right_rank": [edge[1] for edge in edges]})
    assert keepers(table) == {"b": "t", "c": "t", "x": "y"}
    assert keepers(table.take(pa.array([3, 1, 0, 2]))) == keepers(table)
