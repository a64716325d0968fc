"""The table of line items in the volume tier, over as many pages as it needs.

Columns as wide as their contents, rules, fills, page breaks and carried sums belong here; cells do not
(`line_cells`), nor other sums (`sums`). Choices have the names that they have in `blocks_lines`.
"""

from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from operator import add
from typing import NamedTuple

from sap_llm.synthetic.blocks_groups import Between, rows_between
from sap_llm.synthetic.blocks_lines import columns
from sap_llm.synthetic.blocks_remarks import remark_kinds, remarks
from sap_llm.synthetic.volume.canvas import ROW_STEP, CellColumn, Fitted, Ink, wrapped
from sap_llm.synthetic.volume.flowing import fitted, no_room
from sap_llm.synthetic.volume.fonts import Shaped
from sap_llm.synthetic.volume.line_cells import ColumnMaker, Line, Names, column_maker, writer_of
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import Printer, Value
from sap_llm.synthetic.volume.sheet import Sheet

_NUMERIC = {"quantity", "unit_price", "discount", "tax_rate", "net_amount", "price_unit", "tax_sum", "gross_amount"}
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
    makers: tuple[ColumnMaker, ...]
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
    remarks: tuple[str, ...]
    """Kinds of what stands below descriptions."""
    upright: float
    """Which share of a row's other lines lies above its cells beside the description."""
    carried: tuple[str, str] | None
    """Words before the sum over the next page: at the foot of a page, and at the head of the next."""


def table_look(printer: Printer) -> TableLook:
    """The line table's look, made once."""
    names = printer.kept.get("columns")
    if names is None:
        names = printer.kept["columns"] = tuple(columns(printer.probe))
    return printer.look.once(("table", printer.currency, names), lambda: _table_look(printer, names))


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
        makers=tuple(column_maker(look, name, names) for name in names),
        sides=tuple(_side(look, name) for name in names),
        headings=headings,
        headings_fitted=tuple(fitted(heading, heading_ink) for heading in headings),
        heading_ink=heading_ink,
        ink=look.ink(size), small=look.ink(size * (0.85 if is_small else 1.0)),
        cell_x=style.number("cell_x", 1.5, 5), cell_y=style.number("cell_y", 1.5, 5.5),
        has_rows=rules not in ("none", "(x:0.4pt,y:none)"), has_columns=rules in ("0.4pt", "(x:0.4pt,y:none)"),
        gray=0.5 if "gray" in rules else 0.7 if "luma" in rules else 0.0, fill=style.pick("row_fill", _FILLS),
        has_header=not style.chance("no_header", 0.02), repeats_header=style.chance("repeats_header", 0.8),
        remarks=remark_kinds(style), upright=style.pick("cell_upright", (0.0,) * 14 + (0.5, 0.5, 1.0)),
        carried=(style.word("carried_over"), style.word("carried_in"))
        if style.chance("volume/carried", 0.5) and "net_amount" in names[1:] else None,
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


class _Cells(NamedTuple):
    """The cells of a document's table in one face, whatever their size."""

    pieces: list[tuple[int, list[Shaped], str, list[str]]]
    """Column, texts by line, field and canonical values, from left to right."""
    advances: list[list[float]]
    """By column and line."""


def _cells(printer: Printer, look: TableLook) -> _Cells:
    found = _Cells([], [])
    shape, lines = look.ink.shape, printer.facts["lines"]
    for column, make in enumerate(look.makers):
        advances: list[float] = []
        for texts, name, values in make(printer, lines):
            shaped = [*map(shape, texts)]
            found.pieces.append((column, shaped, name, values))
            own = [text.advance for text in shaped]
            advances = [*map(add, advances, own)] if advances else own
        found.advances.append(advances)
    return found


class LineTable:
    """The table of one document.

    Raises:
        NoRoomError: Its columns are too wide.
    """

    def __init__(self, printer: Printer, x: float, width: float) -> None:
        self.printer, self.x, self.look = printer, x, table_look(printer)
        look = self.look
        self.lines: list[Line] = printer.facts["lines"]
        self.flexible = look.names.index("description")
        kept, key = printer.kept, ("cells", look.ink.face)
        self.cells: _Cells = kept.get(key) or kept.setdefault(key, _cells(printer, look))
        self.widths = self._widths(width)
        self.edges = [*accumulate(self.widths, initial=x)]
        self.right = self.edges[-1]
        self.anchors = [self._anchor(column) for column in range(len(self.widths))]
        self.high = CAP_HEIGHT * look.ink.size
        self.step = self.high + printer.look.leading * look.ink.size
        self.writer = writer_of(printer, look.names)
        has_sums = "net_amount" in look.names[1:]
        style = printer.look.style
        self.between = {} if look.carried else rows_between(style, self.lines, self.writer, has_sums=has_sums)

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
        look, flexible, scale = self.look, self.flexible, self.look.ink.scale
        pad = 2 * look.cell_x
        found = [
            max(heading[0], max(advances) * scale) + pad
            for heading, advances in zip(look.headings_fitted, self.cells.advances, strict=True)
        ]
        found[flexible] = max(_LEAST_DESCRIPTION, look.headings_fitted[flexible][0]) + pad
        rest = width - sum(found)
        if rest < 0:
            raise no_room("the line table", self.printer)
        found[flexible] += rest
        return found

    def draw(self, sheet: Sheet, y: float) -> float:
        """Draw header and rows on a sheet from y on; returns the lower edge, perhaps on a later page."""
        self.sheet, look = sheet, self.look
        columns = self._columns_of_cells()
        top = y
        if look.has_header:
            y = self._header(y)
        total = Decimal(0)
        low, single = look.cell_y + self.high, 2 * look.cell_y + self.high
        first, baselines = 0, list[float]()  # of rows of one line that are not drawn yet
        for index, line in enumerate(self.lines):
            more = self._more_lines(index, line)
            height = single + self.step * (len(more[0]) + len(more[1]) - 1) if more else single
            needed = height + single * len(self.between.get(index, ()))
            if y + needed + (_CARRIED if look.carried else 0.0) > sheet.bottom:
                sheet.canvas.put_rows(baselines, columns, look.ink, first)
                first, baselines = index, []
                self._columns(top, y)
                top, y = self._turn(y, needed, total, index)
            y = self._put_between(index, y)
            if look.fill == _FILLS[4] and index % 2:
                sheet.canvas.fill(self.x, y, self.right - self.x, height, _HEAD_FILL[look.fill])
            if more:
                sheet.canvas.put_rows(baselines, columns, look.ink, first)
                first, baselines = index + 1, []
                self._row(index, *more, y + low)
            else:
                baselines.append(y + low)
            y += height
            if look.has_rows:
                sheet.canvas.rule(self.x, y, self.right, y, gray=look.gray)
            if look.carried:
                total += Decimal(line["net_amount"])
        sheet.canvas.put_rows(baselines, columns, look.ink, first)
        if self.between.get(len(self.lines)) and y + single > sheet.bottom:
            self._columns(top, y)
            top, y = self._turn(y, single, total, len(self.lines))
        y = self._put_between(len(self.lines), y)
        self._columns(top, y)
        return y

    def _put_between(self, index: int, y: float) -> float:
        """The rows above a line that are no line items; returns their lower edge."""
        for number, one in enumerate(self.between.get(index, ()), start=1):
            baseline = y + self.look.cell_y + self.high
            ink = self.look.ink if one.amount else self.look.heading_ink
            self._outside(baseline, one, ROW_STEP * index + number, ink=ink)
            y += 2 * self.look.cell_y + self.high
            if self.look.has_rows:
                self.sheet.canvas.rule(self.x, y, self.right, y, gray=self.look.gray)
        return y

    def _columns_of_cells(self) -> list[CellColumn]:
        """All cells in their places."""
        found: list[CellColumn] = []
        scale, last = self.look.ink.scale, -1
        for column, texts, name, values in self.cells.pieces:
            if column == last:  # behind the piece before
                before = found[-1]
                xs = [x + text.advance * scale for x, text in zip(before.xs, before.texts, strict=True)]
            else:
                anchor, share = self.anchors[column]
                share *= scale
                xs = [anchor - share * advance for advance in self.cells.advances[column]]
            last = column
            found.append(CellColumn(column, texts, xs, name, values))
        return found

    def _more_lines(self, index: int, line: Line) -> tuple[list[Fitted], list[Fitted]] | None:
        """The lines of a row's description and of the note below it; None if the row is a single line."""
        look = self.look
        room = self.widths[self.flexible] - 2 * look.cell_x
        below = remarks(look.remarks, line, self.writer)
        is_broken = self.cells.advances[self.flexible][index] * look.ink.scale > room
        if not below and not is_broken:
            return None
        width, pieces = self._fitted(index, self.flexible)
        parts = [(width, pieces)]
        if is_broken:
            texts = zip(look.makers[self.flexible](self.printer, [line]), strict=True)
            value = tuple((text, name, values[0]) for (((text,), name, values),) in texts)
            parts = self._broken(value, look.ink, room)
        return parts, [part for one in below for part in self._broken(one, look.small, room)]

    def _fitted(self, index: int, column: int) -> Fitted:
        """One cell."""
        pieces = tuple(
            (texts[index], name, values[index])
            for number, texts, name, values in self.cells.pieces
            if number == column and texts[index].number
        )
        return self.cells.advances[column][index] * self.look.ink.scale, pieces

    def _turn(self, y: float, height: float, total: Decimal, index: int) -> tuple[float, float]:
        """Go on on the next page with the line `index`, the sum carried over and the header.

        Returns:
            Upper edge of the table and of the row.
        """
        look = self.look
        carried = look.carried if total else None  # nothing before the first line
        if carried:
            self._carry(y, carried[0], total, row=ROW_STEP * (index + 1))
        y = top = self.sheet.turn()
        if look.repeats_header and look.has_header:
            y = self._header(y)
        if carried:
            y = self._carry(y, carried[1], total, row=ROW_STEP * index)
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

    def _row(self, index: int, parts: list[Fitted], notes: list[Fitted], baseline: float) -> None:
        """A row whose description has the lines `parts`, with lines of a note below."""
        look, canvas, flexible = self.look, self.sheet.canvas, self.flexible
        cells = [self._fitted(index, column) for column in range(len(self.widths))]
        cells[flexible] = (0.0, ())
        beside = baseline + look.upright * self.step * (len(parts) + len(notes) - 1)
        row = [*enumerate(cells)]
        before, behind = row[:flexible], row[flexible + 1 :]
        canvas.put_row(beside, before, self.anchors, look.ink, index, ROW_STEP * (index + 1))
        canvas.put_row(baseline, ((flexible, parts[0]),), self.anchors, look.ink, index, ROW_STEP * (index + 1))
        canvas.put_row(beside, behind, self.anchors, look.ink, index, ROW_STEP * (index + 1))
        for number, part in enumerate((*parts[1:], *notes), start=1):
            ink = look.ink if number < len(parts) else look.small
            baseline += self.step
            canvas.put_row(baseline, ((flexible, part),), self.anchors, ink, index, ROW_STEP * (index + 1))

    def _broken(self, value: Value, ink: Ink, room: float) -> list[Fitted]:
        """The pieces of a cell in lines that fit its column."""
        words = [(word, name, canonical) for text, name, canonical in value for word in text.split(" ") if word]
        advances = [ink.width(word) for word, _, _ in words]
        if max(advances) > room + 0.01:
            raise no_room("a description", self.printer)
        starts = wrapped(advances, ink.width(" "), room)
        ends = [*starts[1:], len(words)]
        return [fitted(_merged(words[first:stop]), ink) for first, stop in zip(starts, ends, strict=True)]

    def _carry(self, y: float, word: str, total: Decimal, *, row: int) -> float:
        """The sum so far, in a row under a number that no line of its page has."""
        self._outside(y + 2 + self.high, Between(word, str(total)), row, ink=self.look.ink)
        return y + _CARRIED

    def _outside(self, baseline: float, between: Between, row: int, *, ink: Ink) -> None:
        """Words, and perhaps an amount in its column, in a row of the table that is no line item."""
        pad, column = self.look.cell_x, 0
        anchors = {0: (self.edges[0] + pad, 0.0)}
        cells = [(0, fitted(((between.words, "", ""),), ink))]
        if between.amount:
            column = self.look.names.index("net_amount")
            anchors[column] = (self.edges[column + 1] - pad, 1.0)
            amount = self.printer.price(between.amount, self.printer.places)
            cells.append((column, fitted(((amount, "", ""),), ink)))
        room = (self.edges[column] if column else self.right) - self.edges[0] - pad
        if cells[0][1][0] > room:
            raise no_room("the head of a group of lines", self.printer)
        self.sheet.canvas.put_row(baseline, cells, anchors, ink, -1, row)

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
