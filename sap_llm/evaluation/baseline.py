"""The label baseline: what regular expressions and label words find without any learning.

Belongs here: the rules that a model must beat. It is meant to be honest: four languages, values right of and under
their labels, check of the sums. The label words are `baseline_labels`, lines and cells `baseline_lines`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

from sap_llm.evaluation import baseline_labels as labels
from sap_llm.evaluation.baseline_lines import COLUMN, Lines, Span, below, lines_of
from sap_llm.evaluation.baseline_parties import BUYER_WRITES, parties, tax_ids
from sap_llm.evaluation.baseline_search import (
    BESIDE,
    FILLER,
    UNDER,
    UNLABELLED,
    Candidate,
    anywhere,
    compiled,
    first,
    inside,
    labelled,
    occurring,
)
from sap_llm.schema.page import Page
from sap_llm.schema.taxonomy import load_taxonomy
from sap_llm.schema.values import canonical

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
_SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "zł": "PLN"}
_CODES = r"\b(?:EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|JPY|CNY|INR|MYR|AUD|CAD)\b"
_TITLE_LINES = 40
_KINDS = {
    "PURCHASE_ORDER": labels.ORDER,
    "ORDER_CHANGE": labels.ORDER,
    "ORDER_RESPONSE": labels.ORDER,
    "SALES_ORDER": labels.CONFIRMATION,
    "GOODS_RECEIPT": labels.RECEIPT,
}
_SUM_TOLERANCE = Decimal("0.02")
_MOST_CANDIDATES = 4


def predict_with_labels(pages: Sequence[Page]) -> dict[str, Any]:
    """Class and header fields of a document as a row of `tables.ANNOTATIONS`, ids and time left to the caller."""
    lines = lines_of(pages)
    kind, confidence = classify(lines)
    found: dict[str, Candidate | None] = {}
    found |= _identifiers(lines, kind)
    found |= _dates(lines, kind)
    found |= _sums(lines)
    found |= parties(lines, kind)
    found |= tax_ids(lines, kind)
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
        for cell in line.cells:
            kind = _title_class(cell.text)
            if kind is None:
                continue
            height = max(float(cell.page.boxes[word][3] - cell.page.boxes[word][1]) for word in cell.word_ids)
            weight = height / (1 + 0.05 * position) * (1.5 if len(cell.word_ids) <= 3 else 1.0)  # a title stands alone
            if weight > best:
                best, chosen = weight, kind
    if not best and any(compiled(r"\biban\b|rechnung|invoice|factur").search(line.text) for line in lines):
        return "SUPPLIER_INVOICE", UNLABELLED
    return chosen, BESIDE if best else UNLABELLED


def _title_class(text: str) -> str | None:
    for kind, titles in labels.TITLES.items():
        if compiled(rf"^\W*(?:{'|'.join(titles)})\b").search(text):
            return kind
    return None


def _identifiers(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    family = _KINDS.get(kind, labels.INVOICE)
    found = {"document_number": first(lines, labels.NUMBER[family], IDENTIFIER)}
    taken = found["document_number"]
    if family != labels.ORDER or kind != "PURCHASE_ORDER":
        others = (
            c for c in labelled(lines, labels.REFERENCE, IDENTIFIER) if taken is None or c[0].text != taken[0].text
        )
        found["order_reference"] = next(others, None)
    for name, patterns in labels.VALUES.items():
        found[name] = first(lines, patterns, BIC if name == "bic" else IDENTIFIER)
    if kind in BUYER_WRITES:  # the account on the letterhead is then the buyer's, not the one to be paid
        return found | {"bic": None}
    checked = (candidate for candidate in anywhere(lines, IBAN, "iban") if _has_check_digits(candidate[0].text))
    found["iban"] = first(lines, (r"\biban\b",), IBAN) or next(checked, None)
    return found


def _has_check_digits(iban: str) -> bool:
    """ISO 13616: the letters as numbers, country and check digits last, leave 1 modulo 97."""
    text = iban.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def _dates(lines: Lines, kind: str) -> dict[str, Candidate | None]:
    family = _KINDS.get(kind, labels.INVOICE)
    found = {name: first(lines, patterns, DATE) for name, patterns in labels.DATES.items()}
    own = first(lines, labels.DATE[family], DATE) or first(lines, labels.BARE_DATE, DATE)
    found["document_date"] = own or next(anywhere(lines, DATE, "date"), None)
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
    for pattern in occurring(patterns, lines):
        for line in reversed(lines):
            for match in compiled(pattern).finditer(line.text):
                behind = list(compiled(AMOUNT).finditer(line.text, match.end()))
                if behind:
                    yield line.span(*behind[-1].span()), BESIDE
                    continue
                for cell in below(lines, line.span(*match.span()), line.index, rows=3):
                    if compiled(AMOUNT).search(cell.text):
                        yield inside(cell, AMOUNT), UNDER


def _currency(lines: Lines) -> Candidate | None:
    """The code or symbol that occurs most often."""
    pattern = compiled(rf"{_CODES}|[{''.join(symbol for symbol in _SYMBOLS if len(symbol) == 1)}]|zł")
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
        if compiled(labels.AMOUNTS["tax_amount"][-1]).search(line.text) and (match := compiled(rate).search(line.text)):
            return line.span(*match.span()), BESIDE
    return next(anywhere(lines, rate, "percent"), None)


def _terms(lines: Lines) -> Candidate | None:
    for pattern in occurring(labels.TERMS, lines):
        for line in lines:
            if match := compiled(rf"{pattern}{FILLER}").search(line.text):
                end = line.text.find(COLUMN, match.end())
                rest = line.span(match.end(), len(line.text) if end < 0 else end)
                if len(rest.word_ids) > 1:
                    return rest, BESIDE
                under = below(lines, line.span(*match.span()), line.index, rows=1)
                if under and len(under[0].word_ids) > 1:
                    return under[0], UNDER
    return None


def _distinct(candidates: Iterator[Candidate]) -> list[Candidate]:
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        value = canonical(candidate[0].text, "amount")
        if value is not None:
            seen.setdefault(value, candidate)
        if len(seen) == _MOST_CANDIDATES:
            break
    return list(seen.values())


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
