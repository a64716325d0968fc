"""Running sums at the page breaks of a line table: what is carried over at the foot, and what came over at the head.

The rows of such sums belong here; the table does not (`blocks_lines`), nor the sums below it (`blocks_totals`). Where
the pages break is known only when they are set: every line counts itself, and the rows show the sum of the lines so
far, or nothing before the first page break and after the last. They are rows of the table and no line items.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate

from sap_llm.synthetic.amounts import canonical
from sap_llm.synthetic.draft import Draft
from sap_llm.synthetic.markup import CARRIED, CARRIED_IN, CARRIED_OVER, END, LINES, Mark, bold, call, points, text

_FEWEST_LINES = 12  # fewer hardly ever need a second page
_CARRIES = 0.35


def carried_rows(draft: Draft, names: Sequence[str], *, inset: tuple[float, float]) -> tuple[list[str], list[str]]:
    """Cells of the row under the header of a page and of the row at its foot; none where the layout has no such rows.

    Args:
        draft: The document.
        names: Columns of its table.
        inset: Points that the table leaves beside and above the text of a cell.
    """
    lines = draft.facts["lines"]
    place = names.index("net_amount") if "net_amount" in names else 0
    if len(lines) < _FEWEST_LINES or place == 0 or not draft.style.chance("carries", _CARRIES):
        return [], []
    amounts = list(accumulate(Decimal(line["net_amount"]) for line in lines[:-1]))
    sums = "(" + ",".join(text(draft.amount(canonical(amount))) for amount in amounts) + f").at({LINES} - 1)"
    rest = len(names) - place - 1
    bare = {"inset": "0pt", "stroke": "none", "fill": "none"}

    def row(number: float, word: str) -> list[str]:
        def cell(shown: str, column: int, **named: str) -> str:
            pad = call("pad", bold(shown, is_bold=is_bold), x=points(inset[0]), y=points(inset[1]))
            varying = f"{CARRIED}context {{if {LINES} > 0 and {LINES} < {len(lines)} {{{pad}}}}}{END}"
            return call("table.cell", draft.sheet.mark(Mark(row=number, column=column), varying), **bare, **named)

        is_bold = draft.style.chance("carried_bold", 0.3)
        side = draft.style.pick("carried_side", ("left", "left", "right"))
        cells = [cell(text(word), 0, colspan=str(place), align=side), cell(sums, place, align="right")]
        return [*cells, call("table.cell", "[]", colspan=str(rest), **bare)] if rest else cells

    return row(CARRIED_IN, draft.style.word("carried_in")), row(CARRIED_OVER, draft.style.word("carried_over"))
