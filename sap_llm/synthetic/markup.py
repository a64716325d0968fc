"""Typst expressions and the marks that tie printed values to their meaning.

Building Typst code and registering marks belongs here; what is put on a page does not (`blocks_*`, `layouts`), nor
compiling (`typeset`). A mark is written as a Typst link around a run of text. It is taken out before compiling, since
the order of the print tells its words (`print_order`); where it does not, the links' rectangles do, and are erased.

Expressions are strings in Typst's code mode; `join` glues them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

END = "/**/"
"""Written where a mark or the header of a table ends, for whoever reads a source without parsing it."""
LINES = 'counter("line").get().first()'
"""Within a `context`: how many lines of the table have been set so far."""
COUNTED = 'counter("line").step()'
"""Written in every line."""
CARRIED = "/*carried*/"
"""Written before what only a page break within a table shows: one text, or one for each line but the last."""
CARRIED_IN, CARRIED_OVER = 0.5, float("inf")
"""Rows of the line table that carry sums: between the header and the first line of a page, and after all lines."""
HEAD, FOOT, BODY = "/*head*/", "/*foot*/", "/*body*/"
"""Written where the head, the foot and the body of all pages begin."""
PAGE_NUMBER = "str(counter(page).get().first())"
PAGE_COUNT = "str(counter(page).final().first())"
"""Expressions within `counted`."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One marked run of text, or (with `kind`) one block of the page."""

    field: str = ""  # taxonomy name; empty when only the cell or block matters
    value: str = ""  # canonical
    line: int = -1  # index of the line item
    row: float = -1  # of the line table: the header 0, lines from 1, sums that are carried between them
    column: int = -1
    kind: str = ""  # kind of layout block
    text: str = ""  # what is printed, as far as it is known


@dataclass
class Sheet:
    """Marks of a document that is being composed."""

    marks: list[Mark] = field(default_factory=list)
    printed: set[str] = field(default_factory=set)

    def mark(self, mark: Mark, expression: str) -> str:
        """Wrap an expression so that its place on the page becomes known."""
        self.marks.append(mark)
        if mark.field:
            self.printed.add(mark.field)
        return f'link("{len(self.marks) - 1}",{expression}{END})'

    def value(self, name: str, value: str, printed: str, *, line: int = -1, row: int = -1, column: int = -1) -> str:
        """Text that shows the value of a field."""
        return self.mark(Mark(field=name, value=value, line=line, row=row, column=column, text=printed), text(printed))

    def block(self, kind: str, expression: str) -> str:
        """A layout block of the page; nothing stays nothing."""
        return self.mark(Mark(kind=kind), f"block({expression})") if expression not in ("", '""') else ""


def text(content: str) -> str:
    """A string literal."""
    return '"' + content.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def counted(*parts: str) -> str:
    """An expression with `PAGE_NUMBER` or `PAGE_COUNT`."""
    return f"(context {join(*parts)})"


def language(code: str) -> str:
    """The language of text; not Spanish, in which Typst prints the hyphen at the end of a line again on the next.

    That is right for words, but most of what is broken at a hyphen here is a number or an address.
    """
    return text("en" if code == "es" else code)


def join(*parts: str) -> str:
    """Expressions one after the other on the same line."""
    kept = [part for part in parts if part]
    return kept[0] if len(kept) == 1 else "(" + "+".join(kept or ['""']) + ")"


def lines(parts: Sequence[str]) -> str:
    """Expressions under each other."""
    return "(" + "+linebreak()+".join(part for part in parts if part) + ")" if any(parts) else '""'


def call(function: str, *arguments: str, **named: str) -> str:
    """A function call; underscores in names become hyphens."""
    pairs = [f"{name.replace('_', '-')}:{value}" for name, value in named.items() if value != ""]
    return f"{function}({','.join([*pairs, *arguments])})"


def styled(expression: str, **named: str) -> str:
    """Text with other size, weight or colour."""
    return call("text", expression, **named) if expression else '""'


def bold(expression: str, *, is_bold: bool = True) -> str:
    """Bold text, if wanted."""
    return styled(expression, weight='"bold"') if is_bold else expression


def points(value: float) -> str:
    """A length."""
    return f"{value:.2f}pt"


def grid(columns: str, cells: Sequence[str], **named: str) -> str:
    """A grid; `columns` is a Typst expression such as `(auto,1fr)`. Empty cells keep their place."""
    return call("grid", *[cell or '""' for cell in cells], columns=columns, **named)


def stack(parts: Sequence[str], *, spacing: float = 0.0, direction: str = "ttb") -> str:
    """Blocks under or beside each other."""
    return call("stack", *[part for part in parts if part], dir=direction, spacing=points(spacing))


def aligned(where: str, expression: str) -> str:
    """Alignment of a block: left, right, center or a sum of two."""
    return f"align({where},{expression})" if expression else ""
