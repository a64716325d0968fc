"""One HTML page of documentation to its parts: headings, paragraphs, lists, code and tables, each below its headings.

Belongs here: decoding, what is refused, and the parts in their order; broken markup is read as browsers read it
(Lexbor). Elements are `help_markup`, what the parts say about SAP's fields is `help_pages`, fetching `metadata_fetch`.

Sources: HTML Standard, section 13.2.3 (encoding); TDM Reservation Protocol, section 6.
"""

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sap_llm.sources.corpus import UnusableError
from sap_llm.sources.help_markup import BLOCKS, attribute, cells_of, definitions_of, table_of, text_of, walk

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_BYTES = 10 * 2**20
"""A page of documentation has less than one; the parsed tree takes some ten times as much memory."""

_WHOLE = "h1, h2, h3, h4, h5, h6, pre, dl:not(:has(dl)), table:not(:has(table)):has(th)"
_PRESCAN_BYTES = 1024
_META_CHARSET = re.compile(rb"<meta[^>]*?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MARKUP = re.compile(r"<(?:!doctype\s+html|html|head|body|div|p|h[1-6]|table|ul|ol|dl|main|article)\b", re.IGNORECASE)

_MAX_NESTING = 2000
_TAG = re.compile(r"<(/?)([a-z][^\s/>]*)")
_UNNESTED = frozenset(
    "area base body br caption col colgroup dd dt embed head hr html img input li link meta optgroup option p param rp "
    "rt source tbody td tfoot th thead tr track wbr".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


class PageError(UnusableError):
    """A page that is not to be used."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One run of text.

    Attributes:
        kind: heading | paragraph | item | code.
        path: Headings above it, the uppermost first; of a heading, itself at the end.
    """

    kind: str
    path: tuple[str, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class HtmlTable:
    """A table of data, spanning cells repeated; a definition list is one of two columns without head."""

    path: tuple[str, ...]
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class HtmlPage:
    """What a page holds. Title, language (ISO 639-1) and licence are empty where it does not say."""

    title: str
    language: str
    licence: str
    parts: tuple[Block | HtmlTable, ...]


def parse_html(content: bytes, *, content_type: str = "", max_bytes: int = MAX_BYTES) -> HtmlPage:
    """Read one page.

    Args:
        content: As the server sent it, or as the file has it.
        content_type: The header of that name, for the encoding; empty for files.
        max_bytes: Larger ones are refused.

    Raises:
        PageError: Too large, no HTML, a log-on page, without text, or reserved by its owner against text mining.
    """
    from selectolax.lexbor import LexborHTMLParser

    if len(content) > max_bytes:
        raise PageError("too_large", f"the page has more than {max_bytes:,} bytes", remedy="Split it, or leave it out.")
    text = decode(content, content_type)
    if "\0" in text[:_PRESCAN_BYTES] or not _MARKUP.search(text):
        raise PageError("not_html", "the document is no HTML", remedy="Give the address of the page itself.")
    if _nesting(text) > _MAX_NESTING:
        raise PageError(
            "too_deep", f"the page opens more than {_MAX_NESTING:,} elements at once", remedy="Leave it out."
        )
    tree = LexborHTMLParser(text)
    if _is_reserved(tree):
        raise PageError("reserved", "the page reserves text and data mining", remedy="Ask its owner, or leave it out.")
    if tree.css_first("input[type=password]") is not None:
        raise PageError("login_page", "the page asks for a log-on", remedy="Save the page by hand and give its folder.")
    root = tree.css_first("main, [role=main]") or _only(tree, "article") or tree.body
    parts = _Builder().parts(root) if root is not None else ()
    if not any(isinstance(part, HtmlTable) or part.kind != "heading" for part in parts):
        raise PageError(
            "no_text",
            "the page has no text of its own",
            remedy="Pages written by script: save them from a browser and give their folder.",
        )
    headings = [part.text for part in parts if isinstance(part, Block) and part.kind == "heading"]
    return HtmlPage(
        title=headings[0] if headings else text_of(tree.css_first("head title")),
        language=attribute(tree.root, "lang").partition("-")[0].lower(),
        licence=_licence(tree),
        parts=parts,
    )


def decode(content: bytes, content_type: str) -> str:
    """Text of a page: by byte order mark, header, meta element, and else UTF-8 or Windows-1252."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    header, meta = _HEADER_CHARSET.search(content_type), _META_CHARSET.search(content[:_PRESCAN_BYTES])
    for label in (header.group(1) if header else "", meta.group(1).decode("ascii") if meta else ""):
        if known := _encoding(label):
            return content.decode(known, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _nesting(text: str) -> int:
    """How many elements are open at most, those aside that end by themselves; drawings are not looked into.

    Parsers of HTML take time in proportion to it for every tag.
    """
    first, *drawings = text.lower().split("<svg")
    opened = most = 0
    for piece in (first, *(drawing.partition("</svg")[2] or drawing for drawing in drawings)):
        for tag in _TAG.finditer(piece):
            if tag[2] not in _UNNESTED:
                opened = max(0, opened + (-1 if tag[1] else 1))
                most = max(most, opened)
    return most


def _encoding(label: str) -> str:
    """Python's name of an encoding, as browsers understand the label; empty when unknown."""
    try:
        name = codecs.lookup(label).name
    except LookupError:
        return ""
    if name in ("iso8859-1", "ascii"):
        return "cp1252"
    return "utf-8" if name.startswith("utf-16") else name  # who can read the label is not reading UTF-16


def _is_reserved(tree: "LexborHTMLParser") -> bool:
    if (node := tree.css_first('meta[name="tdm-reservation" i]')) is not None and attribute(node, "content") == "1":
        return True
    words = (word for node in tree.css('meta[name="robots" i]') for word in attribute(node, "content").split(","))
    return any(word.strip().lower() == "noai" for word in words)


def _licence(tree: "LexborHTMLParser") -> str:
    for selector, name in (
        ("link[rel~=license], a[rel~=license]", "href"),
        ('meta[name="dcterms.license" i], meta[name="license" i]', "content"),
        ('meta[name="dcterms.rights" i], meta[name="copyright" i]', "content"),
    ):
        for node in tree.css(selector):
            if value := attribute(node, name):
                return value
    return ""


def _only(tree: "LexborHTMLParser", tag: str) -> "LexborNode | None":
    found = tree.css(tag)
    return found[0] if len(found) == 1 else None


def _whole_nodes(root: "LexborNode") -> frozenset[int]:
    """Ids of what is read as a whole: headings, code, definition lists and tables of data.

    Tables that hold tables, have no header cell or one column only arrange the page, and are entered.
    """
    found = root.css(_WHOLE)
    return frozenset(
        node.mem_id for node in found if node.tag != "table" or any(len(cells_of(row)) > 1 for row in node.css("tr"))
    )


class _Builder:
    """Parts growing in document order."""

    def __init__(self) -> None:
        self._parts: list[Block | HtmlTable] = []
        self._path: list[tuple[int, str]] = []
        self._pieces: list[str] = []
        self._items = 0  # open list items

    def parts(self, root: "LexborNode") -> tuple[Block | HtmlTable, ...]:
        for event, node in walk(root, whole=_whole_nodes(root)):
            if event == "text":
                self._pieces.append(node.text_content or "")
            elif event == "whole":
                self._flush()
                self._whole(node)
            elif node.tag in BLOCKS:
                self._flush()
                self._items += {"open": 1, "close": -1}[event] if node.tag == "li" else 0
        self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        text = " ".join("".join(self._pieces).split())
        self._pieces.clear()
        if text:
            self._add("item" if self._items else "paragraph", text)

    def _add(self, kind: str, text: str) -> None:
        self._parts.append(Block(kind=kind, path=self._headings(), text=text))

    def _headings(self) -> tuple[str, ...]:
        return tuple(text for _, text in self._path)

    def _whole(self, node: "LexborNode") -> None:
        tag = str(node.tag)
        if tag == "pre":
            if text := text_of(node, is_verbatim=True):
                self._add("code", text)
        elif tag in _HEADINGS:
            if text := text_of(node):
                self._path = [item for item in self._path if item[0] < _HEADINGS[tag]] + [(_HEADINGS[tag], text)]
                self._add("heading", text)
        else:
            caption, head, rows = table_of(node) if tag == "table" else ("", (), definitions_of(node))
            if rows:
                self._parts.append(HtmlTable(path=self._headings(), caption=caption, head=head, rows=rows))
