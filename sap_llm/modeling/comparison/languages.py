"""What a candidate's input keeps of a language: characters and words that survive a round trip, and tokens a word.

Belongs here: measuring on words of real pages. A candidate whose tokenizer is not here has no figures.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from sap_llm.modeling.comparison.candidates import Candidate
from sap_llm.modeling.features import WordEncoder, word_texts

RoundTrip = Callable[[Sequence[str]], tuple[list[str], float]]
"""Words to what is read back of each, and the mean number of tokens a word."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of one language; shares are 0..1."""

    words: int
    surviving_words: float
    surviving_characters: float
    tokens_per_word: float


def coverage(words: Sequence[str], round_trip: RoundTrip) -> Coverage:
    """Figures of some words (at least one), each different word counted once."""
    different = sorted(set(words))
    back, tokens = round_trip(different)
    kept = sum(_common(word, found) for word, found in zip(different, back, strict=True))
    return Coverage(
        words=len(different),
        surviving_words=sum(map(str.__eq__, different, back)) / len(different),
        surviving_characters=kept / sum(map(len, different)),
        tokens_per_word=tokens,
    )


def coverages(
    candidates: Iterable[Candidate],
    *,
    words: Mapping[str, Sequence[str]],
    texts: Sequence[str],
    tokenizers: Mapping[str, str],
) -> dict[str, dict[str, Coverage]]:
    """Figures by candidate's name and language; arguments as in `round_trip_of`."""
    found: dict[str, dict[str, Coverage]] = {}
    of_features = {language: coverage(own, features_round_trip) for language, own in words.items()}
    for candidate in candidates:
        round_trip = round_trip_of(candidate, texts=texts, tokenizers=tokenizers)
        if round_trip is features_round_trip:
            found[candidate.name] = of_features
        elif round_trip is not None:
            found[candidate.name] = {language: coverage(own, round_trip) for language, own in words.items()}
        else:
            found[candidate.name] = {}
    return found


def features_round_trip(words: Sequence[str]) -> tuple[list[str], float]:
    """Through the project's own word features: a word is one token."""
    return word_texts(WordEncoder().encode(words)[0]), 1.0


def tokenizer_round_trip(tokenizer: Any) -> RoundTrip:
    """Through a tokenizer of the tokenizers library."""
    from sap_llm.modeling.backbones.subwords import Subwords

    subwords = Subwords(tokenizer)

    def round_trip(words: Sequence[str]) -> tuple[list[str], float]:
        ids = subwords.encode(words)
        return [tokenizer.decode(own).removeprefix(" ") for own in ids], sum(map(len, ids)) / len(ids)

    return round_trip


def round_trip_of(candidate: Candidate, *, texts: Sequence[str], tokenizers: Mapping[str, str]) -> RoundTrip | None:
    """How words go into a candidate; None where a published tokenizer is needed and not here.

    Args:
        candidate: Of any family.
        texts: What the tokenizer of a size that is trained here would be trained on.
        tokenizers: Candidate name -> tokenizer.json of a checkpoint that lies here.
    """
    from sap_llm.modeling.backbones.subwords import Subwords
    from sap_llm.modeling.qwen import train_tokenizer

    shape = candidate.shape
    if candidate.name in tokenizers:
        return tokenizer_round_trip(Subwords.open(tokenizers[candidate.name]).tokenizer)
    if shape.family in ("compact", "doc_router") or (shape.family == "layoutlmv3" and shape.words == "features"):
        return features_round_trip
    if shape.family == "qwen2_5_vl" and shape.model.size in ("debug", "tiny"):
        return tokenizer_round_trip(train_tokenizer(texts, vocabulary=shape.model.vocabulary_size).backend_tokenizer)
    if shape.family == "donut" and shape.vocabulary is None:
        return tokenizer_round_trip(Subwords.open(shape.tokenizer).tokenizer)
    return None


def _common(word: str, found: str) -> int:
    if word == found:
        return len(word)
    return sum(block.size for block in SequenceMatcher(None, word, found, autojunk=False).get_matching_blocks())
