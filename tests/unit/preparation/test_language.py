"""The preparation names the languages of a corpus as the reader names that of a document."""

import random

import pyarrow as pa

from sap_llm.preparation.texts import describe
from sap_llm.reading.language import STOP_WORDS, detect_language


def test_both_ways_apply_one_rule() -> None:
    chance = random.Random(1)
    words = [*sorted(frozenset().union(*STOP_WORDS.values())), "4711", "EUR", "x-y", "N°5", "ÉCHÉANCE", "Straße."]
    texts = [" ".join(chance.choices(words, k=chance.randrange(25))) for _ in range(400)]
    texts += [" ".join(chance.sample(sorted(known), 5)).upper() for known in STOP_WORDS.values() for _ in range(30)]
    found = describe(pa.array(texts), similarity=None).column("detected_language").to_pylist()
    assert found == [detect_language(text.split()) for text in texts]
    assert set(found) == {None, *STOP_WORDS}
