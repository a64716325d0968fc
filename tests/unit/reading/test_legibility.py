"""Quality of a page: 1 for sound text, falling with every damaged word, whatever the damage."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sap_llm.reading.legibility import is_legible, quality
from sap_llm.reading.pdf import read_pdf
from tests.support.raw_pdf import HELVETICA, raw_pdf, shown, stream, to_unicode
from tests.support.typeset_corpus import typeset_pdf

DAMAGES: dict[str, Callable[[str], str]] = {
    "private use": lambda word: "".join(chr(0xE000 + ord(letter)) for letter in word),
    "unmapped": lambda word: "\ufffd" * len(word),
    "question marks": lambda word: "?" * len(word),
    "one letter": lambda word: word if word.isdigit() else "n" * len(word),
    "UTF-8 as Windows-1252": lambda word: f"{word}äö".encode().decode("cp1252"),
    "shifted table": lambda word: "".join(chr(max(33, ord(letter) - 29)) for letter in word),
}


@pytest.fixture(scope="module")
def words() -> list[str]:
    return read_pdf(typeset_pdf(4711)[0], name="i.pdf")[0][0].words


def test_sound_text_is_legible() -> None:
    text = (
        "Straße Angstschweiß œuvre GmbH HTTP 0000 1.111,11 ....... XXX Żółć rhythm Ärzte Übergrößen Dr. ＡＢＣ 請求書"
    )
    assert [word for word in text.split() if not is_legible(word)] == []
    assert quality(text.split()) == 1.0
    assert quality([]) == 0.0


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_further_damaged_word_lowers_the_quality(words: list[str], damage: str) -> None:
    steps = range(0, len(words) + 1, 5)
    qualities = [quality([DAMAGES[damage](word) for word in words[:count]] + words[count:]) for count in steps]
    assert qualities[0] == 1.0
    assert qualities == sorted(qualities, reverse=True)
    assert qualities[-1] < (0.5 if damage in ("one letter", "shifted table") else 0.15)  # numbers stay plausible
    if damage not in ("one letter", "shifted table"):  # these are seen of the whole page
        assert len(set(qualities)) == len(qualities)


@given(st.lists(st.text(min_size=1, max_size=12), max_size=30), st.integers(0, 29), st.sampled_from(sorted(DAMAGES)))
def test_quality_is_a_share_and_no_mark_of_damage_raises_it(words: list[str], place: int, damage: str) -> None:
    before = quality(words)
    assert 0 <= before <= 1
    if place < len(words) and damage != "shifted table":
        marked = [*words[:place], "\ufffd" * len(words[place]), *words[place + 1 :]]
        assert quality(marked) <= before + 1e-9


@pytest.mark.parametrize("meaning", ["\ue041", "\ufffd", "?", "\0", "n"])
def test_a_font_that_says_nothing_of_its_letters_is_seen(meaning: str) -> None:
    fonts = HELVETICA[:-2] + b"/ToUnicode 4 0 R>>"
    cmap = stream(to_unicode(dict.fromkeys(range(33, 127), meaning)))
    rows = b"".join(shown("Rechnung und Lieferung", 40, 200 - 20 * row) for row in range(3))
    (page,), _ = read_pdf(raw_pdf(rows, fonts=fonts, extra=[cmap]), name="broken.pdf")
    assert page.words
    assert page.quality == 0.0
