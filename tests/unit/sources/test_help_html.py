"""HTML of documentation: order, headings, tables, boilerplate, encodings, broken and hostile markup."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sap_llm.sources.help_html import Block, HtmlTable, PageError, decode, parse_html
from tests.support.help_site import BOILERPLATE, PURCHASE_ORDER, page


def _blocks(content: bytes) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parse_html(content).parts if isinstance(part, Block)]


def _tables(body: str) -> list[HtmlTable]:
    return [part for part in parse_html(body.encode()).parts if isinstance(part, HtmlTable)]


def test_a_page_is_its_text_in_order_below_its_headings() -> None:
    read = parse_html(page(PURCHASE_ORDER))
    assert (read.title, read.language) == ("Purchase Order", "en")
    assert read.licence == "https://creativecommons.org/licenses/by/4.0/"
    told = [(part.kind, part.text) if isinstance(part, Block) else ("table", part.caption) for part in read.parts]
    assert told == [
        ("heading", "Purchase Order"),
        ("paragraph", "A purchase order is a request to a"),
        ("paragraph", "vendor to deliver goods."),
        ("heading", "Header Data"),
        ("paragraph", "The header applies to the whole document."),
        ("table", "Fields of table EKKO"),
        ("heading", "Steps"),
        ("item", "Choose the vendor."),
        ("item", "Enter the BEDAT."),
        ("code", "SELECT ebeln\n  FROM ekko"),
        ("heading", "Glossary"),
        ("table", ""),
    ]
    assert read.parts[6].path == ("Purchase Order", "Header Data", "Steps")
    assert read.parts[-1].path == ("Purchase Order", "Glossary")


def test_what_surrounds_the_documentation_is_left_out() -> None:
    told = str(parse_html(page(PURCHASE_ORDER)).parts)
    assert [word for word in BOILERPLATE if word in told] == []


@pytest.mark.parametrize(
    "attributes",
    ['hidden', 'aria-hidden="true"', 'role="navigation"', 'class="x cookie-notice"', 'id="onetrust" role="dialog"'],
)  # fmt: skip
def test_hidden_parts_and_frames_by_role_or_name_are_left_out(attributes: str) -> None:
    assert _blocks(f"<body><div {attributes}>noise</div><p>Text.</p>".encode()) == [("paragraph", "Text.")]


@pytest.mark.parametrize("name", ["layout-with-sidebar", "has-nav", "searchable", "menucascade", "notebook"])
def test_names_that_only_sound_like_frames_are_kept(name: str) -> None:
    assert _blocks(f'<body><div class="{name}">Text.</div>'.encode()) == [("paragraph", "Text.")]


def test_the_main_part_is_taken_where_a_page_names_one() -> None:
    content = b"<body><div>before</div><main><header><h1>Title</h1></header><p>Text.</p></main><div>after</div>"
    assert _blocks(content) == [("heading", "Title"), ("paragraph", "Text.")]


def test_tables_become_rows_and_spans_are_repeated() -> None:
    body = """<table><tr><th>Table</th><th>Field</th><th>Meaning</th></tr>
      <tr><td rowspan="2">EKPO</td><td>MENGE</td><td>Quantity<p>ordered</p></td></tr>
      <tr><td>MEINS</td><td>Unit</td></tr><tr><td colspan="2">Total</td><td>Sum</td></tr></table>"""
    (table,) = _tables(body)
    assert table.head == ("Table", "Field", "Meaning")
    assert table.rows == (
        ("EKPO", "MENGE", "Quantity ordered"),
        ("EKPO", "MEINS", "Unit"),
        ("Total", "Total", "Sum"),
    )


def test_tables_that_arrange_the_page_are_text() -> None:
    body = "<table><tr><td><p>Left.</p></td><td><table><tr><th>Field</th><th>Use</th></tr><tr><td>A</td><td>B</td></tr>"
    read = parse_html(body.encode())
    assert [part.text if isinstance(part, Block) else part.rows for part in read.parts] == ["Left.", (("A", "B"),)]


def test_terms_that_share_a_definition_and_lists_within_lists() -> None:
    (table,) = _tables("<dl><dt>EBELN<dt>EBELP<dd>Key<dt>BEDAT<dd>Date<dd>of the order</dl>")
    assert table.rows == (("EBELN, EBELP", "Key"), ("BEDAT", "Date"), ("BEDAT", "of the order"))
    nested = _blocks(b"<ul><li>one<ul><li>two</ul><li>three</ul><p>after")
    assert nested == [("item", "one"), ("item", "two"), ("item", "three"), ("paragraph", "after")]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ("<p>Menge für Größe €".encode(), ""),
        (b"\xef\xbb\xbf" + "<p>Menge für Größe €".encode(), "text/html; charset=iso-8859-1"),
        ("<p>Menge für Größe €".encode("utf-16"), ""),
        ("<p>Menge für Größe €".encode("cp1252"), ""),
        ("<p>Menge für Größe €".encode("cp1252"), "text/html; charset=ISO-8859-1"),
        ("<p>Menge für Größe €".encode("iso8859-15"), 'text/html; charset="iso-8859-15"'),
        ("<meta charset=iso-8859-15><p>Menge für Größe €".encode("iso8859-15"), ""),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=windows-1250"><p>Menge für Größe €'.encode(
                "cp1250"
            ),
            "text/html; charset=unheard-of",
        ),
    ],
)
def test_the_encoding_is_found_as_browsers_find_it(content: bytes, content_type: str) -> None:
    assert decode(content, content_type).endswith("<p>Menge für Größe €")
    (part,) = parse_html(content, content_type=content_type).parts
    assert isinstance(part, Block)
    assert part.text == "Menge für Größe €"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_html"),
        (b"%PDF-1.7\n\0", "not_html"),
        (b'{"d": {"results": []}}', "not_html"),
        (b"<html><body><div id=app></div><script>render()</script>", "no_text"),
        (b"<html><body><h1>Only a title</h1>", "no_text"),
        (b"<html><body><p>Log on</p><form><input type='password'></form>", "login_page"),
        (b"<html><head><meta name=tdm-reservation content=1></head><body><p>Text.", "reserved"),
        (b"<html><head><meta name=Robots content='noindex, noai'></head><body><p>Text.", "reserved"),
        (b"<p>" + b"x" * 2000, "too_large"),
    ],
)
def test_what_is_no_documentation_has_a_reason_and_a_remedy(content: bytes, reason: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_html(content, max_bytes=1000)
    assert caught.value.reason == reason
    assert caught.value.remedy


def test_broken_markup_is_read_as_browsers_read_it() -> None:
    assert _blocks(b"<h1>A<p>B</h1>C<li>D<b>E<p>F</i><table><td>1<td>2") == [
        ("heading", "A B"),
        ("paragraph", "C"),
        ("item", "DE"),
        ("item", "F"),
        ("item", "1"),
        ("item", "2"),
    ]


@pytest.mark.parametrize("unit", ["<div>", "<table><tr><td>", "<ul><li>", "<dl><dt>x<dd>", "<header>", "<b><p>", "<x>"])
def test_markup_that_never_closes_is_refused_before_it_costs_time(unit: str) -> None:
    with pytest.raises(PageError, match="opens more than 2,000 elements") as caught:
        parse_html(b"<body><p>Text.</p>" + unit.encode() * 100_000)
    assert caught.value.reason == "too_deep"
    within = parse_html(b"<body><p>Text.</p>" + unit.encode() * 1_900 + b"end")
    assert within.parts[0] == Block(kind="paragraph", path=(), text="Text.")


def test_long_markup_that_closes_itself_is_not_deep() -> None:
    rows = "<tr><td>1<td>2" * 3_000
    body = f"<p>x{'<li>y' * 3_000}<svg>{'<path/>' * 3_000}</svg><table><tr><th>a<th>b{rows}</table>"
    read = parse_html(body.encode())
    assert len(read.parts) == 3_002


def test_spans_cannot_make_a_table_grow_without_end() -> None:
    cell = '<td colspan="1000" rowspan="65534">x</td>'
    body = "<table><tr><th>a</th><th>b</th></tr>" + f"<tr>{cell * 20}</tr>" * 50 + "</table>"
    (table,) = _tables(body)
    assert sum(map(len, table.rows)) <= 100_000


_TAGS = "<p> </p> <table> <tr> <td> <th> <dl> <dt> <dd> <h2> <pre> <ul> <li> </li> </ul> x ä &amp; <!--".split()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(_TAGS)))
def test_any_sequence_of_tags_gives_parts_or_a_reason(pieces: list[str]) -> None:
    try:
        read = parse_html("".join(["<body>", *pieces]).encode())
    except PageError as error:
        assert error.reason == "no_text"  # noqa: PT017 - either outcome is right
    else:
        assert read.parts
        assert all(part.text if isinstance(part, Block) else part.rows for part in read.parts)
