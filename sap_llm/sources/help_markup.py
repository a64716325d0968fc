"""Elements of an HTML page: which are boilerplate, what text they hold in document order, what a table's cells say.

Belongs here: the tree alone, walked without recursion, so that no depth can hurt. Decoding a page and what its parts
are is `help_html`.

Source: HTML Standard, section 4.9.11 (cells that span).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_MAX_DEPTH = 512  # as in browsers
BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr html legend li main nav ol p pre section summary table tbody td tfoot th thead "
    "tr ul".split()
)
_DROPPED_TAGS = frozenset(
    "aside audio button canvas datalist dialog embed footer head iframe input link map meta nav noscript object option "
    "script select style svg template textarea title video".split()
)
_DROPPED_ROLES = frozenset(
    "alert alertdialog banner complementary contentinfo dialog menu menubar navigation search toolbar".split()
)
_DROPPED_NAMES = re.compile(
    r"(?:site|page|main|global|top|side|left|right|bottom)?[-_]?"
    r"(?:cookies?|consent|gdpr|breadcrumbs?|nav|navbar|navigation|menu|sidebar|toc|table-of-contents|footer|banner|skip|"
    r"share|social|pagination|pager|search|feedback)"
    r"[-_]?(?:banner|bar|box|notice|dialog|overlay|container|wrapper|list|links?|popup|modal|content|area)?"
)
_KEPT_TAGS = frozenset("html body main article table tbody tr td th code pre dl dt dd h1 h2 h3 h4 h5 h6".split())
_MAX_CELLS = 100_000  # of one table, with what its spans repeat
_MAX_SPAN = 1000  # HTML Standard, section 4.9.11


def attribute(node: "LexborNode | None", name: str) -> str:
    """Value of an attribute without white space around it, empty where it or the node is missing."""
    return (node.attributes.get(name) or "").strip() if node is not None else ""


def _is_boilerplate(node: "LexborNode", *, is_in_header: bool) -> bool:
    if node.tag in _DROPPED_TAGS:
        return True
    if node.tag == "header" and not is_in_header and node.css_first("h1") is None:
        return True
    values = node.attributes
    if "hidden" in values or values.get("aria-hidden") == "true" or values.get("role") in _DROPPED_ROLES:
        return True
    if node.tag in _KEPT_TAGS:
        return False
    names = f"{values.get('class') or ''} {values.get('id') or ''}".lower().split()
    return any(_DROPPED_NAMES.fullmatch(name) for name in names)


def walk(root: "LexborNode", *, whole: frozenset[int] = frozenset()) -> Iterator[tuple[str, "LexborNode"]]:
    """("open" | "close" | "text" | "whole", node) in document order, without recursion and without boilerplate.

    Args:
        root: Where to begin; it is never boilerplate.
        whole: Ids of nodes that are not entered.
    """
    stack = [(root, False, 0, False)]
    while stack:
        node, is_end, depth, is_in_header = stack.pop()
        if is_end:
            yield "close", node
        elif node.is_text_node:
            yield "text", node
        elif node.is_element_node and (node is root or not _is_boilerplate(node, is_in_header=is_in_header)):
            if node.mem_id in whole and node is not root:
                yield "whole", node
                continue
            yield "open", node
            stack.append((node, True, depth, is_in_header))
            child = node.last_child if depth < _MAX_DEPTH else None
            while child is not None:
                stack.append((child, False, depth + 1, is_in_header or node.tag == "header"))
                child = child.prev


def text_of(node: "LexborNode | None", *, is_verbatim: bool = False) -> str:
    """Text below a node without boilerplate, blocks kept apart; `is_verbatim` keeps its lines and spaces."""
    if node is None:
        return ""
    pieces = []
    for event, item in walk(node):
        if event == "text":
            pieces.append(item.text_content or "")
        elif item.tag in BLOCKS and not (is_verbatim and item.tag == "pre"):
            pieces.append("\n" if is_verbatim else " ")
    joined = "".join(pieces)
    return joined.strip("\n") if is_verbatim else " ".join(joined.split())


def definitions_of(node: "LexborNode") -> tuple[tuple[str, ...], ...]:
    """(terms, definition) of a definition list; terms that share a definition are joined by commas."""
    rows: list[tuple[str, ...]] = []
    terms: list[str] = []
    is_new = True
    for item in node.css("dt, dd"):
        text = text_of(item)
        if item.tag == "dt":
            terms = [*([] if is_new else terms), text]
            is_new = False
        else:
            rows.append((", ".join(filter(None, terms)), text))
            is_new = True
    return tuple(row for row in rows if any(row))


def cells_of(row: "LexborNode") -> list["LexborNode"]:
    """Cells of a table row, those of tables within it aside."""
    cells, child = [], row.first_child
    while child is not None:
        if child.tag in ("td", "th"):
            cells.append(child)
        child = child.next
    return cells


def table_of(node: "LexborNode") -> tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Caption, head and rows; the head is the first row if all its cells are header cells or it stands in `thead`."""
    grid: list[tuple[str, ...]] = []
    head: tuple[str, ...] = ()
    held: dict[int, tuple[int, str]] = {}  # column -> rows for which a cell from above still stands there, and its text
    count = 0
    for row in node.css("tr"):
        cells = cells_of(row)
        values = _spread(cells, held)
        count += len(values)
        if count > _MAX_CELLS:
            break
        is_head = row.parent is not None and row.parent.tag == "thead"
        if not head and not grid and (is_head or all(cell.tag == "th" for cell in cells)):
            head = values
        elif any(values) and not is_head:
            grid.append(values)
    return text_of(node.css_first("caption")), head, tuple(grid)


def _spread(cells: list["LexborNode"], held: dict[int, tuple[int, str]]) -> tuple[str, ...]:
    """One row with spanning cells repeated; `held` is what comes down from above, and is brought up to date."""
    values: list[str] = []

    def take_held() -> None:
        while (above := held.get(len(values))) is not None:
            rows, text = held.pop(len(values))
            if rows > 1:
                later[len(values)] = (rows - 1, text)
            values.append(above[1])

    later: dict[int, tuple[int, str]] = {}
    for cell in cells:
        take_held()
        text, down = text_of(cell), _span(cell, "rowspan")
        for _ in range(_span(cell, "colspan")):
            if down > 1:
                later[len(values)] = (down - 1, text)
            values.append(text)
    take_held()
    held.clear()
    held.update(later)
    return tuple(values)


def _span(cell: "LexborNode", name: str) -> int:
    value = attribute(cell, name)
    return min(max(1, int(value)), _MAX_SPAN) if value.isascii() and value.isdigit() and len(value) < 6 else 1
