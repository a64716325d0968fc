"""The label baseline: what regular expressions and label words find without any learning.

Belongs here: the rules that a model must beat. It is meant to be honest: four languages, values right of and under
their labels, check of the sums. The label words are `baseline_labels`, lines and cells `baseline_lines`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

from sap_llm.evaluation import baseline_labels as labels
from sap_llm.evaluation.baseline_lines import COLUMN, Lines, Span, below, lines_of
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical

BESIDE, UNDER, UNLABELLED = 0.9, 0.7, 0.5
"""Confidences by kind of rule."""

_MONTH = r"[A-Za-zÀ-ÿ]{3,10}\.?"
DATE = (
    r"(?:\d{4}[./-]\d{1,2}[./-]\d{1,2}|\d{1,2}[./-]\s?\d{1,2}[./-]\s?\d{2,4}"
    rf"|\d{{1,2}}(?:\.|er|st|nd|rd|th)?[\s-](?:de )?{_MONTH}[\s-](?:de )?\d{{2,4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)? ?,? \d{{4}})(?!\d)"
)
AMOUNT = r"(?<![\d.,])[-+(]?\d{1,3}(?:(?:[.,'’]|[ \u00a0\u202f](?=\d{3}[.,]))?\d{3})*[.,]\d{2}\)?-?(?![\d%])(?! ?%)"
NUMBER = (
    r"[A-Za-z0-9]*\d[A-Za-z0-9]*(?:[./_\-][A-Za-z0-9]+)*|[A-Za-z]+(?:[./_\-][A-Za-z0-9]+)*[./_\-]?\d[A-Za-z0-9./_\-]*"
)
IDENTIFIER = rf"(?!{DATE})(?:{NUMBER})"
IBAN = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
BIC = r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b"
VAT_ID = (
    r"(?<![A-Z0-9])(?:DE ?\d{3} ?\d{3} ?\d{3}|FR ?[A-Z0-9]{2} ?\d{3} ?\d{3} ?\d{3}|AT ?U ?\d{8}|NL ?\d{9} ?B ?\d{2}"
    r"|GB ?\d{3} ?\d{4} ?\d{2}(?:\d{3})?|ES ?[A-Z0-9]-?\d{7}-?[A-Z0-9]|BE ?[01]?\d{3}[ .]?\d{3}[ .]?\d{3}"
    r"|IT ?\d{11}|PL ?\d{10}"
    r"|LU ?\d{8}|CHE-?\d{3}\.?\d{3}\.?\d{3}|PT ?\d{9}|DK ?\d{8}|SE ?\d{12}|FI ?\d{8}|IE ?\d[A-Z0-9]\d{5}[A-Z]{1,2}"
    r"|CZ ?\d{8,10})"
    r"(?! ?\d)(?![A-Z])"
)
_SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN"}
_CODES = r"\b(?:EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|JPY|CNY|INR|MYR|AUD|CAD)\b"
_FILLER = r"[\s:.#°º№\-–=]*"
_TITLE_LINES = 40
_LONGEST_NAME = 7
_NAME_ENDS = "\t●•|–,"  # what separates a name from the words before it
_ADDRESS_LINES = 4
_KINDS = {
    "PURCHASE_ORDER": labels.ORDER,
    "ORDER_CHANGE": labels.ORDER,
    "ORDER_RESPONSE": labels.ORDER,
    "SALES_ORDER": labels.CONFIRMATION,
    "GOODS_RECEIPT": labels.RECEIPT,
}
_BUYER_WRITES = {"PURCHASE_ORDER", "ORDER_CHANGE", "GOODS_RECEIPT"}
_SUM_TOLERANCE = Decimal("0.02")
_MOST_CANDIDATES = 4

Candidate = tuple[Span, float]


def predict_with_labels(pages: Sequence[Page]) -> dict[str, Any]:
    """Class and header fields of a document as a row of `tables.ANNOTATIONS`, ids and time left to the caller."""
    lines = lines_of(pages)
    kind, confidence = classify(lines)
    found: dict[str, Candidate | None] = {}
    found |= _identifiers(lines, kind)
    found |= _dates(lines, kind)
    found |= _sums(lines)
    found |= _parties(lines, kind)
    found |= _tax_ids(lines, kind)
    found["currency"] = _currency(lines)
    found["tax_rate"] = _tax_rate(lines)
    found["payment_terms"] = _terms(lines)
    fields = [_field(name, *candidate) for name, candidate in found.items() if candidate is not None]
    return {
        "document_id": "",
        "annotator": "",
        "revision": 1,
        "source": "model",
        "created_at": None,
        "document_type": kind,
        "document_subtype": None,
        "type_confidence": confidence,
        "fields": [field for field in fields if field is not None],
        "line_items": [],
        "tables": [],
        "layout_blocks": [],
    }


def classify(lines: Lines) -> tuple[str, float]:
    """Class by the tallest, earliest title word among the first lines; `OTHER` without any."""
    best, chosen = 0.0, "OTHER"
    for position, line in enumerate(lines[:_TITLE_LINES]):
        for cell in line.cells():
            kind = _title_class(cell.text)
            if kind is None:
                continue
            height = max(float(cell.page.boxes[word][3] - cell.page.boxes[word][1]) for word in cell.word_ids)
            weight = height / (1 + 0.05 * position) * (1.5 if len(cell.word_ids) <= 3 else 1.0)  # a title stands alone
            if weight > best:
                best, chosen = weight, kind
    if not best and any(_pattern(r"\biban\b|rechnung|invoice|factur").search(line.text) for line in lines):
        return "SUPPLIER_INVOICE", UNLABELLED
    return chosen, BESIDE if best else UNLABELLED


def _title_class(text: str) -> str | None:
    for kind, titles in labels.TITLES.items():
        for title in titles:
            if _pattern(rf"^\W*(?:{title})\b").search(text):
                return kind
    return None


def _identifiers(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    family = _KINDS.get(kind, labels.INVOICE)
    found = {"document_number": _first(lines, labels.NUMBER[family], IDENTIFIER)}
    taken = found["document_number"]
    if family != labels.ORDER or kind != "PURCHASE_ORDER":
        others = (
            c for c in _labelled(lines, labels.REFERENCE, IDENTIFIER) if taken is None or c[0].text != taken[0].text
        )
        found["order_reference"] = next(others, None)
    for name, patterns in labels.VALUES.items():
        found[name] = _first(lines, patterns, BIC if name == "bic" else IDENTIFIER)
    if kind in _BUYER_WRITES:  # the account on the letterhead is then the buyer's, not the one to be paid
        return found | {"bic": None}
    checked = (candidate for candidate in _anywhere(lines, IBAN, "iban") if _has_check_digits(candidate[0].text))
    found["iban"] = _first(lines, (r"\biban\b",), IBAN) or next(checked, None)
    return found


def _has_check_digits(iban: str) -> bool:
    """ISO 13616: the letters as numbers, country and check digits last, leave 1 modulo 97."""
    text = iban.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _dates(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    family = _KINDS.get(kind, labels.INVOICE)
    found = {name: _first(lines, patterns, DATE) for name, patterns in labels.DATES.items()}
    own = _first(lines, labels.DATE[family], DATE) or _first(lines, labels.BARE_DATE, DATE)
    found["document_date"] = own or next(_anywhere(lines, DATE, "date"), None)
    return found


def _sums(lines: Lines) -> dict[str, Candidate | None]:
    """Net, tax and total: the largest candidates that add up, else the first of each."""
    names = ("net_amount", "tax_amount", "total_amount")
    candidates = {name: _distinct(_amounts(lines, labels.AMOUNTS[name])) for name in names}
    balanced = [chosen for chosen in product(*(candidates[name] for name in names)) if _adds_up(chosen)]
    if balanced:
        # Of several sums that add up, part totals by tax rate among them, the largest is the document's.
        best = max(balanced, key=lambda chosen: abs(_number(chosen[2])))
        return dict(zip(names, best, strict=True))
    return {name: candidates[name][0] if candidates[name] else None for name in names}


def _adds_up(chosen: Sequence[Candidate]) -> bool:
    net, tax, total = (_number(candidate) for candidate in chosen)
    return bool(total and tax) and abs(net + tax - total) <= _SUM_TOLERANCE


def _number(candidate: Candidate) -> Decimal:
    return Decimal(canonical(candidate[0].text, "amount") or "0")


def _amounts(lines: Lines, patterns: Sequence[str]) -> Iterator[Candidate]:
    """Amounts behind a label (the last of its line) or under it, the last label of a kind first."""
    for pattern in _occurring(patterns, lines):
        for line in reversed(lines):
            for match in _pattern(pattern).finditer(line.text):
                behind = list(_pattern(AMOUNT).finditer(line.text, match.end()))
                if behind:
                    yield line.span(*behind[-1].span()), BESIDE
                    continue
                for cell in below(lines, line.span(*match.span()), line.index, rows=3):
                    if _pattern(AMOUNT).search(cell.text):
                        yield _inside(cell, AMOUNT), UNDER


def _parties(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    """Names by their labels; without labels the letterhead is the writer and the next company the reader."""
    found = {name: _party(lines, patterns) for name, patterns in labels.PARTIES.items()}
    taken = {candidate[0].text.casefold() for candidate in found.values() if candidate}
    order = ("buyer_name", "seller_name") if kind in _BUYER_WRITES else ("seller_name", "buyer_name")
    for name in order:
        fresh = (span for span in [*_companies(lines), *_addressees(lines)] if span.text.casefold() not in taken)
        if found[name] is None and (span := next(fresh, None)):
            found[name] = (span, UNLABELLED)
            taken.add(span.text.casefold())
    return found


def _party(lines: Lines, patterns: Sequence[str]) -> Candidate | None:
    for pattern in _occurring(patterns, lines):
        for line in lines:
            match = _pattern(rf"(?:^|\t){pattern}[ \t]*(:?)").search(line.text)
            if match is None:
                continue
            end = line.text.find(COLUMN, match.end())
            behind = line.span(match.end(), len(line.text) if end < 0 else end)
            if match.groups()[-1] and _is_name(behind.text, most_digits=4):
                return behind, BESIDE
            for under in lines[line.index + 1 : line.index + 5]:
                if named := re.match(r"name\s*:\s*(?P<name>[^\t]+)", under.text, re.IGNORECASE):
                    return under.span(*named.span("name")), UNDER
            label = line.span(match.start(), match.end())
            cells = (cell for cell in below(lines, label, line.index, rows=3) if _is_name(cell.text))
            if cell := next(cells, None):
                return cell, UNDER
    return None


def _is_name(text: str, *, most_digits: int = 0) -> bool:
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
    if letters < 3 or digits > most_digits or ":" in text or len(text.split()) > _LONGEST_NAME:
        return False
    return _pattern(labels.NO_NAMES).search(text) is None


def _addressees(lines: Lines) -> Iterator[Span]:
    """First lines of address blocks: cells that stand above each other and end in postcode and town."""
    for line in lines:
        for cell in line.cells():
            if not re.match(r"(?:[A-Z]{1,2}[ -])?\d{4,5} [A-ZÄÖÜÉ]", cell.text):
                continue
            top = cell
            for upper in reversed(lines[max(0, line.index - _ADDRESS_LINES) : line.index]):
                over = (
                    other for other in upper.cells() if abs(other.box[0] - cell.box[0]) < 2 and other.page is cell.page
                )
                top = next(over, top)
            if top is not cell and _is_name(top.text):
                yield top


def _companies(lines: Lines) -> Iterator[Span]:
    """Cells, cut at dashes and bullets, that end in a legal form."""
    for line in lines:
        for match in _pattern(rf"\b{labels.LEGAL_FORM}(?=[\s,;.●•|–-]|$)").finditer(line.text):
            start = max(line.text.rfind(mark, 0, match.start()) for mark in _NAME_ENDS) + 1
            text = line.text[start : match.end()].strip(" -,")
            if text[:1].isupper() and 2 <= len(text.split()) <= _LONGEST_NAME and _is_name(text):
                start = line.text.index(text, start)
                yield line.span(start, start + len(text))


def _tax_ids(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    """VAT ids: those labelled as the other party's go there, the first of the rest is the writer's."""
    writer, reader = ("buyer", "seller") if kind in _BUYER_WRITES else ("seller", "buyer")
    found: dict[str, Candidate | None] = {"seller_vat_id": None, "buyer_vat_id": None}
    plain = []
    for line in lines:
        for match in re.finditer(VAT_ID, line.text):
            candidate = (line.span(*match.span()), UNLABELLED)
            party = _party_before(line.text[max(0, match.start() - 40) : match.start()])
            if party is None:
                plain.append(candidate)
            elif party and found[f"{party}_vat_id"] is None:
                found[f"{party}_vat_id"] = (candidate[0], BESIDE)
    for party in (writer, reader):
        known = {canonical(entry[0].text, "vat_id") for entry in found.values() if entry}
        fresh = [candidate for candidate in plain if canonical(candidate[0].text, "vat_id") not in known]
        if found[f"{party}_vat_id"] is None and fresh:
            found[f"{party}_vat_id"] = fresh[0]
    return found


def _party_before(text: str) -> str | None:
    """Whose VAT id follows: `seller`, `buyer`, another party's (empty) or unsaid (None); the nearest word decides."""
    hints = {"seller": labels.SELLER_HINT, "buyer": labels.BUYER_HINT, "": labels.OTHER_PARTIES}
    places = {
        party: max((match.start() for match in _pattern(rf"\b(?:{hint})").finditer(text)), default=-1)
        for party, hint in hints.items()
    }
    nearest = max(places, key=lambda party: places[party])
    return nearest if places[nearest] >= 0 else None


def _currency(lines: Lines) -> Candidate | None:
    """The code or symbol that occurs most often."""
    pattern = _pattern(rf"{_CODES}|[{''.join(symbol for symbol in _SYMBOLS if len(symbol) == 1)}]|zł")
    spans = [line.span(*match.span()) for line in lines for match in pattern.finditer(line.text)]
    tokens = [match.group() for line in lines for match in pattern.finditer(line.text)]
    if not tokens:
        return None
    codes = [_SYMBOLS.get(token, token.upper()) for token in tokens]
    common = Counter(codes).most_common(1)[0][0]
    first = codes.index(common)
    return Span(tokens[first], spans[first].page, spans[first].word_ids), BESIDE


def _tax_rate(lines: Lines) -> Candidate | None:
    rate = r"\d{1,2}(?:[.,]\d{1,3})? ?%"
    for line in lines:
        if _pattern(labels.AMOUNTS["tax_amount"][-1]).search(line.text) and (match := _pattern(rate).search(line.text)):
            return line.span(*match.span()), BESIDE
    return next(_anywhere(lines, rate, "percent"), None)


def _terms(lines: Lines) -> Candidate | None:
    for pattern in _occurring(labels.TERMS, lines):
        for line in lines:
            if match := _pattern(rf"{pattern}{_FILLER}").search(line.text):
                end = line.text.find(COLUMN, match.end())
                rest = line.span(match.end(), len(line.text) if end < 0 else end)
                if len(rest.word_ids) > 1:
                    return rest, BESIDE
                under = below(lines, line.span(*match.span()), line.index, rows=1)
                if under and len(under[0].word_ids) > 1:
                    return under[0], UNDER
    return None


def _first(lines: Lines, patterns: Sequence[str], value: str) -> Candidate | None:
    return next(_labelled(lines, patterns, value), None)


def _labelled(lines: Lines, patterns: Sequence[str], value: str) -> Iterator[Candidate]:
    """Values right behind a label, else under it; by trust in the label, then from top to bottom."""
    for pattern in _occurring(patterns, lines):
        for line in lines:
            for match in _pattern(pattern).finditer(line.text):
                behind = _pattern(rf"{_FILLER}(?P<value>{value})").match(line.text, match.end())
                if behind:
                    yield line.span(*behind.span("value")), BESIDE
                    continue
                rest = line.text[match.end() :].split(COLUMN)[0]
                if rest.strip(" :.#"):
                    continue
                for cell in below(lines, line.span(*match.span()), line.index, rows=2):
                    if _pattern(rf"(?:{value})").match(cell.text):
                        yield _inside(cell, value), UNDER
                        break


def _occurring(patterns: Sequence[str], lines: Lines) -> Iterator[str]:
    """The labels that stand anywhere in the document; most do not, and need no look at each line."""
    return (pattern for pattern in patterns if _pattern(pattern).search(lines.text))


def _anywhere(lines: Lines, pattern: str, kind: str) -> Iterator[Candidate]:
    for line in lines:
        for match in re.finditer(pattern, line.text):
            span = line.span(*match.span())
            if canonical(span.text, kind) is not None:
                yield span, UNLABELLED


def _distinct(candidates: Iterator[Candidate]) -> list[Candidate]:
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        value = canonical(candidate[0].text, "amount")
        if value is not None:
            seen.setdefault(value, candidate)
        if len(seen) == _MOST_CANDIDATES:
            break
    return list(seen.values())


def _inside(cell: Span, value: str) -> Span:
    """The part of a cell that matches."""
    match = _pattern(rf"(?:{value})").search(cell.text)
    return cell if match is None else _part(cell, match.start(), match.end())


def _part(cell: Span, start: int, end: int | None = None) -> Span:
    """The words of a cell between two offsets of its text."""
    stop = len(cell.text) if end is None else end
    chosen, offset = [], 0
    for word in cell.word_ids:
        length = len(cell.page.words[word])
        if offset < stop and offset + length > start:
            chosen.append(word)
        offset += length + 1
    return Span(cell.text[start:stop], cell.page, chosen or cell.word_ids)


def _field(name: str, span: Span, confidence: float) -> dict[str, Any] | None:
    value = canonical(span.text, load_taxonomy().field(name).type)
    if value is None or not span.word_ids:
        return None
    return {
        "field": name,
        "value": value,
        "printed": span.text,
        "page": span.page.page_number,
        "box": span.box,
        "word_ids": span.word_ids,
        "confidence": confidence,
        "source": "model",
    }


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)
