"""Label-value pairs of the volume tier: which ones a document shows, and the ways to arrange them.

The info block and arrangements that other blocks share belong here; parties, lines and sums do not. The choices have
the names that they have in `blocks_pairs`, so that a style words its labels alike in both tiers.
"""

from collections.abc import Callable

from sap_llm.synthetic.blocks_noise import CODES, codes, days_after
from sap_llm.synthetic.blocks_pairs import shown_pairs
from sap_llm.synthetic.classes import pair_place
from sap_llm.synthetic.pools import pools
from sap_llm.synthetic.style import labels
from sap_llm.synthetic.volume.canvas import Canvas, Ink
from sap_llm.synthetic.volume.flowing import set_value, width_of, write_value
from sap_llm.synthetic.volume.look import Look
from sap_llm.synthetic.volume.markup_art import CAP_HEIGHT
from sap_llm.synthetic.volume.printing import NOTHING, Printer, Value

Pair = tuple[str, Value]
"""Label without punctuation (empty for none) and value."""
Maker = Callable[[Printer], Value]
ARRANGEMENTS = (
    "columns", "columns", "columns", "colon", "colon", "above", "boxed", "boxed_above", "wide", "inline", "zebra",
)  # fmt: skip
RESERVED = ("below", "stacked_labels", "table_row")
"""Arrangements of test layouts."""


def info_pairs(printer: Printer, *, has_number: bool, has_date: bool) -> list[Pair]:
    """The pairs of the info block in the look's order, without those that have no value on this document."""
    key = ("info", printer.subtype, has_number, has_date)
    makers = printer.look.once(key, lambda: _makers(printer, has_number=has_number, has_date=has_date))
    return [(word, value) for word, maker in makers if (value := maker(printer))]


def _makers(printer: Printer, *, has_number: bool, has_date: bool) -> list[tuple[str, Maker]]:
    style, kind = printer.look.style, printer.kind
    found: list[tuple[str, Maker]] = []
    if has_number:
        found.append((style.word("number", kind), _number))
    if has_date:
        found.append((style.word("date", kind), _date))
    optional = shown_pairs(printer.probe)
    if style.chance("info_shuffled", 0.5):
        style.rng("info_order").shuffle(optional)
    found += [pair for name in optional for pair in _optional(printer, name)]
    found += _noise(printer.look)
    if style.chance("info_number_late", 0.2):
        found = found[1:] + found[:1]
    if style.chance("label_missing", 0.04) and len(found) > 2:
        place = style.rng("missing_label").randrange(len(found))
        found[place] = ("", found[place][1])
    return found


def _date(printer: Printer) -> Value:
    return printer.date("document_date", printer.facts["document_date"])


def _number(printer: Printer) -> Value:
    return printer.plain("document_number", printer.facts["document_number"])


def _optional(printer: Printer, name: str) -> list[tuple[str, Maker]]:
    style = printer.look.style
    if name == "order_again":
        return [(style.word("number", printer.kind), Printer.order_reference)]
    if name == "total_amount":
        return [(printer.sum_word("net_amount" if _shows_net_only(printer) else "total_amount"), _total)]
    if name in _SPECIAL:
        concept, maker = _SPECIAL[name]
        return [(printer.word(concept) if name == "currency" else style.word(concept), maker)]
    place = pair_place(name, printer.kind)
    return [(style.word(name), _placed(place.key, place.kind, place.field))] if place else []


def _placed(key: str, kind: str, field: str) -> Maker:
    def text(printer: Printer) -> Value:
        value = printer.facts.get(key)
        return ((str(value), field, str(value)),) if value else NOTHING

    def quantity(printer: Printer) -> Value:
        value = printer.facts.get(key)
        return ((printer.amount(value, 0), field, value),) if value else NOTHING

    return {
        "text": text,
        "quantity": quantity,
        "date": lambda printer: printer.date(field, printer.facts.get(key) or ""),
        "amount": lambda printer: printer.money(field, printer.facts[key]) if printer.facts.get(key) else NOTHING,
    }[kind]


def _total(printer: Printer) -> Value:
    name = "net_amount" if _shows_net_only(printer) else "total_amount"
    return printer.money(name, printer.facts[name])


def _shows_net_only(printer: Printer) -> bool:
    sums = printer.spec.sums
    by_choice = sums == "order" and printer.issuer == "buyer" and printer.look.style.chance("net_only", 0.4)
    return sums == "net" or by_choice


_SPECIAL: dict[str, tuple[str, Maker]] = {
    "order_reference": ("order_reference", Printer.order_reference),
    "buyer_vat_id": ("buyer_vat_id", lambda printer: printer.vat("buyer")),
    "seller_vat_id": ("vat_id", lambda printer: printer.vat(printer.issuer)),
    "currency": ("currency", Printer.currency_word),
    "payment_terms": ("payment_terms", Printer.terms),
    "iban": ("iban", Printer.iban),
}


def _noise(look: Look) -> list[tuple[str, Maker]]:
    """Pairs that are no field: references of others, dates of other things, codes, persons (as `blocks_noise`)."""
    style = look.style
    found: list[tuple[str, Maker]] = []
    if style.chance("empty_pair", 0.1):
        concept = style.pick("empty_concept", ("buyer_vat_id", "due_date", "order_reference", "contract"))
        found.append((style.word(concept), _constant(style.pick("empty", ("-", "", "n/a", "---")) or "-")))
    count = style.pick("other_dates", (0, 0, 0, 0, 0, 1, 1, 2, 3))
    names = style.rng("other_date_names").sample(style.synonyms("other_dates"), count)
    found += [(name, _day_within(*days_after(name, style))) for name in names]
    found += [(name, _constant(code)) for name, code in codes(look.style)]
    others = [(name, kind) for kind, group in labels(style.language)["other_pairs"].items() for name in group]
    count = style.pick("noise_pairs", (0, 0, 0, 1, 1, 2, 3, 5))
    found += [(name, _other(look, name, kind)) for name, kind in style.rng("noise_names").sample(others, count)]
    for concept, share in (("contact", 0.3), ("phone", 0.2), ("email", 0.15)):
        if style.chance(f"info/{concept}", share):
            found.append((style.word(concept), _contact(concept)))
    return found


def _day_within(first: int, last: int) -> Maker:
    return lambda printer: printer.date("", printer.other_day(first, last))


def _other(look: Look, name: str, kind: str) -> Maker:
    """A value of the kind that the label names."""
    rng = look.style.rng(f"noise/{name}")
    if kind == "person":
        return _contact("contact")
    if kind == "reference":
        return rng.choice(_REFERENCES)(name)
    return _constant(rng.choice(pools()[look.language]["departments"] if kind == "department" else CODES[kind]))


def _contact(concept: str) -> Maker:
    return lambda printer: ((printer.facts[printer.issuer][concept], "", ""),)


_REFERENCES: tuple[Callable[[str], Maker], ...] = (
    lambda _: lambda printer: ((printer.noise_number(), "", ""),),
    lambda name: lambda printer: ((f"{name[:2].upper()}-{printer.noise_number()}", "", ""),),
    lambda _: lambda printer: ((f"{printer.facts['document_date'][:4]}-{printer.facts['document_number']}", "", ""),),
    lambda _: lambda printer: ((f"{printer.noise_number()}/{printer.facts['document_date'][2:4]}", "", ""),),
)


def _constant(text: str) -> Maker:
    return lambda _: ((text, "", ""),)


def arrangement(look: Look, name: str, options: tuple[str, ...] = ARRANGEMENTS) -> str:
    """The arrangement that the look has for the block `name`."""
    return look.style.pick(f"arrangement/{name}", options, test_only=RESERVED)


def arrange(
    canvas: Canvas, printer: Printer, pairs: list[Pair], x: float, y: float, width: float, *, name: str,
    options: tuple[str, ...] = ARRANGEMENTS,
) -> float:  # fmt: skip
    """Draw pairs in the look's arrangement; returns the height."""
    if not pairs:
        return 0.0
    look = printer.look
    gap = look.once(f"gap/{name}", lambda: look.style.number(f"gap/{name}", 2.0, 7.0))
    chosen = arrangement(look, name, options)
    if width < 0.66 * look.inner and chosen in ("wide", "table_row"):
        chosen = "columns"  # no room for four columns
    block = _Arranged(canvas, look, [(*look.label(word, name), value) for word, value in pairs], x, y, width, name, gap)
    return max(0.0, _ARRANGERS[chosen](block) - y)


class _Arranged:
    """Pairs with their labels' inks while they are drawn; methods return the lower edge."""

    def __init__(
        self, canvas: Canvas, look: Look, rows: list[tuple[str, Ink, Value]], x: float, y: float, width: float,
        name: str, gap: float,
    ) -> None:  # fmt: skip
        self.canvas, self.look, self.rows, self.name, self.gap = canvas, look, rows, name, gap
        self.x, self.y, self.width = x, y, width
        self.line = CAP_HEIGHT * look.size

    def columns(self) -> float:
        """Labels in a column, values in the next."""
        look, gap = self.look, self.gap * 2.2
        side = look.style.pick(f"value_side/{self.name}", ("left", "left", "right"))
        share = look.style.pick(f"label_width/{self.name}", ("(auto,auto)", "(auto,auto)", "(auto,1fr)", "(1fr,1fr)"))
        labels_width = self._labels_width() if share != "(1fr,1fr)" else (self.width - gap) / 2
        labels_width = min(labels_width, 0.6 * self.width)
        values_width = self.width - labels_width - gap
        if share == "(auto,auto)" and side == "right":
            values_width = min(values_width, max(width_of(value, look.text) for _, _, value in self.rows) + 0.01)
        return self._two(labels_width, gap, values_width, side, self.gap, 0.0)

    def _labels_width(self) -> float:
        return max(ink.width(word) for word, ink, _ in self.rows)

    def _two(
        self, labels_width: float, between: float, values_width: float, side: str, gap: float, inset: float
    ) -> float:
        """Rows of a label and a value; what is too wide is broken."""
        y = self.y
        for word, ink, value in self.rows:
            y += inset
            left = (
                set_value(self.canvas, self.x + inset, y, labels_width, ((word, "", ""),), ink, self.look)
                if word
                else 0.0
            )
            at = self.x + inset + labels_width + between
            right = set_value(self.canvas, at, y, values_width, value, self.look.text, self.look, side=side)
            y += max(left, right, self.line) + inset + gap
        return y - gap

    def colon(self) -> float:
        """Label and value on a line."""
        y = self.y
        for row in self.rows:
            y += self._on_line(row, self.x, y, self.width) + self.gap + 1.5
        return y - self.gap

    def _on_line(self, row: tuple[str, Ink, Value], x: float, y: float, width: float) -> float:
        word, ink, value = row
        if word:
            at = self.canvas.write(x, y + self.line, word + " ", ink)
            if width_of(value, self.look.text) > x + width - at and at - x > 0.4 * width:  # the value below
                height = self.line * 1.6
                return height + set_value(self.canvas, x, y + height, width, value, self.look.text, self.look)
        else:
            at = x
        return set_value(self.canvas, at, y, x + width - at, value, self.look.text, self.look)

    def above(self) -> float:
        """Each label above its value, one to four beside each other."""
        count = self.look.style.pick(f"across/{self.name}", (1, 2, 2, 3, 4))
        return self._cells(
            min(count, 2 if self.width < 0.66 * self.look.inner else 4), self.gap + 3, 0.0, is_framed=False
        )

    def boxed_above(self) -> float:
        """The same in frames."""
        count = self.look.style.pick(f"across_box/{self.name}", (2, 3, 3, 4))
        return self._cells(2 if self.width < 0.66 * self.look.inner else count, 0.0, 2 + self.gap / 2, is_framed=True)

    def _cells(self, count: int, gap: float, inset: float, *, is_framed: bool, is_below: bool = False) -> float:
        column = self.width / count
        room = column - 2 * inset - (0.0 if is_framed else 10.0)
        y = self.y
        for start in range(0, len(self.rows), count):
            bottoms = [
                self._stacked(row, self.x + index * column + inset, y + inset, room, is_below=is_below)
                for index, row in enumerate(self.rows[start : start + count])
            ]
            height = max(bottoms) + inset - y
            if is_framed:
                for index in range(count):
                    self.canvas.frame(self.x + index * column, y, column, height)
            y += height + gap
        return y - gap

    def _stacked(self, row: tuple[str, Ink, Value], x: float, y: float, width: float, *, is_below: bool) -> float:
        word, ink, value = row
        label: Value = ((word, "", ""),) if word else NOTHING
        small = self.look.ink(ink.size * 0.8, colour=ink.colour) if is_below else ink
        first, second = (
            ((value, self.look.text), (label, small)) if is_below else ((label, ink), (value, self.look.text))
        )
        y += set_value(self.canvas, x, y, width, first[0], first[1], self.look) if first[0] else 0.0
        return y + 3 + set_value(self.canvas, x, y + 3, width, second[0], second[1], self.look) if second[0] else y

    def boxed(self) -> float:
        """A table of two columns with rules."""
        inset = 2 + self.gap / 3
        labels_width = min(self._labels_width(), 0.55 * self.width)
        natural = max(width_of(value, self.look.text) for _, _, value in self.rows)
        values_width = min(natural + 0.01, self.width - labels_width - 4 * inset)
        y = self.y
        rows = self.rows
        for row in rows:
            self.rows, self.y = [row], y
            bottom = self._two(labels_width, 2 * inset, values_width, "left", 0.0, inset)
            self.canvas.frame(self.x, y, labels_width + 2 * inset, bottom - y)
            self.canvas.frame(self.x + labels_width + 2 * inset, y, values_width + 2 * inset, bottom - y)
            y = bottom
        return y

    def wide(self) -> float:
        """Two pairs in a row."""
        return self._halves(self.rows, 2)

    def _halves(self, rows: list[tuple[str, Ink, Value]], count: int) -> float:
        column = self.width / count
        labels_width = min(max(ink.width(word) for word, ink, _ in rows) + 8, 0.55 * column)
        y = self.y
        for start in range(0, len(rows), count):
            bottom = y
            for index, row in enumerate(rows[start : start + count]):
                self.rows, self.x, self.y = [row], self.x + index * column, y
                bottom = max(bottom, self._two(labels_width - 8, 8, column - labels_width - 8, "left", 0.0, 0.0))
                self.x -= index * column
            y = bottom + self.gap
        return y - self.gap

    def inline(self) -> float:
        """All pairs one after the other."""
        between = self.look.style.pick(f"between/{self.name}", (" - ", " | ", "   ", " / ", " · "))
        x, y, end = self.x, self.y + self.line, self.x + self.width
        space = self.look.text.width(" ")
        for index, (word, ink, value) in enumerate(self.rows):
            natural = (ink.width(word) + space if word else 0.0) + width_of(value, self.look.text)
            if index:
                if x + natural + self.look.text.width(between) > end and x > self.x:
                    x, y = self.x, y + self.line * 1.75
                else:
                    x = self.canvas.write(x, y, between, self.look.text)
            if natural > self.width:
                y += (
                    set_value(self.canvas, self.x, y - self.line, self.width, value, self.look.text, self.look)
                    - self.line
                )
                x = end
                continue
            if word:
                x = self.canvas.write(x, y, word + " ", ink)
            x = write_value(self.canvas, x, y, value, self.look.text)
        return y

    def zebra(self) -> float:
        """Rows over the whole width, every second one filled."""
        share = self.look.style.pick(f"zebra_share/{self.name}", (0.3, 0.4, 0.25))
        inset = 2 + self.gap / 3
        y, rows = self.y, self.rows
        for index, row in enumerate(rows):
            self.rows, self.y = [row], y
            labels_width = share * self.width - 2 * inset
            bottom = self._two(labels_width, 2 * inset, self.width - labels_width - 4 * inset, "left", 0.0, inset)
            if index % 2:
                self.canvas.fill(self.x, y, self.width, bottom - y, "0.941 g")
            y = bottom
        return y

    def below(self) -> float:
        """Each label in small print below its value."""
        return self._cells(2, self.gap + 4, 0.0, is_framed=False, is_below=True)

    def stacked_labels(self) -> float:
        """Labels and values in two columns that stand apart."""
        labels_width = min(self._labels_width(), 0.5 * self.width)
        return self._two(
            labels_width, 22, self.width - labels_width - 22, "left", self.look.leading * self.look.size, 0.0
        )

    def table_row(self) -> float:
        """Four labels in a row with their values below, the rest in columns."""
        rest = self.rows[4:]
        self.rows = self.rows[:4]
        bottom = self._cells(4, 0.0, 3.0, is_framed=True)
        if not rest:
            return bottom
        self.rows, self.y = rest, bottom + self.gap
        return self.columns()


_ARRANGERS: dict[str, Callable[[_Arranged], float]] = {
    name: getattr(_Arranged, name) for name in (*ARRANGEMENTS, *RESERVED)
}
