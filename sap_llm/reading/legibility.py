"""Quality of a page: the share of its characters that stand in legible words.

Belongs here: what makes a word illegible. OCR multiplies this by its own confidence; what a stage does with a poor page
is its configuration.

A word is illegible when its letters cannot be what was printed:
1. a character without meaning: U+FFFD, private use, a code that its font does not map;
2. UTF-8 read as Windows-1252 (`LÃ¤nge`, `â‚¬`);
3. five or more Latin letters without a vowel;
4. question marks or one letter over and over.
Nothing is legible on a page that knows only one or two characters at all, nor on one of whose Latin letters hardly any
is a vowel, as when a font's table is shifted (`5HFKQXQJ` for Rechnung): 8 to 20 percent, where business documents have
30 and more. Quality is 1 for a sound page, 0 for one of which nothing can be used, and damaging one more word does not
raise it.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_UNKNOWN = re.compile("[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff\x00-\x1f]")
_CONTINUATION = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # bytes 80 to BF as Windows-1252 shows them
_MISREAD = re.compile(f"[ÂÃ][{_CONTINUATION}]|â[{_CONTINUATION}]{{2}}")
_OVER_AND_OVER = re.compile(r"\?{2,}|([^\W\d_])\1{3,}", re.IGNORECASE)
_LATIN = re.compile("[a-zß-ɏ]", re.IGNORECASE)
_VOWEL = re.compile("[aeiouyæœøı]", re.IGNORECASE)
_LETTERS_WITHOUT_VOWEL = 5
_MANY_LETTERS, _FEWEST_VOWELS = 40, 0.22
_FEW_KINDS, _MANY_CHARACTERS = 2, 20


def quality(words: Sequence[str]) -> float:
    """Share of the characters that stand in legible words, 0..1; 0 without words."""
    text = "".join(words)
    if not text or (len(text) >= _MANY_CHARACTERS and len(set(text)) <= _FEW_KINDS) or _is_shifted(text):
        return 0.0
    return sum(map(len, filter(is_legible, words))) / len(text)


@lru_cache(maxsize=1 << 16)  # documents repeat their words
def is_legible(word: str) -> bool:
    """Whether the letters of a word can be what was printed."""
    if word.isascii() and (word.isdigit() or len(word) < _LETTERS_WITHOUT_VOWEL - 1):
        return "??" not in word and not _UNKNOWN.search(word)
    if _UNKNOWN.search(word) or _MISREAD.search(word) or _OVER_AND_OVER.search(word):
        return False
    letters, vowels = _counted(word)
    return letters < _LETTERS_WITHOUT_VOWEL or vowels > 0


def _is_shifted(text: str) -> bool:
    letters, vowels = _counted(text)
    return letters >= _MANY_LETTERS and vowels < _FEWEST_VOWELS * letters


def _counted(text: str) -> tuple[int, int]:
    """Latin letters, and the vowels among them."""
    if not text.isascii():
        text = unicodedata.normalize("NFD", text)
    return len(_LATIN.findall(text)), len(_VOWEL.findall(text))
