"""Groups of line items: rows that name a delivery note or an order above some lines, and their subtotals below.

Which lines form groups and what their rows say, for both tiers, belongs here; drawing those rows does not
(`blocks_lines`, `volume.line_table`). They are rows of the table and no line items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.blocks_remarks import Line, Writer, remark
from sap_llm.synthetic.style import Style

_LAYOUTS = 0.08  # share of layouts that group lines
_FEWEST_LINES = 3


@dataclass(frozen=True)
class Between:
    """A row between line items.

    Attributes:
        words: What it says; no fields.
        amount: Canonical; empty for the head of a group.
    """

    words: str
    amount: str = ""


def rows_between(style: Style, lines: Sequence[Line], writer: Writer, *, has_sums: bool) -> dict[int, list[Between]]:
    """The rows above a line, by its index; those below the last one under the number of lines.

    Args:
        style: Of the layout.
        lines: Of the document.
        writer: How it prints.
        has_sums: Whether there may be subtotals: amounts have a column, and it is not the first.
    """
    if len(lines) < _FEWEST_LINES or not style.chance("line_groups", _LAYOUTS):
        return {}
    size, kind = style.pick("group_size", (2, 3, 3, 4, 6)), style.pick("group_kind", ("delivery", "delivery", "order"))
    has_sums = has_sums and style.chance("group_sums", 0.6)
    found: dict[int, list[Between]] = {}
    for first in range(0, len(lines), size):
        group = lines[first : first + size]
        said = remark(kind, group[0], writer)
        found.setdefault(first, []).append(Between(" ".join(text for text, _, _ in said)))
        if has_sums:
            total = sum((Decimal(line["net_amount"]) for line in group), Decimal(0))
            found.setdefault(first + len(group), []).append(Between(style.word("lines_amount"), canonical(total)))
    return found
