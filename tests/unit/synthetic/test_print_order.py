"""The words of marks by the order of the print: the same as by rectangles, and refused where the order is another."""

from itertools import islice

import numpy as np
import pytest

from sap_llm.schema.page import Page
from sap_llm.synthetic.facts import BusinessFactsConfig
from sap_llm.synthetic.layouts import compose
from sap_llm.synthetic.links import erase_marks, locate_marks, words_in_marks
from sap_llm.synthetic.markup import BODY, FOOT, HEAD, PAGE_COUNT, PAGE_NUMBER, Sheet, call, counted, text
from sap_llm.synthetic.print_order import OutOfOrderError, PrintOrder
from sap_llm.synthetic.request import LANGUAGES, Request, wanted_facts
from sap_llm.synthetic.stage import SyntheticDocsConfig, make_draft
from sap_llm.synthetic.typeset import compile_source, overprinted, read_pages, typeset

CONFIG = SyntheticDocsConfig(
    seed=11, workers=1, test_layout_share=0.2, untitled_share=0.2, foreign_language_share=0.0,
    tier="typeset", volume_share=0.0
)  # fmt: skip
FACTS = BusinessFactsConfig(seed=11, chains_per_world=3, lines_max=30)
A_LANGUAGE = 25
PAGE = "set page(width:200pt,height:120pt,margin:20pt)\nset text(size:8pt)\n"


def shown(source: str) -> dict[tuple[int, int], str]:
    """The words of each mark and page, joined."""
    done = typeset(source)
    return {
        (mark, number): " ".join(done.pages[number - 1].words[word] for word in words)
        for (mark, number), words in done.words.items()
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_order_and_rectangles_give_the_same_words(language: str) -> None:
    compared = 0
    for fact in islice(wanted_facts(Request(facts=FACTS, documents=CONFIG, languages=(language,))), A_LANGUAGE):
        draft = make_draft(fact, CONFIG)
        source = compose(draft)
        done = typeset(source)
        linked = compile_source(source)
        pages, _ = read_pages(erase_marks(linked))
        same_print = [page.words for page in pages] == [page.words for page in done.pages]
        if same_print and not overprinted(draft.sheet.marks, done):
            assert words_in_marks(locate_marks(linked), pages) == done.words
            compared += 1
    assert compared >= 0.7 * A_LANGUAGE


def test_heads_feet_and_numbers_of_pages_are_in_order() -> None:
    sheet = Sheet()
    head, foot = sheet.value("seller_name", "Ada", "Ada"), sheet.value("iban", "DE1", "DE1")
    numbers = counted(PAGE_NUMBER, text(" von "), PAGE_COUNT)
    body = sheet.value("buyer_name", "Bo", "Bo")
    page = f"set page(width:200pt,height:120pt,margin:30pt,header:{HEAD}{head},footer:{FOOT}{foot}+{numbers}{BODY})"
    source = f"#{{{page}\n{body}\npagebreak()\n{text('Ende')}}}"
    assert shown(source) == {(0, 1): "Ada", (0, 2): "Ada", (1, 1): "DE11", (1, 2): "DE12", (2, 1): "Bo"}
    PrintOrder(source).marks_of_words([["Ada", "Bo", "DE11", "von", "2"], ["Ada", "Ende", "DE12", "von", "2"]])


def test_a_table_repeats_its_header() -> None:
    sheet = Sheet()
    cells = [sheet.value("line_number", str(row), f"row{row}") for row in range(12)]
    title = sheet.value("document_title", "Nr", "Nr")
    head = call("table.header", title, "/**/")
    source = f"#{{{PAGE}{call('table', head, *cells, columns='1')}}}"
    found = shown(source)
    assert {number for mark, number in found if mark == 12} == {1, 2, 3}
    assert [text for (mark, _), text in sorted(found.items()) if mark < 12] == [f"row{row}" for row in range(12)]


def test_columns_side_by_side_are_found_by_their_links() -> None:
    sheet = Sheet()
    sides = [
        call("stack", *[sheet.value("iban", "", f"{side}{row}") for row in range(14)], dir="ttb", spacing="4pt")
        for side in ("left", "right")
    ]
    source = f"#{{{PAGE}{call('grid', *sides, columns='(1fr,1fr)')}}}"
    order = PrintOrder(source)
    pages, _ = read_pages(compile_source(order.source))
    with pytest.raises(OutOfOrderError):
        order.marks_of_words([page.words for page in pages])
    assert sorted(shown(source).values()) == sorted(f"{side}{row}" for side in ("left", "right") for row in range(14))


@pytest.mark.parametrize("words", [["A", "C"], ["A", "B", "C"], ["C", "B"], ["B"], []])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(OutOfOrderError):
        PrintOrder('#{"A"+" "+"B"}').marks_of_words([words])


def test_arguments_and_escapes_are_told_from_print() -> None:
    order = PrintOrder('#{text(weight:"bold",fill:rgb("#fff"),link("3","a\\"b \\\\ c\\nd"/**/))}')
    assert order.source == '#{text(weight:"bold",fill:rgb("#fff"),("a\\"b \\\\ c\\nd"))}'
    assert order.marks_of_words([['a"b', "\\", "c", "d"]]) == [[(3,)] * 4]
    assert order.set_marks == {3}


def test_words_over_each_other_are_found() -> None:
    over = '#{set page(width:200pt,height:80pt,margin:20pt)\n"unten"+place(dx:5pt,dy:-8pt,"oben")}'
    assert overprinted([], typeset(over))
    apart = typeset(over.replace("dx:5pt", "dx:60pt"))
    assert not overprinted([], apart)
    page: Page = apart.pages[0]
    assert np.all(page.boxes[:, 2] > page.boxes[:, 0])
