"""The table of line items in the volume tier, over as many pages as it needs.

Columns as wide as their contents, rules, fills, page breaks and carried sums belong here; cells do not
(`line_cells`), nor other sums (`sums`). Choices have the names that they have in `blocks_lines`.
"""

from dataclasses import dataclass
from decimal import Decimal

from sap_llm.synthetic.blocks_lines import columns
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Fitted, Ink, wrapped
from sap_llm.synthetic.volume.flowing import fitted, no_room
from sap_llm.synthetic.volume.line_cells import CellMaker, Line, Names, cell_maker, note
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import Printer, Value
from sap_llm.synthetic.volume.sheet import Sheet

_NUMERIC = {"quantity", "unit_price", "discount", "tax_rate", "net_amount"}
_LEAST_DESCRIPTION = 62.0  # points
_CARRIED = 14.0  # points that a carried sum takes
_RULES = ("none", "0.4pt", "(x:none,y:0.4pt)", "(x:none,y:0.3pt+gray)", "(bottom:0.3pt+luma(180))", "(x:0.4pt,y:none)")
_FILLS = (
    "none", "none", "none", "(_,y)=>if y==0{luma(225)}", "(_,y)=>if calc.even(y){luma(243)}",
    '(_,y)=>if y==0{rgb("#dbe9f6")}',
)  # fmt: skip
_HEAD_FILL = {_FILLS[3]: "0.882 g", _FILLS[4]: "0.953 g", _FILLS[5]: "0.859 0.914 0.965 rg"}


@dataclass(frozen=True, kw_only=True)
class TableLook:
    """What a look decides about its line table."""

    names: Names
    makers: tuple[CellMaker, ...]
    sides: tuple[str, ...]
    headings: tuple[Value, ...]
    headings_fitted: tuple[Fitted, ...]
    heading_ink: Ink
    ink: Ink
    small: Ink
    cell_x: float
    cell_y: float
    has_rows: bool
    has_columns: bool
    gray: float
    fill: str
    has_header: bool
    repeats_header: bool
    note: str
    carried: str
    """Words before a sum that goes on on the next page; empty for none."""


def table_look(printer: Printer) -> TableLook:
    """The line table's look, made once."""
    names = tuple(columns(printer.probe))
    key = ("table", printer.currency, names)
    return printer.look.once(key, lambda: _table_look(printer, names))


def _table_look(printer: Printer, names: Names) -> TableLook:
    look = printer.look
    style = look.style
    size = look.size * style.number("table_size", 0.85, 1.02)
    rules = style.pick("rules", _RULES)
    heading_ink = look.ink(size, is_bold=style.chance("heading_bold", 0.65))
    headings = tuple(_heading(printer, name) for name in names)
    is_small = style.chance("small_notes", 0.6)
    return TableLook(
        names=names,
        makers=tuple(cell_maker(look, name, names) for name in names),
        sides=tuple(_side(look, name) for name in names),
        headings=headings,
        headings_fitted=tuple(fitted(heading, heading_ink) for heading in headings),
        heading_ink=heading_ink,
        ink=look.ink(size), small=look.ink(size * (0.85 if is_small else 1.0)),
        cell_x=style.number("cell_x", 1.5, 5), cell_y=style.number("cell_y", 1.5, 5.5),
        has_rows=rules not in ("none", "(x:0.4pt,y:none)"), has_columns=rules in ("0.4pt", "(x:0.4pt,y:none)"),
        gray=0.5 if "gray" in rules else 0.7 if "luma" in rules else 0.0, fill=style.pick("row_fill", _FILLS),
        has_header=not style.chance("no_header", 0.02), repeats_header=style.chance("repeats_header", 0.8),
        note=style.pick("line_note_kind", ("order", "noise", "date", "gtin", "origin"))
        if style.chance("line_notes", 0.25) else "",
        carried=style.rng("carried").choice(labels(look.language)["carried"])
        if style.chance("volume/carried", 0.5) and "net_amount" in names else "",
    )  # fmt: skip


def _side(look: Look, name: str) -> str:
    if name == "description":
        return "left"
    if name in _NUMERIC or name.endswith(("quantity", "weight")):
        return look.style.pick(f"side/{name}", ("right", "right", "right", "right", "center", "left"))
    return look.style.pick(f"side/{name}", ("left", "left", "left", "center"))


def _heading(printer: Printer, name: str) -> Value:
    style = printer.look.style
    word = style.word("columns", name)
    if name not in ("unit_price", "net_amount") or not style.chance(f"heading_currency/{name}", 0.15):
        return ((word, "", ""),)
    shape = style.pick("heading_currency_shape", ("{}", "({})", "[{}]", "in {}"))
    code = printer.currency if style.chance("heading_code", 0.6) else printer.currency_habit[1]
    before, _, after = shape.partition("{}")
    head: Value = ((word, "", ""),) if not before.strip("([ ") else ((word, "", ""), ("in", "", ""))
    return (*head, (before.replace("in ", "") + code + after, "currency", printer.currency))


class LineTable:
    """The table of one document while it is drawn on a sheet."""

    def __init__(self, sheet: Sheet, printer: Printer, x: float, width: float) -> None:
        self.sheet, self.printer, self.x, self.look = sheet, printer, x, table_look(printer)
        look = self.look
        self.lines: list[Line] = printer.facts["lines"]
        self.flexible = look.names.index("description")
        makers, ink = look.makers, look.ink
        self.cells = [[fitted(make(printer, line), ink) for make in makers] for line in self.lines]
        self.widths = self._widths(width)
        self.edges = [x]
        for one in self.widths:
            self.edges.append(self.edges[-1] + one)
        self.right = self.edges[-1]
        self.anchors = [self._anchor(column) for column in range(len(self.widths))]
        self.high = CAP_HEIGHT * ink.size
        self.step = self.high + printer.look.leading * ink.size

    def _anchor(self, column: int) -> tuple[float, float]:
        """Where a column's cells are aligned, and which share of their width lies before that."""
        left, right, pad = self.edges[column], self.edges[column + 1], self.look.cell_x
        side = self.look.sides[column]
        return (
            (left + pad, 0.0)
            if side == "left"
            else (right - pad, 1.0)
            if side == "right"
            else ((left + right) / 2, 0.5)
        )

    def _widths(self, width: float) -> list[float]:
        """As wide as the widest cell; the description has the rest."""
        look, flexible = self.look, self.flexible
        found = [max([one[0] for one in column]) for column in zip(look.headings_fitted, *self.cells, strict=True)]
        found[flexible] = max(_LEAST_DESCRIPTION, look.headings_fitted[flexible][0])
        pad = 2 * look.cell_x
        found = [one + pad for one in found]
        rest = width - sum(found)
        if rest < 0:
            raise no_room("the line table", self.printer)
        found[flexible] += rest
        return found

    def draw(self, y: float) -> float:
        """Draw header and rows from y on; returns the lower edge, perhaps on a later page."""
        look, sheet = self.look, self.sheet
        top = y
        if look.has_header:
            y = self._header(y)
        total = Decimal(0)
        for index, (line, row) in enumerate(zip(self.lines, self.cells, strict=True)):
            parts, notes = self._flexible(index, line)
            height = 2 * look.cell_y + self.high + self.step * (len(parts) + len(notes) - 1)
            if y + height + (_CARRIED if look.carried else 0.0) > sheet.bottom:
                self._columns(top, y)
                top, y = self._turn(y, height, total)
            if look.fill == _FILLS[4] and index % 2:
                sheet.canvas.fill(self.x, y, self.right - self.x, height, _HEAD_FILL[look.fill])
            self._row(index, row, parts, notes, y)
            y += height
            if look.has_rows:
                sheet.canvas.rule(self.x, y, self.right, y, gray=look.gray)
            if look.carried:
                total += Decimal(line["net_amount"])
        self._columns(top, y)
        return y

    def _flexible(self, index: int, line: Line) -> tuple[list[Fitted], list[Fitted]]:
        """The lines of a row's description, and of the note below it."""
        look, value = self.look, self.cells[index][self.flexible]
        room = self.widths[self.flexible] - 2 * look.cell_x
        remark = note(self.printer, look.note, line) if look.note else ""
        parts = (
            [value]
            if value[0] <= room
            else self._broken(look.makers[self.flexible](self.printer, line), look.ink, room)
        )
        return parts, self._broken(((remark, "", ""),), look.small, room) if remark else []

    def _turn(self, y: float, height: float, total: Decimal) -> tuple[float, float]:
        """Go on on the next page, with the sum carried over and the header; upper edge of the table and of the row."""
        look = self.look
        if look.carried:
            self._carry(y, total)
        y = top = self.sheet.turn()
        if look.repeats_header and look.has_header:
            y = self._header(y)
        if look.carried:
            y = self._carry(y, total)
        if y + height > self.sheet.bottom:
            raise no_room("a row of the line table", self.printer)
        return top, y

    def _header(self, y: float) -> float:
        look, canvas = self.look, self.sheet.canvas
        lines = [self._heading_lines(column) for column in range(len(look.names))]
        height = 2 * look.cell_y + self.high + self.step * (max(map(len, lines)) - 1)
        if look.fill in _HEAD_FILL:
            canvas.fill(self.x, y, self.right - self.x, height, _HEAD_FILL[look.fill])
        for column, parts in enumerate(lines):
            baseline = y + look.cell_y + self.high
            for part in parts:
                canvas.put_row(baseline, ((column, part),), self.anchors, look.heading_ink, -1, 0)
                baseline += self.step
        if look.has_rows:
            canvas.rule(self.x, y, self.right, y, gray=look.gray)
            canvas.rule(self.x, y + height, self.right, y + height, gray=look.gray)
        return y + height

    def _heading_lines(self, column: int) -> list[Fitted]:
        value = self.look.headings_fitted[column]
        room = self.widths[column] - 2 * self.look.cell_x
        return (
            [value]
            if value[0] <= room + 0.01
            else self._broken(self.look.headings[column], self.look.heading_ink, room)
        )

    def _row(self, index: int, row: list[Fitted], parts: list[Fitted], notes: list[Fitted], y: float) -> None:
        look, canvas, flexible = self.look, self.sheet.canvas, self.flexible
        baseline = y + look.cell_y + self.high
        cells = row if len(parts) == 1 else [*row[:flexible], parts[0], *row[flexible + 1 :]]
        canvas.put_row(baseline, enumerate(cells), self.anchors, look.ink, index, index + 1)
        for number, part in enumerate((*parts[1:], *notes), start=1):
            ink = look.ink if number < len(parts) else look.small
            baseline += self.step
            canvas.put_row(baseline, ((flexible, part),), self.anchors, ink, index, index + 1)

    def _broken(self, value: Value, ink: Ink, room: float) -> list[Fitted]:
        """The pieces of a cell in lines that fit its column."""
        words = [(word, name, canonical) for text, name, canonical in value for word in text.split(" ") if word]
        advances = [ink.width(word) for word, _, _ in words]
        if max(advances) > room + 0.01:
            raise no_room("a description", self.printer)
        starts = wrapped(advances, ink.width(" "), room)
        ends = [*starts[1:], len(words)]
        return [fitted(_merged(words[first:stop]), ink) for first, stop in zip(starts, ends, strict=True)]

    def _carry(self, y: float, total: Decimal) -> float:
        look, canvas = self.look, self.sheet.canvas
        baseline = y + 2 + self.high
        canvas.write(self.edges[0] + look.cell_x, baseline, look.carried, look.ink)
        column = look.names.index("net_amount")
        amount = self.printer.amount(str(total))
        canvas.write(self.edges[column + 1] - look.cell_x - look.ink.width(amount), baseline, amount, look.ink)
        return y + _CARRIED

    def _columns(self, top: float, bottom: float) -> None:
        if self.look.has_columns:
            for x in self.edges:
                self.sheet.canvas.rule(x, top, x, bottom, gray=self.look.gray)


def _merged(words: list[tuple[str, str, str]]) -> Value:
    """Words of one meaning as one piece."""
    found: list[tuple[str, str, str]] = []
    for text, name, canonical in words:
        if found and found[-1][1:] == (name, canonical):
            found[-1] = (f"{found[-1][0]} {text}", name, canonical)
        else:
            found.append((text, name, canonical))
    return tuple(found)
