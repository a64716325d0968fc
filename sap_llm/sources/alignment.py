"""Truth joined to the words on the page: which words show which field.

Belongs here: choosing among the places that `printed` finds, for header fields by the labels beside them, for line
items by rows that hold several of their values. A value that no words show keeps `printed` null: it does not count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import DEDUCTIONS, canonical
from sap_llm.sources.einvoice_table import code_fields
from sap_llm.sources.labels import LABELS
from sap_llm.sources.printed import PrintedIndex, Span
from sap_llm.sources.truth import Truth

NOT_PRINTED = "not_printed"
_LEFT_WORDS = 6
_LABEL_LEFT, _LABEL_ABOVE = 3.0, 2.0
_WEIGHTS = {
    "line_description": 3.0,
    "line_material_number": 2.0,
    "line_net_amount": 2.0,
    "line_unit_price": 2.0,
    "line_quantity": 1.0,
    "line_unit": 0.5,
    "line_number": 0.5,
}  # in this order fields of one line choose their words; specific ones first, then all others by name
_MIN_ROW_SCORE = 3.0  # a row shows a line item when it holds the description or two numbers
_NEIGHBOUR_ROWS = 2  # an item often wraps: what stands on the next lines speaks for the row too
_NEIGHBOUR_SHARE = 0.5
_MAX_ROWS_APART = 6
_SAME_WORDS = {
    "line_supplier_material_number": "line_material_number",
    "line_buyer_material_number": "line_material_number",
    "line_gtin": "line_material_number",
    "line_confirmed_quantity": "line_quantity",
    "line_delivered_quantity": "line_quantity",
    "line_received_quantity": "line_quantity",
}  # the line's number or quantity under the name that it has in this document: printed once, true for both
_FROM_RIGHT = ("line_net_amount", "line_unit_price")


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """Annotation columns of one document, and how well they were found.

    Attributes:
        fields: Rows of `tables.FIELD`.
        line_items: Rows of `tables.LINE_ITEM`.
        found: Field name to (printed, stated) counts, header and lines together; codes, never searched, left out.
        reasons: Why no words show a value, by line number (None: header) and field.
    """

    fields: list[dict[str, Any]]
    line_items: list[dict[str, Any]]
    found: dict[str, tuple[int, int]]
    reasons: Mapping[tuple[int | None, str], str] = field(default_factory=dict)

    def unprinted(self) -> Iterator["Unprinted"]:
        """Values that no words show, each with the reason."""
        for line, entry in stated(self.fields, self.line_items):
            if entry["printed"] is None:
                name = entry["field"]
                reason = self.reasons.get((line, name), NOT_PRINTED)
                yield Unprinted(line=line, field=name, value=entry["value"], reason=reason)


@dataclass(frozen=True, kw_only=True)
class Unprinted:
    """A true value that no words show.

    Attributes:
        line: Number of the line item; None for a header field.
        reason: `code` (of the XML alone, never searched), `elsewhere` (on a page, but not with its item), `other_form`
            (a good part of it stands on a page) or `not_printed`.
    """

    line: int | None
    field: str
    value: str
    reason: str


def align(pages: Sequence[Page], truth: Truth, *, language: str | None) -> Aligned:
    """Find the words that show each true value.

    Args:
        pages: All pages of the document.
        truth: Values as the source spells them.
        language: Of the document, for separators and dates.
    """
    index = PrintedIndex(pages, language=language)
    truth = _with_printed_signs(index, truth)
    items = _align_lines(index, truth)
    used = {
        (span.page, word)
        for item in items
        for name, span in item.items()
        if span and name in _WEIGHTS
        for word in span.words
    }
    fields = [
        _field(index, name, value, _choose(index, name, value, used), truth.source)
        for name, value in _canonical(truth.header).items()
    ]
    lines = [_canonical(line) for line in truth.lines]
    line_items = [
        _line_item(index, number, line, item, truth.source)
        for number, (line, item) in enumerate(zip(lines, items, strict=True), start=1)
    ]
    found: dict[str, tuple[int, int]] = {}
    for _, entry in stated(fields, line_items):
        name = entry["field"]
        if name not in code_fields():
            printed, count = found.get(name, (0, 0))
            found[name] = (printed + (entry["printed"] is not None), count + 1)
    reasons = {
        (line, entry["field"]): _reason(index, entry["field"], entry["value"])
        for line, entry in stated(fields, line_items)
        if entry["printed"] is None and pages
    }
    return Aligned(fields=fields, line_items=line_items, found=found, reasons=reasons)


def stated(
    fields: Sequence[dict[str, Any]], line_items: Sequence[dict[str, Any]]
) -> list[tuple[int | None, dict[str, Any]]]:
    """Rows of `tables.FIELD` of header and lines, each with the number of its line item (None: header)."""
    lines = [(item["line_number"], entry) for item in line_items for entry in item["fields"]]
    return [*((None, entry) for entry in fields), *lines]


def _reason(index: PrintedIndex, name: str, value: str) -> str:
    kind = load_taxonomy().field(name).type
    if name in code_fields():
        return "code"
    if index.find(value, kind):
        return "elsewhere"
    return "other_form" if index.resembles(value, kind) else NOT_PRINTED


def _with_printed_signs(index: PrintedIndex, truth: Truth) -> Truth:
    """Credit notes are stated in positive amounts but often printed in negative ones: then the print counts."""
    if truth.document_type != "CREDIT_NOTE":
        return truth
    taxonomy = load_taxonomy()

    def signed(values: dict[str, str]) -> dict[str, str]:
        changed = dict(values)
        for name, value in _canonical(values).items():
            kind = taxonomy.field(name).type
            negated = value[1:] if value.startswith("-") else f"-{value}"
            if kind == "amount" and not index.find(value, kind) and index.find(negated, kind):
                changed[name] = negated
        return changed

    return replace(truth, header=signed(truth.header), lines=tuple(signed(line) for line in truth.lines))


def _canonical(values: dict[str, str]) -> dict[str, str]:
    """Canonical values (machines write truth without a locale); what is none of its type is kept as text."""
    taxonomy = load_taxonomy()
    return {name: canonical(value, taxonomy.field(name).type) or value for name, value in values.items()}


def _choose(index: PrintedIndex, name: str, value: str, used: set[tuple[int, int]]) -> Span | None:
    """The place that carries the field's label; without one the last for amounts, the first for all else."""
    kind = load_taxonomy().field(name).type
    spans = index.find(value, kind) if name not in code_fields() else []
    if name in DEDUCTIONS:
        spans = spans or index.find(f"-{value}", kind)
    if not spans:
        return None
    is_amount = kind == "amount"

    def rank(numbered: tuple[int, Span]) -> tuple[float, float]:
        position, span = numbered
        score = _label_score(index, name, span)
        if any((span.page, word) in used for word in span.words):
            score -= _LABEL_LEFT  # a line item's own words
        return score, float(position if is_amount else -position)

    return max(enumerate(spans), key=rank)[1]


def _label_score(index: PrintedIndex, name: str, span: Span) -> float:
    labels = LABELS.get(name)
    if labels is None:
        return 0.0
    page = index.pages[span.page]
    words = index.lines[span.line][1]
    start = words.index(span.words[0])
    left = " ".join(page.words[word] for word in words[max(0, start - _LEFT_WORDS) : start + 1])
    if labels.search(left):
        return _LABEL_LEFT
    x0, y0, x1, _ = index.box(span)
    above = []
    for page_index, candidates in index.lines[max(0, span.line - 3) : span.line]:
        boxes = page.boxes
        if page_index == span.page:
            above += [
                page.words[word]
                for word in candidates
                if boxes[word, 2] > x0 - 20 and boxes[word, 0] < x1 + 20 and y0 - boxes[word, 3] < 30
            ]
    return _LABEL_ABOVE if labels.search(" ".join(above)) else 0.0


def _align_lines(index: PrintedIndex, truth: Truth) -> list[dict[str, Span | None]]:
    """For each line item the words of each field."""
    taxonomy = load_taxonomy()
    candidates = [
        {
            name: index.find(value, taxonomy.field(name).type)
            for name, value in _canonical(line).items()
            if name not in code_fields()
        }
        for line in truth.lines
    ]
    scores = [_row_scores(fields, len(index.lines)) for fields in candidates]
    rows = _with_stragglers(_rows(scores), scores)
    chosen: list[dict[str, Span | None]] = []
    for fields, row in zip(candidates, rows, strict=True):
        if row is None:
            chosen.append({})
            continue
        before = max((other for other in rows if other is not None and other < row), default=-1)
        after = min((other for other in rows if other is not None and other > row), default=len(index.lines))
        low, high = max(before + 1, row - _MAX_ROWS_APART), min(after - 1, row + _MAX_ROWS_APART)
        chosen.append(_choose_in_row(index, fields, row, low, high))
    return chosen


def _row_scores(fields: dict[str, list[Span]], count: int) -> list[float]:
    """For each visual line how much of an item it shows; 0 where it shows too little to be its row.

    What only neighbouring lines show counts a share, so that of two rows with the same values that one wins whose
    neighbours agree.
    """
    own, shared = [0.0] * count, [0.0] * count
    for name, weight in _WEIGHTS.items():
        lines = {span.line for span in fields.get(name, ())}
        for line in lines:
            own[line] += weight
        steps = range(-_NEIGHBOUR_ROWS, _NEIGHBOUR_ROWS + 1)
        for line in {line + step for line in lines for step in steps} - lines:
            if 0 <= line < count:
                shared[line] += weight * _NEIGHBOUR_SHARE
    return [score + more if score >= _MIN_ROW_SCORE else 0.0 for score, more in zip(own, shared, strict=True)]


def _with_stragglers(rows: list[int | None], scores: list[list[float]]) -> list[int | None]:
    """Items that the source lists in another order than the page: each on its best line that no other item has."""
    placed = list(rows)
    for number, row in enumerate(rows):
        free = [line for line in range(len(scores[number])) if line not in placed]
        if row is None and free:
            best = max(free, key=lambda line: scores[number][line])
            placed[number] = best if scores[number][best] else None
    return placed


def _rows(items: list[list[float]]) -> list[int | None]:
    """One visual line for each item, in order, so that the sum of scores is greatest (dynamic programming)."""
    count = len(items[0]) if items else 0
    best = [0.0] * (count + 1)  # best[l]: using only lines before l
    history: list[list[int | None]] = []
    for scores in items:
        following, picks = best.copy(), [None] * (count + 1)  # skipping the item costs nothing
        chosen: list[int | None] = list(picks)
        for line in range(count):
            taken = best[line] + scores[line] if scores[line] else 0.0
            following[line + 1], chosen[line + 1] = best[line + 1], None
            if taken > following[line + 1]:
                following[line + 1], chosen[line + 1] = taken, line
            if following[line] > following[line + 1]:
                following[line + 1], chosen[line + 1] = following[line], chosen[line]
        best = following
        history.append(chosen)
    rows: list[int | None] = []
    limit = count
    for chosen in reversed(history):
        row = chosen[limit]
        rows.append(row)
        limit = limit if row is None else row
    return rows[::-1]


def _choose_in_row(
    index: PrintedIndex, fields: dict[str, list[Span]], row: int, low: int, high: int
) -> dict[str, Span | None]:
    taken: set[tuple[int, int]] = set()
    chosen: dict[str, Span | None] = {}
    for name in [*(name for name in _WEIGHTS if name in fields), *sorted(fields.keys() - _WEIGHTS.keys())]:
        near = [span for span in fields[name] if low <= span.line <= high]
        free = [span for span in near if not any((span.page, word) in taken for word in span.words)]
        side = -1.0 if name in _FROM_RIGHT else 1.0
        best = min(free, key=lambda span: (abs(span.line - row), side * index.box(span)[0]), default=None)
        shared = chosen.get(_SAME_WORDS.get(name, ""))
        place = shared if shared in near else best
        chosen[name] = place
        if place:
            taken.update((place.page, word) for word in place.words)
    return chosen


def _field(index: PrintedIndex, name: str, value: str, span: Span | None, source: str) -> dict[str, Any]:
    return {
        "field": name,
        "value": value,
        "printed": index.text(span) if span else None,
        "page": span.page + 1 if span else None,
        "box": index.box(span) if span else None,
        "word_ids": list(span.words) if span else None,
        "confidence": 1.0,
        "source": source,
    }


def _line_item(
    index: PrintedIndex, number: int, line: dict[str, str], spans: dict[str, Span | None], source: str
) -> dict[str, Any]:
    fields = [_field(index, name, value, spans.get(name), source) for name, value in line.items()]
    printed = [span for span in spans.values() if span]
    page = printed[0].page if printed else None
    boxes = [index.box(span) for span in printed if span.page == page]
    box = (
        [
            *(min(edges[axis] for edges in boxes) for axis in (0, 1)),
            *(max(edges[axis] for edges in boxes) for axis in (2, 3)),
        ]
        if boxes
        else None
    )
    return {"line_number": number, "page": None if page is None else page + 1, "box": box, "fields": fields}
